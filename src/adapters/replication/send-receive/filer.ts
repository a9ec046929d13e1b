/** One filer behind SSH: its programs, its options, and how other filers reach it over the replication link. */
import { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Clock, Secrets } from '../../../ports/system.ts';
import { type SshOptions, sshOptions, sshServerOf } from '../../ssh/options.ts';
import { SshRemote } from '../../ssh/pool.ts';
import { shellCommand } from '../../ssh/quote.ts';
import type { RemoteProgram, RemoteResult } from '../../ssh/remote.ts';

/** Options of every send-and-receive filer; a schema spreads them beside its own. */
export const filerOptions = {
  ...sshOptions,
  /** Commands run as `sudo -n …`. */
  sudo: z.boolean().default(false),
  /** `filer`: the sending filer logs in at the other one. `lifeboat`: the bytes go through this machine. */
  via: z.enum(['filer', 'lifeboat']).default('filer'),
  /** How the other filer reaches this one; `host`, `port` and `username` where they are absent. */
  link_host: z.string().min(1).optional(),
  link_port: z.int().min(1).max(65_535).optional(),
  link_username: z.string().min(1).optional(),
  /** Paths on this filer: its private key for the link, and the host keys that it accepts there. */
  link_identity: z.string().startsWith('/').optional(),
  link_known_hosts: z.string().startsWith('/').optional(),
  /** Where locks are kept on the filer: a directory that does not survive a restart. */
  lock_directory: z.string().startsWith('/').default('/run/lock'),
  /** Address under which hosts mount; `host` when absent. */
  nfs_server: z.string().min(1).optional(),
  /** How many points of ours stay on each side. */
  keep_points: z.int().min(1).max(1000).default(6),
};

export interface FilerOptions extends SshOptions {
  readonly sudo: boolean;
  readonly via: 'filer' | 'lifeboat';
  readonly link_host?: string | undefined;
  readonly link_port?: number | undefined;
  readonly link_username?: string | undefined;
  readonly link_identity?: string | undefined;
  readonly link_known_hosts?: string | undefined;
  readonly lock_directory: string;
  readonly nfs_server?: string | undefined;
  readonly keep_points: number;
}

/** The filer's own words, as the adapter of its kind understands them. */
export type Explain = (where: string, program: string, result: RemoteResult) => PortError;

const readSeconds = 60;
const writeSeconds = 600;
/** Ends a transfer whose peer has vanished after three silent intervals. */
const linkAliveSeconds = 5;
const linkConnectSeconds = 5;

export class Filer {
  readonly array: string;
  readonly options: FilerOptions;
  readonly clock: Clock;
  readonly remote: SshRemote;
  readonly #explain: Explain;

  constructor(
    settings: ArraySettings,
    options: FilerOptions,
    surroundings: { readonly secrets: Secrets; readonly clock: Clock },
    explain: Explain,
  ) {
    this.array = settings.name;
    this.options = options;
    this.clock = surroundings.clock;
    this.remote = new SshRemote(sshServerOf(settings, options, surroundings.secrets));
    this.#explain = explain;
  }

  /** A program with the paths of administrators and English words, as a command line of this filer runs it. */
  argv(program: readonly string[]): readonly string[] {
    const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    return [...(this.options.sudo ? ['sudo', '-n', '--'] : []), 'env', path, 'LC_ALL=C', ...program];
  }

  /** Asks; any exit code is an answer. */
  ask(program: readonly string[], signal?: AbortSignal): Promise<RemoteResult> {
    return this.remote.run(this.argv(program), {
      effect: 'read',
      timeoutSeconds: readSeconds,
      signal,
      name: nameOf(program),
    });
  }

  /** Does; any exit code is an answer. `stdin` is for what must not be seen in a list of processes. */
  tell(program: readonly string[], stdin?: string): Promise<RemoteResult> {
    return this.remote.run(this.argv(program), {
      effect: 'write',
      timeoutSeconds: writeSeconds,
      ...(stdin === undefined ? {} : { stdin }),
      name: nameOf(program),
    });
  }

  /** Does; a code other than 0 is the error that the filer's words mean. */
  async must(program: readonly string[]): Promise<string> {
    const result = await this.tell(program);
    if (result.code !== 0) throw this.error(program, result);
    return result.stdout;
  }

  /** As `must`, again for some seconds while the filer says that it is busy. */
  async mustSoon(program: readonly string[]): Promise<string> {
    for (let tries = 20; ; tries -= 1) {
      try {
        return await this.must(program);
      } catch (error) {
        if (tries === 0 || !(error instanceof PortError) || error.kind !== 'busy') throw error;
        await this.clock.sleep(0.5);
      }
    }
  }

  open(program: readonly string[], signal: AbortSignal | undefined): Promise<RemoteProgram> {
    return this.remote.open(this.argv(program), { effect: 'write', signal, name: nameOf(program) });
  }

  error(program: readonly string[], result: RemoteResult): PortError {
    return this.#explain(`array ${this.array}`, nameOf(program), result);
  }

  /** The command that runs a program at another filer, from this one. */
  linkArgv(other: Filer, program: readonly string[]): readonly string[] {
    const { link_identity, link_known_hosts } = this.options;
    const { host, port, username, link_host, link_port, link_username } = other.options;
    return [
      'ssh',
      '-o',
      'BatchMode=yes',
      '-o',
      'StrictHostKeyChecking=yes',
      '-o',
      `ConnectTimeout=${linkConnectSeconds}`,
      '-o',
      `ServerAliveInterval=${linkAliveSeconds}`,
      ...(link_identity === undefined ? [] : ['-o', 'IdentitiesOnly=yes', '-i', link_identity]),
      ...(link_known_hosts === undefined ? [] : ['-o', `UserKnownHostsFile=${link_known_hosts}`]),
      '-p',
      String(link_port ?? port),
      '-l',
      link_username ?? username,
      '--',
      link_host ?? host,
      shellCommand(other.argv(program)),
    ];
  }

  /** A lock of one volume; its name can be read back. */
  lockPath(volume: string, way: 'send' | 'receive'): string {
    return `${this.options.lock_directory}/lifeboat-${encodeURIComponent(volume)}.${way}`;
  }

  close(): Promise<void> {
    return this.remote.close();
  }
}

/** What a program is called in messages: a script by the name that it was given, else program and verb. */
function nameOf(program: readonly string[]): string {
  return program[0] === 'sh' ? (program[3] ?? 'sh') : program.slice(0, 2).join(' ');
}
