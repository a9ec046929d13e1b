/** What a recovery plan changes about single VMs: memory, vCPUs, preferred host, static addresses (xapi.md 8.6, 8.8). */
import type { Adjustment } from '../../domain/actions/guests.ts';
import type { Uuid } from '../../domain/pool.ts';
import type { AddressAndGateway, MemoryOverride, StaticAddress } from '../../domain/recovery-plan.ts';
import type { VmShape } from '../../ports/hypervisor.ts';
import { portError } from './failures.ts';
import { isPeer, type Objects } from './objects.ts';
import type { XapiRecord } from './values.ts';

export class VmShapes {
  readonly #objects: Objects;

  constructor(objects: Objects) {
    this.#objects = objects;
  }

  async read(vm: Uuid, signal?: AbortSignal): Promise<VmShape | null> {
    try {
      return await this.#objects.on('VM', vm, signal, async (ref) => {
        const record = await this.#objects.record('VM.get_record', ref, signal);
        const affinity = record['affinity'];
        return {
          memoryStaticMax: Number(record['memory_static_max']),
          memoryDynamicMax: Number(record['memory_dynamic_max']),
          memoryDynamicMin: Number(record['memory_dynamic_min']),
          vcpusAtStartup: Number(record['VCPUs_at_startup']),
          affinity: typeof affinity === 'string' ? await this.#hostUuid(affinity, signal) : null,
        };
      });
    } catch (error) {
      if (isPeer(error, 'UUID_INVALID')) return null;
      throw error;
    }
  }

  async adjust(vm: Uuid, { memory, vcpus, host }: Adjustment, signal?: AbortSignal): Promise<void> {
    await this.#objects.on('VM', vm, signal, async (ref) => {
      const record = await this.#objects.record('VM.get_record', ref, signal);
      if (memory !== null) await this.#setMemory(ref, record, memory, signal);
      if (vcpus !== null) await this.#setVcpus(ref, record, vcpus, signal);
      if (host !== null) {
        const hostRef = await this.#objects.ref('host', host.uuid, signal);
        await this.#objects.call('VM.set_affinity', [ref, hostRef], signal);
      }
    });
  }

  async addresses(vm: Uuid, signal?: AbortSignal): Promise<readonly StaticAddress[]> {
    return (await this.#vifs(vm, signal)).map(({ record }) => ({
      device: String(record['device']),
      ipv4: staticAddress(record, 'ipv4'),
      ipv6: staticAddress(record, 'ipv6'),
    }));
  }

  async setAddress(vm: Uuid, { device, ipv4, ipv6 }: StaticAddress, signal?: AbortSignal): Promise<void> {
    const vif = (await this.#vifs(vm, signal)).find(({ record }) => record['device'] === device);
    if (vif === undefined)
      throw portError('refused', this.#objects.pool.options.site, {
        object: `VM ${vm}`,
        code: 'DR-VIF-NOT-THERE',
        what: `The VM has no network card ${device}`,
        next: 'Correct vif of the override in the recovery plan: `xe vif-list` shows it under device',
      });
    const configure = async (method: string, { address, gateway }: AddressAndGateway): Promise<void> => {
      await this.#objects.call(method, [vif.ref, 'Static', address, gateway], signal);
    };
    if (ipv4 !== null) await configure('VIF.configure_ipv4', ipv4);
    if (ipv6 !== null) await configure('VIF.configure_ipv6', ipv6);
  }

  /** Between the old and the new limits no order may be hurt: all four are set in one call. */
  async #setMemory(
    ref: string,
    record: XapiRecord,
    { staticMax, dynamicMax, dynamicMin }: MemoryOverride,
    signal?: AbortSignal,
  ): Promise<void> {
    const staticMin = Math.min(Number(record['memory_static_min']), dynamicMin);
    const limits = [staticMin, staticMax, dynamicMin, dynamicMax].map(BigInt);
    await this.#objects.call('VM.set_memory_limits', [ref, ...limits], signal);
  }

  /** `0 < VCPUs_at_startup <= VCPUs_max` holds after each call. */
  async #setVcpus(ref: string, record: XapiRecord, vcpus: number, signal?: AbortSignal): Promise<void> {
    if (Number(record['VCPUs_max']) < vcpus)
      await this.#objects.call('VM.set_VCPUs_max', [ref, BigInt(vcpus)], signal);
    await this.#objects.call('VM.set_VCPUs_at_startup', [ref, BigInt(vcpus)], signal);
  }

  async #vifs(
    vm: Uuid,
    signal?: AbortSignal,
  ): Promise<readonly { readonly ref: string; readonly record: XapiRecord }[]> {
    return this.#objects.on('VM', vm, signal, async (ref) => {
      const refs = await this.#objects.call('VM.get_VIFs', [ref], signal);
      return this.#objects.each(
        Array.isArray(refs) ? refs.map(String) : [],
        async (vif) => ({ ref: vif, record: await this.#objects.record('VIF.get_record', vif, signal) }),
        signal,
      );
    });
  }

  async #hostUuid(ref: string, signal?: AbortSignal): Promise<Uuid | null> {
    try {
      return String(await this.#objects.call('host.get_uuid', [ref], signal));
    } catch (error) {
      // A host that has left the pool is still named by the VM.
      if (isPeer(error, 'HANDLE_INVALID')) return null;
      throw error;
    }
  }
}

function staticAddress(record: XapiRecord, family: 'ipv4' | 'ipv6'): AddressAndGateway | null {
  if (record[`${family}_configuration_mode`] !== 'Static') return null;
  const [address] = (record[`${family}_addresses`] ?? []) as string[];
  return address === undefined ? null : { address, gateway: String(record[`${family}_gateway`] ?? '') };
}
