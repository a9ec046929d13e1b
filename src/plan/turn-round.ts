/**
 * The protection turned round: the side that serves replicates to the other one, the sites change places, and the first
 * recovery point of the new direction is taken. None of it holds up the VMs, which serve already.
 */
import type { NamedSr } from '../domain/actions/moving.ts';
import type { GroupState, Roles } from '../domain/group.ts';
import { mirrored } from '../domain/orientation.ts';
import type { NamedVm, PairAction, Step } from '../domain/plan.ts';
import { byName, type Matchable } from '../domain/scope.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { pointSteps } from './export.ts';
import { askPerson } from './hand-offs.ts';
import { InTurn } from './in-turn.ts';
import type { StepList } from './steps.ts';

export interface TurningRound {
  readonly planId: string;
  /** As it is oriented before: the VMs serve at its recovery site. */
  readonly group: GroupSettings;
  /** How the sites stand before. */
  readonly roles: Roles;
  readonly pairs: readonly PairAction[];
  /** The sentence for a person who turns this pair round; null where the arrays do. */
  readonly byHand: (pair: PairAction) => string | null;
  /** What the old source alone holds may go. */
  readonly discard: boolean;
  readonly pointId: string;
  readonly members: readonly Matchable[];
  readonly vmsInPool: number;
  /** Steps that the reversal waits for, and those of them that it cannot do without. */
  readonly after: readonly string[];
  readonly needs: readonly string[];
  /** The SRs of the group that the pool of the site that was left knows. */
  readonly left: readonly NamedSr[];
  /** What becomes of the run when it fails: the VMs of a migration serve already. */
  readonly onFailure: Step['onFailure'];
}

export function turnRound(steps: StepList, turning: TurningRound): void {
  const inTurn = new InTurn();
  const reversed = turning.pairs.map((pair) =>
    inTurn.took(pair.target, reverse(steps, turning, pair, inTurn.before(pair.target))),
  );
  const swapped = swap(steps, turning, reversed);
  const first = firstPoint(turning, swapped);
  for (const step of first) steps.add(step);
  const readBack = first.find((step) => step.action.do === 'verify-point');
  if (readBack === undefined) throw new Error('a point that is saved is read back');
  for (const sr of turning.left) forget(steps, turning, sr, readBack.id);
}

/** After the VMs are known where they serve: what the old site knows of its disks is worth nothing from then on. */
function forget(steps: StepList, { group }: TurningRound, { uuid, nameLabel }: NamedSr, saved: string): void {
  const site = group.production;
  const sr = { uuid, nameLabel };
  steps.add({
    id: steps.ids.of('forget', nameLabel),
    after: [saved],
    action: { do: 'forget-sr', site, sr },
    holdsWhen: { is: 'sr-forgotten', site, sr },
    repeatable: true,
    onFailure: 'continue',
    uses: [`sr:${site}`],
    timeoutSeconds: 300,
    forecastSeconds: 1,
    why: `Site ${site} holds a replica now: a drill there attaches a clone of the same uuid, a return the SR anew`,
  });
}

export function swappedRoles(roles: GroupState['roles']): Roles {
  return roles === 'swapped' ? 'as-configured' : 'swapped';
}

function reverse(steps: StepList, turning: TurningRound, pair: PairAction, first: readonly string[]): string {
  const sentence = turning.byHand(pair);
  if (sentence !== null) return reverseByHand(steps, turning, pair, sentence);
  const tag = `lifeboat-${turning.planId}-back`;
  return steps.add({
    id: steps.ids.of('reverse', pair.target.volume),
    after: [...turning.after, ...first],
    needs: [...turning.needs],
    action: { do: 'reverse-replication', pair, tag, discard: turning.discard },
    holdsWhen: { is: 'replication-reversed', pair, tag },
    repeatable: true,
    // The copy that is overwritten may be the only one of what was written there.
    pointOfNoReturn: true,
    onFailure: turning.onFailure,
    uses: [`array:${pair.target.array}`],
    timeoutSeconds: 4 * 3600,
    forecastSeconds: 10,
    why: `Site ${turning.group.production} becomes the replica: without it nothing protects what is written from now on`,
  });
}

/** Its roles are looked at, or taken from what people state, before the sites change places. */
function reverseByHand(steps: StepList, turning: TurningRound, pair: PairAction, sentence: string): string {
  const { source, target } = pair;
  const asked = askPerson(
    steps,
    {
      target,
      sentence,
      names: { otherArray: source.array, otherVolume: source.volume },
      at: 'after-storage',
      verb: 'reverse',
    },
    {
      after: [...turning.after],
      needs: [...turning.needs],
      // What is overwritten may be the only copy of what was written there.
      pointOfNoReturn: true,
      onFailure: turning.onFailure,
      why: `Site ${turning.group.production} becomes the replica: without it nothing protects what is written from now on`,
    },
  );
  return steps.add({
    id: steps.ids.of('see-reversed', target.volume),
    after: [asked],
    action: { do: 'see-reversed', pair },
    holdsWhen: { is: 'reversed-by-hand', pair },
    repeatable: true,
    onFailure: turning.onFailure,
    uses: [`array:${target.array}`],
    timeoutSeconds: 300,
    forecastSeconds: 2,
    why: 'The sites change places only when both sides are in their new roles',
  });
}

function swap(
  steps: StepList,
  { group, roles, onFailure }: TurningRound,
  reversed: readonly string[],
): string {
  const swapped = { roles: swappedRoles(roles), activeSite: group.recovery };
  return steps.add({
    id: steps.ids.of('swap', group.name),
    after: [...reversed],
    action: { do: 'swap-roles', group: group.name, ...swapped },
    holdsWhen: { is: 'roles-swapped', group: group.name, ...swapped },
    repeatable: true,
    onFailure,
    timeoutSeconds: 30,
    why: `From here on group ${group.name} is protected from site ${group.recovery} to site ${group.production}`,
  });
}

function firstPoint(turning: TurningRound, swapped: string): Step[] {
  const vms = [...turning.members].sort(byName);
  const toFetch: NamedVm[] = vms.map(({ uuid, nameLabel }) => ({ uuid, nameLabel }));
  return pointSteps({
    group: mirrored(turning.group),
    pointId: turning.pointId,
    vms,
    toFetch,
    kept: [],
    vmsInPool: turning.vmsInPool,
    whyThisWay: `The first point from site ${turning.group.recovery}: nothing of it is known yet`,
    prefix: 'first',
    after: [swapped],
    // The next export makes good what this one could not.
    onFailure: 'continue',
  });
}
