/**
 * Two orchestrators at one group at once: whichever steps of the two are interleaved, the lock and the generation let one
 * of them act, and the world is as after one run.
 */
import { isDeepStrictEqual } from 'node:util';
import type { PlannedRun } from '../../../src/app/app.ts';
import { OperatorError } from '../../../src/domain/errors.ts';
import type { Run } from '../../../src/domain/run.ts';
import { Beginning, nothingTried, type Tally, undisturbed } from './calls.ts';
import { House } from './house.ts';
import { violationsAfter, worldOf } from './oracle.ts';
import type { Story } from './stories.ts';
import { Fate } from './trouble.ts';

/** The second begins at the n-th call of the first, for every n in steps of `every`; its lock may have been broken too. */
export async function letRivalsLoose(story: Story, vms: number, every: number): Promise<Tally> {
  const beginning = await Beginning.of(story, vms);
  const whole = await undisturbed(beginning, story);
  const tally = nothingTried();
  for (let call = 1; call <= whole.calls; call += every)
    for (const lockBroken of [false, true])
      await race(beginning, story, call, lockBroken, whole.world, tally);
  return tally;
}

async function race(
  beginning: Beginning,
  story: Story,
  call: number,
  lockBroken: boolean,
  world: unknown,
  tally: Tally,
): Promise<void> {
  const what = `${story.name}, a rival at call ${call}${lockBroken ? ' with the lock broken' : ''}`;
  tally.tried += 1;
  let rival: Promise<Run | OperatorError> | null = null;
  let begun = Number.POSITIVE_INFINITY;
  const first = beginning.again((number) => {
    if (number === begun + call) rival = second();
    return null;
  });
  const planned: PlannedRun = await first.plan(story.request);
  const { clock, journals, states } = first;
  const other = new House({
    state: first.world.state,
    clock,
    journals,
    states,
    fate: new Fate(clock),
    salt: '9',
  });
  const rivals = await other.plan(story.request);
  const second = async (): Promise<Run | OperatorError> => {
    if (lockBroken) await states.breakLock('shop', { by: 'Eve', reason: 'that machine looks dead' });
    return attempt(other, rivals);
  };
  begun = first.fate.calls;
  const one = await attempt(first, planned);
  const two = rival === null ? null : await rival;
  const ends = [one, two].filter((end): end is Run => end !== null && !(end instanceof OperatorError));
  const done = ends.filter(({ outcome }) => outcome === 'done');
  if (done.length > 1) tally.violations.push(`${what}: both are done`);
  for (const run of ends)
    if (run.outcome === 'done')
      tally.violations.push(...(await violationsAfter(first, run)).map((each) => `${what}: ${each}`));
  tally.violations.push(...first.world.state.violations.map((each) => `${what}: ${each}`));
  if (done.length === 1 && !lockBroken && !isDeepStrictEqual(worldOf(first.world.state), world))
    tally.violations.push(`${what}: done, in another world`);
  if (done.length === 0 && !lockBroken) tally.violations.push(`${what}: nobody got through`);
}

/** Refused is an end as well: the plan is old, or somebody holds the lock. */
async function attempt(house: House, planned: PlannedRun): Promise<Run | OperatorError> {
  try {
    return await house.app.run(planned, { by: 'Ada', onEvent: () => undefined });
  } catch (error) {
    if (error instanceof OperatorError) return error;
    throw error;
  }
}
