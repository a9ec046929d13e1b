/** Volumes that their array keeps at one moment: one point is the same instant on all of them (storage.md B.4.13). */
import type { ReplicatedSr, VolumeSettings } from './settings.ts';

/** The same for volumes of one consistency group of one array; null for a volume that belongs to none. */
export function consistencyGroupKey({ array, consistencyGroup }: VolumeSettings): string | null {
  return consistencyGroup === undefined ? null : JSON.stringify([array, consistencyGroup]);
}

/** All SRs whose replicas share the consistency group of this one, itself included; none but itself without one. */
export function keptTogether(storage: readonly ReplicatedSr[], one: ReplicatedSr): readonly ReplicatedSr[] {
  const key = consistencyGroupKey(one.target);
  return key === null ? [one] : storage.filter(({ target }) => consistencyGroupKey(target) === key);
}

/** The SRs of each consistency group, in the order of the storage. */
export function groupsKept(storage: readonly ReplicatedSr[]): readonly (readonly ReplicatedSr[])[] {
  return storage.flatMap((one) => {
    const members = keptTogether(storage, one);
    return consistencyGroupKey(one.target) !== null && members[0] === one ? [members] : [];
  });
}
