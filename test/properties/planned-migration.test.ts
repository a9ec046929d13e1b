/**
 * A planned migration over worlds in which calls fail, arrays lie and guests refuse: the storage is promoted only when
 * every write that was ever made is at the other side, and no VM runs twice.
 */
import fc from 'fast-check';
import t from 'tap';
import { type FailureKind, PortError } from '../../src/domain/errors.ts';
import { type MovingHouse, movingHouse } from '../execute/moving-house.ts';

const names = ['db', 'web'];

/** What goes wrong, and how often before it goes well again. */
interface Trouble {
  readonly at: 'tokyo' | 'osaka';
  /** The n-th call to that site. */
  readonly call: number;
  readonly times: number;
  readonly kind: FailureKind;
  /** What the target array says of the last point. */
  readonly lastPoint: 'whole' | 'half' | 'absent';
}

const trouble: fc.Arbitrary<Trouble> = fc.record({
  at: fc.constantFrom('tokyo', 'osaka'),
  call: fc.integer({ min: 1, max: 60 }),
  times: fc.integer({ min: 0, max: 4 }),
  kind: fc.constantFrom('unreachable', 'busy', 'outcome-unknown', 'refused'),
  lastPoint: fc.constantFrom('whole', 'whole', 'half', 'absent'),
});

function troubled({ at, call, times, kind, lastPoint }: Trouble): MovingHouse {
  const house = movingHouse(names);
  const points = house.world.filer.points.bind(house.world.filer);
  house.world.filer.points = async (volume) =>
    (await points(volume)).flatMap((point) => {
      if (point.tag === undefined || lastPoint === 'whole') return [point];
      return lastPoint === 'half' ? [{ ...point, complete: false }] : [];
    });
  let calls = 0;
  house.world.pool(at).before = (what) => {
    calls += 1;
    if (calls < call || calls >= call + times) return;
    throw new PortError(kind, { code: 'DR-FAKE', what: `call ${calls}, ${what}, fails`, next: 'Look' });
  };
  return house;
}

/** The world at each deed of a run, in the order in which the deeds were done. */
function watch(house: MovingHouse): string[] {
  const violations: string[] = [];
  const runningAt = (site: string): Set<string> =>
    new Set(
      (house.state.sites[site]?.pool.vms ?? [])
        .filter((vm) => vm.powerState !== 'Halted')
        .map((vm) => vm.uuid),
    );
  const promoted = (): boolean => house.state.volumes['vol1r']?.role !== 'target';
  let wasPromoted = promoted();
  house.world.onChange = () => {
    const tokyo = runningAt('tokyo');
    for (const vm of runningAt('osaka')) if (tokyo.has(vm)) violations.push(`VM ${vm} runs twice`);
    if (wasPromoted || !promoted()) return;
    wasPromoted = true;
    if (tokyo.size > 0) violations.push('promoted while VMs could still write');
    if (house.state.sites['tokyo']?.pool.srs.some((sr) => sr.pbds.some((pbd) => pbd.attached)))
      violations.push('promoted while a host still had the storage');
    if (house.state.volumes['vol1']?.role !== 'demoted')
      violations.push('promoted while the source took writes');
    if (!house.state.deeds.includes('sync vol1')) violations.push('promoted before the last sync');
  };
  return violations;
}

t.test('invariant 4: a planned migration promotes only after a verified final sync', async (t) => {
  let promotions = 0;
  await fc.assert(
    fc.asyncProperty(trouble, async (chosen) => {
      const plan = await movingHouse(names).migrate();
      const broken = troubled(chosen);
      const violations = watch(broken);
      const result = await broken.run(plan);
      const promoted = broken.state.volumes['vol1r']?.role !== 'target';
      if (promoted) promotions += 1;
      if (promoted && chosen.lastPoint !== 'whole')
        violations.push('promoted although the point was not there');
      const serving = broken.powerStates('osaka').filter((vm) => vm.endsWith('Running')).length;
      if (result.outcome === 'done' && serving !== names.length)
        violations.push('said to be done, and not every VM serves');
      if (violations.length > 0) throw new Error(violations.join('; '));
    }),
    { numRuns: 40, seed: 4 },
  );
  t.ok(promotions > 5, `${promotions} of 40 worlds got as far as the promotion`);
});

t.test('what was broken off before the promotion can be taken back', async (t) => {
  let undone = 0;
  await fc.assert(
    fc.asyncProperty(trouble, async (chosen) => {
      const plan = await movingHouse(names).migrate();
      const house = troubled({ ...chosen, kind: 'refused', times: 1 });
      const result = await house.run(plan);
      if (house.state.volumes['vol1r']?.role !== 'target' || result.outcome !== 'failed') return true;
      house.world.pool(chosen.at).before = () => undefined;
      const back = await house.undo(result.run.id);
      undone += 1;
      const { pool } = house.state.sites['tokyo'] ?? { pool: { vms: [], srs: [] } };
      return (
        back.outcome === 'undone' &&
        house.state.volumes['vol1']?.role === 'source' &&
        pool.vms.every(
          (vm) => vm.powerState === 'Running' && Object.keys(vm.blockedOperations).length === 0,
        ) &&
        pool.srs.every((sr) => sr.pbds.every((pbd) => pbd.attached)) &&
        (await house.standing()).tombstone === null
      );
    }),
    { numRuns: 40, seed: 5 },
  );
  t.ok(undone > 5, `${undone} of 40 runs were taken back`);
});
