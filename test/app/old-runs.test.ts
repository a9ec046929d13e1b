/** Which journals are let go of, and which stay whatever their age. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { JournalFiles } from '../../src/adapters/journal/journal-files.ts';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import { verificationHistory } from '../../src/app/journals.ts';
import { forgetOldRuns } from '../../src/app/old-runs.ts';
import type { Operation } from '../../src/domain/plan.ts';
import type { RunEvent, RunOutcome } from '../../src/domain/run.ts';
import { MemoryJournals, MemoryStates, planOf, readStep } from '../execute/support.ts';
import { settings } from '../scripts/fake.ts';

const now = '2026-06-01T12:00:00.000Z';
const daemon = {
  watchEverySeconds: 300,
  jobsPerPool: 1,
  spreadSeconds: 0,
  finishWithinSeconds: 60,
  keepJournalsSeconds: 7 * 86_400,
  reportsDirectory: 'reports',
  jobs: [],
};

class History {
  readonly journals = new MemoryJournals();
  readonly states = new MemoryStates();
  #made: string[] = [];

  /** Adds runs of one kind, `daysAgo` and one minute after the other; `says` is what their ids say they are. */
  add(
    count: number,
    operation: Operation,
    daysAgo: number,
    { outcome = 'done', group = 'shop', says = operation, hour = 0 }: Partial<Made> = {},
  ): string[] {
    const start = Date.parse(now) - daysAgo * 86_400_000 + hour * 3_600_000;
    const ids = Array.from({ length: count }, (_, index) => {
      const at = new Date(start + index * 60_000).toISOString();
      const id = `${at.replace(/[-:]/g, '').slice(0, 15)}Z-${says}-${group}-${index.toString(16).padStart(4, '0')}`;
      this.journals.runs.set(id, eventsOf(id, at, operation, group, outcome));
      return id;
    });
    this.#made = [...this.#made, ...ids].sort();
    // As a directory is read: in the order of the names.
    const sorted = [...this.journals.runs].sort(([a], [b]) => (a < b ? -1 : 1));
    this.journals.runs.clear();
    for (const [id, events] of sorted) this.journals.runs.set(id, events);
    return ids;
  }

  async forget(): Promise<readonly string[]> {
    const { journals, states } = this;
    const removed = await forgetOldRuns({
      journals,
      states: async () => states,
      clock: new VirtualClock({ start: now }),
      settings: { ...settings, daemon },
    });
    const gone = this.#made.filter((id) => !journals.runs.has(id));
    this.#made = this.#made.filter((id) => journals.runs.has(id));
    t.equal(removed, gone.length, 'as many as are told');
    return gone;
  }
}

interface Made {
  readonly outcome: RunOutcome | null;
  readonly group: string;
  readonly says: string;
  readonly hour: number;
}

function eventsOf(
  run: string,
  at: string,
  operation: Operation,
  group: string,
  outcome: RunOutcome | null,
): RunEvent[] {
  const plan = planOf([readStep('look')], { operation, group });
  const planDigest = createHash('sha256').update(run).digest('hex');
  const started: RunEvent = { event: 'RunStarted', at, run, plan, planDigest, by: 'schedule', version: '1' };
  return outcome === null
    ? [started]
    : [started, { event: 'RunEnded', at, outcome, exitCode: 0, summary: outcome }];
}

t.test('exports and verifications that have ended, and are older than the settings keep them', async (t) => {
  const history = new History();
  const [first = ''] = history.add(1, 'export', 100);
  const old = [
    ...history.add(3, 'export', 20),
    ...history.add(1, 'export', 20, { outcome: 'failed', hour: 1 }),
    ...history.add(1, 'verify', 20, { outcome: 'done-with-warnings' }),
  ];
  history.add(40, 'export', 6);
  const [oldest = ''] = history.add(1, 'verify', 30);
  history.add(30, 'verify', 10);
  t.strictSame(await history.forget(), [...old].sort());
  t.ok(history.journals.runs.has(first), 'the first export stays: since then the group has points');
  t.ok(history.journals.runs.has(oldest));
  t.strictSame(await history.forget(), [], 'and no more');
  const before = await verificationHistory(history, 'shop');
  t.equal(before.unverifiedSince, '2026-02-21T12:00:00.000Z', 'the history of verifications is what it was');
});

t.test('everything else stays, however old', async (t) => {
  const history = new History();
  for (const operation of [
    'drill',
    'drill-cleanup',
    'migrate',
    'failover',
    'reprotect',
    'failback',
    'canary',
    'recover-metadata',
  ] as const)
    history.add(40, operation, 300);
  // Whatever its id says.
  history.add(40, 'failover', 200, { says: 'export', group: 'other' });
  history.add(40, 'export', 300, { outcome: null });
  history.add(40, 'export', 299, { outcome: 'stuck' });
  history.add(40, 'verify', 300, { outcome: 'stopped' });
  // A group that is seldom exported.
  history.add(20, 'export', 300, { group: 'archive' });
  t.strictSame(await history.forget(), []);
});

t.test('a run that somebody carries out is left alone, and so is a damaged journal', async (t) => {
  const history = new History();
  history.add(1, 'export', 100);
  const [resumed = '', damaged = '', gone = ''] = history.add(3, 'export', 50, { outcome: 'failed' });
  history.add(30, 'export', 40);
  await history.states.lock('shop', resumed);
  history.journals.runs.set(damaged, []);
  t.strictSame(await history.forget(), [gone]);
});

t.test('a heartbeat lets go of so many, and the next one of the rest', async (t) => {
  const history = new History();
  history.add(2040, 'export', 50);
  t.equal((await history.forget()).length, 2000);
  t.equal((await history.forget()).length, 9);
});

t.test('a journal that is removed is gone, and so is one that was', async (t) => {
  const directory = join(t.testdir(), 'runs');
  mkdirSync(directory);
  writeFileSync(join(directory, 'one.jsonl'), '');
  writeFileSync(join(directory, 'two.jsonl'), '');
  const journals = new JournalFiles(directory);
  await journals.remove('one');
  await journals.remove('one');
  t.strictSame(readdirSync(directory), ['two.jsonl']);
  await t.rejects(journals.remove('../two'), { code: 'DR-RUN-ID' });
});
