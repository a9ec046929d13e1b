/** VMs at a failover: power, fences, marks, appliances (xapi.md 8). */
import { PortError } from '../../domain/errors.ts';
import type { Uuid } from '../../domain/pool.ts';
import { formatBytes } from '../../domain/time.ts';
import type { VmState } from '../../ports/hypervisor.ts';
import { guestOf, observedFields } from './facts.ts';
import { portError } from './failures.ts';
import { isPeer, type Objects } from './objects.ts';
import type { XapiRecord } from './values.ts';

/** From so many VMs on, two bulk reads are cheaper than two calls for each. */
const bulkThreshold = 24;

export class Vms {
  readonly #objects: Objects;
  /** By reference: one that is given away never comes to mean another host. */
  readonly #hostUuids = new Map<string, Uuid>();

  constructor(objects: Objects) {
    this.#objects = objects;
  }

  async resetPowerState(vm: Uuid, signal?: AbortSignal): Promise<void> {
    await this.#call('power_state_reset', vm, [], signal);
  }

  async start(vm: Uuid, signal?: AbortSignal): Promise<void> {
    await this.#run('start', vm, [false, false], signal);
  }

  async cleanShutdown(vm: Uuid, signal?: AbortSignal): Promise<void> {
    await this.#run('clean_shutdown', vm, [], signal);
  }

  async hardShutdown(vm: Uuid, signal?: AbortSignal): Promise<void> {
    await this.#run('hard_shutdown', vm, [], signal);
  }

  /**
   * The entry is read in the same breath: between a look at the pool and this call another VM may have come under the
   * uuid. `VM.destroy` takes no disk with it (xapi.md 8.7).
   */
  async destroyMarked(
    vm: Uuid,
    mark: { readonly key: string; readonly value: string },
    signal?: AbortSignal,
  ): Promise<void> {
    try {
      await this.#objects.on('VM', vm, signal, async (ref) => {
        const there = (await this.#objects.call('VM.get_other_config', [ref], signal)) as XapiRecord;
        if (there[mark.key] !== mark.value) throw this.#notOurs(vm, mark);
        await this.#objects.call('VM.destroy', [ref], signal);
      });
    } catch (error) {
      if (!isPeer(error, 'UUID_INVALID', 'HANDLE_INVALID')) throw error;
    }
  }

  #notOurs(vm: Uuid, mark: { readonly key: string; readonly value: string }): PortError {
    return portError('refused', this.#objects.pool.options.site, {
      object: `VM ${vm}`,
      code: 'DR-VM-NOT-OURS',
      what: 'A VM was not removed: it does not bear the mark of what Lifeboat made',
      known: [`expected other_config ${mark.key}=${mark.value}`],
      next: 'Look at it by hand: Lifeboat removes only what it made itself',
    });
  }

  /** `NO_HOSTS_AVAILABLE` has no reasons, so each host is asked (xapi.md 8.2). */
  async whyNotHere(
    vm: Uuid,
    signal?: AbortSignal,
  ): Promise<{ host: Uuid; hostName: string; reason: string }[]> {
    return this.#objects.on('VM', vm, signal, async (ref) => {
      const hosts = await this.#objects.all('host', new Set(['uuid', 'name_label']), signal);
      return this.#objects.each(
        Object.entries(hosts),
        async ([hostRef, record]) => {
          const host = record as XapiRecord;
          const answer = { host: String(host['uuid']), hostName: String(host['name_label']) };
          try {
            await this.#objects.named(
              this.#objects.pool.call('VM.assert_can_boot_here', [ref, hostRef], { signal }),
              // Which VM and which host is asked about, the caller knows.
              ['vm', 'host'],
            );
            return { ...answer, reason: '' };
          } catch (error) {
            if (!(error instanceof PortError) || error.peerCode === undefined) throw error;
            // The VM itself is at fault, not the host.
            if (error.peerCode === 'HANDLE_INVALID' && error.peerParams.includes(ref)) throw error;
            const details = (error.problem.known ?? [])
              .slice(1)
              .filter((text) => !text.includes('OpaqueRef:'))
              .map((text) =>
                text.replace(/^(bytes [a-z]+: )(\d+)$/, (_, name, n) => `${name}${formatBytes(Number(n))}`),
              );
            return { ...answer, reason: [error.problem.what, ...details].join('; ') };
          }
        },
        signal,
      );
    });
  }

  /** Foreign keys stay: an operation that somebody blocked with another text is blocked already. */
  async blockOperations(
    vm: Uuid,
    operations: readonly string[],
    reason: string,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#objects.on('VM', vm, signal, async (ref) => {
      const there = (await this.#objects.call('VM.get_blocked_operations', [ref], signal)) as XapiRecord;
      for (const operation of operations) {
        if (there[operation] !== undefined) continue;
        try {
          await this.#objects.call('VM.add_to_blocked_operations', [ref, operation, reason], signal);
        } catch (error) {
          if (!isPeer(error, 'MAP_DUPLICATE_KEY')) throw error;
        }
      }
    });
  }

  async unblockOperations(vm: Uuid, operations: readonly string[], signal?: AbortSignal): Promise<void> {
    await this.#objects.on('VM', vm, signal, async (ref) => {
      for (const operation of operations)
        await this.#objects.call('VM.remove_from_blocked_operations', [ref, operation], signal);
    });
  }

  async setHaRestartPriority(vm: Uuid, priority: string, signal?: AbortSignal): Promise<void> {
    await this.#call('set_ha_restart_priority', vm, [priority], signal);
  }

  async setStartDelay(vm: Uuid, seconds: number, signal?: AbortSignal): Promise<void> {
    await this.#call('set_start_delay', vm, [BigInt(seconds)], signal);
  }

  async addTag(vm: Uuid, tag: string, signal?: AbortSignal): Promise<void> {
    await this.#call('add_tags', vm, [tag], signal);
  }

  /** Remove, then add: setting the whole map would lose what others write, and adding twice is refused (xapi.md 8.4). */
  async setOtherConfig(vm: Uuid, key: string, value: string | null, signal?: AbortSignal): Promise<void> {
    await this.#objects.on('VM', vm, signal, async (ref) => {
      const there = (await this.#objects.call('VM.get_other_config', [ref], signal)) as XapiRecord;
      const present = Object.hasOwn(there, key) ? there[key] : null;
      if (present === value) return;
      if (present !== null) await this.#objects.call('VM.remove_from_other_config', [ref, key], signal);
      if (value !== null) await this.#objects.call('VM.add_to_other_config', [ref, key, value], signal);
    });
  }

  /** Imports clear the membership (xapi.md 4.5), so it is made anew. */
  async rebuildAppliance(
    nameLabel: string,
    nameDescription: string,
    vms: readonly Uuid[],
    signal?: AbortSignal,
  ): Promise<Uuid> {
    const found = await this.#objects.call('VM_appliance.get_by_name_label', [nameLabel], signal);
    const there = Array.isArray(found) ? found.map(String) : [];
    if (there.length > 1)
      throw portError('refused', this.#objects.pool.options.site, {
        object: `appliance ${nameLabel}`,
        code: 'DR-APPLIANCE-AMBIGUOUS',
        what: 'Several appliances of the pool have this name',
        known: [`${there.length} appliances`],
        next: 'Rename or remove all but one of them',
      });
    const appliance =
      there[0] ??
      String(
        await this.#objects.call(
          'VM_appliance.create',
          [{ name_label: nameLabel, name_description: nameDescription }],
          signal,
        ),
      );
    for (const vm of vms)
      await this.#objects.on('VM', vm, signal, async (ref) => {
        if ((await this.#objects.call('VM.get_appliance', [ref], signal)) !== appliance)
          await this.#objects.call('VM.set_appliance', [ref, appliance], signal);
      });
    return String(await this.#objects.call('VM_appliance.get_uuid', [appliance], signal));
  }

  async states(vms: readonly Uuid[], signal?: AbortSignal): Promise<ReadonlyMap<Uuid, VmState>> {
    const states = new Map<Uuid, VmState>();
    const note = async (uuid: Uuid, vm: XapiRecord, metrics: XapiRecord | null): Promise<void> => {
      states.set(uuid, {
        powerState: vm['power_state'] as VmState['powerState'],
        residentOn: await this.#hostUuid(vm['resident_on'], signal),
        startDelaySeconds: Number(vm['start_delay']),
        guest: guestOf(metrics),
      });
    };
    if (vms.length >= bulkThreshold) {
      const wanted = new Set(vms);
      const fields = new Set(['uuid', 'power_state', 'resident_on', 'start_delay', 'guest_metrics']);
      const [records, metrics] = await Promise.all([
        this.#objects.all('VM', fields, signal),
        this.#objects.all('VM_guest_metrics', observedFields.VM_guest_metrics, signal),
      ]);
      for (const value of Object.values(records)) {
        const vm = value as XapiRecord;
        const uuid = String(vm['uuid']);
        if (!wanted.has(uuid)) continue;
        const guest = vm['guest_metrics'];
        await note(
          uuid,
          vm,
          typeof guest === 'string' ? ((metrics[guest] ?? null) as XapiRecord | null) : null,
        );
      }
      return states;
    }
    const look = async (uuid: Uuid): Promise<void> => {
      try {
        await this.#objects.on('VM', uuid, signal, async (ref) => {
          const vm = await this.#objects.record('VM.get_record', ref, signal);
          await note(uuid, vm, await this.#guestMetrics(vm['guest_metrics'], signal));
        });
      } catch (error) {
        // A VM that the pool does not have is absent from the answer, as in the bulk read.
        if (!isPeer(error, 'UUID_INVALID')) throw error;
      }
    };
    await this.#objects.each(vms, look, signal);
    return states;
  }

  async #hostUuid(ref: unknown, signal?: AbortSignal): Promise<Uuid | null> {
    if (typeof ref !== 'string') return null;
    const known = this.#hostUuids.get(ref);
    if (known !== undefined) return known;
    const uuid = String(await this.#objects.call('host.get_uuid', [ref], signal));
    this.#hostUuids.set(ref, uuid);
    return uuid;
  }

  /** A start deletes the old guest metrics (xapi.md 8.2), so they may go between two calls. */
  async #guestMetrics(ref: unknown, signal?: AbortSignal): Promise<XapiRecord | null> {
    if (typeof ref !== 'string') return null;
    try {
      return await this.#objects.record('VM_guest_metrics.get_record', ref, signal);
    } catch (error) {
      if (isPeer(error, 'HANDLE_INVALID')) return null;
      throw error;
    }
  }

  async #call(
    verb: string,
    vm: Uuid,
    params: readonly (string | boolean | bigint)[],
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#objects.on('VM', vm, signal, (ref) =>
      this.#objects.call(`VM.${verb}`, [ref, ...params], signal),
    );
  }

  async #run(
    verb: string,
    vm: Uuid,
    params: readonly (string | boolean)[],
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#objects.on('VM', vm, signal, (ref) =>
      this.#objects.run(`VM.${verb}`, [ref, ...params], { signal }),
    );
  }
}
