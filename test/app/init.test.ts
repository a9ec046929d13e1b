/** `init` over the lab, and at the terminal: whom it trusts, what it asks, and what it leaves alone. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { certificateAt, coordinatorOf, surveyPool } from '../../src/adapters/xenapi/first-contact.ts';
import { type InitSite, proposeSettings, type Trusts } from '../../src/app/init.ts';
import { loadSettings } from '../../src/config/load.ts';
import { OperatorError } from '../../src/domain/errors.ts';
import type { LabHost } from '../../src/lab/core/pool.ts';
import { demoOf } from '../../src/lab/demo.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import type { Setup } from '../../src/ports/setup.ts';
import { call } from '../scripts/fake.ts';

t.setTimeout(300_000);

async function labOf(t: Test): Promise<Lab> {
  const directory = mkdtempSync(join(tmpdir(), 'lifeboat-init-'));
  const lab = await startLab({
    world: (made) => demoOf(made, { db: 1, app: 0, web: 0 }),
    storage: directory,
  });
  t.teardown(async () => {
    await lab.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  return lab;
}

function setupOver(lab: Lab, changes: Partial<Setup> = {}): Setup & { readonly keys: string[] } {
  const keys: string[] = [];
  return {
    keys,
    certificateAt,
    coordinatorOf,
    survey: (site, pool, signal) =>
      surveyPool({ site, pool, password: async () => lab.credentials.password, clock: systemClock }, signal),
    array: async () => {
      throw new Error('no array is described');
    },
    storeSecret: async () => undefined,
    makeKey: async (path) => {
      keys.push(path);
      return true;
    },
    trySecret: async () => undefined,
    readText: (path) => readFileSync(path, 'utf8'),
    exists: () => false,
    schemaFile: '/schema.json',
    close: async () => undefined,
    ...changes,
  };
}

const digits = (host: LabHost): string => host.certificate.sha256.replaceAll(':', '').toLowerCase();

t.test('over the lab', async (t) => {
  const lab = await labOf(t);
  const siteOf = (role: 'production' | 'recovery', changes: Partial<InitSite> = {}): InitSite => ({
    name: role,
    role,
    url: lab.url(lab.pool(role).master),
    fingerprint: lab.pool(role).master.certificate.sha256,
    username: 'root',
    password: async () => ({ from: 'env', name: 'PASSWORD' }),
    ...changes,
  });
  const never: Trusts = async (site) => {
    throw new Error(`nobody is to be asked about ${site}`);
  };
  const propose = (
    changes: { production?: Partial<InitSite>; recovery?: Partial<InitSite>; setup?: Partial<Setup> } = {},
    trusts: Trusts = never,
  ) =>
    proposeSettings(
      setupOver(lab, changes.setup),
      {
        file: '/etc/lifeboat/sites.yaml',
        production: siteOf('production', changes.production),
        recovery: siteOf('recovery', changes.recovery),
        arraysFile: null,
      },
      trusts,
      '/etc/lifeboat',
    );
  const codeOf = (asking: Promise<unknown>): Promise<unknown> =>
    asking.then(
      () => null,
      (error: { code?: string; problem?: { code: string } }) => error.code ?? error.problem?.code,
    );

  t.test('every host, with the certificate that its pool vouches for', async (t) => {
    const { text } = await propose();
    const { sites } = loadSettings('/etc/lifeboat/sites.yaml', () => text);
    for (const site of sites)
      t.strictSame(
        site.pool.hosts,
        lab.pool(site.name).hosts.map((host) => ({ url: lab.url(host), fingerprint: digits(host) })),
        site.name,
      );
  });

  t.test(
    'from the address of a member it finds the coordinator, and asks about its certificate',
    async (t) => {
      const [, member] = lab.pool('recovery').hosts;
      if (member === undefined) throw new Error('the pool has members');
      const asked: string[] = [];
      const from = { url: lab.url(member), fingerprint: member.certificate.sha256 };
      const { text } = await propose({ recovery: from }, async (_site, url, fingerprint) => {
        asked.push(`${url} ${fingerprint}`);
        return true;
      });
      const { master } = lab.pool('recovery');
      t.strictSame(asked, [`${lab.url(master)} ${digits(master)}`]);
      const { sites } = loadSettings('/etc/lifeboat/sites.yaml', () => text);
      t.equal(sites[1]?.pool.hosts[0]?.url, lab.url(master), 'which stands first');
      t.equal(await codeOf(propose({ recovery: from }, async () => false)), 'DR-INIT-CERTIFICATE');
    },
  );

  t.test('nothing is sent to a host that nobody vouches for', async (t) => {
    let passwords = 0;
    const password = async () => {
      passwords += 1;
      return { from: 'env', name: 'PASSWORD' } as const;
    };
    lab.faults.ledger.forget();
    t.equal(
      await codeOf(propose({ production: { fingerprint: 'ab'.repeat(32), password } })),
      'DR-INIT-CERTIFICATE',
    );
    t.equal(
      await codeOf(propose({ production: { fingerprint: null, password } }, async () => false)),
      'DR-INIT-CERTIFICATE',
    );
    t.strictSame(lab.faults.ledger.counts, []);
    t.equal(passwords, 0, 'no password was asked for');
  });

  t.test('what cannot be is refused before anything is written', async (t) => {
    const setup = setupOver(lab, { exists: () => true });
    t.equal(await codeOf(propose({ setup })), 'DR-INIT-EXISTS');
    const { url, fingerprint } = siteOf('production');
    t.equal(
      await codeOf(propose({ production: { fingerprint: 'ab'.repeat(20) } })),
      'DR-INIT-MISSING',
      'a SHA-1',
    );
    t.equal(await codeOf(propose({ recovery: { url, fingerprint } })), 'DR-INIT-SAME-POOL');
    const closed = 'https://127.0.0.1:1';
    t.equal(await codeOf(propose({ recovery: { url: closed } })), 'DR-POOL-UNREACHABLE');
    t.strictSame(setup.keys, []);
  });
});

t.test('at the terminal', async (t) => {
  t.test('nobody is there to be asked', async (t) => {
    const closed = await call(['init'], { setup: idle() });
    t.match(closed, { code: 2, err: /DR-INIT-MISSING.*--production/s });
    const secret = await call(
      [
        'init',
        '--production',
        'https://a',
        '--recovery',
        'b',
        '--production-fingerprint',
        'ab'.repeat(32),
        '--production-password',
        'hunter2',
      ],
      { setup: idle() },
    );
    t.equal(secret.code, 2);
    t.match(secret.err.replace(/\s+/g, ' '), /env:NAME, file:PATH, store:NAME or command:PROGRAM/);
    t.notMatch(secret.err + secret.out, /hunter2/, 'what may be the password is not repeated');
  });

  t.test('a typed password goes into the store, and an existing file is left alone', async (t) => {
    const stored: string[] = [];
    const typed = await call(
      ['init'],
      { setup: idle({ storeSecret: async (name, value) => void stored.push(`${name}=${value}`) }) },
      { answers: ['a.example', 'b.example:8443', 'yes', 'hush'] },
    );
    t.match(typed, { code: 1, err: /No pool is there/ });
    t.strictSame(stored, ['pool-production=hush']);
    t.match(typed.out, /Is it the same\? yes\/no: yes/);
    t.notMatch(typed.out, /hush/);
    const there = await call(['init'], { setup: idle({ exists: () => true }) });
    t.match(there, { code: 2, err: /DR-INIT-EXISTS/ });
    t.equal(there.files.size, 0);
  });
});

/** Certificates are shown; the first survey fails. */
function idle(changes: Partial<Setup> = {}): Setup {
  const nobody = async (): Promise<never> => {
    throw new Error('nobody is asked');
  };
  return {
    certificateAt: async () => 'ab'.repeat(32),
    coordinatorOf: async () => null,
    survey: async () => {
      throw new OperatorError({ code: 'DR-POOL-UNREACHABLE', what: 'no pool is there', next: '' });
    },
    array: nobody,
    storeSecret: nobody,
    makeKey: nobody,
    trySecret: async () => undefined,
    readText: () => '',
    exists: () => false,
    schemaFile: '/schema.json',
    close: async () => undefined,
    ...changes,
  };
}
