/**
 * The starts: tier by tier, each VM behind those that it needs, with pauses, questions and calls where the recovery plan
 * wants them. Every step says what it comes after; the executor needs no idea of tiers.
 */
import { describeGate } from '../../domain/gate-words.ts';
import { limitsOf } from '../../domain/limits.ts';
import type { PointVm } from '../../domain/recovery-point.ts';
import { formatDuration } from '../../domain/time.ts';
import { costs } from '../forecast.ts';
import type { StartOrder, Tier } from '../tiers.ts';
import type { RecoverDraft } from './draft.ts';
import { atMoment } from './moments.ts';
import type { Difference } from './overrides.ts';

export interface StartSource {
  /** The importing step of each VM. */
  readonly importedBy: ReadonlyMap<string, string>;
  /** What the first tier's pause and calls come after. */
  readonly storage: readonly string[];
  readonly differenceOf: (vm: PointVm) => Difference;
}

/** `starts`: all starting steps. `ends`: what remains to be waited for when every tier is ready. */
export function startAll(
  draft: RecoverDraft,
  order: StartOrder,
  source: StartSource,
): { readonly starts: readonly string[]; readonly ends: readonly string[] } {
  return new Starts(draft, order, source).all();
}

class Starts {
  readonly #draft: RecoverDraft;
  readonly #order: StartOrder;
  readonly #source: StartSource;
  readonly #site: string;
  readonly #starts: string[] = [];
  /** Per VM, the steps after which others may rely upon it. */
  readonly #ready = new Map<string, readonly string[]>();
  /** Per VM, the step whose success says that it is ready. */
  readonly #gate = new Map<string, string>();
  /** Per tier, the VMs whose steps are written down. */
  readonly #begun = new Map<string, PointVm[]>();
  /** Per tier, what its VMs come after. */
  readonly #entries = new Map<string, readonly string[]>();
  /** Per tier that is complete, what the next one comes after. */
  readonly #exits = new Map<string, readonly string[]>();

  constructor(draft: RecoverDraft, order: StartOrder, source: StartSource) {
    this.#draft = draft;
    this.#order = order;
    this.#source = source;
    this.#site = draft.request.group.recovery;
  }

  all(): { readonly starts: readonly string[]; readonly ends: readonly string[] } {
    for (const { vm } of this.#order.halted) this.#adjust(vm);
    for (const { tier, vm } of this.#order.sequence) this.#bringUp(tier, vm);
    const followed = new Set(this.#order.tiers.map((tier) => tier.follows));
    const last = this.#order.tiers.filter((tier) => !followed.has(tier.name));
    return { starts: this.#starts, ends: last.flatMap((tier) => this.#exits.get(tier.name) ?? []) };
  }

  #bringUp(tier: Tier, vm: PointVm): void {
    const entry = this.#entry(tier);
    const earlier = this.#begun.get(tier.name) ?? [];
    const start = this.#start(tier, vm, entry, earlier);
    this.#starts.push(start);
    const addressed = this.#setAddresses(tier, vm, start);
    const called = atMoment(this.#draft, { at: 'after-start', vm }, [start], [start]);
    const waits = tier.ready.some((gate) => gate.gate !== 'running');
    const ready = waits ? [this.#awaitReady(tier, vm, start, [...addressed, ...called])] : [];
    const reliable = ready.length > 0 ? ready : [start, ...addressed, ...called];
    this.#ready.set(vm.uuid, reliable);
    this.#gate.set(vm.uuid, ready[0] ?? start);
    const begun = [...earlier, vm];
    this.#begun.set(tier.name, begun);
    if (begun.length === tier.vms.length) this.#exits.set(tier.name, this.#exit(tier, begun));
  }

  /** Pause, questions and calls before the tier; what was ready before it when there are none. */
  #entry(tier: Tier): readonly string[] {
    const known = this.#entries.get(tier.name);
    if (known !== undefined) return known;
    const before = tier.follows === null ? [] : (this.#exits.get(tier.follows) ?? []);
    const paused = tier.delaySeconds === 0 ? [] : [this.#pause(tier, before)];
    const reached = paused.length > 0 ? paused : this.#orStorage(before);
    const called = atMoment(this.#draft, { at: 'before-tier', tier: tier.name }, reached);
    const entry = called.length > 0 ? called : paused.length > 0 ? paused : before;
    this.#entries.set(tier.name, entry);
    return entry;
  }

  #exit(tier: Tier, vms: readonly PointVm[]): readonly string[] {
    const ready = vms.flatMap((vm) => this.#ready.get(vm.uuid) ?? []);
    const called = atMoment(this.#draft, { at: 'after-tier', tier: tier.name }, ready);
    return called.length > 0 ? called : ready;
  }

  #orStorage(before: readonly string[]): readonly string[] {
    return before.length > 0 ? before : this.#source.storage;
  }

  #pause(tier: Tier, before: readonly string[]): string {
    const what = tier.follows === null ? 'the storage is attached' : `tier ${tier.follows} is ready`;
    return this.#draft.add({
      id: this.#draft.ids.of('pause-before', tier.name),
      after: this.#orStorage(before),
      needs: [],
      action: { do: 'pause', seconds: tier.delaySeconds, tier: tier.name },
      repeatable: true,
      onFailure: 'continue',
      timeoutSeconds: tier.delaySeconds + 60,
      forecastSeconds: tier.delaySeconds,
      why: `Tier ${tier.name} waits ${formatDuration(tier.delaySeconds)} after ${what}`,
    });
  }

  #adjust(vm: PointVm): readonly string[] {
    const { adjustment } = this.#source.differenceOf(vm);
    const imported = this.#source.importedBy.get(vm.uuid);
    if (adjustment === null || imported === undefined) return [];
    const member = this.#draft.member(vm);
    const id = this.#draft.add({
      id: this.#draft.ids.of('adjust', vm.nameLabel),
      after: [imported],
      action: { do: 'adjust-vm', site: this.#site, vm: member, adjustment },
      holdsWhen: { is: 'vm-adjusted', site: this.#site, vm: member, adjustment },
      repeatable: true,
      onFailure: 'continue',
      uses: [`pool:${this.#site}`],
      timeoutSeconds: 120,
      forecastSeconds: 0.1,
      why: `The recovery plan wants it otherwise at site ${this.#site}`,
    });
    return [id];
  }

  #start(tier: Tier, vm: PointVm, entry: readonly string[], earlier: readonly PointVm[]): string {
    const { group } = this.#draft.request;
    const imported = this.#source.importedBy.get(vm.uuid);
    const imports = imported === undefined ? [] : [imported];
    const adjusted = this.#adjust(vm);
    const needed = this.#order.needs.get(vm.uuid) ?? [];
    const readyOf = (other: PointVm | undefined): readonly string[] =>
      other === undefined ? [] : (this.#ready.get(other.uuid) ?? []);
    const lane = tier.atOnce === null ? undefined : earlier[earlier.length - tier.atOnce];
    const strict = needed.filter((need) => need.ifNotReady === 'leave-halted');
    const after = [
      ...imports,
      ...adjusted,
      ...entry,
      ...readyOf(lane),
      ...needed.flatMap((need) => readyOf(need.vm)),
    ];
    const slept = group.plan.honourStartDelay ? vm.startDelaySeconds : 0;
    const skipped = vm.startDelaySeconds > slept ? { skippedDelaySeconds: vm.startDelaySeconds } : {};
    return this.#draft.add({
      id: this.#draft.ids.of('start', vm.nameLabel),
      after: [...new Set(after)],
      needs: [...new Set([...imports, ...strict.flatMap((need) => this.#gate.get(need.vm.uuid) ?? [])])],
      action: {
        do: 'start-vm',
        site: this.#site,
        vm: this.#draft.member(vm),
        twinSite: this.#draft.twinSite,
        ...skipped,
      },
      holdsWhen: { is: 'vm-running', site: this.#site, vm: this.#draft.member(vm), ...skipped },
      repeatable: true,
      onFailure: tier.onTimeout,
      uses: [`start:${this.#site}`],
      timeoutSeconds: 900 + slept,
      forecastSeconds:
        costs.startSeconds(
          this.#draft.pool.vms.length + this.#draft.choice.point.vms.length,
          limitsOf(this.#draft.limits)(`start:${this.#site}`),
        ) + slept,
      why: [
        `Tier ${tier.name}`,
        ...(needed.length === 0 ? [] : [`it needs ${listed(needed.map((need) => need.vm.nameLabel))}`]),
        ...(tier.atOnce === null ? [] : [`at most ${tier.atOnce} of the tier at once`]),
        ...(slept > 0 ? [`it sleeps its own start_delay of ${slept} s`] : []),
      ].join('; '),
    });
  }

  /** The guest agent does it, so the VM must run (xapi.md 8.6). */
  #setAddresses(tier: Tier, vm: PointVm, start: string): readonly string[] {
    const { addresses } = this.#source.differenceOf(vm);
    if (addresses.length === 0) return [];
    const member = this.#draft.member(vm);
    const id = this.#draft.add({
      id: this.#draft.ids.of('address', vm.nameLabel),
      after: [start],
      action: { do: 'set-addresses', site: this.#site, vm: member, addresses },
      holdsWhen: { is: 'addresses-set', site: this.#site, vm: member, addresses },
      repeatable: true,
      onFailure: tier.onTimeout,
      uses: [`ready:${this.#site}`],
      timeoutSeconds: tier.timeoutSeconds,
      forecastSeconds: costs.bootSeconds,
      why: `Its addresses at site ${this.#site} are others, and its guest agent sets them`,
    });
    return [id];
  }

  #awaitReady(tier: Tier, vm: PointVm, start: string, others: readonly string[]): string {
    const member = this.#draft.member(vm);
    const action = { site: this.#site, vm: member, gates: tier.ready };
    return this.#draft.add({
      id: this.#draft.ids.of('ready', vm.nameLabel),
      after: [start, ...others],
      ...(others.length === 0 ? {} : { needs: [start] }),
      action: { do: 'await-ready', ...action },
      holdsWhen: { is: 'vm-ready', ...action },
      repeatable: true,
      onFailure: tier.onTimeout,
      uses: [`ready:${this.#site}`],
      timeoutSeconds: tier.timeoutSeconds,
      forecastSeconds: costs.bootSeconds,
      why: `The next tier needs the service, not the power state: ${tier.ready.map(describeGate).join(', ')}`,
    });
  }
}

function listed(names: readonly string[]): string {
  return names.length <= 5
    ? names.join(', ')
    : `${names.slice(0, 5).join(', ')} and ${names.length - 5} more`;
}
