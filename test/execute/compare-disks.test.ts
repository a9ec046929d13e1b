/** What is said of a replica whose disks are not those of the recovery point: missing, moved, resized, foreign. */
import t from 'tap';
import { OperatorError } from '../../src/domain/errors.ts';
import type { PoolFacts, VdiFacts } from '../../src/domain/pool.ts';
import { compareDisks } from '../../src/execute/actions/compare-disks.ts';
import type { World } from '../../src/execute/actions/world.ts';
import type { ActionOf, StepContext } from '../../src/execute/handlers.ts';
import type { Hypervisor } from '../../src/ports/hypervisor.ts';
import { fakeDisk } from './fakes.ts';

const srUuid = 'sr1';
const known = (name: string) => ({
  ...{ uuid: `disk-${name}`, location: `disk-${name}`, nameLabel: `${name} root`, nameDescription: '' },
  virtualSize: fakeDisk(name).virtualSize,
  usedBy: [name],
});
const stranger = (name: string): VdiFacts => fakeDisk(name, { nameLabel: `${name} data` });

async function compared(
  vdis: readonly VdiFacts[],
  names: readonly string[],
  against: ActionOf<'compare-disks'>['against'] | null = null,
) {
  const pool = { srs: [{ uuid: 'sr2', nameLabel: 'Archive' }], vdis } as unknown as PoolFacts;
  const hypervisor = { observe: async () => pool } as Partial<Hypervisor> as Hypervisor;
  const world = { hypervisor: async () => hypervisor } as Partial<World> as World;
  const action = {
    ...({ do: 'compare-disks', site: 'osaka', srUuid, disks: names.map(known) } as const),
    ...(against === null ? {} : { against }),
  };
  return compareDisks(world, action, { signal: new AbortController().signal } as StepContext);
}

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof OperatorError)) throw new Error(`it ended with ${String(error)}`);
  return error.problems.flatMap(({ code, known: evidence = [] }) => [code, ...evidence]).join('\n');
}

const pointTakenAt = '2026-03-14T02:00:00.000Z';
const older = { pointTakenAt, replicaTakenAt: '2026-03-14T01:45:00.000Z', others: [] };
const younger = { pointTakenAt, replicaTakenAt: '2026-03-14T02:05:00.000Z', others: [] };

t.test('all disks there, with their uuids and sizes: nothing is said', async (t) => {
  t.match(await compared([fakeDisk('a'), fakeDisk('b')], ['a', 'b'], older), {
    output: { compared: 2, missing: [], surplus: [] },
    warnings: [],
    partial: false,
  });
});

t.test('a missing disk: made after the replica, or lost from it', async (t) => {
  const skewed = await compared([fakeDisk('a')], ['a', 'b'], older);
  t.match(skewed.warnings, [/disk b root of b is not on the replica, which is 15 min.* older .* in between/]);
  const damaged = await compared([fakeDisk('a')], ['a', 'b'], younger);
  t.match(damaged.warnings, [/no older than the recovery point: it was deleted since, or .* not whole/]);
  const unknown = await compared([fakeDisk('a')], ['a', 'b'], { ...older, replicaTakenAt: null });
  t.same(unknown.warnings, ['disk b root of b is not on the replica'], 'nothing is guessed');
  t.equal(unknown.partial, true);
});

t.test('a record without data, another location, another SR: each is named', async (t) => {
  const result = await compared(
    [
      fakeDisk('a'),
      fakeDisk('b', { missing: true }),
      fakeDisk('c', { location: 'elsewhere' }),
      fakeDisk('d', { srUuid: 'sr2' }),
    ],
    ['a', 'b', 'c', 'd'],
  );
  t.match(result.warnings, [
    /b root .* has its record, and no data/,
    /c root .* location elsewhere, and the recovery point says disk-c/,
    /d root .* on SR Archive of the same pool/,
  ]);
});

t.test('another size and another uuid are told, and cost nothing', async (t) => {
  const result = await compared(
    [fakeDisk('a', { virtualSize: 512 }), fakeDisk('b', { uuid: 'other', location: 'disk-b' })],
    ['a', 'b'],
  );
  t.match(result, { partial: false, output: { missing: [] } });
  t.match(result.warnings, [/a root .* resized in between/, /b root .* has uuid other .* says disk-b/]);
});

t.test('disks that the point does not know are told in the output alone', async (t) => {
  const more = [stranger('x'), fakeDisk('idle'), fakeDisk('snap', { isASnapshot: true })];
  const result = await compared([fakeDisk('a'), ...more], ['a'], { ...older, others: ['disk-idle'] });
  t.match(result, { partial: false, warnings: [], output: { surplus: [{ nameLabel: 'x data' }] } });
  t.equal((result.output as { surplus: unknown[] }).surplus.length, 1);
});

t.test('more strangers than acquaintances: look at the volume', async (t) => {
  const strangers = ['x', 'y'].map(stranger);
  const result = await compared([fakeDisk('a'), ...strangers], ['a', 'b', 'c'], younger);
  t.match(result.warnings[0], /holds 1 of 3 disks of the recovery point, and 2 that it does not know/);
});

t.test('no disk of the point: what is there instead tells which volume it is', async (t) => {
  t.match(await refusal(compared([], ['a'])), /DR-DISKS-MISSING\nit holds no disk at all/);
  t.match(await refusal(compared([stranger('x')], ['a'])), /such as x data: it is another volume, or/);
  const idle = { ...older, others: ['disk-idle'] };
  t.match(await refusal(compared([fakeDisk('idle')], ['a'], idle)), /that no VM uses: it is an older state/);
});
