/** The control domains of the pools in the settings, each host behind its own pinned key; a login is kept while it lasts. */
import { PortError } from '../../domain/errors.ts';
import type { PoolSshHost, PoolSshSettings, Settings } from '../../domain/settings.ts';
import type { BackupJob, BackupScriptRun, Dom0, Dom0Host, ScriptEnd } from '../../ports/dom0.ts';
import type { Secrets } from '../../ports/system.ts';
import { readPrivateFile } from '../secrets/key-file.ts';
import type { SshTimes } from '../ssh/connection.ts';
import { SshRemote } from '../ssh/pool.ts';

const backupScript = '/opt/xensource/bin/xe-backup-metadata';
const periods = ['daily', 'weekly', 'monthly'] as const;
const jobPath = (period: BackupJob['period']): string => `/etc/cron.${period}/backup-metadata`;

export interface Dom0Options {
  readonly secrets: Secrets;
  readonly times?: SshTimes;
}

/** Nobody is contacted and no secret is resolved before the first command. */
export function openDom0(settings: Pick<Settings, 'sites'>, options: Dom0Options): Dom0 {
  return new SshDom0(settings, options);
}

class SshDom0 implements Dom0 {
  readonly #sites: Pick<Settings, 'sites'>['sites'];
  readonly #options: Dom0Options;
  readonly #open = new Map<PoolSshHost, SshRemote>();

  constructor({ sites }: Pick<Settings, 'sites'>, options: Dom0Options) {
    this.#sites = sites;
    this.#options = options;
  }

  knows(site: string): boolean {
    return this.#ssh(site) !== null;
  }

  async backupMetadata(
    site: string,
    host: Dom0Host,
    { sr, keep, timeoutSeconds }: BackupScriptRun,
    signal?: AbortSignal,
  ): Promise<ScriptEnd> {
    const argv = [backupScript, '-c', '-u', sr, '-k', String(keep)];
    return this.#remote(site, host).run(argv, {
      effect: 'write',
      timeoutSeconds,
      signal,
      maxOutputBytes: 1024 * 1024,
    });
  }

  async backupJobs(site: string, host: Dom0Host, signal?: AbortSignal): Promise<readonly BackupJob[]> {
    // Its exit code only says that not all of them are there.
    const { stdout } = await this.#remote(site, host).run(['/bin/ls', '-d', ...periods.map(jobPath)], {
      effect: 'read',
      timeoutSeconds: 30,
      signal,
    });
    const found = new Set(stdout.split('\n').map((line) => line.trim()));
    return periods.flatMap((period) =>
      found.has(jobPath(period)) ? [{ path: jobPath(period), period }] : [],
    );
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map((remote) => remote.close()));
    this.#open.clear();
  }

  #ssh(site: string): PoolSshSettings | null {
    return this.#sites.find(({ name }) => name === site)?.pool.ssh ?? null;
  }

  #remote(site: string, host: Dom0Host): SshRemote {
    const ssh = this.#ssh(site);
    const entry = ssh?.hosts.find(({ host: named }) =>
      [host.uuid, host.nameLabel, host.address].includes(named),
    );
    if (ssh === null || entry === undefined) throw unset(site, host);
    const open = this.#open.get(entry) ?? this.#connectLater(site, ssh, entry, host);
    this.#open.set(entry, open);
    return open;
  }

  #connectLater(site: string, ssh: PoolSshSettings, entry: PoolSshHost, host: Dom0Host): SshRemote {
    const { secrets, times } = this.#options;
    const { username, privateKeyFile, password } = ssh;
    return new SshRemote({
      address: {
        host: entry.address ?? host.address,
        port: entry.port,
        username,
        hostKey: entry.hostKey,
        writtenIn: {
          place: `host ${entry.host} in pool.ssh of site ${site} in sites.yaml`,
          keyField: 'private_key_file',
        },
      },
      credentials: async () => ({
        privateKey: privateKeyFile === null ? null : await readPrivateFile(privateKeyFile, 'the private key'),
        password: password === null ? null : await secrets.resolve(password),
      }),
      ...(times === undefined ? {} : { times }),
    });
  }
}

function unset(site: string, host: Dom0Host): PortError {
  return new PortError('refused', {
    code: 'DR-DOM0-UNSET',
    what: `sites.yaml has no SSH login for host ${host.nameLabel}`,
    where: { site, object: `host ${host.nameLabel} (${host.address})` },
    known: ['nothing was sent to it'],
    next: `Add the host to pool.ssh.hosts of site ${site}, by its name, uuid or address, with the SHA-256 of its host key`,
  });
}
