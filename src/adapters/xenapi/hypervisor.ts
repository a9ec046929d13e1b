/**
 * The hypervisor port over XenAPI, and the plain calls beside it for benches and contract tests. One instance is one
 * pool: it connects at the first call and logs out in `close`.
 */
import { readFileSync } from 'node:fs';
import type { Adjustment } from '../../domain/actions/guests.ts';
import { PortError } from '../../domain/errors.ts';
import type { EndpointView } from '../../domain/observation.ts';
import type { PoolFacts, TextMap, Uuid } from '../../domain/pool.ts';
import type { StaticAddress } from '../../domain/recovery-plan.ts';
import type { HostAddress, PoolSettings } from '../../domain/settings.ts';
import { type Instant, secondsBetween } from '../../domain/time.ts';
import type { DiskPiece, Extent } from '../../ports/backup-vdi.ts';
import type { Hypervisor, SrRecord, VmShape, VmState } from '../../ports/hypervisor.ts';
import type { Clock } from '../../ports/system.ts';
import { type CallOptions, type DebugLog, PoolConnection, unlessAborted } from './connection.ts';
import type { Marks } from './digest.ts';
import { Disks } from './disks.ts';
import {
  allMarks,
  condensed,
  type ObservedClass,
  observedClasses,
  optionalClasses,
  poolFacts,
  type Records,
  readFields,
} from './facts.ts';
import { portError } from './failures.ts';
import { type Endpoint, type HostLink, LinkError } from './link.ts';
import { type Mark, MarkedDisks } from './marked-disks.ts';
import { isPeer, Objects } from './objects.ts';
import { withRetry } from './retry.ts';
import { greet } from './rpc.ts';
import { Storage } from './storage.ts';
import { Tasks } from './tasks.ts';
import { Transfers } from './transfers.ts';
import type { XapiRecord, XapiValue } from './values.ts';
import { VmShapes } from './vm-shapes.ts';
import { Vms } from './vms.ts';
import type { Protocol, XapiParam } from './wire.ts';

export interface HypervisorOptions {
  readonly site: string;
  readonly pool: PoolSettings;
  /** Fetched at each login, never kept outside memory. */
  readonly password: () => Promise<string>;
  readonly clock: Clock;
  readonly log?: DebugLog;
}

/** XenAPI as it is: any method, decoded by the data model. Throws `PortError`. */
export interface XapiCalls {
  /** The session is put in front of `params`. */
  call(method: string, params?: readonly XapiParam[], options?: CallOptions): Promise<XapiValue>;
  /** Runs `Async.<method>` and waits for its task. */
  run(method: string, params?: readonly XapiParam[], signal?: AbortSignal): Promise<XapiValue>;
  /** The transport that the connected host speaks. */
  protocol(): Promise<Protocol>;
}

const contactTimeoutSeconds = 10;

/** Checks the settings at once; the pool itself is contacted at the first call. */
export function openHypervisor(options: HypervisorOptions): Hypervisor & { readonly xapi: XapiCalls } {
  return new XapiHypervisor(options);
}

function endpointOf(host: HostAddress, ca: string | null, site: string): Endpoint {
  const url = URL.parse(host.url);
  if (url === null || url.protocol !== 'https:')
    throw portError('refused', site, {
      object: host.url,
      code: 'DR-CONFIG-ADDRESS',
      what: 'The address of a host is not of the form https://name[:port]',
      next: 'Correct the address in sites.yaml',
    });
  return {
    url: host.url,
    hostname: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 443 : Number(url.port),
    fingerprint: host.fingerprint?.replaceAll(':', '').toLowerCase() ?? null,
    ca,
  };
}

class XapiHypervisor implements Hypervisor {
  readonly site: string;
  readonly xapi: XapiCalls;
  readonly #pool: PoolConnection;
  readonly #clock: Clock;
  readonly #tasks: Tasks;
  readonly #transfers: Transfers;
  readonly #disks: Disks;
  readonly #objects: Objects;
  readonly #marked: MarkedDisks;
  readonly #storage: Storage;
  readonly #vms: Vms;
  readonly #shapes: VmShapes;

  constructor(options: HypervisorOptions) {
    const { pool } = options;
    this.site = options.site;
    this.#clock = options.clock;
    const ca = pool.caFile === null ? null : readCa(pool.caFile, options.site);
    this.#pool = new PoolConnection({
      site: options.site,
      endpoints: pool.hosts.map((host) => endpointOf(host, ca, options.site)),
      username: pool.username,
      password: options.password,
      poolUuid: pool.poolUuid,
      transport: pool.transport,
      maxRequests: pool.maxRequests,
      clock: options.clock,
      log: options.log,
      oldTls: pool.oldTls ?? false,
      userAgent: 'lifeboat',
    });
    this.#tasks = new Tasks(this.#pool);
    this.#transfers = new Transfers(this.#pool, this.#tasks);
    this.#disks = new Disks(this.#pool, this.#tasks);
    this.#objects = new Objects(this.#pool, this.#tasks);
    this.#marked = new MarkedDisks(this.#objects);
    this.#storage = new Storage(this.#objects);
    this.#vms = new Vms(this.#objects);
    this.#shapes = new VmShapes(this.#objects);
    this.xapi = {
      call: (method, params = [], callOptions = {}) => this.#pool.call(method, params, callOptions),
      run: (method, params = [], signal = undefined) => this.#tasks.run(method, params, { signal }),
      protocol: async () => (await this.#pool.live()).protocol,
    };
  }

  contact(signal?: AbortSignal): Promise<readonly EndpointView[]> {
    return Promise.all(this.#pool.links.map((link) => this.#contactOne(link, signal)));
  }

  async #contactOne(link: HostLink, signal: AbortSignal | undefined): Promise<EndpointView> {
    const view = (answered: boolean, detail: string): EndpointView => ({
      url: link.endpoint.url,
      answered,
      detail,
      observedAt: this.#clock.now(),
    });
    try {
      const greeting = await greet(link, this.#pool.options.transport, {
        context: this.#pool.context('contact'),
        timeoutSeconds: contactTimeoutSeconds,
        signal,
        fresh: true,
      });
      const transport = greeting.protocol === 'jsonrpc' ? 'JSON-RPC' : 'XML-RPC';
      switch (greeting.peerCode) {
        case 'HOST_IS_SLAVE':
          return view(
            true,
            `xapi answers over ${transport}: a member, its coordinator is ${greeting.peerParams[0]}`,
          );
        case 'HOST_STILL_BOOTING':
          return view(true, `xapi answers over ${transport}: the host is still booting`);
        default:
          return view(true, `xapi answers over ${transport}`);
      }
    } catch (error) {
      if (!(error instanceof PortError)) return view(false, String(error));
      const detail = [error.problem.what, ...(error.problem.known ?? [])].join('; ');
      // Something takes connections, even if xapi says nothing or another certificate is shown: that counts as life.
      const alive =
        error.kind === 'trust' ||
        error.kind === 'protocol' ||
        (error instanceof LinkError && error.contacted);
      return view(alive, detail);
    }
  }

  async observe(signal?: AbortSignal): Promise<PoolFacts> {
    // First of all: where nobody answers, twenty reads would each look for a host again.
    await this.#pool.live(signal);
    const clock = this.#poolClock(signal);
    const marks = new Map<ObservedClass, Marks>();
    const reads = observedClasses.map(async (name): Promise<[ObservedClass, XapiRecord]> => {
      try {
        const read = condensed(name, await this.#objects.all(name, readFields[name], signal));
        if (read.marks !== null) marks.set(name, read.marks);
        return [name, read.records];
      } catch (error) {
        if (optionalClasses.has(name) && isPeer(error, 'MESSAGE_METHOD_UNKNOWN', 'MESSAGE_REMOVED'))
          return [name, {}];
        throw error;
      }
    });
    const [moment, ...entries] = await unlessAborted(Promise.all([clock, ...reads]), signal, this.site);
    const records = Object.fromEntries(entries) as Records;
    const freeMemory = await this.#freeMemory(records, signal);
    const facts = poolFacts(
      records,
      { ...moment, observedAt: this.#clock.now(), freeMemory },
      allMarks((name) => marks.get(name) ?? new Map()),
    );
    return this.#pool.options.oldTls ? { ...facts, oldTls: true } : facts;
  }

  async #freeMemory(records: Records, signal: AbortSignal | undefined): Promise<ReadonlyMap<string, number>> {
    const free = new Map<string, number>();
    await this.#objects.each(
      Object.keys(records.host),
      async (ref) => {
        try {
          free.set(ref, Number(await this.#objects.call('host.compute_free_memory', [ref], signal)));
        } catch (error) {
          if (!(error instanceof PortError) || error.kind !== 'refused') throw error;
        }
      },
      signal,
    );
    return free;
  }

  /** The pool looked at its clock, which shows whole seconds, at some moment between question and answer. */
  async #poolClock(
    signal: AbortSignal | undefined,
  ): Promise<{ readonly serverTime: Instant; readonly clockOffsetSeconds: number }> {
    const asked = this.#clock.now();
    const serverTime = await this.serverTime(signal);
    const answered = this.#clock.now();
    const ahead = secondsBetween(answered, serverTime);
    const behind = secondsBetween(asked, serverTime);
    return { serverTime, clockOffsetSeconds: ahead > 0 ? ahead : behind < -1 ? behind : 0 };
  }

  async serverTime(signal?: AbortSignal): Promise<Instant> {
    const { pool } = await this.#pool.live(signal);
    const coordinator = await this.#objects.call('pool.get_master', [pool], signal);
    return String(await this.#objects.call('host.get_servertime', [coordinator], signal));
  }

  async exportMetadata(
    vm: Uuid,
    options: { readonly snapshots: boolean },
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    // Only `true` and `false` are understood; anything else is an error 500 (xapi.md 3.2).
    return this.#transfers.download(
      '/export_metadata',
      { uuid: vm, export_snapshots: options.snapshots ? 'true' : 'false' },
      signal,
    );
  }

  exportAllMetadata(signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    // Snapshots stay in: without them they would become ordinary VMs (xapi.md 3.2).
    return this.#transfers.stream(
      '/export_metadata',
      { all: 'true', include_dom0: 'false', export_snapshots: 'true' },
      signal,
    );
  }

  dumpDatabase(signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return this.#transfers.streamXml('/pool/xmldbdump', '</database>', signal);
  }

  readSecret(uuid: Uuid, signal?: AbortSignal): Promise<string> {
    return this.#storage.readSecret(uuid, signal);
  }

  async exportRawVdi(vdi: Uuid, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const size = await this.#objects.on('VDI', vdi, signal, (ref) =>
      this.#objects.call('VDI.get_virtual_size', [ref], signal),
    );
    return withRetry(() => this.#disks.read(vdi, size as number | bigint, signal), this.#clock, signal);
  }

  importRawVdi(
    vdi: Uuid,
    content: AsyncIterable<Uint8Array>,
    bytes: number,
    signal?: AbortSignal,
  ): Promise<void> {
    return this.#disks.write(vdi, content, bytes, signal);
  }

  importRawPieces(
    vdi: Uuid,
    extents: readonly Extent[],
    pieces: AsyncIterable<DiskPiece>,
    signal?: AbortSignal,
  ): Promise<void> {
    return this.#disks.writePieces(vdi, extents, pieces, signal);
  }

  setVdiOtherConfig(vdi: Uuid, key: string, value: string | null, signal?: AbortSignal): Promise<void> {
    return this.#storage.setVdiOtherConfig(vdi, key, value, signal);
  }

  defaultSr(signal?: AbortSignal): Promise<Uuid | null> {
    return this.#storage.defaultSr(signal);
  }

  createMarkedVdi(
    sr: Uuid,
    disk: { readonly nameLabel: string; readonly bytes: number; readonly mark: Mark },
    signal?: AbortSignal,
  ): Promise<Uuid> {
    return this.#marked.create(sr, disk, signal);
  }

  destroyMarkedVdi(vdi: Uuid, mark: Mark, signal?: AbortSignal): Promise<void> {
    return this.#marked.destroy(vdi, mark, signal);
  }

  probe(
    host: Uuid,
    type: string,
    deviceConfig: TextMap,
    smConfig: TextMap,
    signal?: AbortSignal,
  ): Promise<readonly Uuid[]> {
    return this.#storage.probe(host, type, deviceConfig, smConfig, signal);
  }

  introduceSr(sr: SrRecord, signal?: AbortSignal): Promise<void> {
    return this.#storage.introduce(sr, signal);
  }

  createPbd(sr: Uuid, host: Uuid, deviceConfig: TextMap, signal?: AbortSignal): Promise<void> {
    return this.#storage.createPbd(sr, host, deviceConfig, signal);
  }

  plugPbd(sr: Uuid, host: Uuid, signal?: AbortSignal): Promise<void> {
    return this.#storage.plugPbd(sr, host, signal);
  }

  unplugPbd(sr: Uuid, host: Uuid, signal?: AbortSignal): Promise<void> {
    return this.#storage.unplugPbd(sr, host, signal);
  }

  forgetSr(sr: Uuid, signal?: AbortSignal): Promise<void> {
    return this.#storage.forget(sr, signal);
  }

  scanSr(sr: Uuid, signal?: AbortSignal): Promise<void> {
    return this.#storage.scan(sr, signal);
  }

  setSrName(sr: Uuid, nameLabel: string, nameDescription: string, signal?: AbortSignal): Promise<void> {
    return this.#storage.setSrName(sr, nameLabel, nameDescription, signal);
  }

  setVdiName(vdi: Uuid, nameLabel: string, nameDescription: string, signal?: AbortSignal): Promise<void> {
    return this.#storage.setVdiName(vdi, nameLabel, nameDescription, signal);
  }

  async importMetadata(
    archive: Uint8Array,
    options: { readonly restore: boolean; readonly dryRun: boolean },
    signal?: AbortSignal,
  ): Promise<readonly Uuid[]> {
    const query = {
      ...(options.restore ? { restore: 'true' } : {}),
      ...(options.dryRun ? { dry_run: 'true' } : {}),
    };
    const created = await this.#objects.named(this.#transfers.importDocument(archive, query, signal));
    const refs = Array.isArray(created) ? created.map(String) : [];
    // A dry run answers with templates that it matched, not with VMs that it made (xapi.md 4.13).
    if (options.dryRun) return [];
    return this.#objects.each(
      refs,
      async (ref) => {
        const uuid = String(await this.#objects.call('VM.get_uuid', [ref], signal));
        this.#objects.remember('VM', uuid, ref);
        return uuid;
      },
      signal,
    );
  }

  resetPowerState(vm: Uuid, signal?: AbortSignal): Promise<void> {
    return this.#vms.resetPowerState(vm, signal);
  }

  startVm(vm: Uuid, signal?: AbortSignal): Promise<void> {
    return this.#vms.start(vm, signal);
  }

  cleanShutdownVm(vm: Uuid, signal?: AbortSignal): Promise<void> {
    return this.#vms.cleanShutdown(vm, signal);
  }

  hardShutdownVm(vm: Uuid, signal?: AbortSignal): Promise<void> {
    return this.#vms.hardShutdown(vm, signal);
  }

  destroyMarkedVm(
    vm: Uuid,
    mark: { readonly key: string; readonly value: string },
    signal?: AbortSignal,
  ): Promise<void> {
    return this.#vms.destroyMarked(vm, mark, signal);
  }

  whyNotHere(
    vm: Uuid,
    signal?: AbortSignal,
  ): Promise<readonly { readonly host: Uuid; readonly hostName: string; readonly reason: string }[]> {
    return this.#vms.whyNotHere(vm, signal);
  }

  blockOperations(
    vm: Uuid,
    operations: readonly string[],
    reason: string,
    signal?: AbortSignal,
  ): Promise<void> {
    return this.#vms.blockOperations(vm, operations, reason, signal);
  }

  unblockOperations(vm: Uuid, operations: readonly string[], signal?: AbortSignal): Promise<void> {
    return this.#vms.unblockOperations(vm, operations, signal);
  }

  setHaRestartPriority(vm: Uuid, priority: string, signal?: AbortSignal): Promise<void> {
    return this.#vms.setHaRestartPriority(vm, priority, signal);
  }

  setStartDelay(vm: Uuid, seconds: number, signal?: AbortSignal): Promise<void> {
    return this.#vms.setStartDelay(vm, seconds, signal);
  }

  addVmTag(vm: Uuid, tag: string, signal?: AbortSignal): Promise<void> {
    return this.#vms.addTag(vm, tag, signal);
  }

  setVmOtherConfig(vm: Uuid, key: string, value: string | null, signal?: AbortSignal): Promise<void> {
    return this.#vms.setOtherConfig(vm, key, value, signal);
  }

  rebuildAppliance(
    nameLabel: string,
    nameDescription: string,
    vms: readonly Uuid[],
    signal?: AbortSignal,
  ): Promise<Uuid> {
    return this.#vms.rebuildAppliance(nameLabel, nameDescription, vms, signal);
  }

  vmShape(vm: Uuid, signal?: AbortSignal): Promise<VmShape | null> {
    return this.#shapes.read(vm, signal);
  }

  adjustVm(vm: Uuid, adjustment: Adjustment, signal?: AbortSignal): Promise<void> {
    return this.#shapes.adjust(vm, adjustment, signal);
  }

  vifAddresses(vm: Uuid, signal?: AbortSignal): Promise<readonly StaticAddress[]> {
    return this.#shapes.addresses(vm, signal);
  }

  setVifAddress(vm: Uuid, address: StaticAddress, signal?: AbortSignal): Promise<void> {
    return this.#shapes.setAddress(vm, address, signal);
  }

  vmStates(vms: readonly Uuid[], signal?: AbortSignal): Promise<ReadonlyMap<Uuid, VmState>> {
    return this.#vms.states(vms, signal);
  }

  async close(): Promise<void> {
    await this.#tasks.close();
    await this.#pool.close();
  }
}

function readCa(file: string, site: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw portError(
      'trust',
      site,
      {
        object: file,
        code: 'DR-POOL-CA-FILE',
        what: 'The CA file of the pool cannot be read',
        known: [(error as Error).message],
        next: 'Correct ca_file in sites.yaml, or pin the fingerprints of the hosts instead',
      },
      error,
    );
  }
}
