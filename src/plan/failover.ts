/**
 * The failover plan: everything that can fail harmlessly first (invariant 5), then the replica, the SRs, the VMs in
 * tier order, and what makes the old site's return safe.
 */
import type { Observation, PairObservation } from '../domain/observation.ts';
import type {
  Expectation,
  NamedVm,
  NetworkTarget,
  PairAction,
  Plan,
  SrToAttach,
  Step,
} from '../domain/plan.ts';
import type { HostFacts, NetworkFacts, PoolFacts, VdiFacts } from '../domain/pool.ts';
import type { PointSr, PointVm, RecoveryPoint } from '../domain/recovery-point.ts';
import type { ReplicaPoint } from '../domain/replication.ts';
import { byName } from '../domain/scope.ts';
import type { GroupSettings, ReplicatedSr } from '../domain/settings.ts';
import { formatDuration, secondsBetween } from '../domain/time.ts';
import { type Choice, choosePoint, newestComplete, replicaInstant } from './choose-point.ts';
import { costs, forecastSeconds } from './forecast.ts';
import { StepIds } from './ids.ts';
import { startOrder, type Tier } from './tiers.ts';

export interface FailoverRequest {
  readonly planId: string;
  readonly group: GroupSettings;
  readonly configDigest: string;
  readonly generation: number;
  readonly observation: Observation;
  readonly pointId: string | null;
  /** True when a named person declared the production site lost: then what still answers there is fenced. */
  readonly declaredLost: boolean;
}

/** VMs per import document (performance.md 8: 50 to 100). Smaller at first: the first tier shall be up soon. */
export const importBatchSize = 50;

export function planFailover(request: FailoverRequest): Plan {
  const { group, observation } = request;
  const recovery = observation.sites[group.recovery];
  const pairs = pairsOf(group, observation);
  const replica = replicaInstant(pairs);
  const groupPoints = observation.catalog.points.filter((p) => p.group === group.name);
  const choice = choosePoint(groupPoints, replica, request.pointId);
  const waitingOn: string[] = [];
  if (recovery === undefined || !recovery.reachable)
    waitingOn.push(`the pool of site ${group.recovery}, which does not answer`);
  if (choice === null)
    waitingOn.push(
      request.pointId === null
        ? 'a good recovery point of the group'
        : `recovery point ${request.pointId}, which the catalog does not hold`,
    );
  for (const pair of pairs) {
    if (pair.points === null)
      waitingOn.push(`the array of the recovery site: the points of SR ${pair.sr} are unknown`);
    else if (newestComplete(pair) === null && !alreadyPromoted(pair))
      waitingOn.push(`a complete replica of SR ${pair.sr}`);
  }
  const pool = recovery?.reachable === true ? recovery.pool : null;
  const built = choice === null || pool === null ? null : new Builder(request, choice, pool, pairs).build();
  return {
    id: request.planId,
    operation: 'failover',
    group: group.name,
    generation: request.generation,
    basedOn: { observation: observation.id, takenAt: observation.takenAt },
    configDigest: request.configDigest,
    steps: waitingOn.length > 0 ? [] : (built?.steps ?? []),
    expects: built?.expects ?? nothingExpected(request, pairs),
    waitingOn,
  };
}

/** The pairs of a group, in the order of its storage, with what was seen of each. */
export function pairsOf(group: GroupSettings, observation: Observation): PairObservation[] {
  return group.storage.map(
    (storage) =>
      observation.pairs.find((pair) => pair.sr === storage.sr) ?? {
        sr: storage.sr,
        source: null,
        target: null,
        points: null,
      },
  );
}

export function alreadyPromoted(pair: PairObservation): boolean {
  return pair.target?.role === 'promoted';
}

/** Why we believe that the production site is dead, or what speaks against it: one sentence per observation. */
export function evidenceOfDeath(group: GroupSettings, observation: Observation): string[] {
  const site = observation.sites[group.production];
  const evidence: string[] = [];
  if (site === undefined) evidence.push(`site ${group.production} was not looked at`);
  else if (site.reachable) {
    const running = site.pool.vms.filter(
      (vm) => vm.powerState === 'Running' && !vm.isTemplate && !vm.isSnapshot,
    ).length;
    evidence.push(
      `pool ${site.pool.nameLabel} of site ${group.production} answers, with ${running} VMs running`,
    );
  } else {
    for (const endpoint of site.endpoints)
      evidence.push(
        `${endpoint.url} ${endpoint.answered ? 'answers' : 'does not answer'}: ${endpoint.detail}`,
      );
    if (site.endpoints.length === 0) evidence.push(`site ${group.production}: ${site.problem.what}`);
  }
  for (const pair of observation.pairs) {
    const storage = group.storage.find((s) => s.sr === pair.sr);
    if (storage === undefined) continue;
    if (pair.source === null)
      evidence.push(`array ${storage.source.array} of site ${group.production} does not answer`);
    else
      evidence.push(
        `array ${storage.source.array} answers: volume ${storage.source.volume} is ${pair.source.role}`,
      );
    if (pair.target !== null)
      evidence.push(`array ${storage.target.array} sees the replication link ${pair.target.link}`);
  }
  return evidence;
}

/** The name of a production network at the recovery site: as mapped, else the same name. */
export function mappedName(group: GroupSettings, production: string): string {
  return group.networks.find((mapping) => mapping.production === production)?.recovery ?? production;
}

function nothingExpected(request: FailoverRequest, pairs: readonly PairObservation[]): Expectation {
  const { group, observation } = request;
  return {
    pointId: null,
    metadataTakenAt: null,
    replicas: replicasOf(pairs, observation),
    skewSeconds: null,
    lossSeconds: null,
    rpoSeconds: group.rpoSeconds,
    rtoSeconds: group.rtoSeconds,
    forecastSeconds: 0,
    tiers: [],
    leftOut: [],
    notes: [],
  };
}

function replicasOf(pairs: readonly PairObservation[], observation: Observation): Expectation['replicas'] {
  return pairs.map((pair) => {
    const point = newestComplete(pair);
    return {
      sr: pair.sr,
      point,
      ageSeconds: point === null ? null : secondsBetween(point.takenAt, observation.takenAt),
    };
  });
}

interface StorageOfPlan {
  readonly settings: ReplicatedSr;
  readonly pair: PairAction;
  readonly sr: PointSr;
  readonly replica: ReplicaPoint | null;
  readonly observed: PairObservation;
}

type StepDraft = Pick<Step, 'id' | 'after' | 'action' | 'why'> & Partial<Step>;

class Builder {
  readonly #request: FailoverRequest;
  readonly #choice: Choice;
  readonly #pool: PoolFacts;
  readonly #pairs: readonly PairObservation[];
  readonly #ids = new StepIds();
  readonly #steps: Step[] = [];

  constructor(request: FailoverRequest, choice: Choice, pool: PoolFacts, pairs: readonly PairObservation[]) {
    this.#request = request;
    this.#choice = choice;
    this.#pool = pool;
    this.#pairs = pairs;
  }

  build(): { steps: readonly Step[]; expects: Expectation } {
    const { group, observation } = this.#request;
    const point = this.#choice.point;
    const young = new Set(this.#choice.tooYoung.map((vm) => vm.uuid));
    const vms = point.vms.filter((vm) => !young.has(vm.uuid)).sort(byName);
    const order = startOrder(group.plan, point, vms);
    const storage = this.#storage();

    const harmless = this.#prepare(storage);
    const promoted = this.#takeOver(storage, harmless);
    const attached = this.#attach(storage, promoted);
    this.#bringUp(
      order.tiers,
      order.halted.map(({ vm }) => vm),
      attached,
    );

    const replicas = replicasOf(this.#pairs, observation);
    const ages = replicas.map((replica) => replica.ageSeconds);
    const lossSeconds =
      ages.length === 0 || ages.includes(null) ? null : Math.max(...ages.map((age) => age ?? 0));
    const steps = this.#steps;
    return {
      steps,
      expects: {
        pointId: point.id,
        metadataTakenAt: point.takenAt,
        replicas,
        skewSeconds: this.#choice.skewSeconds,
        lossSeconds,
        rpoSeconds: group.rpoSeconds,
        rtoSeconds: group.rtoSeconds,
        forecastSeconds: Math.ceil(forecastSeconds(steps)),
        tiers: order.tiers.map((tier) => ({ name: tier.name, vms: tier.vms.map(named) })),
        leftOut: [
          ...this.#choice.tooYoung.map((vm) => ({
            nameLabel: vm.nameLabel,
            reason: 'created or given a disk after the replica: its disks are not there',
          })),
          ...point.failures.map((vm) => ({
            nameLabel: vm.nameLabel,
            reason: `its metadata could not be saved: ${vm.reason}`,
          })),
          ...order.halted.map(({ vm, reason }) => ({
            nameLabel: vm.nameLabel,
            reason: `stays halted: ${reason}`,
          })),
        ],
        notes: this.#notes(lossSeconds),
      },
    };
  }

  #storage(): StorageOfPlan[] {
    const { group } = this.#request;
    return group.storage.flatMap((settings, index) => {
      const sr = this.#choice.point.srs.find((s) => s.uuid === settings.sr || s.nameLabel === settings.sr);
      const observed = this.#pairs[index];
      if (sr === undefined || observed === undefined) return [];
      const pair = { sr: settings.sr, source: settings.source, target: settings.target };
      return [{ settings, pair, sr, observed, replica: newestComplete(observed) }];
    });
  }

  /** Evidence, the replica's point and age, the catalog re-read: all of it before anything is changed. */
  #prepare(storage: readonly StorageOfPlan[]): string[] {
    const { group, observation } = this.#request;
    const evidence = this.#add({
      id: this.#ids.of('evidence', group.production),
      after: [],
      action: {
        do: 'record-evidence',
        site: group.production,
        evidence: evidenceOfDeath(group, observation),
      },
      timeoutSeconds: 30,
      why: `The journal shall say why site ${group.production} was taken for lost`,
    });
    const done = [evidence];
    for (const { pair, replica, settings } of storage) {
      if (replica === null) continue;
      const ageSeconds = secondsBetween(replica.takenAt, observation.takenAt);
      done.push(
        this.#add({
          id: this.#ids.of('record', settings.target.volume),
          after: [evidence],
          action: { do: 'record-replica', pair, expected: replica, ageSeconds },
          uses: [`array:${settings.target.array}`],
          timeoutSeconds: 60,
          forecastSeconds: 0.2,
          why: `What will be lost is written down before it is lost: the replica is ${formatDuration(ageSeconds)} old`,
        }),
      );
    }
    done.push(
      this.#add({
        id: this.#ids.of('read-back', 'recovery-point'),
        after: [evidence],
        action: { do: 'verify-point', pointId: this.#choice.point.id },
        timeoutSeconds: 600,
        forecastSeconds: 0.1 + 0.0005 * this.#choice.point.vms.length,
        why: 'Damaged metadata is found while nothing has been changed',
      }),
    );
    return done;
  }

  /** The old site is marked and fenced, then the replica is promoted: from here there is no way back by itself. */
  #takeOver(storage: readonly StorageOfPlan[], harmless: readonly string[]): Map<StorageOfPlan, string> {
    const { group, observation, declaredLost } = this.#request;
    const before = [
      this.#add({
        id: this.#ids.of('tombstone', group.production),
        after: [...harmless],
        action: { do: 'tombstone', group: group.name, lostSite: group.production },
        holdsWhen: { is: 'tombstoned', group: group.name, lostSite: group.production },
        repeatable: true,
        timeoutSeconds: 30,
        why: `When site ${group.production} comes back, its copies must not be taken for the real ones`,
      }),
    ];
    const production = observation.sites[group.production];
    if (declaredLost && production?.reachable === true) {
      const ours = new Set(this.#choice.point.vms.map((vm) => vm.uuid));
      const vms = production.pool.vms.filter((vm) => ours.has(vm.uuid)).map(named);
      before.push(
        this.#add({
          id: this.#ids.of('fence', group.production),
          after: [...before],
          action: {
            do: 'fence-vms',
            site: group.production,
            vms,
            reason: `failed over to site ${group.recovery}`,
          },
          holdsWhen: { is: 'vms-fenced', site: group.production, vms },
          pointOfNoReturn: true,
          repeatable: true,
          uses: [`start:${group.production}`],
          timeoutSeconds: 900,
          forecastSeconds: 5 + vms.length,
          why: 'The site still answers: its copies are stopped and blocked before ours start',
        }),
      );
    }
    const promoted = new Map<StorageOfPlan, string>();
    for (const item of storage) {
      const { pair, replica, settings } = item;
      if (replica === null) continue;
      promoted.set(
        item,
        this.#add({
          id: this.#ids.of('promote', settings.target.volume),
          after: [...before],
          action: { do: 'promote', pair, point: replica },
          holdsWhen: { is: 'promoted', pair },
          pointOfNoReturn: true,
          repeatable: true,
          uses: [`array:${settings.target.array}`],
          timeoutSeconds: 1800,
          forecastSeconds: 5,
          why: `The copy of SR ${item.sr.nameLabel} becomes writable; array ${settings.target.array} stops taking changes from the old site`,
        }),
      );
    }
    return promoted;
  }

  #attach(
    storage: readonly StorageOfPlan[],
    promoted: ReadonlyMap<StorageOfPlan, string>,
  ): Map<string, string> {
    const { group } = this.#request;
    const point = this.#choice.point;
    const master = this.#pool.masterUuid;
    const hosts = [...this.#pool.hosts]
      .filter((host) => host.enabled && host.live)
      .sort(
        (a, b) =>
          Number(b.uuid === master) - Number(a.uuid === master) || (a.nameLabel < b.nameLabel ? -1 : 1),
      );
    const attached = new Map<string, string>();
    for (const item of storage) {
      const { sr, pair, settings } = item;
      const disks = disksOf(sr, point);
      const after = promoted.get(item);
      const exposed = this.#add({
        id: this.#ids.of('expose', settings.target.volume),
        after: after === undefined ? [] : [after],
        action: { do: 'expose', pair, site: group.recovery },
        repeatable: true,
        uses: [`array:${settings.target.array}`],
        timeoutSeconds: 300,
        forecastSeconds: 1,
        why: `The hosts of site ${group.recovery} need a way to volume ${settings.target.volume}`,
      });
      const attach = this.#add({
        id: this.#ids.of('attach', sr.nameLabel),
        after: [exposed],
        action: { do: 'attach-sr', site: group.recovery, sr: this.#srToAttach(sr, exposed, hosts) },
        holdsWhen: {
          is: 'sr-attached',
          site: group.recovery,
          srUuid: sr.uuid,
          hosts: hosts.map((host) => host.uuid),
        },
        repeatable: true,
        uses: [`sr:${group.recovery}`],
        timeoutSeconds: 1800,
        forecastSeconds: costs.plugSeconds(disks.length),
        why: `Same UUID, true name, a PBD on each of ${hosts.length} hosts, the master first`,
      });
      const compared = this.#add({
        id: this.#ids.of('compare', sr.nameLabel),
        after: [attach],
        action: { do: 'compare-disks', site: group.recovery, srUuid: sr.uuid, disks },
        timeoutSeconds: 600,
        forecastSeconds: 0.5,
        why: `${disks.length} disks of the recovery point are looked for on the replica itself`,
      });
      attached.set(sr.uuid, compared);
      this.#add({
        id: this.#ids.of('names', sr.nameLabel),
        after: [compared],
        action: {
          do: 'restore-names',
          site: group.recovery,
          srUuid: sr.uuid,
          nameLabel: sr.nameLabel,
          nameDescription: sr.nameDescription,
          disks,
        },
        holdsWhen: { is: 'names-restored', site: group.recovery, srUuid: sr.uuid, disks },
        repeatable: true,
        onFailure: 'continue',
        timeoutSeconds: 900,
        forecastSeconds: 0.2 + disks.length * 0.002,
        why: 'File-based SRs forget the names of their disks (xapi.md 7.8)',
      });
    }
    return attached;
  }

  #srToAttach(sr: PointSr, exposedBy: string, hosts: readonly HostFacts[]): SrToAttach {
    return {
      uuid: sr.uuid,
      nameLabel: sr.nameLabel,
      nameDescription: sr.nameDescription,
      type: sr.type,
      contentType: sr.contentType,
      shared: sr.shared,
      smConfig: sr.smConfig,
      deviceConfig: withoutSecrets(sr.pbds[0]?.deviceConfig ?? {}),
      pointId: this.#choice.point.id,
      exposedBy,
      hosts: hosts.map((host) => ({
        uuid: host.uuid,
        nameLabel: host.nameLabel,
        master: host.uuid === this.#pool.masterUuid,
      })),
    };
  }

  /** Imports in tier order, so that the first tier starts while the rest is still being imported. */
  #bringUp(tiers: readonly Tier[], halted: readonly PointVm[], attached: ReadonlyMap<string, string>): void {
    const { group } = this.#request;
    const point = this.#choice.point;
    const networks = this.#networks([...tiers.flatMap((tier) => tier.vms), ...halted]);
    const vdisInTarget = this.#pool.vdis.length + point.vdis.length;
    const importedBy = new Map<string, string>();
    const imports: string[] = [];
    const importAll = (name: string, vms: readonly PointVm[]): void => {
      for (let at = 0; at < vms.length; at += importBatchSize) {
        const batch = vms.slice(at, at + importBatchSize);
        const storage = new Set(batch.flatMap((vm) => vm.srUuids));
        const disks = [...attached].filter(([sr]) => storage.has(sr)).map(([, step]) => step);
        const id = this.#add({
          id: this.#ids.of('import', name),
          after: [...disks, ...imports.slice(-1)],
          needs: disks,
          action: {
            do: 'import-vms',
            site: group.recovery,
            pointId: point.id,
            vms: batch.map(named),
            networks,
          },
          holdsWhen: { is: 'vms-imported', site: group.recovery, vms: batch.map(named), networks },
          repeatable: true,
          // One VM that is refused must not hold up the others; the report names it.
          onFailure: 'continue',
          uses: [`import:${group.recovery}`],
          timeoutSeconds: 600 + 10 * batch.length,
          forecastSeconds: costs.importSeconds(
            batch.length,
            batch.reduce((sum, vm) => sum + vm.vdiUuids.length, 0),
            vdisInTarget,
          ),
          why: `${batch.length} VMs in one document, with mapped networks, nothing attached, and HA parked`,
        });
        imports.push(id);
        for (const vm of batch) importedBy.set(vm.uuid, id);
      }
    };
    for (const tier of tiers) importAll(tier.name, tier.vms);
    importAll('halted VMs', halted);

    this.#appliances(importedBy);
    let previous: string[] = [];
    const starts: string[] = [];
    for (const tier of tiers) {
      const gates: string[] = [];
      for (const vm of tier.vms) {
        const imported = importedBy.get(vm.uuid);
        const start = this.#add({
          id: this.#ids.of('start', vm.nameLabel),
          after: [...(imported === undefined ? [] : [imported]), ...previous],
          needs: imported === undefined ? [] : [imported],
          action: { do: 'start-vm', site: group.recovery, vm: named(vm), twinSite: group.production },
          holdsWhen: { is: 'vm-running', site: group.recovery, vm: named(vm) },
          repeatable: true,
          onFailure: tier.onTimeout,
          uses: [`start:${group.recovery}`],
          timeoutSeconds: 900 + vm.startDelaySeconds,
          forecastSeconds:
            costs.startSeconds(this.#pool.vms.length + point.vms.length) +
            (group.plan.honourStartDelay ? vm.startDelaySeconds : 0),
          why: `Tier ${tier.name}${vm.startDelaySeconds > 0 ? `; its own start_delay is ${vm.startDelaySeconds} s` : ''}`,
        });
        starts.push(start);
        const waits = tier.ready.filter((gate) => gate.gate !== 'running');
        if (waits.length === 0) {
          gates.push(start);
          continue;
        }
        gates.push(
          this.#add({
            id: this.#ids.of('ready', vm.nameLabel),
            after: [start],
            action: { do: 'await-ready', site: group.recovery, vm: named(vm), gates: tier.ready },
            holdsWhen: { is: 'vm-ready', site: group.recovery, vm: named(vm), gates: tier.ready },
            repeatable: true,
            onFailure: tier.onTimeout,
            uses: [`ready:${group.recovery}`],
            timeoutSeconds: tier.timeoutSeconds,
            forecastSeconds: costs.bootSeconds,
            why: `The next tier needs the service, not the power state: ${tier.ready.map(describeGate).join(', ')}`,
          }),
        );
      }
      previous = gates;
    }

    const protectedVms = [...tiers.flatMap((tier) => tier.vms)].filter((vm) => vm.haRestartPriority !== '');
    if (protectedVms.length > 0) {
      const vms = protectedVms.map((vm) => ({ ...named(vm), priority: vm.haRestartPriority }));
      this.#add({
        id: this.#ids.of('restore-ha', group.name),
        after: [...starts],
        needs: [],
        action: { do: 'restore-ha', site: group.recovery, vms },
        holdsWhen: { is: 'ha-restored', site: group.recovery, vms },
        repeatable: true,
        onFailure: 'continue',
        timeoutSeconds: 600,
        forecastSeconds: 0.1 * vms.length,
        why: 'HA priorities were parked, so that nothing started by itself during the import (xapi.md 8.5)',
      });
    }
  }

  #appliances(importedBy: ReadonlyMap<string, string>): void {
    const { group } = this.#request;
    const point = this.#choice.point;
    for (const appliance of point.appliances) {
      const vms = point.vms
        .filter((vm) => vm.applianceUuid === appliance.uuid && importedBy.has(vm.uuid))
        .sort(byName);
      if (vms.length === 0) continue;
      const members = vms.map(named);
      this.#add({
        id: this.#ids.of('appliance', appliance.nameLabel),
        after: [...new Set(vms.flatMap((vm) => importedBy.get(vm.uuid) ?? []))],
        action: {
          do: 'rebuild-appliance',
          site: group.recovery,
          nameLabel: appliance.nameLabel,
          nameDescription: appliance.nameDescription,
          vms: members,
        },
        holdsWhen: {
          is: 'appliance-has',
          site: group.recovery,
          nameLabel: appliance.nameLabel,
          vms: members,
        },
        repeatable: true,
        onFailure: 'continue',
        timeoutSeconds: 300,
        forecastSeconds: 0.05 * vms.length,
        why: 'An import forgets which vApp a VM belongs to (xapi.md 4.5)',
      });
    }
  }

  /** Every network name that the VMs use, and the one network here that bears the mapped name. */
  #networks(vms: readonly PointVm[]): NetworkTarget[] {
    const { group } = this.#request;
    const names = [...new Set(vms.flatMap((vm) => vm.networkNames))].sort();
    return names.flatMap((production) => {
      const found = networksNamed(this.#pool, mappedName(group, production));
      const [network] = found;
      // A missing or ambiguous name is a problem of the checks; the plan never guesses a network (invariant 12).
      if (network === undefined || found.length > 1) return [];
      return [
        {
          production,
          recovery: { uuid: network.uuid, nameLabel: network.nameLabel, bridge: network.bridge },
        },
      ];
    });
  }

  #notes(lossSeconds: number | null): string[] {
    const { group, declaredLost } = this.#request;
    const notes: string[] = [];
    if (lossSeconds !== null) {
      const against = lossSeconds > group.rpoSeconds ? 'more than' : 'within';
      notes.push(
        `Everything written in the last ${formatDuration(lossSeconds)} is lost: ${against} the RPO of ${formatDuration(group.rpoSeconds)}`,
      );
    }
    const young = this.#choice.tooYoung.map((vm) => vm.nameLabel);
    if (young.length > 0) {
      const who = young.length === 1 ? 'One VM was' : `${young.length} VMs were`;
      const fate = young.length === 1 ? 'it' : 'they';
      notes.push(`${who} created after the replica's point: ${fate} will not come up (${young.join(', ')})`);
    }
    if (declaredLost)
      notes.push(
        `Site ${group.production} was declared lost by a person; what still answers there is stopped`,
      );
    for (const pair of this.#pairs) {
      if (alreadyPromoted(pair))
        notes.push(`The copy of SR ${pair.sr} is promoted already; it is taken as it is`);
    }
    return notes;
  }

  #add(draft: StepDraft): string {
    const step: Step = {
      holdsWhen: null,
      pointOfNoReturn: false,
      repeatable: draft.holdsWhen === undefined,
      timeoutSeconds: 300,
      forecastSeconds: 0,
      uses: [],
      onFailure: 'stop',
      ...draft,
    };
    this.#steps.push(step);
    return step.id;
  }
}

export function networksNamed(pool: PoolFacts, nameLabel: string): NetworkFacts[] {
  return pool.networks.filter((network) => network.nameLabel === nameLabel);
}

function named(vm: { readonly uuid: string; readonly nameLabel: string }): NamedVm {
  return { uuid: vm.uuid, nameLabel: vm.nameLabel };
}

function disksOf(sr: PointSr, point: RecoveryPoint) {
  const users = new Map<string, string[]>();
  for (const vm of point.vms)
    for (const vdi of vm.vdiUuids) users.set(vdi, [...(users.get(vdi) ?? []), vm.nameLabel]);
  return point.vdis
    .filter((vdi: VdiFacts) => vdi.srUuid === sr.uuid && users.has(vdi.uuid))
    .map((vdi) => ({
      uuid: vdi.uuid,
      location: vdi.location,
      nameLabel: vdi.nameLabel,
      nameDescription: vdi.nameDescription,
      virtualSize: vdi.virtualSize,
      usedBy: users.get(vdi.uuid) ?? [],
    }))
    .sort((a, b) => (a.uuid < b.uuid ? -1 : 1));
}

/** `<key>_secret` holds a uuid of the production pool's secret; it means nothing elsewhere (xapi.md 7.2). */
function withoutSecrets(config: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(config).filter(
      ([key]) => !key.endsWith('_secret') && !/password/i.test(key) && key !== 'SRmaster',
    ),
  );
}

function describeGate(gate: Tier['ready'][number]): string {
  switch (gate.gate) {
    case 'running':
      return 'running';
    case 'guest-agent':
      return 'guest agent reports';
    case 'address':
      return `an address in ${gate.subnet}`;
    case 'tcp':
      return `TCP port ${gate.port} answers`;
  }
}
