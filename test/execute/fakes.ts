/**
 * A world small enough to be written down as one JSON value: two sites, an array, a catalog. Each change is handed to
 * `onChange`, so that a test can keep the world in a file and kill the program between any two lines.
 */

import { createHash } from 'node:crypto';
import type { Adjustment } from '../../src/domain/actions/guests.ts';
import { PortError } from '../../src/domain/errors.ts';
import type { NamedVm } from '../../src/domain/plan.ts';
import type { PoolFacts, SrFacts, VmFacts } from '../../src/domain/pool.ts';
import type { StaticAddress } from '../../src/domain/recovery-plan.ts';
import type { ObjectRef, RecoveryPoint } from '../../src/domain/recovery-point.ts';
import type { World } from '../../src/execute/interpreter.ts';
import {
  MetadataDocument,
  type MetadataObject,
  packDocument,
  parseArchive,
} from '../../src/metadata/document.ts';
import type { XmlStruct } from '../../src/metadata/xmlvalue.ts';
import type { Catalog } from '../../src/ports/catalog.ts';
import type { ProbeHttp, RunInGuest, RunProgram } from '../../src/ports/guests.ts';
import type { Hypervisor, VmShape } from '../../src/ports/hypervisor.ts';
import type { Replication } from '../../src/ports/replication.ts';
import type { Clock, GroupStates } from '../../src/ports/system.ts';
import { noGuests } from '../support/guests.ts';
import { FakeArray } from './fake-array.ts';
import { at, type FakeSite, type FakeState, fakeSr, fakeVm, type Mutable, pair } from './fake-sites.ts';

export { FakeArray } from './fake-array.ts';
export {
  type FakeSite,
  type FakeState,
  fakeDisk,
  fakeSr,
  fakeVm,
  pair,
  replicaPoint,
  twoSites,
} from './fake-sites.ts';

const nullRef = 'OpaqueRef:NULL';

function refused(peerCode: string, what: string, peerParams: readonly string[] = []): PortError {
  return new PortError('refused', { code: 'DR-FAKE', what, next: 'Look' }, { peerCode, peerParams });
}

/** Passwords become `Secret` objects, of which a pool shows the uuid alone (xapi.md 7.2). */
function asShown(deviceConfig: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(deviceConfig).map(([key, value]) =>
      key.endsWith('password') ? [`${key}_secret`, value.replace(/^text of /, '')] : [key, value],
    ),
  );
}

/** A document as a pool would export it, snapshots left out. */
export function fakeDocument(vm: VmFacts, pool: PoolFacts): MetadataDocument {
  const object = (cls: string, id: string, fields: XmlStruct): MetadataObject => ({
    class: cls,
    id,
    fields,
    extra: null,
  });
  const disks = vm.vbds.flatMap((vbd) => pool.vdis.find((vdi) => vdi.uuid === vbd.vdiUuid) ?? []);
  const networks = vm.vifs.flatMap(
    (vif) => pool.networks.find((network) => network.uuid === vif.networkUuid) ?? [],
  );
  const srs = [...new Set(disks.map((disk) => disk.srUuid))];
  return new MetadataDocument(
    {
      hostname: 'h',
      date: '20260101',
      product_version: '8.3.0',
      product_brand: 'XCP-ng',
      build_number: '1',
      xapi_major: '25',
      xapi_minor: '6',
      export_vsn: '2',
    },
    [
      object('VM', 'Ref:1', {
        uuid: vm.uuid,
        name_label: vm.nameLabel,
        power_state: vm.powerState,
        is_a_snapshot: false,
        is_control_domain: false,
        is_a_template: false,
        affinity: nullRef,
        resident_on: nullRef,
        snapshot_of: nullRef,
        version: String(vm.version),
        ha_always_run: vm.haAlwaysRun,
        ha_restart_priority: vm.haRestartPriority,
        other_config: {},
        VBDs: vm.vbds.map((vbd) => `Ref:b${vbd.userdevice}`),
        VIFs: vm.vifs.map((vif) => `Ref:i${vif.device}`),
      }),
      ...srs.map((uuid) =>
        object('SR', `Ref:s${uuid}`, { uuid, name_label: uuid, content_type: 'user', type: 'nfs' }),
      ),
      ...disks.map((disk) =>
        object('VDI', `Ref:${disk.uuid}`, {
          uuid: disk.uuid,
          location: disk.location,
          SR: `Ref:s${disk.srUuid}`,
          virtual_size: String(disk.virtualSize),
          sm_config: {},
          other_config: {},
        }),
      ),
      ...networks.map((network) =>
        object('network', `Ref:n${network.uuid}`, {
          uuid: network.uuid,
          name_label: network.nameLabel,
          bridge: network.bridge,
        }),
      ),
      ...vm.vbds.map((vbd) =>
        object('VBD', `Ref:b${vbd.userdevice}`, {
          uuid: vbd.uuid,
          VM: 'Ref:1',
          VDI: vbd.vdiUuid === null ? nullRef : `Ref:${vbd.vdiUuid}`,
          userdevice: vbd.userdevice,
          type: vbd.type,
          mode: vbd.mode,
          empty: vbd.empty,
          currently_attached: vbd.attached,
        }),
      ),
      ...vm.vifs.map((vif) =>
        object('VIF', `Ref:i${vif.device}`, {
          uuid: vif.uuid,
          VM: 'Ref:1',
          network: `Ref:n${vif.networkUuid}`,
          device: vif.device,
          MAC: vif.mac,
          currently_attached: vif.attached,
        }),
      ),
    ],
  );
}

export class FakePool implements Hypervisor {
  readonly site: string;
  readonly world: FakeWorld;
  /** Names of VMs that an import refuses. */
  readonly refuseImport = new Set<string>();
  /** Called at the beginning of every call; throws to fail it. */
  before: (call: string, subject: string) => void = () => undefined;
  calls: string[] = [];

  constructor(world: FakeWorld, site: string) {
    this.world = world;
    this.site = site;
  }
  get #state(): FakeSite {
    const state = this.world.state.sites[this.site];
    if (state === undefined) throw new Error(`no site ${this.site}`);
    return state;
  }
  #call(call: string, subject = ''): FakeSite {
    this.calls.push(`${call} ${subject}`.trim());
    if (!this.#state.up)
      throw new PortError('unreachable', {
        code: 'DR-FAKE',
        what: `site ${this.site} does not answer`,
        next: 'Wait',
      });
    this.before(call, subject);
    return this.#state;
  }
  #vm(uuid: string): Mutable<VmFacts> {
    const vm = this.#state.pool.vms.find((candidate) => candidate.uuid === uuid);
    if (vm === undefined) throw refused('UUID_INVALID', `no VM ${uuid}`);
    return vm as Mutable<VmFacts>;
  }
  #sr(uuid: string): Mutable<SrFacts> {
    const sr = this.#state.pool.srs.find((candidate) => candidate.uuid === uuid);
    if (sr === undefined) throw refused('UUID_INVALID', `no SR ${uuid}`);
    return sr as Mutable<SrFacts>;
  }
  #did(deed: string): void {
    this.world.did(`${this.site}: ${deed}`);
  }

  async contact() {
    const { up } = this.#state;
    this.calls.push('contact');
    return [
      {
        url: `https://${this.site}`,
        answered: up,
        detail: up ? 'answers' : 'no answer in 10 s',
        observedAt: at,
      },
    ];
  }
  async observe(): Promise<PoolFacts> {
    return structuredClone(this.#call('observe').pool);
  }
  async serverTime() {
    return at;
  }
  async exportMetadata(vm: string): Promise<Uint8Array> {
    const { pool } = this.#call('export', vm);
    return packDocument(fakeDocument(this.#vm(vm), pool));
  }
  async exportAllMetadata(): Promise<AsyncIterable<Uint8Array>> {
    const { pool } = this.#call('export-all');
    const { merge } = await import('../../src/metadata/split.ts');
    const archive = packDocument(merge(pool.vms.map((vm) => fakeDocument(vm, pool))));
    return (async function* () {
      for (let from = 0; from < archive.length; from += 1000) yield archive.subarray(from, from + 1000);
    })();
  }
  async dumpDatabase(): Promise<AsyncIterable<Uint8Array>> {
    this.#call('dump');
    return (async function* () {
      yield new TextEncoder().encode('<database/>');
    })();
  }
  async readSecret(uuid: string): Promise<string> {
    this.#call('secret', uuid);
    return `text of ${uuid}`;
  }
  async createMarkedVdi(): Promise<string> {
    throw new Error('no step of this plan makes disks');
  }
  async destroyMarkedVdi(): Promise<void> {
    throw new Error('no step of this plan removes disks');
  }
  async exportRawVdi(): Promise<AsyncIterable<Uint8Array>> {
    throw new Error('no step of a plan reads raw disks');
  }
  async importRawVdi(): Promise<void> {
    throw new Error('no step of a plan writes raw disks');
  }
  async importRawPieces(): Promise<void> {
    throw new Error('no step of a plan writes raw disks');
  }
  async setVdiOtherConfig(): Promise<void> {
    throw new Error('no step of a plan marks disks');
  }
  async defaultSr(): Promise<string | null> {
    return null;
  }
  async probe(
    host: string,
    _type: string,
    deviceConfig: Readonly<Record<string, string>>,
  ): Promise<string[]> {
    const { exports } = this.#call('probe', host);
    const found = exports[`${deviceConfig['server']}:${deviceConfig['serverpath']}`];
    return found === undefined ? [] : [found.sr];
  }
  async introduceSr(
    sr: Pick<
      SrFacts,
      'uuid' | 'nameLabel' | 'nameDescription' | 'type' | 'contentType' | 'shared' | 'smConfig'
    >,
  ): Promise<void> {
    const { pool } = this.#call('introduce', sr.uuid);
    if (pool.srs.some((known) => known.uuid === sr.uuid)) throw refused('SR_UUID_EXISTS', 'SR exists');
    pool.srs = [...pool.srs, { ...fakeSr([], ''), ...sr, pbds: [] }];
    this.#did(`introduce ${sr.uuid}`);
  }
  async createPbd(sr: string, host: string, deviceConfig: Readonly<Record<string, string>>): Promise<void> {
    this.#call('create-pbd', host);
    const record = this.#sr(sr);
    const others = record.pbds.filter((pbd) => pbd.hostUuid !== host);
    const shown = asShown(deviceConfig);
    record.pbds = [...others, { uuid: `pbd-${host}`, hostUuid: host, attached: false, deviceConfig: shown }];
    this.#did(`pbd ${host} ${JSON.stringify(deviceConfig)}`);
  }
  async plugPbd(sr: string, host: string): Promise<void> {
    const { pool, exports } = this.#call('plug', host);
    const record = this.#sr(sr);
    const config = record.pbds.find((pbd) => pbd.hostUuid === host)?.deviceConfig ?? {};
    const found = exports[`${config['server']}:${config['serverpath']}`];
    if (found === undefined) throw refused('SR_BACKEND_FAILURE_73', 'mount error');
    record.pbds = record.pbds.map((pbd) => (pbd.hostUuid === host ? { ...pbd, attached: true } : pbd));
    const known = new Set(pool.vdis.map((vdi) => vdi.uuid));
    pool.vdis = [...pool.vdis, ...found.disks.filter((disk) => !known.has(disk.uuid))];
    this.#did(`plug ${host}`);
  }
  async unplugPbd(sr: string, host: string): Promise<void> {
    this.#call('unplug', host);
    const record = this.#sr(sr);
    record.pbds = record.pbds.map((pbd) => (pbd.hostUuid === host ? { ...pbd, attached: false } : pbd));
    this.#did(`unplug ${host}`);
  }
  async forgetSr(uuid: string): Promise<void> {
    const { pool } = this.#call('forget', uuid);
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
    this.#call('scan', sr);
    this.#did(`scan ${sr}`);
  }
  async setSrName(sr: string, nameLabel: string, nameDescription: string): Promise<void> {
    this.#call('name-sr', sr);
    Object.assign(this.#sr(sr), { nameLabel, nameDescription });
    this.#did(`name-sr ${nameLabel}`);
  }
  async setVdiName(uuid: string, nameLabel: string, nameDescription: string): Promise<void> {
    const { pool } = this.#call('name-vdi', uuid);
    pool.vdis = pool.vdis.map((vdi) => (vdi.uuid === uuid ? { ...vdi, nameLabel, nameDescription } : vdi));
    this.#did(`name-vdi ${nameLabel}`);
  }
  async importMetadata(archive: Uint8Array): Promise<readonly string[]> {
    const document = parseArchive(archive);
    const names = document.vms.map((vm) => vm.nameLabel).join('+');
    const { pool } = this.#call('import', names);
    for (const vm of document.vms) {
      if (this.refuseImport.has(vm.nameLabel))
        throw refused('VDI_LOCATION_MISSING', `the pool refuses ${vm.nameLabel}`);
      const known = pool.vms.find((candidate) => candidate.uuid === vm.uuid);
      if (known === undefined) continue;
      if (known.version >= vm.version && known.version > 0)
        throw refused('VM_TO_IMPORT_IS_NOT_NEWER_VERSION', 'it exists');
      pool.vms = pool.vms.filter((other) => other !== known);
    }
    const made = document.vms.map((vm): VmFacts => {
      const network = (name: string): string =>
        pool.networks.find((known) => known.nameLabel === name)?.uuid ?? 'created';
      return fakeVm(vm.uuid, '', {
        nameLabel: vm.nameLabel,
        powerState: 'Halted',
        version: vm.version + 1,
        haAlwaysRun: vm.haAlwaysRun,
        haRestartPriority: vm.haRestartPriority,
        otherConfig: vm.otherConfig,
        tags: vm.tags,
        vbds: vm.vbds.map((vbd) => ({
          uuid: vbd.uuid,
          vdiUuid: pool.vdis.find((vdi) => vdi.location === vbd.vdi?.location)?.uuid ?? null,
          userdevice: vbd.userdevice,
          type: vbd.type,
          mode: vbd.mode,
          empty: vbd.empty,
          bootable: true,
          attached: vbd.currentlyAttached,
        })),
        vifs: vm.vifs.map((vif) => ({
          uuid: vif.uuid,
          networkUuid: network(vif.network?.nameLabel ?? ''),
          device: vif.device,
          mac: vif.mac,
          attached: false,
        })),
      });
    });
    pool.vms = [...pool.vms, ...made];
    this.#did(`import ${names}`);
    return made.map((vm) => vm.uuid);
  }
  async resetPowerState(): Promise<void> {
    throw new Error('documents are rewritten instead');
  }
  async startVm(uuid: string): Promise<void> {
    this.#call('start', uuid);
    const vm = this.#vm(uuid);
    if (vm.blockedOperations['start'] !== undefined) throw refused('OPERATION_BLOCKED', 'start is blocked');
    if (vm.powerState !== 'Halted') throw refused('VM_BAD_POWER_STATE', `${uuid} is ${vm.powerState}`);
    vm.powerState = 'Running';
    vm.residentOn = this.#state.pool.masterUuid;
    this.#did(`start ${uuid}`);
  }
  async cleanShutdownVm(uuid: string, _signal?: AbortSignal): Promise<void> {
    this.#call('clean-shutdown', uuid);
    this.#vm(uuid).powerState = 'Halted';
    this.#did(`shutdown ${uuid}`);
  }
  async hardShutdownVm(uuid: string): Promise<void> {
    this.#call('hard-shutdown', uuid);
    this.#vm(uuid).powerState = 'Halted';
    this.#did(`switch-off ${uuid}`);
  }
  async destroyMarkedVm(uuid: string, mark: { readonly key: string; readonly value: string }): Promise<void> {
    const { pool } = this.#call('destroy', uuid);
    const vm = pool.vms.find((known) => known.uuid === uuid);
    if (vm === undefined) return;
    if (vm.otherConfig[mark.key] !== mark.value) throw refused('NOT_OURS', `${uuid} does not bear the mark`);
    if (vm.powerState !== 'Halted') throw refused('VM_BAD_POWER_STATE', `${uuid} is ${vm.powerState}`);
    pool.vms = pool.vms.filter((other) => other !== vm);
    this.#did(`destroy ${vm.nameLabel}`);
  }
  async whyNotHere(uuid: string) {
    this.#call('why-not', uuid);
    return [
      { host: 'oa', hostName: 'oa', reason: 'not enough memory' },
      { host: 'obb', hostName: 'obb', reason: 'disabled' },
    ];
  }
  async blockOperations(uuid: string, operations: readonly string[], reason: string): Promise<void> {
    this.#call('block', uuid);
    const vm = this.#vm(uuid);
    vm.blockedOperations = {
      ...vm.blockedOperations,
      ...Object.fromEntries(operations.map((name) => [name, reason])),
    };
    this.#did(`block ${uuid}`);
  }
  async unblockOperations(uuid: string, operations: readonly string[]): Promise<void> {
    this.#call('unblock', uuid);
    const vm = this.#vm(uuid);
    const left = Object.entries(vm.blockedOperations).filter(([name]) => !operations.includes(name));
    vm.blockedOperations = Object.fromEntries(left);
    this.#did(`unblock ${uuid}`);
  }
  async setHaRestartPriority(uuid: string, priority: string): Promise<void> {
    this.#call('ha', uuid);
    this.#vm(uuid).haRestartPriority = priority;
    this.#did(`ha ${uuid} ${priority}`);
  }
  async addVmTag(): Promise<void> {
    throw new Error('no step of these plans tags');
  }
  async setVmOtherConfig(uuid: string, key: string, value: string | null): Promise<void> {
    this.#call('mark', uuid);
    const vm = this.#vm(uuid);
    const { [key]: _before, ...others } = vm.otherConfig;
    vm.otherConfig = value === null ? others : { ...others, [key]: value };
    this.#did(`mark ${uuid} ${key}${value === null ? ' off' : ''}`);
  }
  async rebuildAppliance(
    nameLabel: string,
    nameDescription: string,
    vms: readonly string[],
  ): Promise<string> {
    const { pool } = this.#call('appliance', nameLabel);
    const others = pool.appliances.filter((known) => known.nameLabel !== nameLabel);
    pool.appliances = [...others, { uuid: 'app1', nameLabel, nameDescription, vmUuids: vms }];
    this.#did(`appliance ${nameLabel}`);
    return 'app1';
  }
  async vmShape(uuid: string): Promise<VmShape | null> {
    return this.#call('shape', uuid).pool.vms.find((vm) => vm.uuid === uuid) ?? null;
  }
  async setStartDelay(uuid: string, seconds: number): Promise<void> {
    this.#call('start-delay', uuid);
    this.#vm(uuid).startDelaySeconds = seconds;
    this.#did(`start delay ${seconds} of ${uuid}`);
  }
  async adjustVm(uuid: string, { memory, vcpus, host }: Adjustment): Promise<void> {
    this.#call('adjust', uuid);
    const vm = this.#vm(uuid);
    if (memory !== null)
      Object.assign(vm, {
        memoryStaticMax: memory.staticMax,
        memoryDynamicMax: memory.dynamicMax,
        memoryDynamicMin: memory.dynamicMin,
      });
    if (vcpus !== null) vm.vcpusAtStartup = vcpus;
    if (host !== null) vm.affinity = host.uuid;
    this.#did(`adjust ${uuid}`);
  }
  readonly #addresses = new Map<string, Map<string, StaticAddress>>();
  async vifAddresses(uuid: string): Promise<readonly StaticAddress[]> {
    this.#call('addresses', uuid);
    return [...(this.#addresses.get(uuid) ?? new Map<string, StaticAddress>()).values()];
  }
  async setVifAddress(uuid: string, address: StaticAddress): Promise<void> {
    this.#call('set-address', uuid);
    const vm = this.#vm(uuid);
    if (vm.guest === null) throw refused('VM_LACKS_FEATURE', 'the guest agent cannot do it');
    const known = this.#addresses.get(uuid) ?? new Map<string, StaticAddress>();
    this.#addresses.set(uuid, known.set(address.device, address));
    this.#did(`address ${uuid} ${address.device} ${address.ipv4?.address ?? address.ipv6?.address}`);
  }
  async vmStates(vms: readonly string[]) {
    const { pool } = this.#call('states', vms.join('+'));
    return new Map(
      pool.vms
        .filter((vm) => vms.includes(vm.uuid))
        .map(
          (vm) =>
            [
              vm.uuid,
              {
                powerState: vm.powerState,
                residentOn: vm.residentOn,
                startDelaySeconds: vm.startDelaySeconds,
                guest: vm.guest,
              },
            ] as const,
        ),
    );
  }
  async close(): Promise<void> {
    this.calls = [];
  }
}

export class FakeCatalog implements Catalog {
  readonly #world: FakeWorld;
  /** Targets that refuse a point. */
  failing: string[] = [];
  damagedIn: string[] = [];
  readonly targets = ['near', 'far'];

  constructor(world: FakeWorld) {
    this.#world = world;
  }
  async put(bytes: Uint8Array): Promise<ObjectRef> {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    this.#world.state.objects[sha256] ??= Buffer.from(bytes).toString('base64');
    return { sha256, bytes: bytes.length };
  }
  async putStream(stream: AsyncIterable<Uint8Array>): Promise<ObjectRef> {
    const parts: Uint8Array[] = [];
    for await (const part of stream) parts.push(part);
    return this.put(Buffer.concat(parts));
  }
  async get(object: ObjectRef): Promise<Uint8Array> {
    const found = this.#world.state.objects[object.sha256];
    if (found === undefined) throw refused('NO_OBJECT', `object ${object.sha256} is gone`);
    return Buffer.from(found, 'base64');
  }
  #outcomes(failing: readonly string[]) {
    return this.targets.map((target) => ({
      target,
      ok: !failing.includes(target),
      problem: failing.includes(target)
        ? { code: 'DR-FAKE' as const, what: `${target} is full`, next: 'Free space' }
        : null,
    }));
  }
  async seal(point: RecoveryPoint) {
    if (this.failing.length < this.targets.length) {
      this.#world.state.points[point.id] = point;
      this.#world.did(`seal ${point.id}`);
    }
    return this.#outcomes(this.failing);
  }
  async list() {
    return {
      points: Object.values(this.#world.state.points).map((point) => ({
        id: point.id,
        group: point.group,
        takenAt: point.takenAt,
        vmCount: point.vms.length,
        failureCount: point.failures.length,
        good: true,
        targets: this.targets,
        bytes: 1,
      })),
      damaged: [],
      targets: this.#outcomes([]),
    };
  }
  async read(pointId: string): Promise<RecoveryPoint> {
    const point = this.#world.state.points[pointId];
    if (point === undefined) throw refused('NO_POINT', `no point ${pointId}`);
    return structuredClone(point);
  }
  async verify(options: { readonly pointId?: string }) {
    const known = options.pointId !== undefined && this.#world.state.points[options.pointId] !== undefined;
    return {
      pointsChecked: known ? 1 : 0,
      objectsChecked: 1,
      bytesRead: 1,
      damage: this.damagedIn.map((target) => ({
        target,
        file: 'objects/aa',
        point: null,
        what: 'its hash differs',
      })),
      targets: this.#outcomes([]),
    };
  }
  async prune() {
    return { removed: [], kept: [], bytesFreed: 0 };
  }
  async close(): Promise<void> {
    this.failing = [];
  }
}

export class FakeWorld implements World {
  readonly state: FakeState;
  readonly clock: Clock;
  readonly groups = [];
  readonly pools: Record<string, FakePool>;
  /** The array that holds the replica. */
  readonly filer: FakeArray;
  readonly #sourceFiler: FakeArray;
  readonly store: FakeCatalog;
  readonly #states: GroupStates;
  onChange: (state: FakeState) => void = () => undefined;
  openPorts = new Set<string>();
  probeHttp: ProbeHttp = noGuests.probeHttp;
  runInGuest: RunInGuest = noGuests.runInGuest;
  runProgram: RunProgram = noGuests.runProgram;

  constructor(state: FakeState, clock: Clock, states: GroupStates) {
    this.state = state;
    this.clock = clock;
    this.#states = states;
    this.pools = Object.fromEntries(Object.keys(state.sites).map((site) => [site, new FakePool(this, site)]));
    this.filer = new FakeArray(this, pair.target.array);
    this.#sourceFiler = new FakeArray(this, pair.source.array);
    this.store = new FakeCatalog(this);
  }
  did(deed: string): void {
    this.state.deeds.push(deed);
    this.onChange(this.state);
  }
  pool(site: string): FakePool {
    const pool = this.pools[site];
    if (pool === undefined) throw new Error(`no site ${site}`);
    return pool;
  }
  async states(): Promise<GroupStates> {
    return this.#states;
  }
  async hypervisor(site: string): Promise<Hypervisor> {
    return this.pool(site);
  }
  async array(name: string): Promise<Replication> {
    return name === this.#sourceFiler.array ? this.#sourceFiler : this.filer;
  }
  async catalog(): Promise<Catalog> {
    return this.store;
  }
  async probeTcp(address: string, port: number): Promise<boolean> {
    return this.openPorts.has(`${address}:${port}`);
  }
  async rehearse() {
    return [];
  }
}

export const named = (name: string): NamedVm => ({ uuid: name, nameLabel: name });
