/** Re-attachment of storage: probe, introduce, PBDs, scan, names (xapi.md 7). Nothing here can wipe an SR. */
import { PortError } from '../../domain/errors.ts';
import type { TextMap, Uuid } from '../../domain/pool.ts';
import type { SrRecord } from '../../ports/hypervisor.ts';
import { portError, protocolError } from './failures.ts';
import { isPeer, type Objects } from './objects.ts';
import { explainProbe, srUuids } from './probe.ts';
import { TwinLuns } from './twin-luns.ts';
import type { XapiRecord, XapiValue } from './values.ts';

interface Pbd {
  readonly ref: string;
  readonly attached: boolean;
  readonly deviceConfig: TextMap;
}

export class Storage {
  readonly #objects: Objects;

  readonly #twins: TwinLuns;

  constructor(objects: Objects) {
    this.#objects = objects;
    const { site, clock } = objects.pool.options;
    this.#twins = new TwinLuns(site, clock);
  }

  async probe(
    host: Uuid,
    type: string,
    deviceConfig: TextMap,
    smConfig: TextMap,
    signal?: AbortSignal,
  ): Promise<readonly Uuid[]> {
    this.#hideSecrets(deviceConfig);
    return this.#objects.on('host', host, signal, async (ref) => {
      let answer: XapiValue;
      try {
        answer = await this.#objects.run('SR.probe', [ref, deviceConfig, type, smConfig], { signal });
      } catch (error) {
        if (isPeer(error, 'SR_OPERATION_NOT_SUPPORTED'))
          return this.#probeExt(ref, type, deviceConfig, smConfig, error, signal);
        if (
          error instanceof PortError &&
          error.peerParams.some((text) => /sr_probe not supported/i.test(text))
        )
          throw this.#noProbe(type, error);
        throw error instanceof PortError ? explainProbe(error) : error;
      }
      const uuids = srUuids(String(answer ?? ''));
      if (uuids !== null) {
        const ask = async (config: TextMap): Promise<string> =>
          String((await this.#objects.run('SR.probe', [ref, config, type, smConfig], { signal })) ?? '');
        await this.#twins.assertNone(type, deviceConfig, uuids, ask);
        return uuids;
      }
      throw protocolError(
        this.#site,
        `host ${host}`,
        'The answer of the storage driver to a probe is not understood',
        [String(answer).slice(0, 400)],
        {
          code: 'DR-SR-PROBE',
          next: 'Probe the storage by hand with `xe sr-probe`, and report the answer',
        },
      );
    });
  }

  /** SMAPIv3 drivers, since 7.6 (xapi.md 7.2). */
  async #probeExt(
    host: string,
    type: string,
    deviceConfig: TextMap,
    smConfig: TextMap,
    first: PortError,
    signal?: AbortSignal,
  ): Promise<readonly Uuid[]> {
    let found: XapiValue;
    try {
      found = await this.#objects.call('SR.probe_ext', [host, deviceConfig, type, smConfig], signal);
    } catch (error) {
      if (isPeer(error, 'SR_OPERATION_NOT_SUPPORTED', 'MESSAGE_METHOD_UNKNOWN'))
        throw this.#noProbe(type, first);
      throw error;
    }
    const results = Array.isArray(found) ? (found as XapiRecord[]) : [];
    return results.flatMap((result) => {
      const sr = result['sr'] as XapiRecord | null | undefined;
      const uuid = sr?.['uuid'];
      return typeof uuid === 'string' && uuid !== '' ? [uuid.toLowerCase()] : [];
    });
  }

  #noProbe(type: string, cause: PortError): PortError {
    return portError(
      'refused',
      this.#site,
      {
        code: 'DR-SR-NO-PROBE',
        what: `Storage of type ${type} cannot be probed`,
        known: cause.problem.known ?? [],
        next: 'Introduce the SR with its recorded uuid; the plug shows whether it is there',
      },
      cause,
    );
  }

  async introduce(sr: SrRecord, signal?: AbortSignal): Promise<void> {
    // Capitals would count as another SR, and an empty uuid as a new one (xapi.md 7.2).
    const uuid = sr.uuid.trim().toLowerCase();
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid))
      throw portError('refused', this.#site, {
        code: 'DR-POOL-VALUE',
        what: 'An SR was not introduced: its uuid is not one',
        known: [`uuid ${JSON.stringify(sr.uuid)}`],
        next: 'Take the uuid from the recovery point or from a probe',
      });
    try {
      const ref = await this.#objects.call(
        'SR.introduce',
        [uuid, sr.nameLabel, sr.nameDescription, sr.type, sr.contentType, sr.shared, sr.smConfig],
        signal,
      );
      // The same uuid may have been known here before, under a record that was forgotten since.
      this.#objects.remember('SR', uuid, String(ref));
    } catch (error) {
      if (!isPeer(error, 'SR_UUID_EXISTS', 'DB_UNIQUENESS_CONSTRAINT_VIOLATION')) throw error;
      await this.#reuse(uuid, sr, error, signal);
    }
  }

  /** The SR is known from before: its record keeps names and VDIs, so it is used as it is (xapi.md 7.5). */
  async #reuse(uuid: Uuid, sr: SrRecord, cause: PortError, signal?: AbortSignal): Promise<void> {
    const ref = await this.#objects.ref('SR', uuid, signal);
    const record = await this.#objects.record('SR.get_record', ref, signal);
    if (String(record['type']).toLowerCase() !== sr.type.toLowerCase())
      throw portError(
        'refused',
        this.#site,
        {
          object: `SR ${uuid}`,
          code: 'DR-SR-KNOWN',
          what: 'An SR with this uuid is in the pool already, and is of another type',
          known: [`there: ${record['type']}`, `wanted: ${sr.type}`],
          next: 'Look at the SR that is there; forget it by hand only if nothing uses it',
        },
        cause,
      );
    if (sr.shared && record['shared'] !== true)
      await this.#objects.call('SR.set_shared', [ref, true], signal);
  }

  async createPbd(sr: Uuid, host: Uuid, deviceConfig: TextMap, signal?: AbortSignal): Promise<void> {
    this.#hideSecrets(deviceConfig);
    // Destroying a PBD destroys the secret that it names, so each PBD gets the clear text (xapi.md 7.2).
    const foreign = Object.keys(deviceConfig).filter((key) => key.endsWith('password_secret'));
    if (foreign.length > 0)
      throw portError('refused', this.#site, {
        object: `SR ${sr}`,
        code: 'DR-PBD-SECRET',
        what: 'A PBD was not created: its device_config names a secret instead of the password',
        known: foreign.map((key) => `key ${key}`),
        next: 'Give the password itself: it is resolved when a recovery point is exported',
      });
    const srRef = await this.#objects.ref('SR', sr, signal);
    const hostRef = await this.#objects.ref('host', host, signal);
    const present = await this.#pbdOf(srRef, hostRef, signal);
    if (present !== null) {
      if (await this.#sameConfig(present.deviceConfig, deviceConfig, signal)) return;
      if (present.attached) await this.#objects.run('PBD.unplug', [present.ref], { signal });
      await this.#objects.call('PBD.destroy', [present.ref], signal);
    }
    const args = { host: hostRef, SR: srRef, device_config: deviceConfig, other_config: {} };
    try {
      await this.#objects.call('PBD.create', [args], signal);
    } catch (error) {
      if (!isPeer(error, 'PBD_EXISTS')) throw error;
      const other = await this.#pbdOf(srRef, hostRef, signal);
      if (other === null || !(await this.#sameConfig(other.deviceConfig, deviceConfig, signal))) throw error;
    }
  }

  async plugPbd(sr: Uuid, host: Uuid, signal?: AbortSignal): Promise<void> {
    const pbd = await this.#needPbd(sr, host, signal);
    if (!pbd.attached) await this.#objects.run('PBD.plug', [pbd.ref], { signal });
  }

  async unplugPbd(sr: Uuid, host: Uuid, signal?: AbortSignal): Promise<void> {
    const pbd = await this.#needPbd(sr, host, signal);
    if (pbd.attached) await this.#objects.run('PBD.unplug', [pbd.ref], { signal });
  }

  /** One that is gone already is what was wanted: the answer to an earlier call may have been lost. */
  async forget(sr: Uuid, signal?: AbortSignal): Promise<void> {
    try {
      await this.#objects.on('SR', sr, signal, (ref) => this.#objects.call('SR.forget', [ref], signal));
    } catch (error) {
      if (!isPeer(error, 'UUID_INVALID', 'HANDLE_INVALID')) throw error;
    }
  }

  async scan(sr: Uuid, signal?: AbortSignal): Promise<void> {
    await this.#objects.on('SR', sr, signal, (ref) => this.#objects.run('SR.scan', [ref], { signal }));
  }

  /** The name goes down to the storage, so a PBD must be plugged (xapi.md 7.2). */
  async setSrName(sr: Uuid, nameLabel: string, nameDescription: string, signal?: AbortSignal): Promise<void> {
    await this.#rename('SR', sr, nameLabel, nameDescription, signal);
  }

  async setVdiName(
    vdi: Uuid,
    nameLabel: string,
    nameDescription: string,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#rename('VDI', vdi, nameLabel, nameDescription, signal);
  }

  async setVdiOtherConfig(vdi: Uuid, key: string, value: string | null, signal?: AbortSignal): Promise<void> {
    await this.#objects.on('VDI', vdi, signal, async (ref) => {
      const there = (await this.#objects.call('VDI.get_other_config', [ref], signal)) as XapiRecord;
      const present = Object.hasOwn(there, key) ? there[key] : null;
      if (present === value) return;
      if (present !== null) await this.#objects.call('VDI.remove_from_other_config', [ref, key], signal);
      if (value !== null) await this.#objects.call('VDI.add_to_other_config', [ref, key, value], signal);
    });
  }

  async defaultSr(signal?: AbortSignal): Promise<Uuid | null> {
    const [pool] = (await this.#objects.call('pool.get_all', [], signal)) as readonly string[];
    const sr = String(await this.#objects.call('pool.get_default_SR', [String(pool)], signal));
    try {
      return String(await this.#objects.call('SR.get_uuid', [sr], signal));
    } catch (error) {
      // None is set, or the one that was set is gone.
      if (isPeer(error, 'HANDLE_INVALID')) return null;
      throw error;
    }
  }

  async #rename(
    className: 'SR' | 'VDI',
    uuid: Uuid,
    nameLabel: string,
    nameDescription: string,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#objects.on(className, uuid, signal, async (ref) => {
      if ((await this.#objects.call(`${className}.get_name_label`, [ref], signal)) !== nameLabel)
        await this.#objects.call(`${className}.set_name_label`, [ref, nameLabel], signal);
      if ((await this.#objects.call(`${className}.get_name_description`, [ref], signal)) !== nameDescription)
        await this.#objects.call(`${className}.set_name_description`, [ref, nameDescription], signal);
    });
  }

  get #site(): string {
    return this.#objects.pool.options.site;
  }

  #hideSecrets(deviceConfig: TextMap): void {
    for (const [key, value] of Object.entries(deviceConfig))
      if (key.endsWith('password')) this.#objects.pool.hide(value);
  }

  async #needPbd(sr: Uuid, host: Uuid, signal?: AbortSignal): Promise<Pbd> {
    const srRef = await this.#objects.ref('SR', sr, signal);
    const hostRef = await this.#objects.ref('host', host, signal);
    const pbd = await this.#pbdOf(srRef, hostRef, signal);
    if (pbd !== null) return pbd;
    throw portError('refused', this.#site, {
      object: `SR ${sr}`,
      code: 'DR-PBD-MISSING',
      what: 'The SR has no PBD for the host',
      known: [`host ${host}`],
      next: 'Create the PBD first',
    });
  }

  async #pbdOf(sr: string, host: string, signal?: AbortSignal): Promise<Pbd | null> {
    const refs = await this.#objects.call('SR.get_PBDs', [sr], signal);
    for (const ref of Array.isArray(refs) ? refs.map(String) : []) {
      const record = await this.#objects.record('PBD.get_record', ref, signal);
      if (record['host'] !== host) continue;
      return {
        ref,
        attached: record['currently_attached'] === true,
        deviceConfig: (record['device_config'] ?? {}) as TextMap,
      };
    }
    return null;
  }

  /** Compares what is there with what is wanted; passwords through their secrets. `SRmaster` is the pool's own key. */
  async #sameConfig(there: TextMap, wanted: TextMap, signal?: AbortSignal): Promise<boolean> {
    const seen: Record<string, string> = {};
    for (const [key, value] of Object.entries(there)) {
      if (key === 'SRmaster') continue;
      if (!key.endsWith('password_secret')) seen[key] = value;
      else {
        const password = await this.readSecret(value, signal);
        seen[key.slice(0, -'_secret'.length)] = password;
      }
    }
    const names = new Set([...Object.keys(seen), ...Object.keys(wanted)]);
    names.delete('SRmaster');
    return [...names].every((name) => seen[name] === wanted[name]);
  }

  async readSecret(uuid: Uuid, signal?: AbortSignal): Promise<string> {
    const ref = await this.#objects.call('secret.get_by_uuid', [uuid], signal);
    const value = String(await this.#objects.call('secret.get_value', [ref], signal));
    this.#objects.pool.hide(value);
    return value;
  }
}
