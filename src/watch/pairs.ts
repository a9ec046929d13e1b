/** Two sites as the groups between them see them, and how differences are put together. */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../domain/canonical.ts';
import type { Aspect, Difference } from '../domain/drift.ts';
import type { PoolFacts } from '../domain/pool.ts';
import type { PointVm } from '../domain/recovery-point.ts';
import type { GroupSettings } from '../domain/settings.ts';

export interface SitePair {
  /** Names of the sites. */
  readonly production: string;
  readonly recovery: string;
  readonly home: PoolFacts;
  readonly away: PoolFacts;
  /** The groups that move from the one to the other, as they are oriented now. */
  readonly groups: readonly PairedGroup[];
  /** Fingerprints (SHA-256, hexadecimal digits) that the settings pin, by site; empty where a CA is trusted instead. */
  readonly pins: ReadonlyMap<string, readonly string[]>;
}

export interface PairedGroup {
  readonly group: GroupSettings;
  /** Its VMs at production now. */
  readonly vms: readonly WatchedVm[];
}

export type WatchedVm = Omit<PointVm, 'document'>;

export interface Draft extends Omit<Difference, 'id' | 'sites' | 'evidence' | 'codes' | 'vms'> {
  readonly evidence?: readonly string[];
  readonly codes?: Difference['codes'];
  readonly vms?: Difference['vms'];
  /** What makes it the same difference: what it is about, and how both sides are; not what moves by itself. */
  readonly identity: readonly (string | number | boolean)[];
}

/** A difference that names no VMs concerns every group of the pair as a whole. */
export function difference(pair: SitePair, draft: Draft): Difference {
  const { identity, evidence = [], codes = [], vms = wholeGroups(pair), ...rest } = draft;
  const sites = [pair.production, pair.recovery] as const;
  return { id: idOf(draft.aspect, [...sites, ...identity]), sites, evidence, codes, vms, ...rest };
}

function idOf(aspect: Aspect, identity: Draft['identity']): string {
  return `${aspect}-${createHash('sha256').update(canonicalJson(identity)).digest('hex').slice(0, 6)}`;
}

const wholeGroups = (pair: SitePair): Difference['vms'] =>
  pair.groups.map(({ group }) => ({ group: group.name, names: [] }));

/** By group, those VMs that the test picks; groups without any are left out. */
export function vmsWhere(
  pair: SitePair,
  test: (vm: WatchedVm, group: GroupSettings) => boolean,
): Difference['vms'] {
  return pair.groups.flatMap(({ group, vms }) => {
    const names = vms.filter((vm) => test(vm, group)).map((vm) => vm.nameLabel);
    return names.length === 0 ? [] : [{ group: group.name, names: names.sort() }];
  });
}

export const allNames = (vms: Difference['vms']): string[] => vms.flatMap(({ names }) => names);
