/**
 * Who waits for whom: dependencies between VMs, across and inside tiers. Tiers are in `tiers.ts`; here their VMs are
 * brought into one sequence in which everybody stands behind those that they wait for, or the circle is named.
 */
import type { Uuid } from '../domain/pool.ts';
import type { DependencySettings } from '../domain/recovery-plan.ts';
import type { PointVm, RecoveryPoint } from '../domain/recovery-point.ts';
import { compileMatch } from '../domain/scope.ts';
import type { Tier } from './tiers.ts';

/** One VM that another one needs. */
export interface Need {
  readonly vm: PointVm;
  readonly ifNotReady: DependencySettings['ifNotReady'];
}

export interface StartGraph {
  /** By uuid of the VM that waits; VMs that need nobody are absent. */
  readonly needs: ReadonlyMap<Uuid, readonly Need[]>;
  /** Every VM that starts, each behind those it waits for; in the order of the tiers otherwise. */
  readonly sequence: readonly { readonly tier: Tier; readonly vm: PointVm }[];
  /** VMs that wait for each other, in words; null when all is well. With a circle, `needs` is empty. */
  readonly circle: string | null;
  /** Needed VMs that this plan does not start: their dependents start without them. */
  readonly unmet: readonly { readonly vm: PointVm; readonly needs: PointVm }[];
}

export function startGraph(
  dependencies: readonly DependencySettings[],
  tiers: readonly Tier[],
  point: RecoveryPoint,
): StartGraph {
  const places = tiers.flatMap((tier) => tier.vms.map((vm) => ({ tier, vm })));
  const starting = new Set(places.map(({ vm }) => vm.uuid));
  const needs = new Map<Uuid, Need[]>();
  const unmet: { vm: PointVm; needs: PointVm }[] = [];
  for (const { vms, needs: needed, ifNotReady } of dependencies) {
    const waits = compileMatch(vms, point.srs);
    const isNeeded = compileMatch(needed, point.srs);
    const neededVms = point.vms.filter((vm) => isNeeded(vm) !== null);
    for (const { vm } of places) {
      if (waits(vm) === null) continue;
      for (const other of neededVms) {
        // A rule for many VMs may name one that the others need: it does not need itself.
        if (other.uuid === vm.uuid) continue;
        if (starting.has(other.uuid)) addNeed(needs, vm, { vm: other, ifNotReady });
        else unmet.push({ vm, needs: other });
      }
    }
  }
  const { placed, left } = inSequence(places, needs);
  if (left.length === 0) return { needs, sequence: placed, circle: null, unmet };
  return { needs: new Map(), sequence: places, circle: circleAmong(left, needs), unmet };
}

/** Said twice, the stricter rule counts. */
function addNeed(needs: Map<Uuid, Need[]>, { uuid }: PointVm, need: Need): void {
  const known = needs.get(uuid) ?? [];
  const same = known.find(({ vm }) => vm.uuid === need.vm.uuid);
  if (same === undefined) needs.set(uuid, [...known, need]);
  else if (need.ifNotReady === 'leave-halted')
    needs.set(
      uuid,
      known.map((each) => (each === same ? need : each)),
    );
}

type Place = StartGraph['sequence'][number];

/** Takes, again and again, everybody whose predecessors have been taken; one pass is enough where tiers suffice. */
function inSequence(
  places: readonly Place[],
  needs: ReadonlyMap<Uuid, readonly Need[]>,
): { readonly placed: readonly Place[]; readonly left: readonly Place[] } {
  const placed: Place[] = [];
  const done = new Set<Uuid>();
  const open = new Map<string, number>();
  for (const { tier } of places) open.set(tier.name, (open.get(tier.name) ?? 0) + 1);
  const isFree = ({ tier, vm }: Place): boolean =>
    (tier.follows === null || (open.get(tier.follows) ?? 0) === 0) &&
    (needs.get(vm.uuid) ?? []).every((need) => done.has(need.vm.uuid));
  let left: readonly Place[] = places;
  for (let before = -1; before !== placed.length; ) {
    before = placed.length;
    left = left.filter((place) => {
      if (!isFree(place)) return true;
      placed.push(place);
      done.add(place.vm.uuid);
      open.set(place.tier.name, (open.get(place.tier.name) ?? 1) - 1);
      return false;
    });
  }
  return { placed, left };
}

/** Follows one reason to wait after the other, until somebody comes up twice. */
function circleAmong(left: readonly Place[], needs: ReadonlyMap<Uuid, readonly Need[]>): string {
  const places = new Map(left.map((place) => [place.vm.uuid, place]));
  const next = ({ tier, vm }: Place): { readonly place: Place; readonly because: string } | null => {
    const needed = (needs.get(vm.uuid) ?? []).flatMap((need) => places.get(need.vm.uuid) ?? [])[0];
    if (needed !== undefined) return { place: needed, because: 'needs' };
    const earlier = left.find((place) => place.tier.name === tier.follows);
    return earlier === undefined
      ? null
      : { place: earlier, because: `of tier ${tier.name} waits for tier ${earlier.tier.name} with` };
  };
  const path: { readonly place: Place; readonly because: string }[] = [];
  let here = left[0];
  while (here !== undefined && !path.some(({ place }) => place === here)) {
    const step = next(here);
    if (step === null) break;
    path.push({ place: here, because: step.because });
    here = step.place;
  }
  const circle = path.slice(path.findIndex(({ place }) => place === here));
  return `${circle.map(({ place, because }) => `${place.vm.nameLabel} ${because} `).join('')}${here?.vm.nameLabel ?? ''}`;
}
