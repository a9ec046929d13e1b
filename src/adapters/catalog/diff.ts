/** Two recovery points compared (pure). */
import type { PointSr, PointVm, RecoveryPoint } from '../../domain/recovery-point.ts';

export interface VmChange {
  readonly uuid: string;
  readonly nameLabel: string;
  /** Sentences such as `memory: 1073741824 → 2147483648`. */
  readonly changes: readonly string[];
}

export interface PointDiff {
  readonly from: { readonly id: string; readonly takenAt: string };
  readonly to: { readonly id: string; readonly takenAt: string };
  readonly added: readonly { readonly uuid: string; readonly nameLabel: string }[];
  readonly removed: readonly { readonly uuid: string; readonly nameLabel: string }[];
  readonly changed: readonly VmChange[];
  readonly unchanged: number;
  /** Networks, SRs and hosts that came, went or changed. Values of secrets are never shown. */
  readonly surroundings: readonly string[];
}

const vmFields: readonly (readonly [keyof PointVm, string])[] = [
  ['nameLabel', 'name'],
  ['powerState', 'power state'],
  ['order', 'start order'],
  ['startDelaySeconds', 'start delay in seconds'],
  ['memoryStaticMax', 'static memory in bytes'],
  ['memoryDynamicMax', 'dynamic memory in bytes'],
  ['vcpusAtStartup', 'virtual CPUs'],
  ['haRestartPriority', 'HA restart priority'],
  ['haAlwaysRun', 'HA always run'],
  ['folder', 'folder'],
  ['applianceUuid', 'vApp'],
];
const vmLists: readonly (readonly [
  keyof PointVm & ('tags' | 'srUuids' | 'vdiUuids' | 'networkNames'),
  string,
])[] = [
  ['tags', 'tags'],
  ['srUuids', 'SRs'],
  ['vdiUuids', 'disks'],
  ['networkNames', 'networks'],
];

export function diffPoints(from: RecoveryPoint, to: RecoveryPoint): PointDiff {
  const before = new Map(from.vms.map((vm) => [vm.uuid, vm]));
  const after = new Map(to.vms.map((vm) => [vm.uuid, vm]));
  const changed: VmChange[] = [];
  for (const vm of to.vms) {
    const old = before.get(vm.uuid);
    if (old === undefined) continue;
    const changes = vmChanges(old, vm);
    if (changes.length > 0) changed.push({ uuid: vm.uuid, nameLabel: vm.nameLabel, changes });
  }
  return {
    from: { id: from.id, takenAt: from.takenAt },
    to: { id: to.id, takenAt: to.takenAt },
    added: labels(to.vms.filter((vm) => !before.has(vm.uuid))),
    removed: labels(from.vms.filter((vm) => !after.has(vm.uuid))),
    changed: changed.sort(byLabel),
    unchanged: to.vms.filter((vm) => before.has(vm.uuid)).length - changed.length,
    surroundings: [
      ...records('network', from.networks, to.networks),
      ...records('SR', from.srs.map(withoutSecrets), to.srs.map(withoutSecrets)),
      ...secretChanges(from.srs, to.srs),
      ...records('host', from.hosts, to.hosts),
      ...records('vApp', from.appliances, to.appliances),
    ],
  };
}

function vmChanges(old: PointVm, now: PointVm): string[] {
  const changes: string[] = [];
  for (const [field, title] of vmFields) {
    if (old[field] !== now[field]) changes.push(`${title}: ${show(old[field])} → ${show(now[field])}`);
  }
  for (const [field, title] of vmLists) {
    const gone = old[field].filter((item) => !now[field].includes(item));
    const come = now[field].filter((item) => !old[field].includes(item));
    if (gone.length + come.length > 0)
      changes.push(
        `${title}: ${[...come.map((item) => `+${item}`), ...gone.map((item) => `-${item}`)].join(' ')}`,
      );
  }
  if (changes.length === 0 && old.document.sha256 !== now.document.sha256)
    changes.push('its document, in fields that are not listed here');
  return changes;
}

function records<T extends { readonly uuid: string; readonly nameLabel: string }>(
  what: string,
  from: readonly T[],
  to: readonly T[],
): string[] {
  const before = new Map(from.map((one) => [one.uuid, one]));
  const after = new Set(to.map((one) => one.uuid));
  const sentences: string[] = [];
  for (const one of to) {
    const old = before.get(one.uuid);
    if (old === undefined) {
      sentences.push(`${what} ${one.nameLabel} added`);
      continue;
    }
    const fields = changedFields(old, one);
    if (fields.length > 0) sentences.push(`${what} ${one.nameLabel} changed: ${fields.join(', ')}`);
  }
  for (const one of from) if (!after.has(one.uuid)) sentences.push(`${what} ${one.nameLabel} removed`);
  return sentences;
}

function changedFields(old: object, now: object): string[] {
  const [a, b] = [old as Record<string, unknown>, now as Record<string, unknown>];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])]
    .filter((key) => JSON.stringify(a[key]) !== JSON.stringify(b[key]))
    .sort();
}

function withoutSecrets({ secretDeviceConfig: _, ...sr }: PointSr): Omit<PointSr, 'secretDeviceConfig'> {
  return sr;
}

function secretChanges(from: readonly PointSr[], to: readonly PointSr[]): string[] {
  const before = new Map(from.map((sr) => [sr.uuid, JSON.stringify(sr.secretDeviceConfig)]));
  return to
    .filter((sr) => before.has(sr.uuid) && before.get(sr.uuid) !== JSON.stringify(sr.secretDeviceConfig))
    .map((sr) => `SR ${sr.nameLabel} has other secrets`);
}

function labels(vms: readonly PointVm[]): { uuid: string; nameLabel: string }[] {
  return vms.map(({ uuid, nameLabel }) => ({ uuid, nameLabel })).sort(byLabel);
}

function byLabel(a: { readonly nameLabel: string }, b: { readonly nameLabel: string }): number {
  return a.nameLabel < b.nameLabel ? -1 : a.nameLabel > b.nameLabel ? 1 : 0;
}

function show(value: unknown): string {
  return value === null || value === '' ? 'none' : String(value);
}
