/** Lifeboat tries itself: able while everything of a failover is there, and each thing that is missing is told by its name. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { spaceAt, tryWriting } from '../../src/adapters/system/disk.ts';
import { openClosed } from '../../src/app/self/closed.ts';
import { olderVersion } from '../../src/app/self/own-trials.ts';
import { OperatorError } from '../../src/domain/errors.ts';
import { briefOfRehearsal, type SelfRehearsal, selfOutcomeOf } from '../../src/domain/self-rehearsal.ts';
import type { CatalogSettings, Settings } from '../../src/domain/settings.ts';
import type { Home } from '../../src/ports/home.ts';
import { LabHouse } from '../check/lab-app.ts';
import { settings as osakaAndTokyo } from '../scripts/fake.ts';
import { noHome } from '../support/home.ts';

// A lab is started and asked some hundred times, on whatever machine this is.
t.setTimeout(300_000);

/** What was tried and how it ended: `site recovery: log in` → outcome, or the code of the problem. */
function trialsOf({ sections }: Pick<SelfRehearsal, 'sections'>): Map<string, string> {
  return new Map(
    sections.flatMap(({ about, checks }) =>
      checks.map(({ verb, outcome, problem }): [string, string] => [
        `${about}: ${verb}`,
        problem === null ? outcome : `${outcome} ${problem.code}`,
      ]),
    ),
  );
}

const errorOf = (asking: Promise<unknown>): Promise<unknown> =>
  asking.then(
    () => null,
    (error: unknown) => error,
  );

const failedIn = (rehearsal: SelfRehearsal): string[] =>
  [...trialsOf(rehearsal)].filter(([, how]) => !/^ok/.test(how)).map(([what, how]) => `${what}: ${how}`);

t.test('over the lab', async (t) => {
  const house = await LabHouse.start(t);
  await house.save();
  const target = {
    type: 'directory',
    name: 'here',
    site: 'recovery',
    path: house.settings.stateDirectory,
  } as const;
  const catalog: CatalogSettings = { ...house.settings.catalog, targets: [target] };
  const rehearse = (
    changes: Partial<Settings> = {},
    home: Partial<Home> = {},
    password?: string,
  ): Promise<SelfRehearsal> =>
    house.with({ catalog, ...changes }, (app) => app.rehearseSelf(), password, home);

  t.test('able, although nobody at production was asked', async (t) => {
    house.lab.faults.ledger.forget();
    const rehearsal = await rehearse();
    t.strictSame(failedIn(rehearsal), []);
    t.equal(rehearsal.outcome, 'able');
    t.strictSame(
      house.lab.faults.ledger.counts.filter(({ pool }) => pool === 'production'),
      [],
      'no request reached a host of production',
    );
    t.ok(
      house.lab.faults.ledger.count('session.login_with_password', 'recovery') > 0,
      'the password was tried',
    );
    t.match(rehearsal.groups, [
      { group: 'shop', lostSite: 'production', outcome: 'ready', rpoSeconds: 900, findings: [] },
    ]);
    const [shop] = rehearsal.groups;
    t.ok((shop?.steps ?? 0) > 10 && (shop?.forecastSeconds ?? 0) > 0, 'a failover was planned');
    t.ok((shop?.lossSeconds ?? -1) >= 0, 'what would be lost is known');
    const { selfRehearsal } = await house.with({}, (app) => app.status({ groups: [] }));
    t.strictSame(
      selfRehearsal,
      { takenAt: rehearsal.takenAt, outcome: 'able', against: [] },
      'status shows it',
    );
  });

  t.test('a session of yesterday proves nothing', async (t) => {
    const { credentials } = house.lab;
    const before = credentials.password;
    t.teardown(() => Object.assign(credentials, { password: before }));
    await house.with(
      { catalog },
      async (app) => {
        const [, recovery] = (await app.status({ groups: [] })).sites;
        t.equal(recovery?.reachable, true, 'the running program is logged in');
        Object.assign(credentials, { password: 'changed by somebody' });
        t.equal((await app.status({ groups: [] })).sites[1]?.reachable, true, 'and stays so');
        const rehearsal = await app.rehearseSelf();
        t.match(trialsOf(rehearsal).get('site recovery: log in'), /^failed DR-POOL-/);
        t.equal(rehearsal.outcome, 'unable');
        t.match(rehearsal.groups, [{ outcome: 'not-ready' }]);
        t.ok(briefOfRehearsal(rehearsal).against.includes('site recovery: log in'));
      },
      before,
    );
  });

  t.test('what is missing is told by its name, and is enough', async (t) => {
    const missing = new OperatorError({
      code: 'DR-SECRET-MISSING',
      what: 'It is not there',
      next: 'Put it back',
    });
    const cases: [string, Partial<Settings>, Partial<Home>, SelfRehearsal['outcome'], string][] = [
      [
        'the files are broken',
        {},
        { readSettings: async () => Promise.reject(missing) },
        'unable',
        'settings: read sites.yaml: failed DR-SECRET-MISSING',
      ],
      [
        'the disk is full',
        {},
        { space: async () => ({ freeBytes: 5e6, totalBytes: 1e12, freeFiles: null }) },
        'unable',
        `machine: room at ${target.path}: failed DR-SELF-DISK-FULL`,
      ],
      [
        'no file can be made any more',
        {},
        { space: async () => ({ freeBytes: 1e11, totalBytes: 1e12, freeFiles: 12 }) },
        'unable',
        `machine: room at ${target.path}: failed DR-SELF-DISK-FULL`,
      ],
      [
        'the disk is read-only',
        {},
        { tryWriting: async () => Promise.reject(missing) },
        'unable',
        `machine: write to ${target.path}: failed DR-SECRET-MISSING`,
      ],
      [
        'the catalog burns with production',
        { catalog: { ...catalog, targets: [{ ...target, site: 'production' }] } },
        {},
        'unable',
        'catalog: targets: failed DR-SELF-CATALOG-LOST',
      ],
      [
        'the settings were changed meanwhile',
        {},
        { readSettings: async () => ({ ...house.settings, catalog, groups: [], digest: 'd'.repeat(64) }) },
        'able-with-warnings',
        'settings: read sites.yaml: warning',
      ],
    ];
    for (const [what, changes, home, outcome, trial] of cases) {
      // Only what is about the catalog needs a group, and the sites that come with it.
      const groups = changes.catalog === undefined ? { groups: [] } : {};
      const rehearsal = await rehearse({ ...changes, ...groups }, home);
      t.equal(rehearsal.outcome, outcome, what);
      t.ok(failedIn(rehearsal).includes(trial), `${what}: ${trial}`, { found: failedIn(rehearsal) });
    }
  });

  t.test('a secret of the lost site is missed later, one of the recovery site now', async (t) => {
    const sites = house.settings.sites.map((site) => ({
      ...site,
      pool: { ...site.pool, password: { from: 'env', name: site.name } as const },
    }));
    const without = (lost: string): Partial<Home> => ({
      secrets: {
        resolve: async (ref) => {
          if (ref.from === 'env' && ref.name === lost)
            throw new OperatorError({ code: 'DR-SECRET-MISSING', what: 'It is not set', next: 'Set it' });
          return 'hush';
        },
      },
    });
    const ofProduction = await rehearse({ sites }, without('production'));
    t.strictSame(failedIn(ofProduction), ['secrets: password of pool production: warning DR-SECRET-MISSING']);
    t.equal(ofProduction.outcome, 'able-with-warnings');
    const ofRecovery = await rehearse({ sites }, without('recovery'));
    t.strictSame(failedIn(ofRecovery), ['secrets: password of pool recovery: failed DR-SECRET-MISSING']);
    t.equal(ofRecovery.outcome, 'unable');
    t.notMatch(JSON.stringify(ofRecovery), /hush/, 'no secret is kept');
  });

  t.test('two sites that protect each other are lost one after the other', async (t) => {
    const [shop] = house.settings.groups;
    if (shop === undefined) throw new Error('the house has a group');
    const back = { ...shop, name: 'back', production: 'recovery', recovery: 'production', storage: [] };
    const rehearsal = await rehearse({ groups: [shop, back] });
    const about = rehearsal.sections.map((section) => section.about);
    t.ok(about.includes('site recovery, without site production'));
    t.ok(about.includes('site production, without site recovery'));
    t.match(rehearsal.groups, [
      { group: 'shop', lostSite: 'production', outcome: 'ready' },
      { group: 'back', lostSite: 'recovery', outcome: 'not-ready', findings: [{ severity: 'problem' }] },
    ]);
    t.equal(
      trialsOf(rehearsal).get('catalog, without site recovery: targets'),
      'failed DR-SELF-CATALOG-LOST',
      'the catalog of the other direction stands at its lost site',
    );
  });

  t.test('when production really is gone it says the same', async (t) => {
    await house.lab.killSite('production');
    const rehearsal = await rehearse();
    t.strictSame(failedIn(rehearsal), [
      'array array-recovery: observe gold: warning',
      'array array-recovery: observe silver: warning',
    ]);
    t.equal(rehearsal.outcome, 'able-with-warnings', 'the array misses its partner; nothing else is missed');
    t.match(rehearsal.groups, [{ outcome: 'ready' }]);
    await house.lab.killSite('recovery');
    const alone = await rehearse();
    t.equal(alone.outcome, 'unable');
    t.match(alone.groups, [{ outcome: 'not-ready', findings: [{ severity: 'problem' }] }]);
  });
});

t.test('a closed site cannot be had', async (t) => {
  const asked: string[] = [];
  const opened: Settings[] = [];
  const home: Home = {
    ...noHome,
    openAnew: (settings) => {
      opened.push(settings);
      return {
        hypervisor: async (name) => {
          asked.push(name);
          throw new Error('the double has no pool');
        },
        array: async (name) => {
          asked.push(name);
          throw new Error('the double has no array');
        },
        catalog: async () => {
          throw new Error('the double has no catalog');
        },
        close: async () => undefined,
      };
    },
  };
  const settings: Settings = {
    ...osakaAndTokyo,
    arrays: ['osaka', 'tokyo'].map((site) => ({
      name: `filer-${site}`,
      site,
      type: 'lab',
      options: {},
      secret: null,
    })),
    catalog: {
      ...osakaAndTokyo.catalog,
      targets: [
        { type: 'directory', name: 'there', site: 'osaka', path: 'there' },
        { type: 'directory', name: 'here', site: 'tokyo', path: 'here' },
        { type: 'directory', name: 'somewhere', path: 'somewhere' },
      ],
    },
  };
  const outside = openClosed(home, settings, ['osaka']);
  for (const asking of [outside.hypervisor('osaka'), outside.array('filer-osaka')])
    t.match(await errorOf(asking), { kind: 'unreachable', problem: { code: 'DR-SELF-CLOSED' } });
  t.strictSame(asked, [], 'nobody was asked');
  await t.rejects(outside.hypervisor('tokyo'), /no pool/);
  await t.rejects(outside.array('filer-tokyo'), /no array/);
  t.strictSame(asked, ['tokyo', 'filer-tokyo']);
  t.strictSame(
    opened[0]?.sites.map(({ name }) => name),
    ['tokyo'],
    'not even its address is known',
  );
  t.strictSame(
    opened[0]?.catalog.targets.map(({ name }) => name),
    ['here', 'somewhere'],
  );
});

t.test('one failure is enough', async (t) => {
  const check = (outcome: 'ok' | 'warning' | 'failed') => ({ verb: 'x', outcome, says: [], problem: null });
  const sections = (...outcomes: readonly ('ok' | 'warning' | 'failed')[]) => [
    { about: 'x', checks: outcomes.map(check) },
  ];
  t.equal(selfOutcomeOf(sections('ok'), [{ outcome: 'ready' }, { outcome: 'moved' }]), 'able');
  t.equal(selfOutcomeOf(sections('ok', 'warning'), [{ outcome: 'ready' }]), 'able-with-warnings');
  t.equal(selfOutcomeOf(sections('ok'), [{ outcome: 'ready-with-warnings' }]), 'able-with-warnings');
  t.equal(selfOutcomeOf(sections('ok'), [{ outcome: 'busy' }]), 'able-with-warnings');
  t.equal(selfOutcomeOf(sections('ok', 'failed', 'warning'), []), 'unable');
  t.equal(selfOutcomeOf(sections('ok'), [{ outcome: 'ready' }, { outcome: 'not-ready' }]), 'unable');
});

t.test('versions are compared number by number', async (t) => {
  t.equal(olderVersion('0.9.0', '0.10.0'), true);
  t.equal(olderVersion('1.2.3', '1.2.3'), false);
  t.equal(olderVersion('1.2.4', '1.2.3'), false);
  t.equal(olderVersion('1.2', '1.2.1'), false, 'what is not told is not older');
  t.equal(olderVersion('test', '1.0.0'), false);
});

t.test('the disk', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lifeboat-disk-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const here = await spaceAt(directory);
  t.ok(here.freeBytes > 0 && here.freeBytes <= here.totalBytes);
  t.equal((await spaceAt(join(directory, 'not', 'there'))).totalBytes, here.totalBytes, 'the nearest above');
  await tryWriting(join(directory, 'made'));
  writeFileSync(join(directory, 'a file'), '');
  t.match(await errorOf(tryWriting(join(directory, 'a file', 'below'))), {
    problems: [{ code: 'DR-SELF-DISK' }],
  });
});
