/**
 * Groups proposed from what is there: a volume is promoted as a whole, so all VMs with a disk on it belong together, and
 * with them every other volume that one of them uses. Tags and folders give the name.
 */
import type { PoolFacts, SrFacts, VmFacts } from '../domain/pool.ts';
import { plainDeviceConfig } from '../domain/pool.ts';
import type { ProposedArray } from '../domain/proposal.ts';
import { nothing, vmsInScope } from '../domain/scope.ts';
import { said, wordsOf } from './proposal-networks.ts';

export interface ProposedStorage {
  readonly sr: string;
  readonly source: { readonly array: string; readonly volume: string };
  readonly target: { readonly array: string; readonly volume: string };
  readonly doubts: readonly string[];
}

export interface ProposedGroup {
  readonly name: string;
  readonly vms: readonly VmFacts[];
  /** Names of its SRs; by uuid where the name is not unique. */
  readonly srs: readonly string[];
  /** Empty where the volumes under the SRs are not known: the group cannot be used then. */
  readonly storage: readonly ProposedStorage[];
  /** SRs of the group for which no volume was found. */
  readonly unmatched: readonly string[];
  readonly doubts: readonly string[];
}

/** SRs that hold disks and that an array can carry: shared, and no library of discs. */
function canReplicate({ shared, contentType, type }: SrFacts): boolean {
  return shared && contentType !== 'iso' && type !== 'iso' && type !== 'udev';
}

export function proposeGroups(
  pool: PoolFacts,
  arrays: { readonly production: readonly ProposedArray[]; readonly recovery: readonly ProposedArray[] },
): { readonly groups: readonly ProposedGroup[]; readonly unprotected: readonly VmFacts[] } {
  const srs = pool.srs.filter(canReplicate);
  const srOf = new Map(pool.vdis.map(({ uuid, srUuid }) => [uuid, srUuid]));
  const ours = new Set(vmsInScope(pool, everything).map(({ uuid }) => uuid));
  const vms = pool.vms.filter(({ uuid }) => ours.has(uuid));
  const usedBy = (vm: VmFacts): string[] => [
    ...new Set(
      vm.vbds.flatMap(({ vdiUuid, type }) =>
        vdiUuid === null || type === 'CD' ? [] : (srOf.get(vdiUuid) ?? []),
      ),
    ),
  ];
  const shared = new Set(srs.map(({ uuid }) => uuid));
  const parties = partiesOf(
    srs.map(({ uuid }) => uuid),
    vms.map((vm) => usedBy(vm).filter((sr) => shared.has(sr))),
  );
  const taken = new Set<string>();
  const groups = parties.flatMap((party): ProposedGroup[] => {
    const members = vms.filter((vm) => usedBy(vm).some((sr) => party.has(sr)));
    if (members.length === 0) return [];
    const own = srs.filter(({ uuid }) => party.has(uuid));
    const matches = own.map((sr) => ({
      sr: nameOf(sr, pool.srs),
      storage: volumeUnder(sr, pool.srs, arrays),
    }));
    const beside = members.filter((vm) => usedBy(vm).some((sr) => !party.has(sr)));
    return [
      {
        name: nameFor(members, own, vms, taken),
        vms: members,
        srs: matches.map(({ sr }) => sr),
        storage: matches.flatMap(({ storage }) => storage ?? []),
        unmatched: matches.filter(({ storage }) => storage === null).map(({ sr }) => sr),
        doubts: [
          ...(own.length > 1
            ? [`${own.length} SRs are in one group because VMs have disks on more than one of them`]
            : []),
          ...beside.map(
            ({ nameLabel }) =>
              `VM ${said(nameLabel)} also has a disk on an SR that is not replicated: that disk would be missing`,
          ),
        ],
      },
    ];
  });
  const protectedVms = new Set(groups.flatMap((group) => group.vms.map(({ uuid }) => uuid)));
  return { groups, unprotected: vms.filter(({ uuid }) => !protectedVms.has(uuid)) };
}

const everything = { include: { ...nothing, names: ['*'] }, exclude: nothing };

/** SRs that some VM ties together, as sets; in the order of the SRs. */
function partiesOf(srs: readonly string[], ties: readonly (readonly string[])[]): ReadonlySet<string>[] {
  const partyOf = new Map<string, Set<string>>(srs.map((sr) => [sr, new Set([sr])]));
  for (const tied of ties) {
    const joined = new Set(tied.flatMap((sr) => [...(partyOf.get(sr) ?? [])]));
    for (const sr of joined) partyOf.set(sr, joined);
  }
  return [...new Set(partyOf.values())];
}

/** By name while the name is unique in the pool. */
function nameOf({ nameLabel, uuid }: SrFacts, all: readonly SrFacts[]): string {
  const alone = nameLabel !== '' && all.filter((other) => other.nameLabel === nameLabel).length === 1;
  return alone ? nameLabel : uuid;
}

/** A tag or a folder that exactly these VMs bear; else the name of their first SR. */
function nameFor(
  members: readonly VmFacts[],
  srs: readonly SrFacts[],
  all: readonly VmFacts[],
  taken: Set<string>,
): string {
  const exactly = (marks: (vm: VmFacts) => readonly string[]): string[] =>
    [...new Set(members.flatMap(marks))].filter(
      (mark) =>
        members.every((vm) => marks(vm).includes(mark)) &&
        all.filter((vm) => marks(vm).includes(mark)).length === members.length,
    );
  // A mark that every VM of the pool bears says nothing about this group.
  const telling = members.length < all.length;
  const wanted = [
    ...(telling ? exactly(({ tags }) => tags) : []),
    ...(telling ? exactly(({ otherConfig }) => [otherConfig['folder'] ?? '']) : []).map(
      (folder) => folder.split('/').at(-1) ?? '',
    ),
    srs[0]?.nameLabel ?? '',
    'group',
  ];
  const base = wanted.map(shortName).find((name) => name !== '') ?? 'group';
  let name = base;
  for (let number = 2; taken.has(name); number += 1) name = `${base}-${number}`;
  taken.add(name);
  return name;
}

const shortName = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9_.-]+/g, '-')
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '')
    .slice(0, 40);

/** The pair that carries an SR: its volume stands in the device_config of the SR, or at least sounds like the SR's name. */
function volumeUnder(
  sr: SrFacts,
  all: readonly SrFacts[],
  arrays: { readonly production: readonly ProposedArray[]; readonly recovery: readonly ProposedArray[] },
): ProposedStorage | null {
  const sources = arrays.production.flatMap(({ name, pairs }) =>
    (pairs ?? []).filter(({ role }) => role === 'source').map((pair) => ({ array: name, pair })),
  );
  const addresses = sr.pbds.flatMap(({ deviceConfig }) => Object.values(plainDeviceConfig(deviceConfig)));
  const byAddress = sources.filter(({ pair }) =>
    addresses.some((address) => namesVolume(address, pair.volume)),
  );
  const byName = sources.filter(({ pair }) => soundsAlike(sr.nameLabel, pair.volume));
  const found = byAddress.length > 0 ? byAddress : byName;
  const [source] = found;
  if (source === undefined || found.length > 1) return null;
  const wanted = source.pair.peer?.volume ?? source.pair.volume;
  const targets = arrays.recovery.flatMap(({ name, pairs }) =>
    (pairs ?? [])
      .filter(({ role, volume }) => role === 'target' && namesVolume(wanted, volume))
      .map(({ volume }) => ({ array: name, volume })),
  );
  const [target] = targets;
  if (target === undefined || targets.length > 1) return null;
  return {
    sr: nameOf(sr, all),
    source: { array: source.array, volume: source.pair.volume },
    target,
    doubts:
      byAddress.length > 0
        ? []
        : [`volume ${said(source.pair.volume)} only sounds like SR ${said(sr.nameLabel)}`],
  };
}

/** `/volumes/gold` and `/tank/shop` name `gold` and `tank/shop`. */
function namesVolume(address: string, volume: string): boolean {
  const plain = volume.replace(/^\/+|\/+$/g, '');
  const path = address.replace(/\/+$/, '');
  return plain !== '' && (path === plain || path === `/${plain}` || path.endsWith(`/${plain}`));
}

function soundsAlike(name: string, volume: string): boolean {
  const last = volume.split(/[/:]/).at(-1)?.toLowerCase() ?? '';
  return last !== '' && wordsOf(name).includes(last);
}
