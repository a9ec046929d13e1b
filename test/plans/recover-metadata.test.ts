/** The recovery of metadata as a plan: what it does, step by step, and what it waits for. */
import t from 'tap';
import type { BackupWish } from '../../src/domain/actions/recover.ts';
import { planDigest } from '../../src/execute/executor.ts';
import { planRecoverMetadata, type RecoverMetadataRequest } from '../../src/plan/recover-metadata.ts';
import { plainPaper } from '../../src/report/paper.ts';
import { planText } from '../../src/report/plan.ts';
import { golden } from '../report/golden.ts';
import { disaster, pairs, sr } from '../support/two-sites.ts';
import { cloning, drilled, drillId, filer, tokyo } from './drill-world.ts';

const usual: BackupWish = { dates: 'newest', vms: 'group', legacy: null };
const reached = { arrays: [filer()], catalog: { observedAt: '', points: [], damaged: [] } };

function request(changes: Partial<RecoverMetadataRequest> = {}): RecoverMetadataRequest {
  return {
    planId: 'recover-metadata-shop-20260314T020000Z-0001',
    drillId,
    group: drilled,
    configDigest: 'c'.repeat(64),
    generation: 4,
    observation: disaster(reached),
    wish: usual,
    ...changes,
  };
}

t.test('production is gone, and the catalog with it', (t) => {
  const plan = planRecoverMetadata(request());
  t.same(plan.waitingOn, []);
  golden(
    t,
    'cases/recover-metadata.plan.txt',
    import.meta.url,
    planText({ plan, digest: planDigest(plan), findings: [] }, plainPaper, 'full'),
  );
  for (const step of plan.steps) t.notOk(step.pointOfNoReturn, `${step.id} can be followed by nothing worse`);
  const touched = plan.steps.flatMap(({ action }) => ('site' in action ? [action.site] : []));
  t.same([...new Set(touched)], ['tokyo'], 'only the recovery site is touched');
  t.end();
});

t.test('a disk that a person names is a warning in the plan itself', (t) => {
  const legacy = '00000000-0000-4000-8000-00000000abcd';
  const { expects, steps } = planRecoverMetadata(request({ wish: { ...usual, legacy } }));
  t.match(expects.notes.join('\n'), /a guest may have written it/);
  const wishes = steps.flatMap(({ action }) => (action.do === 'read-backup' ? [action.wish.legacy] : []));
  t.same(wishes, [legacy, legacy]);
  t.end();
});

t.test('what it waits for', (t) => {
  const waits = (changes: Parameters<typeof disaster>[0], group = drilled): string =>
    planRecoverMetadata(request({ group, observation: disaster({ ...reached, ...changes }) })).waitingOn.join(
      '\n',
    );
  t.match(waits({ sites: {} }), /the pool of site tokyo, which cannot be read/);
  t.match(waits({ pairs: pairs([]) }), /a complete replica of SR Tier 1/);
  t.match(waits({ arrays: [filer({ capabilities: { ...cloning, drill: 'none' } })] }), /can neither clone/);
  t.match(waits({}, { ...drilled, storage: [] }), /a replicated SR of the group/);
  const pool = tokyo();
  const known = { ...tokyo(), srs: [sr(1, 'Tier 1', pool.hosts)] };
  const view = { reachable: true, site: 'tokyo', pool: known, endpoints: [] } as const;
  t.match(waits({ sites: { tokyo: view } }), /a pool that does not know SR Tier 1/);
  t.end();
});
