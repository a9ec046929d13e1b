/**
 * Leaving the old site without losing a byte: the VMs stop, the last recovery point is taken, nobody can start them or
 * write to their storage any more, and the last writes arrive at the other side. Each step knows its undo.
 */
import type { QuarantinedVm } from '../../domain/actions/moving.ts';
import type { PoolFacts, Uuid } from '../../domain/pool.ts';
import { autoStartKey } from '../../domain/quarantine.ts';
import type { PointVm } from '../../domain/recovery-point.ts';
import { byName, type Matchable } from '../../domain/scope.ts';
import { pointSteps } from '../export.ts';
import { askPerson, preparedByHand } from '../hand-offs.ts';
import { InTurn } from '../in-turn.ts';
import type { StorageOfPlan } from '../recover/draft.ts';
import { named, type RecoverDraft } from '../recover/draft.ts';
import type { StartOrder, Tier } from '../tiers.ts';

export interface Leaving {
  /** The pool that is left. */
  readonly pool: PoolFacts;
  readonly members: readonly Matchable[];
  readonly force: boolean;
}

/** Returns, per storage, the step that brought its last writes over. */
export function leave(draft: RecoverDraft, order: StartOrder, leaving: Leaving): Map<StorageOfPlan, string> {
  const noted = noteStanding(draft);
  const stopped = shutDown(draft, order, leaving, noted);
  const saved = savePoint(draft, leaving, [noted, ...stopped]);
  const away = quarantine(draft, leaving, saved);
  const detached = detach(draft, leaving, away);
  return syncFinally(draft, detached);
}

function noteStanding(draft: RecoverDraft): string {
  const { group, observation } = draft.request;
  return draft.add({
    id: draft.ids.of('note', group.production),
    after: [],
    action: {
      do: 'note-standing',
      site: group.production,
      seen: [
        `both sites answer, observed at ${observation.takenAt}`,
        ...draft.pairs.map(
          ({ sr, source, target }) =>
            `SR ${sr}: source ${source?.role ?? 'not seen'}, target ${target?.role ?? 'not seen'}, link ${target?.link ?? 'unknown'}`,
        ),
      ],
    },
    timeoutSeconds: 30,
    why: 'The journal shall say how both sides stood before anything was stopped',
  });
}

/** Starting in reverse: whoever uses a service stops before it, by its tier and by what it needs. */
function shutDown(draft: RecoverDraft, order: StartOrder, leaving: Leaving, noted: string): string[] {
  const { point } = draft.choice;
  const stops = stopOrder(order);
  const inTiers = new Set(stops.map(({ vm }) => vm.uuid));
  const others = point.vms.filter((vm) => vm.powerState !== 'Halted' && !inTiers.has(vm.uuid)).sort(byName);
  const unnamed = others.map((vm) => shutDownOne(draft, vm, 'No tier starts them', leaving, [noted]));
  const first = unnamed.length > 0 ? unnamed : [noted];
  const stoppedBy = new Map<Uuid, string>();
  for (const { tier, vm, users } of stops) {
    const waits = [...new Set(users.flatMap((user) => stoppedBy.get(user.uuid) ?? []))];
    const after = waits.length > 0 ? waits : first;
    stoppedBy.set(vm.uuid, shutDownOne(draft, vm, `Tier ${tier.name}`, leaving, after));
  }
  return [...unnamed, ...stoppedBy.values()];
}

interface Stop {
  readonly tier: Tier;
  readonly vm: PointVm;
  /** Those that stop before: the tiers that follow, and whoever needs this VM. */
  readonly users: readonly PointVm[];
}

/** Each VM behind all that use it; the last tier first otherwise. A circle is refused before (`faultsOfOrder`). */
function stopOrder({ tiers, needs }: StartOrder): Stop[] {
  const tierOf = new Map(tiers.flatMap((tier) => tier.vms.map((vm) => [vm.uuid, tier] as const)));
  const followers = new Map<string, PointVm[]>();
  for (const { follows, vms } of tiers)
    if (follows !== null) followers.set(follows, [...(followers.get(follows) ?? []), ...vms]);
  const dependents = new Map<Uuid, PointVm[]>();
  for (const { vms } of tiers)
    for (const vm of vms)
      for (const need of needs.get(vm.uuid) ?? [])
        dependents.set(need.vm.uuid, [...(dependents.get(need.vm.uuid) ?? []), vm]);
  const stops: Stop[] = [];
  const seen = new Set<Uuid>();
  const stop = (vm: PointVm): void => {
    const tier = tierOf.get(vm.uuid);
    if (tier === undefined || seen.has(vm.uuid)) return;
    seen.add(vm.uuid);
    const users = [...(followers.get(tier.name) ?? []), ...(dependents.get(vm.uuid) ?? [])];
    for (const user of users) stop(user);
    stops.push({ tier, vm, users });
  };
  for (const { vms } of tiers.toReversed()) for (const vm of vms) stop(vm);
  return stops;
}

function shutDownOne(
  draft: RecoverDraft,
  vm: PointVm,
  wave: string,
  { pool, force }: Leaving,
  after: readonly string[],
): string {
  const { group } = draft.request;
  const site = group.production;
  const seen = pool.vms.find((candidate) => candidate.uuid === vm.uuid);
  const blocked = Object.keys(seen?.blockedOperations ?? {}).sort();
  return draft.add({
    id: draft.ids.of('shut-down', vm.nameLabel),
    after,
    action: {
      do: 'shut-down-vm',
      site,
      vm: named(vm),
      force,
      reason: `moving to site ${group.recovery}`,
    },
    holdsWhen: { is: 'vm-shut-down', site, vm: named(vm) },
    undo: { do: 'bring-back-vm', site, vm: named(vm), blocked, twinSite: group.recovery },
    undoneWhen: { is: 'vm-brought-back', site, vm: named(vm), blocked },
    repeatable: true,
    uses: [`stop:${site}`],
    timeoutSeconds: 900 + vm.startDelaySeconds,
    forecastSeconds: 10,
    why: `${wave}: who uses a service stops before it; a start is blocked from here on`,
  });
}

function savePoint(draft: RecoverDraft, { pool, members }: Leaving, after: readonly string[]): string {
  const { group } = draft.request;
  const { point } = draft.choice;
  const vms = [...members].sort(byName);
  const steps = pointSteps({
    group,
    pointId: point.id,
    vms,
    toFetch: vms.map(named),
    kept: [],
    vmsInPool: pool.vms.length,
    whyThisWay: 'Every document once more, as the VMs are now: this is what the other site will import',
    toBeStarted: point.vms.filter((vm) => vm.powerState !== 'Halted').map((vm) => vm.uuid),
    prefix: 'last',
    after,
  }).filter((step) => step.action.do !== 'prune-catalog');
  for (const step of steps) draft.add(step);
  const readBack = steps.find((step) => step.action.do === 'verify-point');
  if (readBack === undefined) throw new Error('a point that is saved is read back');
  return readBack.id;
}

/** After the last recovery point: the marks of the quarantine must not travel with the metadata (xapi.md 8.4). */
function quarantine(draft: RecoverDraft, { pool, members }: Leaving, saved: string): string {
  const { group } = draft.request;
  const site = group.production;
  const vms = quarantinedVms(pool, new Set(members.map((vm) => vm.uuid)));
  return draft.add({
    id: draft.ids.of('quarantine', site),
    after: [saved],
    action: {
      do: 'quarantine-vms',
      site,
      vms,
      stopRunning: false,
      reason: `moved to site ${group.recovery}`,
    },
    holdsWhen: { is: 'vms-quarantined', site, vms },
    undo: { do: 'release-vms', site, vms },
    repeatable: true,
    uses: [`pool:${site}`],
    timeoutSeconds: 600,
    forecastSeconds: 0.1 * vms.length,
    why: `What stays at site ${site} is a copy from here on: nothing may start it by itself`,
  });
}

/** What a pool holds of these VMs, with what a quarantine takes from them. */
export function quarantinedVms(pool: PoolFacts, uuids: ReadonlySet<string>): QuarantinedVm[] {
  return pool.vms
    .filter((vm) => uuids.has(vm.uuid) && !vm.isSnapshot && !vm.isTemplate)
    .sort(byName)
    .map((vm) => ({
      ...named(vm),
      haPriority: vm.haRestartPriority,
      autoStart: vm.otherConfig[autoStartKey] === 'true',
      blocked: Object.keys(vm.blockedOperations).sort(),
    }));
}

function detach(draft: RecoverDraft, { pool }: Leaving, quarantined: string): string[] {
  const site = draft.request.group.production;
  return draft.storage.map(({ sr }) => {
    const plugged = new Set(sr.pbds.filter((pbd) => pbd.attached).map((pbd) => pbd.hostUuid));
    const hosts = pool.hosts
      .filter((host) => plugged.has(host.uuid))
      .map(({ uuid, nameLabel }) => ({ uuid, nameLabel, master: uuid === pool.masterUuid }));
    const kept = { uuid: sr.uuid, nameLabel: sr.nameLabel };
    return draft.add({
      id: draft.ids.of('detach', sr.nameLabel),
      after: [quarantined],
      action: { do: 'detach-sr', site, sr: kept },
      holdsWhen: { is: 'sr-detached', site, sr: kept },
      undo: { do: 'plug-sr', site, sr: kept, hosts },
      undoneWhen: { is: 'sr-attached', site, srUuid: sr.uuid, hosts: hosts.map((host) => host.uuid) },
      repeatable: true,
      uses: [`sr:${site}`],
      timeoutSeconds: 900,
      forecastSeconds: 2,
      why: 'The proof that nobody writes any more: no host of the pool has the storage',
    });
  });
}

/** A person closes the source and brings the last point over; it counts once it has been seen (invariant 4). */
function syncByHand(
  draft: RecoverDraft,
  { pair, settings: { source }, sr }: StorageOfPlan,
  { sentence, tag, detached }: { sentence: string; tag: string; detached: readonly string[] },
): string {
  const site = draft.request.group.production;
  const kept = { uuid: sr.uuid, nameLabel: sr.nameLabel };
  const letGo = draft.add({
    id: draft.ids.of('let-go', sr.nameLabel),
    after: [...detached],
    action: { do: 'note-let-go', site, sr: kept },
    timeoutSeconds: 60,
    why: 'A point that was cut before this moment may lack the last writes',
  });
  const asked = askPerson(
    draft,
    { target: source, sentence, names: { tag }, at: 'before-promotion', verb: 'prepare' },
    {
      after: [letGo],
      why: `Array ${source.array} cannot do it by itself: the word is not the proof, the other side is looked at next`,
    },
  );
  return draft.add({
    id: draft.ids.of('see-sync', source.volume),
    after: [asked],
    action: { do: 'see-final-sync', pair, site, sr: kept, tag, letGoBy: letGo },
    uses: [`array:${source.array}`],
    timeoutSeconds: 300,
    forecastSeconds: 2,
    why: 'Nothing is promoted before the last write has been seen at the other side',
  });
}

function syncFinally(draft: RecoverDraft, detached: readonly string[]): Map<StorageOfPlan, string> {
  const tag = `lifeboat-${draft.request.planId}`;
  const inTurn = new InTurn();
  return new Map(
    draft.storage.map((item) => {
      const { pair, settings } = item;
      const sentence = preparedByHand(draft.request.observation, settings.source.array);
      if (sentence !== null) return [item, syncByHand(draft, item, { sentence, tag, detached })];
      const id = draft.add({
        id: draft.ids.of('sync', settings.source.volume),
        after: [...detached, ...inTurn.before(settings.source)],
        action: { do: 'final-sync', pair, tag },
        holdsWhen: { is: 'finally-synced', pair, tag },
        undo: { do: 'unprepare', pair },
        repeatable: true,
        uses: [`array:${settings.source.array}`],
        // As much as was written since the last point; the link decides how long that takes.
        timeoutSeconds: 4 * 3600,
        forecastSeconds: 10,
        why: 'Nothing is promoted before the last write has been seen at the other side',
      });
      return [item, inTurn.took(settings.source, id)];
    }),
  );
}
