/**
 * Disks that Lifeboat makes, and the only ones that it removes: each bears a mark in `other_config` from the very call
 * that makes it, and the mark is read again in the same breath as the disk is removed (invariant 11).
 */
import type { Uuid } from '../../domain/pool.ts';
import { portError } from './failures.ts';
import { isPeer, type Objects } from './objects.ts';
import type { XapiRecord } from './values.ts';

export interface Mark {
  readonly key: string;
  readonly value: string;
}

export class MarkedDisks {
  readonly #objects: Objects;

  constructor(objects: Objects) {
    this.#objects = objects;
  }

  async create(
    sr: Uuid,
    disk: { readonly nameLabel: string; readonly bytes: number; readonly mark: Mark },
    signal?: AbortSignal,
  ): Promise<Uuid> {
    const srRef = await this.#objects.ref('SR', sr, signal);
    const ref = await this.#objects.run(
      'VDI.create',
      [
        {
          name_label: disk.nameLabel,
          name_description: `${disk.mark.key}=${disk.mark.value}`,
          SR: srRef,
          virtual_size: disk.bytes,
          type: 'user',
          sharable: false,
          read_only: false,
          other_config: { [disk.mark.key]: disk.mark.value },
          xenstore_data: {},
          sm_config: {},
          tags: [],
        },
      ],
      { signal },
    );
    return String(await this.#objects.call('VDI.get_uuid', [String(ref)], signal));
  }

  /** Quiet when there is no such disk. Kind `refused`, code DR-VDI-NOT-OURS, for one without the mark. */
  async destroy(vdi: Uuid, mark: Mark, signal?: AbortSignal): Promise<void> {
    try {
      await this.#objects.on('VDI', vdi, signal, async (ref) => {
        const there = (await this.#objects.call('VDI.get_other_config', [ref], signal)) as XapiRecord;
        if (there[mark.key] !== mark.value)
          throw portError('refused', this.#objects.pool.options.site, {
            object: `disk ${vdi}`,
            code: 'DR-VDI-NOT-OURS',
            what: 'A disk was not removed: it does not bear the mark of what Lifeboat made',
            known: [`expected other_config ${mark.key}=${mark.value}`],
            next: 'Look at it by hand: Lifeboat removes only what it made itself',
          });
        await this.#objects.run('VDI.destroy', [ref], { signal });
      });
    } catch (error) {
      if (!isPeer(error, 'UUID_INVALID', 'HANDLE_INVALID')) throw error;
    }
  }
}
