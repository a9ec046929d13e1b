/** What changed between two recovery points of a group: VMs, SRs and networks by uuid, documents by their digest. */
import type { PointVm, RecoveryPoint } from './recovery-point.ts';
import { formatBytes } from './time.ts';

export interface PointDiff {
  readonly from: string;
  readonly to: string;
  readonly added: readonly Named[];
  readonly removed: readonly Named[];
  /** Same VM, other document; `fields` names what is known to differ, empty when only the document does. */
  readonly changed: readonly (Named & {
    readonly fields: readonly { readonly field: string; readonly from: string; readonly to: string }[];
  })[];
  readonly unchanged: number;
  readonly srsAdded: readonly Named[];
  readonly srsRemoved: readonly Named[];
  readonly networksAdded: readonly Named[];
  readonly networksRemoved: readonly Named[];
}
export interface Named {
  readonly uuid: string;
  readonly nameLabel: string;
}

const compared = [
  ['nameLabel', 'name'],
  ['powerState', 'power state'],
  ['order', 'start order'],
  ['startDelaySeconds', 'start delay in seconds'],
  ['memoryStaticMax', 'memory'],
  ['vcpusAtStartup', 'vCPUs'],
  ['haRestartPriority', 'HA priority'],
  ['tags', 'tags'],
  ['folder', 'folder'],
  ['srUuids', 'SRs'],
  ['vdiUuids', 'disks'],
  ['networkNames', 'networks'],
] as const satisfies readonly (readonly [keyof PointVm, string])[];

export function diffPoints(from: RecoveryPoint, to: RecoveryPoint): PointDiff {
  const before = new Map(from.vms.map((vm) => [vm.uuid, vm]));
  const after = new Map(to.vms.map((vm) => [vm.uuid, vm]));
  const changed: PointDiff['changed'][number][] = [];
  let unchanged = 0;
  for (const vm of to.vms) {
    const old = before.get(vm.uuid);
    if (old === undefined) continue;
    const fields = compared.flatMap(([key, field]) => {
      const [was, is] = [textOf(key, old[key]), textOf(key, vm[key])];
      return was === is ? [] : [{ field, from: was, to: is }];
    });
    if (fields.length > 0 || old.document.sha256 !== vm.document.sha256)
      changed.push({ ...named(vm), fields });
    else unchanged += 1;
  }
  return {
    from: from.id,
    to: to.id,
    added: sorted(to.vms.filter((vm) => !before.has(vm.uuid))),
    removed: sorted(from.vms.filter((vm) => !after.has(vm.uuid))),
    changed: changed.sort(byName),
    unchanged,
    srsAdded: missing(to.srs, from.srs),
    srsRemoved: missing(from.srs, to.srs),
    networksAdded: missing(to.networks, from.networks),
    networksRemoved: missing(from.networks, to.networks),
  };
}

function missing(all: readonly Named[], among: readonly Named[]): Named[] {
  const known = new Set(among.map(({ uuid }) => uuid));
  return sorted(all.filter(({ uuid }) => !known.has(uuid)));
}
const named = ({ uuid, nameLabel }: Named): Named => ({ uuid, nameLabel });
const sorted = (list: readonly Named[]): Named[] => list.map(named).sort(byName);
const byName = (a: Named, b: Named): number =>
  a.nameLabel < b.nameLabel ? -1 : a.nameLabel > b.nameLabel ? 1 : a.uuid < b.uuid ? -1 : 1;

function textOf(key: keyof PointVm, value: PointVm[keyof PointVm]): string {
  if (key === 'memoryStaticMax') return formatBytes(Number(value));
  if (Array.isArray(value)) return [...value].sort().join(', ');
  return value === null ? 'none' : String(value);
}
