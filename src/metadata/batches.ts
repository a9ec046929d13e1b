/**
 * Import in batches (performance.md 5.4, 5.5): a document with many VMs is much cheaper than many documents, but one bad
 * VM spoils the whole batch. So a refused batch is halved until the culprit stands alone, and the rest is in.
 */

/** Batches of at most `size`, in order. */
export function planBatches<T>(vms: readonly T[], size: number): T[][] {
  if (!Number.isSafeInteger(size) || size < 1) throw new RangeError(`a batch of ${size} VMs`);
  const batches: T[][] = [];
  for (let at = 0; at < vms.length; at += size) batches.push(vms.slice(at, at + size));
  return batches;
}

/**
 * What to try after a batch was refused. `suspects` are the VMs that the refusal or the import rules point at: they
 * come last, one by one, and the others at once. Without suspects the batch is halved. A single VM that was refused is
 * the culprit: nothing is left to try.
 */
export function afterRefusal<T>(
  batch: readonly T[],
  suspects: (vm: T) => boolean = () => false,
): { readonly retry: readonly (readonly T[])[]; readonly refused: readonly T[] } {
  if (batch.length <= 1) return { retry: [], refused: batch };
  const bad = batch.filter(suspects);
  if (bad.length > 0 && bad.length < batch.length) {
    const good = batch.filter((vm) => !bad.includes(vm));
    return { retry: [good, ...bad.map((vm) => [vm])], refused: [] };
  }
  const half = Math.ceil(batch.length / 2);
  return { retry: [batch.slice(0, half), batch.slice(half)], refused: [] };
}
