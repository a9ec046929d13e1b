/** The SRs of the group at the recovery site: same UUIDs, true names, the disks compared with the recovery point. */
import { capabilitiesOf } from '../../domain/observation.ts';
import type { SrToAttach } from '../../domain/plan.ts';
import { type HostFacts, plainDeviceConfig, type TextMap, type VdiFacts } from '../../domain/pool.ts';
import type { PointSr, RecoveryPoint } from '../../domain/recovery-point.ts';
import { costs } from '../forecast.ts';
import { askPerson, handedOff, hostNames, namesFor } from '../hand-offs.ts';
import type { RecoverDraft, StorageOfPlan } from './draft.ts';

/** Returns, per SR, the step after which its disks may be relied upon. */
export function attach(
  draft: RecoverDraft,
  promoted: ReadonlyMap<StorageOfPlan, string>,
): Map<string, string> {
  const hosts = hostsMasterFirst(draft);
  return new Map(
    draft.storage.map((item) => [item.sr.uuid, attachOne(draft, item, promoted.get(item), hosts)]),
  );
}

export function hostsMasterFirst({ pool }: Pick<RecoverDraft, 'pool'>): HostFacts[] {
  const isMaster = (host: HostFacts): number => Number(host.uuid === pool.masterUuid);
  return pool.hosts
    .filter((host) => host.enabled && host.live)
    .sort((a, b) => isMaster(b) - isMaster(a) || (a.nameLabel < b.nameLabel ? -1 : 1));
}

function attachOne(
  draft: RecoverDraft,
  item: StorageOfPlan,
  promoted: string | undefined,
  hosts: readonly HostFacts[],
): string {
  const { pair, settings } = item;
  const site = draft.request.group.recovery;
  const promotedFirst = promoted === undefined ? [] : [promoted];
  const after = mappedByHand(draft, item, promotedFirst, hosts);
  if (capabilitiesOf(draft.request.observation, settings.target.array)?.expose === 'none')
    return attachExposed(draft, item, shownByHand(draft, item, after, hosts), hosts, 'as-in-production');
  const exposed = draft.add({
    id: draft.ids.of('expose', settings.target.volume),
    after,
    action: { do: 'expose', pair, site },
    repeatable: true,
    uses: [`array:${settings.target.array}`],
    timeoutSeconds: 300,
    forecastSeconds: 1,
    why: `The hosts of site ${site} need a way to volume ${settings.target.volume}`,
  });
  return attachExposed(draft, item, exposed, hosts);
}

/** The array knows where hosts will find the volume, and a person has to show it there first. Returns what follows. */
function mappedByHand(
  draft: RecoverDraft,
  { settings: { target }, sr }: StorageOfPlan,
  after: readonly string[],
  hosts: readonly HostFacts[],
): readonly string[] {
  const { observation } = draft.request;
  const sentence = handedOff(observation, target.array, 'expose');
  if (sentence === null) return after;
  const names = { ...namesFor(observation, target.array, target.volume), hosts: hostNames(hosts) };
  const why = `Array ${target.array} has nothing to show it with; the hosts look for SR ${sr.nameLabel} there next`;
  return [askPerson(draft, { target, sentence, names, at: 'after-storage', verb: 'expose' }, { after, why })];
}

/** The array shows its volumes to nobody by itself: a person gives the hosts access, at the address of production. */
function shownByHand(
  draft: RecoverDraft,
  { settings: { target }, sr }: StorageOfPlan,
  after: readonly string[],
  hosts: readonly HostFacts[],
): string {
  return askPerson(
    draft,
    {
      target,
      sentence:
        'Give these hosts access to volume {volume} of array {array}, at the address that the SR has at the production site: {hosts}',
      names: { hosts: hostNames(hosts) },
      at: 'after-storage',
      verb: 'expose',
    },
    { after, why: `Array ${target.array} cannot do it; the hosts look at SR ${sr.nameLabel} next` },
  );
}

/**
 * The SR attached where step `exposed` says, or at the address that it has in production, its disks compared and named.
 * Returns the step that compares.
 */
export function attachExposed(
  draft: RecoverDraft,
  { sr, replica }: StorageOfPlan,
  exposed: string,
  hosts: readonly HostFacts[],
  address: 'as-exposed' | 'as-in-production' = 'as-exposed',
): string {
  const site = draft.request.group.recovery;
  const isClone = draft.request.drill !== undefined;
  const { point } = draft.choice;
  const disks = disksOf(sr, point);
  const attached = draft.add({
    id: draft.ids.of('attach', sr.nameLabel),
    after: [exposed],
    action: {
      do: 'attach-sr',
      site,
      sr: srToAttach(draft, sr, address === 'as-exposed' ? exposed : null, hosts),
    },
    holdsWhen: { is: 'sr-attached', site, srUuid: sr.uuid, hosts: hosts.map((host) => host.uuid) },
    repeatable: true,
    uses: [`sr:${site}`],
    timeoutSeconds: 1800,
    forecastSeconds: costs.plugSeconds(disks.length),
    why: `Same UUID, ${isClone ? 'a name that says drill' : 'true name'}, a PBD on each of ${hosts.length} hosts, the master first`,
  });
  const compared = draft.add({
    id: draft.ids.of('compare', sr.nameLabel),
    after: [attached],
    action: {
      do: 'compare-disks',
      site,
      srUuid: sr.uuid,
      disks,
      against: {
        pointTakenAt: point.takenAt,
        replicaTakenAt: isMove(draft) ? null : (replica?.takenAt ?? null),
        others: othersOf(sr, point, disks),
      },
    },
    timeoutSeconds: 600,
    forecastSeconds: 0.5,
    why: `${disks.length} disks of the recovery point are looked for on the ${isClone ? 'clone' : 'replica'} itself`,
  });
  // A scan makes records anew, and file-based SRs keep no names beside the disks (xapi.md 7.8).
  draft.add({
    id: draft.ids.of('names', sr.nameLabel),
    after: [compared],
    action: {
      do: 'restore-names',
      site,
      srUuid: sr.uuid,
      ...draft.storageName(sr),
      disks,
    },
    holdsWhen: { is: 'names-restored', site, srUuid: sr.uuid, disks },
    repeatable: true,
    onFailure: 'continue',
    timeoutSeconds: 900,
    forecastSeconds: 0.2 + disks.length * 0.002,
    why: 'File-based SRs forget the names of their disks',
  });
  return compared;
}

function srToAttach(
  draft: RecoverDraft,
  sr: PointSr,
  exposedBy: string | null,
  hosts: readonly HostFacts[],
): SrToAttach {
  return {
    uuid: sr.uuid,
    ...draft.storageName(sr),
    type: sr.type,
    contentType: sr.contentType,
    shared: sr.shared,
    smConfig: sr.smConfig,
    deviceConfig: commonConfig(sr),
    pointId: draft.choice.point.id,
    exposedBy,
    hosts: hosts.map((host) => ({
      uuid: host.uuid,
      nameLabel: host.nameLabel,
      master: host.uuid === draft.pool.masterUuid,
    })),
  };
}

/** What most hosts of production say: one that was set apart there is no model for the hosts here. */
function commonConfig(sr: PointSr): TextMap {
  const configs = sr.pbds.map((pbd) => plainDeviceConfig(pbd.deviceConfig));
  const texts = configs.map((config) => JSON.stringify(Object.entries(config).sort()));
  const countOf = (text: string | undefined): number => texts.filter((other) => other === text).length;
  const most = Math.max(0, ...texts.map(countOf));
  return configs.find((_, index) => countOf(texts[index]) === most) ?? {};
}

/** A move takes metadata and last point after every write: neither is the older one. */
function isMove({ operation }: RecoverDraft): boolean {
  return operation === 'migrate' || operation === 'failback';
}

function othersOf(sr: PointSr, point: RecoveryPoint, disks: readonly { readonly uuid: string }[]): string[] {
  const used = new Set(disks.map(({ uuid }) => uuid));
  return point.vdis
    .filter((vdi) => vdi.srUuid === sr.uuid && !used.has(vdi.uuid))
    .map(({ location }) => location)
    .sort();
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
