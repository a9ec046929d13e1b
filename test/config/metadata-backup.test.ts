/** `metadata_backup` of a group and `ssh` of a pool: what is settled, and what is missing. */
import t from 'tap';
import { loadSettings } from '../../src/config/load.ts';
import { OperatorError } from '../../src/domain/errors.ts';
import type { Settings } from '../../src/domain/settings.ts';

const key = 'A'.repeat(43);
const fingerprint = 'ab'.repeat(32);

function settingsWith(backup: string, ssh: Readonly<Record<string, string>> = {}): Settings {
  const site = (name: string): string => `
  ${name}:
    pool:
      hosts: [{ url: 'https://${name}.example', fingerprint: '${fingerprint}' }]
      password: { env: PASSWORD }
${ssh[name] === undefined ? '' : `      ssh: ${ssh[name]}`}`;
  const text = `
sites:${site('osaka')}${site('tokyo')}
arrays:
  a: { site: osaka, type: lab }
  b: { site: tokyo, type: lab }
groups:
  shop:
    production: osaka
    recovery: tokyo
    rpo: 15min
    rto: 1h
    vms: { include: { names: ['*'] } }
    storage: [{ sr: Data, source: { array: a, volume: v }, target: { array: b, volume: v } }]
    networks: {}
    ${backup}
catalog:
  targets: [{ name: here, type: directory, path: catalog }]
  encryption: { passphrase: { env: KEY } }
`;
  return loadSettings('/etc/lifeboat/sites.yaml', () => text);
}

function codesOf(work: () => unknown): readonly string[] {
  try {
    work();
    return [];
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return error.problems.map(({ code, what }) => `${code} ${what}`);
  }
}

const backupOf = (settings: Settings) => settings.groups[0]?.metadataBackup;

t.test('a backup is written only where somebody asks for it', (t) => {
  t.equal(backupOf(settingsWith('')), undefined);
  t.equal(backupOf(settingsWith('metadata_backup: { method: none }')), undefined);
  t.strictSame(backupOf(settingsWith('metadata_backup: { method: xenapi }')), {
    method: 'xenapi',
    everySeconds: 86_400,
    history: 25,
    dumps: 25,
    bytes: 1024 ** 3,
  });
  t.match(
    backupOf(settingsWith('metadata_backup: { method: xenapi, every: 6h, history: 9, size_mib: 16 }')),
    {
      everySeconds: 21_600,
      history: 9,
      dumps: 9,
      bytes: 16 * 1024 ** 2,
    },
  );
  t.match(backupOf(settingsWith('metadata_backup: { method: xenapi, dumps: 0 }')), { dumps: 0 });
  t.end();
});

t.test('the script of a host needs a login at both sites', (t) => {
  const ssh = `{ private_key_file: keys/id, hosts: [{ host: osaka-1, host_key: 'SHA256:${key}=' }] }`;
  const script = 'metadata_backup: { method: host-script }';
  t.match(
    codesOf(() => settingsWith(script)),
    [
      /DR-CONFIG-MISSING .*host-script needs a login to the hosts of osaka/,
      /DR-CONFIG-MISSING .*host-script needs a login to the hosts of tokyo/,
    ],
  );
  const settings = settingsWith(script, { osaka: ssh, tokyo: ssh });
  t.strictSame(settings.sites[0]?.pool.ssh, {
    username: 'root',
    privateKeyFile: '/etc/lifeboat/keys/id',
    password: null,
    hosts: [{ host: 'osaka-1', address: null, port: 22, hostKey: key }],
  });
  t.equal(backupOf(settings)?.method, 'host-script');
  t.match(
    codesOf(() => settingsWith('', { osaka: `{ hosts: [{ host: osaka-1, host_key: ${key} }] }` })),
    [/no way to log in is written/],
  );
  t.end();
});
