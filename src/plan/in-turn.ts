/**
 * Steps on volumes of one consistency group, one after the other: what the first asks of the array may be done for all of
 * them at once, and the others then find it done.
 */
import { consistencyGroupKey } from '../domain/consistency-group.ts';
import type { VolumeSettings } from '../domain/settings.ts';

export class InTurn {
  readonly #last = new Map<string, string>();

  /** The step before, for `after`; none for the first of a group, and for a volume that belongs to none. */
  before(volume: VolumeSettings): string[] {
    const last = this.#last.get(consistencyGroupKey(volume) ?? '');
    return last === undefined ? [] : [last];
  }

  took(volume: VolumeSettings, step: string): string {
    const key = consistencyGroupKey(volume);
    if (key !== null) this.#last.set(key, step);
    return step;
  }
}
