/** The pool of one site of the model, as the toolstack would answer. */
import { PortError } from '../../../src/domain/errors.ts';
import type { PbdFacts, PoolFacts, SrFacts, VmFacts } from '../../../src/domain/pool.ts';
import { packDocument, parseArchive } from '../../../src/metadata/document.ts';
import { merge } from '../../../src/metadata/split.ts';
import type { Hypervisor, SrRecord } from '../../../src/ports/hypervisor.ts';
import type { Mutable } from '../../execute/fake-sites.ts';
import { fakeDocument, fakeSr } from '../../execute/fakes.ts';
import { type ModelWorld, setPower } from './state.ts';

export function refused(peerCode: string, what: string): PortError {
  return new PortError('refused', { code: 'DR-MODEL', what, next: 'Look' }, { peerCode });
}

export function silent(what: string): PortError {
  return new PortError('unreachable', { code: 'DR-MODEL', what, next: 'Wait' });
}

const neverAsked = async (): Promise<never> => {
  throw new Error('no step of a plan asks for it');
};

export class ModelPool implements Hypervisor {
  readonly site: string;
  readonly #world: ModelWorld;

  constructor(world: ModelWorld, site: string) {
    this.#world = world;
    this.site = site;
  }

  exportRawVdi = neverAsked;
  importRawVdi = neverAsked;
  importRawPieces = neverAsked;
  setVdiOtherConfig = neverAsked;
  defaultSr = neverAsked;
  createMarkedVdi = neverAsked;
  destroyMarkedVdi = neverAsked;
  resetPowerState = neverAsked;
  setVifAddress = neverAsked;

  #pool(): Mutable<PoolFacts> {
    const { up, pool } = this.#world.site(this.site);
    if (!up) throw silent(`site ${this.site} does not answer`);
    return pool;
  }
  #vm(uuid: string): Mutable<VmFacts> {
    const vm = this.#pool().vms.find((each) => each.uuid === uuid);
    if (vm === undefined) throw refused('HANDLE_INVALID', `no VM ${uuid} at ${this.site}`);
    return vm as Mutable<VmFacts>;
  }
  #sr(uuid: string): Mutable<SrFacts> {
    const sr = this.#pool().srs.find((each) => each.uuid === uuid);
    if (sr === undefined) throw refused('HANDLE_INVALID', `no SR ${uuid} at ${this.site}`);
    return sr as Mutable<SrFacts>;
  }
  #did(deed: string): void {
    this.#world.did(`${this.site}: ${deed}`);
  }

  async contact() {
    const { up } = this.#world.site(this.site);
    const detail = up ? 'answers' : 'no answer';
    return [{ url: `https://${this.site}`, answered: up, detail, observedAt: this.#world.now() }];
  }
  async observe(): Promise<PoolFacts> {
    const now = this.#world.now();
    return { ...structuredClone(this.#pool()), observedAt: now, serverTime: now, clockOffsetSeconds: 0 };
  }
  async serverTime() {
    this.#pool();
    return this.#world.now();
  }
  async exportMetadata(vm: string): Promise<Uint8Array> {
    return packDocument(fakeDocument(this.#vm(vm), this.#pool()));
  }
  async exportAllMetadata(): Promise<AsyncIterable<Uint8Array>> {
    const pool = this.#pool();
    const archive = packDocument(merge(pool.vms.map((vm) => fakeDocument(vm, pool))));
    return (async function* () {
      yield archive;
    })();
  }
  async dumpDatabase(): Promise<AsyncIterable<Uint8Array>> {
    this.#pool();
    return (async function* () {
      yield new TextEncoder().encode('<database/>');
    })();
  }
  async readSecret(uuid: string): Promise<string> {
    this.#pool();
    return `text of ${uuid}`;
  }

  async probe(_host: string, _type: string, config: Readonly<Record<string, string>>): Promise<string[]> {
    this.#pool();
    const found = this.#world.at(this.site, config['server'] ?? '', config['serverpath'] ?? '');
    return found === null || found.content === 'read-only' ? [] : [found.volume.sr];
  }
  async introduceSr(sr: SrRecord): Promise<void> {
    const pool = this.#pool();
    if (pool.srs.some((known) => known.uuid === sr.uuid)) throw refused('SR_UUID_EXISTS', 'the SR exists');
    pool.srs = [...pool.srs, { ...fakeSr([], ''), ...sr, pbds: [] }];
    this.#did(`introduce ${sr.nameLabel}`);
  }
  async createPbd(sr: string, host: string, deviceConfig: Readonly<Record<string, string>>): Promise<void> {
    const record = this.#sr(sr);
    const known = record.pbds.find((pbd) => pbd.hostUuid === host);
    if (known !== undefined && JSON.stringify(known.deviceConfig) === JSON.stringify(deviceConfig)) return;
    if (known?.attached === true) throw refused('PBD_EXISTS', 'it is plugged with another device_config');
    const made: PbdFacts = { uuid: `pbd-${sr}-${host}`, hostUuid: host, attached: false, deviceConfig };
    record.pbds = [...record.pbds.filter((pbd) => pbd !== known), made];
    this.#did(`pbd of ${record.nameLabel} on ${host}`);
  }
  async plugPbd(sr: string, host: string): Promise<void> {
    const record = this.#sr(sr);
    const pbd = record.pbds.find((each) => each.hostUuid === host);
    if (pbd?.attached === true) return;
    const { server = '', serverpath = '' } = pbd?.deviceConfig ?? {};
    const found = this.#world.at(this.site, server, serverpath);
    if (found === null || found.content === 'read-only')
      throw refused('SR_BACKEND_FAILURE_73', 'mount error');
    record.pbds = record.pbds.map((each) => (each === pbd ? { ...each, attached: true } : each));
    this.#scan(found.volume.sr);
    this.#did(`plug ${record.nameLabel} on ${host}`);
  }
  /** The names of disks that are new to the pool are not on the storage. */
  #scan(sr: string): void {
    const pool = this.#pool();
    const known = new Set(pool.vdis.map((vdi) => vdi.uuid));
    const disks = Object.values(this.#world.state.sites).flatMap((site) => site.pool.vdis);
    const fresh = disks.filter((vdi) => vdi.srUuid === sr && !known.has(vdi.uuid));
    pool.vdis = [...pool.vdis, ...fresh.map((vdi) => ({ ...vdi, nameLabel: '', nameDescription: '' }))];
  }
  async unplugPbd(sr: string, host: string): Promise<void> {
    const record = this.#sr(sr);
    const pool = this.#pool();
    const disks = new Set(pool.vdis.filter((vdi) => vdi.srUuid === sr).map((vdi) => vdi.uuid));
    const users = pool.vms.filter(
      (vm) => vm.powerState === 'Running' && vm.vbds.some((vbd) => disks.has(vbd.vdiUuid ?? '')),
    );
    if (users.length > 0) throw refused('SR_IN_USE', `${users.length} VMs run on it`);
    record.pbds = record.pbds.map((pbd) => (pbd.hostUuid === host ? { ...pbd, attached: false } : pbd));
    this.#did(`unplug ${record.nameLabel} on ${host}`);
  }
  async forgetSr(uuid: string): Promise<void> {
    const pool = this.#pool();
    if (this.#sr(uuid).pbds.some((pbd) => pbd.attached)) throw refused('SR_HAS_PBD', 'a PBD is plugged');
    pool.srs = pool.srs.filter((sr) => sr.uuid !== uuid);
    const gone = new Set(pool.vdis.filter((vdi) => vdi.srUuid === uuid).map((vdi) => vdi.uuid));
    pool.vdis = pool.vdis.filter((vdi) => vdi.srUuid !== uuid);
    // The database cleans drives up whose disk is gone (xapi.md 7.9).
    pool.vms = pool.vms.map((vm) => ({
      ...vm,
      vbds: vm.vbds.filter((vbd) => !gone.has(vbd.vdiUuid ?? '')),
    }));
    this.#did(`forget ${uuid}`);
  }
  async scanSr(sr: string): Promise<void> {
    this.#scan(this.#sr(sr).uuid);
    this.#did(`scan ${sr}`);
  }
  async setSrName(sr: string, nameLabel: string, nameDescription: string): Promise<void> {
    Object.assign(this.#sr(sr), { nameLabel, nameDescription });
    this.#did(`name ${nameLabel}`);
  }
  async setVdiName(uuid: string, nameLabel: string, nameDescription: string): Promise<void> {
    const pool = this.#pool();
    pool.vdis = pool.vdis.map((vdi) => (vdi.uuid === uuid ? { ...vdi, nameLabel, nameDescription } : vdi));
    this.#did(`name ${nameLabel}`);
  }

  /** All or nothing, as xapi does it; a halted VM of the same uuid is replaced when the document is newer. */
  async importMetadata(archive: Uint8Array): Promise<readonly string[]> {
    const document = parseArchive(archive);
    const pool = this.#pool();
    for (const vm of document.vms) {
      const known = pool.vms.find((each) => each.uuid === vm.uuid);
      if (known === undefined) continue;
      if (known.powerState !== 'Halted') throw refused('VM_BAD_POWER_STATE', `${vm.nameLabel} runs here`);
      if (known.version > vm.version) throw refused('VM_TO_IMPORT_IS_NOT_NEWER_VERSION', 'it exists');
    }
    const made = document.vms.map((vm): VmFacts => {
      const network = (name: string): string => {
        const found = pool.networks.find((each) => each.nameLabel === name);
        // Invariant 12: an import makes a network that it does not find.
        if (found === undefined) this.#world.violation(`network ${name} was created by an import`);
        return found?.uuid ?? 'created';
      };
      const original = this.#world.state.originals[vm.otherConfig['lifeboat:original'] ?? vm.uuid];
      if (original === undefined) throw refused('IMPORT_ERROR', `nobody knows ${vm.nameLabel}`);
      return {
        ...original,
        uuid: vm.uuid,
        nameLabel: vm.nameLabel,
        powerState: 'Halted',
        residentOn: null,
        version: vm.version + 1,
        otherConfig: vm.otherConfig,
        haAlwaysRun: vm.haAlwaysRun,
        haRestartPriority: vm.haRestartPriority,
        applianceUuid: null,
        blockedOperations: {},
        guest: null,
        vbds: vm.vbds.map((vbd) => ({
          ...{ uuid: vbd.uuid, userdevice: vbd.userdevice, type: vbd.type, mode: vbd.mode, empty: vbd.empty },
          vdiUuid: pool.vdis.find((vdi) => vdi.location === vbd.vdi?.location)?.uuid ?? null,
          ...{ bootable: true, attached: vbd.currentlyAttached },
        })),
        vifs: vm.vifs.map((vif) => ({
          ...{ uuid: vif.uuid, device: vif.device, mac: vif.mac, attached: false },
          networkUuid: network(vif.network?.nameLabel ?? ''),
        })),
      };
    });
    const replaced = new Set(made.map((vm) => vm.uuid));
    pool.vms = [...pool.vms.filter((vm) => !replaced.has(vm.uuid)), ...made];
    this.#did(`import ${document.vms.map((vm) => vm.nameLabel).join('+')}`);
    return made.map((vm) => vm.uuid);
  }

  async startVm(uuid: string): Promise<void> {
    const vm = this.#vm(uuid);
    if (vm.blockedOperations['start'] !== undefined) throw refused('OPERATION_BLOCKED', 'start is blocked');
    if (vm.powerState !== 'Halted') {
      this.#world.violation(`VM started twice: ${vm.nameLabel} at ${this.site}`);
      throw refused('VM_BAD_POWER_STATE', `${vm.nameLabel} is ${vm.powerState}`);
    }
    if (this.#world.contentOf(this.site, this.#pool(), vm) === null)
      throw refused('SR_HAS_NO_PBDS', `the disk of ${vm.nameLabel} is not attached`);
    const pool = this.#pool();
    setPower(vm, true, pool.masterUuid);
    this.#did(`start ${vm.nameLabel}`);
  }
  async cleanShutdownVm(uuid: string): Promise<void> {
    this.#halt(uuid, 'shut down');
  }
  async hardShutdownVm(uuid: string): Promise<void> {
    this.#halt(uuid, 'switch off');
  }
  #halt(uuid: string, how: string): void {
    const vm = this.#vm(uuid);
    if (vm.powerState === 'Halted') throw refused('VM_BAD_POWER_STATE', `${vm.nameLabel} is halted`);
    // The last writes of a guest reach its disk before it stops.
    this.#world.write();
    setPower(vm, false, null);
    this.#did(`${how} ${vm.nameLabel}`);
  }
  async destroyMarkedVm(uuid: string, mark: { readonly key: string; readonly value: string }): Promise<void> {
    const pool = this.#pool();
    const vm = pool.vms.find((known) => known.uuid === uuid);
    if (vm === undefined) return;
    if (vm.otherConfig[mark.key] !== mark.value) {
      this.#world.violation(
        `invariant 11: ${vm.nameLabel} at ${this.site} was to be destroyed, and is not ours`,
      );
      throw refused('NOT_OURS', `${vm.nameLabel} does not bear the mark`);
    }
    if (vm.powerState !== 'Halted')
      throw refused('VM_BAD_POWER_STATE', `${vm.nameLabel} is ${vm.powerState}`);
    pool.vms = pool.vms.filter((other) => other !== vm);
    this.#did(`destroy ${vm.nameLabel}`);
  }
  async whyNotHere() {
    return this.#pool().hosts.map((host) => ({ host: host.uuid, hostName: host.nameLabel, reason: '' }));
  }
  async blockOperations(uuid: string, operations: readonly string[], reason: string): Promise<void> {
    const vm = this.#vm(uuid);
    const blocked = Object.fromEntries(operations.map((name) => [name, reason]));
    vm.blockedOperations = { ...vm.blockedOperations, ...blocked };
    this.#did(`block ${vm.nameLabel}`);
  }
  async unblockOperations(uuid: string, operations: readonly string[]): Promise<void> {
    const vm = this.#vm(uuid);
    const left = Object.entries(vm.blockedOperations).filter(([name]) => !operations.includes(name));
    vm.blockedOperations = Object.fromEntries(left);
    this.#did(`unblock ${vm.nameLabel}`);
  }
  async setHaRestartPriority(uuid: string, priority: string): Promise<void> {
    const vm = this.#vm(uuid);
    vm.haRestartPriority = priority;
    this.#did(`ha ${vm.nameLabel} ${priority}`);
  }
  async addVmTag(uuid: string, tag: string): Promise<void> {
    const vm = this.#vm(uuid);
    if (vm.tags.includes(tag)) return;
    vm.tags = [...vm.tags, tag];
    this.#did(`tag ${vm.nameLabel}`);
  }
  async setVmOtherConfig(uuid: string, key: string, value: string | null): Promise<void> {
    const vm = this.#vm(uuid);
    const { [key]: _before, ...rest } = vm.otherConfig;
    vm.otherConfig = value === null ? rest : { ...rest, [key]: value };
    this.#did(`mark ${vm.nameLabel} ${key}`);
  }
  async rebuildAppliance(nameLabel: string, nameDescription: string, vms: readonly string[]) {
    const pool = this.#pool();
    const known = pool.appliances.find((vapp) => vapp.nameLabel === nameLabel);
    const uuid = known?.uuid ?? `vapp-${this.site}`;
    const made = { uuid, nameLabel, nameDescription, vmUuids: [...vms] };
    pool.appliances = [...pool.appliances.filter((vapp) => vapp !== known), made];
    for (const vm of pool.vms as Mutable<VmFacts>[]) if (vms.includes(vm.uuid)) vm.applianceUuid = uuid;
    this.#did(`appliance ${nameLabel}`);
    return uuid;
  }
  async vmShape(uuid: string) {
    return this.#pool().vms.find((vm) => vm.uuid === uuid) ?? null;
  }
  async setStartDelay(uuid: string, seconds: number): Promise<void> {
    this.#vm(uuid).startDelaySeconds = seconds;
  }
  async adjustVm(uuid: string): Promise<void> {
    this.#vm(uuid);
  }
  async vifAddresses() {
    this.#pool();
    return [];
  }
  async vmStates(vms: readonly string[]) {
    return new Map(
      this.#pool()
        .vms.filter((vm) => vms.includes(vm.uuid))
        .map(
          ({ uuid, powerState, residentOn, startDelaySeconds, guest }) =>
            [uuid, { powerState, residentOn, startDelaySeconds, guest }] as const,
        ),
    );
  }
  async close(): Promise<void> {
    return undefined;
  }
}
