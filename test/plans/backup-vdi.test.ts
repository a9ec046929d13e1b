/** When an export writes the metadata backup onto the storage, and what it asks for. */
import t from 'tap';
import { backupMark, backupVdiMark } from '../../src/domain/backup-vdi.ts';
import type { Observation } from '../../src/domain/observation.ts';
import type { Step } from '../../src/domain/plan.ts';
import type { MetadataBackupSettings } from '../../src/domain/settings.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { backupVdiUuid } from '../../src/metadata/backup-uuid.ts';
import { planExport } from '../../src/plan/export.ts';
import { now, quiet, shop, uuid, vdi } from '../support/two-sites.ts';

const settings: MetadataBackupSettings = {
  method: 'xenapi',
  everySeconds: 86_400,
  history: 25,
  dumps: 3,
  bytes: 1024 ** 3,
};

interface Wish {
  readonly metadataBackup?: Partial<MetadataBackupSettings> | null;
  /** By number of the SR, how many seconds ago its backup was written. */
  readonly writtenAgo?: Readonly<Record<number, number>>;
  readonly everything?: boolean;
  readonly sshSites?: readonly string[];
}

function backupSteps({ metadataBackup = {}, writtenAgo = {}, ...wish }: Wish): readonly Step[] {
  const seen = observed(writtenAgo);
  const plan = planExport({
    planId: 'export-1',
    pointId: 'shop/1',
    group: metadataBackup === null ? shop : { ...shop, metadataBackup: { ...settings, ...metadataBackup } },
    configDigest: 'c',
    generation: 1,
    observation: seen,
    vms: [{ uuid: uuid('vm', 1), nameLabel: 'db-01', tags: [], folder: null, srUuids: [] }],
    ...wish,
  } as Parameters<typeof planExport>[0]);
  return plan.steps.filter(({ id }) => id.startsWith('backup'));
}

function observed(writtenAgo: Readonly<Record<number, number>>): Observation {
  const seen = quiet();
  const site = seen.sites['osaka'];
  if (site?.reachable !== true) throw new Error('osaka can be seen');
  const disks = Object.entries(writtenAgo).map(([number, seconds]) => {
    const srUuid = uuid('sr', Number(number));
    const mark = backupMark('2026-03-13-02-00-00', addSeconds(now, -seconds));
    return {
      ...vdi(900 + Number(number), srUuid),
      uuid: backupVdiUuid(srUuid),
      otherConfig: { [backupVdiMark]: mark },
    };
  });
  return {
    ...seen,
    sites: { ...seen.sites, osaka: { ...site, pool: { ...site.pool, vdis: [...site.pool.vdis, ...disks] } } },
  };
}

const idsOf = (wish: Wish): string[] => backupSteps(wish).map(({ id }) => id);

t.test('it is written where the settings ask for it, and when its time has come', (t) => {
  t.strictSame(idsOf({ metadataBackup: null }), [], 'nobody asked');
  t.strictSame(idsOf({}), ['backup-tier-1', 'backup-tier-2'], 'never written');
  t.strictSame(idsOf({ writtenAgo: { 1: 3600, 2: 90_000 } }), ['backup-tier-2'], 'each SR has its own time');
  t.strictSame(
    idsOf({ writtenAgo: { 1: 86_350, 2: 86_000 } }),
    ['backup-tier-1'],
    'a clock may be a little early',
  );
  t.strictSame(idsOf({ writtenAgo: { 1: 60, 2: 60 }, everything: true }), ['backup-tier-1', 'backup-tier-2']);
  t.end();
});

t.test('it comes after the point was read back, and never holds up an export', (t) => {
  const [step] = backupSteps({});
  t.match(step, {
    after: ['read-back'],
    onFailure: 'continue',
    pointOfNoReturn: false,
    uses: ['backup:osaka'],
    action: { do: 'write-backup', site: 'osaka', pointId: 'shop/1', history: 25, dumps: 3 },
  });
  const [script] = backupSteps({ metadataBackup: { method: 'host-script' } });
  t.match(script?.action, { do: 'run-backup-script', vms: [{ nameLabel: 'db-01' }], history: 25 });
  t.equal(script?.retriesMax, 0, 'a script that may still run is not started again');
  t.end();
});

t.test('the hosts that can be logged in to are asked for jobs of their own', (t) => {
  const ids = (sshSites: readonly string[]): string[] =>
    idsOf({ sshSites }).filter((id) => id.includes('jobs'));
  t.strictSame(ids([]), []);
  t.strictSame(ids(['tokyo', 'elsewhere']), ['backup-jobs-tokyo']);
  t.strictSame(ids(['osaka', 'tokyo']), ['backup-jobs-osaka', 'backup-jobs-tokyo']);
  t.end();
});
