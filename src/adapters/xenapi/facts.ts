/**
 * From records of the pool to the facts of the domain. The records were read one class after the other while the pool
 * went on living: a reference to an object that is not there any more counts as none.
 */
import type {
  ApplianceFacts,
  CertificateFacts,
  HostFacts,
  LicenceFacts,
  NetworkFacts,
  PbdFacts,
  PoolFacts,
  PowerState,
  SrFacts,
  TextMap,
  Uuid,
  VbdFacts,
  VdiFacts,
  VifFacts,
  VmFacts,
  XapiBuild,
} from '../../domain/pool.ts';
import type { Instant } from '../../domain/time.ts';
import {
  type AllMarks,
  type DigestedClass,
  digestFields,
  isDigested,
  type Marks,
  marksOf,
  VmDigests,
} from './digest.ts';
import type { XapiRecord, XapiValue } from './values.ts';

const fields = (text: string): ReadonlySet<string> => new Set(text.split(' '));

/** Classes that one observation reads, each with one `get_all_records`, and the fields that it keeps of them. */
export const observedFields = {
  pool: fields(
    'uuid name_label master ha_enabled ha_host_failures_to_tolerate ha_plan_exists_for ha_allow_overcommit other_config',
  ),
  host: fields(
    'uuid name_label address enabled metrics cpu_info host_CPUs software_version iscsi_iqn multipathing other_config edition license_params',
  ),
  host_metrics: fields('live memory_total memory_free'),
  network: fields('uuid name_label name_description bridge MTU managed other_config'),
  PIF: fields('network host device VLAN currently_attached'),
  SR: fields(
    'uuid name_label name_description type content_type shared physical_size physical_utilisation sm_config other_config tags',
  ),
  PBD: fields('uuid host SR currently_attached device_config'),
  VDI: fields(
    'uuid SR location name_label name_description type virtual_size managed missing is_a_snapshot snapshot_of read_only sm_config other_config',
  ),
  VBD: fields('uuid VDI userdevice type mode empty bootable currently_attached'),
  VIF: fields('uuid network device MAC currently_attached'),
  VM: fields(
    'uuid name_label name_description power_state is_a_template is_default_template is_a_snapshot snapshot_of is_control_domain resident_on affinity tags other_config version memory_static_max memory_dynamic_min memory_dynamic_max memory_overhead VCPUs_at_startup order start_delay shutdown_delay ha_restart_priority ha_always_run appliance blocked_operations domain_type VBDs VIFs VTPMs VGPUs suspend_VDI guest_metrics last_boot_CPU_flags',
  ),
  VM_guest_metrics: fields('networks PV_drivers_detected live'),
  VM_appliance: fields('uuid name_label name_description VMs'),
  GPU_group: fields('uuid name_label GPU_types'),
  VTPM: fields('uuid'),
  VGPU: fields('uuid GPU_group type'),
  VGPU_type: fields('uuid'),
  PVS_proxy: fields('uuid VIF'),
  PGPU: fields('host GPU_group'),
  SM: fields('type'),
  Certificate: fields('type host not_after fingerprint_sha256 fingerprint'),
} as const;
export type ObservedClass = keyof typeof observedFields;
export const observedClasses = Object.keys(observedFields) as readonly ObservedClass[];

/** The fields that are asked for: those kept, and those that only the digests of the VMs need. */
export const readFields = Object.fromEntries(
  observedClasses.map((name) => [
    name,
    new Set([...observedFields[name], ...(isDigested(name) ? digestFields[name] : [])]),
  ]),
) as unknown as Readonly<Record<ObservedClass, ReadonlySet<string>>>;

/** Classes that older pools do not have. */
export const optionalClasses: ReadonlySet<ObservedClass> = new Set([
  'VM_appliance',
  'GPU_group',
  'VTPM',
  'VGPU',
  'VGPU_type',
  'PVS_proxy',
  'PGPU',
  'SM',
  'Certificate',
]);

export type Records = Readonly<Record<ObservedClass, XapiRecord>>;

/** Records of a class with the fields that are kept, and their marks where the digests need them. */
export function condensed(
  name: ObservedClass,
  records: XapiRecord,
): { readonly records: XapiRecord; readonly marks: Marks | null } {
  if (!isDigested(name)) return { records, marks: null };
  const marks = marksOf(name, records);
  const kept: XapiRecord = {};
  for (const [ref, record] of Object.entries(records)) {
    const slim: XapiRecord = {};
    for (const field of observedFields[name]) {
      const value = (record as XapiRecord)[field];
      if (value !== undefined) slim[field] = value;
    }
    kept[ref] = slim;
  }
  return { records: kept, marks };
}

export interface PoolMoment {
  readonly observedAt: Instant;
  readonly serverTime: Instant;
  /** The pool's clock less ours. */
  readonly clockOffsetSeconds?: number;
  /** Bytes that a host computes as free, by its reference; a host that did not answer is absent. */
  readonly freeMemory: ReadonlyMap<string, number>;
}

/** A record, with the few readers that its fields need. */
class Fields {
  readonly #record: XapiRecord;
  constructor(record: XapiRecord) {
    this.#record = record;
  }
  text(name: string): string {
    const value = this.#record[name];
    return typeof value === 'string' ? value : '';
  }
  ref(name: string): string | null {
    const value = this.#record[name];
    return typeof value === 'string' && value !== '' ? value : null;
  }
  refs(name: string): readonly string[] {
    const value = this.#record[name];
    return Array.isArray(value) ? value.flatMap((item) => (typeof item === 'string' ? [item] : [])) : [];
  }
  flag(name: string): boolean {
    return this.#record[name] === true;
  }
  number(name: string): number {
    const value = this.#record[name];
    return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : 0;
  }
  map(name: string): TextMap {
    return textMap(this.#record[name]);
  }
}

function textMap(value: XapiValue | undefined): TextMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as TextMap) : {};
}

function each(records: XapiRecord): [ref: string, fields: Fields][] {
  return Object.entries(records).map(([ref, record]) => [ref, new Fields(record as XapiRecord)]);
}

function find(records: XapiRecord, ref: string | null): Fields | null {
  const record = ref === null ? undefined : records[ref];
  return record === undefined ? null : new Fields(record as XapiRecord);
}

function uuidOf(records: XapiRecord, ref: string | null): Uuid | null {
  const uuid = find(records, ref)?.text('uuid');
  return uuid === undefined || uuid === '' ? null : uuid;
}

/** `marks` as they were taken from whole records; without them, the records are whole. */
export function poolFacts(records: Records, moment: PoolMoment, marks?: AllMarks): PoolFacts {
  const digests = new VmDigests(records, marks ?? allMarks((name) => marksOf(name, records[name])));
  const [[, pool] = [null, new Fields({})]] = each(records.pool);
  const masterRef = pool.ref('master');
  const software = find(records.host, masterRef)?.map('software_version') ?? {};
  const vms = each(records.VM).filter(([, vm]) => !vm.flag('is_control_domain'));
  const isDefault = (vm: Fields): boolean =>
    vm.flag('is_default_template') ||
    (vm.flag('is_a_template') && vm.map('other_config')['default_template'] === 'true');
  return {
    uuid: pool.text('uuid'),
    nameLabel: pool.text('name_label'),
    masterUuid: uuidOf(records.host, masterRef) ?? '',
    observedAt: moment.observedAt,
    serverTime: moment.serverTime,
    productBrand: software['product_brand'] ?? '',
    productVersion: software['product_version'] ?? '',
    xapiBuild: xapiBuild(software),
    haEnabled: pool.flag('ha_enabled'),
    haPlan: {
      hostFailuresToTolerate: pool.number('ha_host_failures_to_tolerate'),
      planExistsFor: pool.number('ha_plan_exists_for'),
      allowOvercommit: pool.flag('ha_allow_overcommit'),
    },
    ...(moment.clockOffsetSeconds === undefined ? {} : { clockOffsetSeconds: moment.clockOffsetSeconds }),
    ...driverFacts(records),
    otherConfig: pool.map('other_config'),
    hosts: hostsFacts(records, moment.freeMemory),
    networks: networkFacts(records),
    srs: srFacts(records),
    vdis: each(records.VDI).map(([, vdi]) => vdiFacts(vdi, records)),
    vms: vms
      .filter(([, vm]) => !isDefault(vm))
      .map(([ref, vm]) => {
        const facts = vmFacts(vm, records);
        const digest = facts.isSnapshot ? null : digests.of(ref);
        return digest === null ? facts : { ...facts, digest };
      }),
    defaultTemplateNames: vms.filter(([, vm]) => isDefault(vm)).map(([, vm]) => vm.text('name_label')),
    appliances: each(records.VM_appliance).map(([, appliance]) => applianceFacts(appliance, records)),
    gpuGroups: each(records.GPU_group).map(([, group]) => ({
      uuid: group.text('uuid'),
      nameLabel: group.text('name_label'),
      gpuTypes: group.refs('GPU_types'),
    })),
    vtpmUuids: each(records.VTPM).map(([, vtpm]) => vtpm.text('uuid')),
    ...certificateFacts(records),
  };
}

export function allMarks(of: (name: DigestedClass) => Marks): AllMarks {
  const names = observedClasses.filter(isDigested);
  return Object.fromEntries(names.map((name) => [name, of(name)])) as unknown as AllMarks;
}

/** Builds of products whose hosts do not tell theirs (xapi.md, sources; 1.8). */
const oldBuilds: readonly [version: RegExp, major: number, minor: number][] = [
  [/^8\.2/, 1, 249],
  [/^7\.1/, 1, 14],
  [/^7\.0/, 1, 9],
];

export function xapiBuild(software: TextMap): XapiBuild {
  // Before there was `xapi_build`, `xapi` gave the two numbers that the version gate compares (xapi.md 1.8, 3.8).
  const text = software['xapi_build'] ?? software['xapi'] ?? '';
  const match = /^(\d+)\.(\d+)/.exec(text);
  if (match !== null) return { major: Number(match[1]), minor: Number(match[2]), text };
  const product = software['product_version'] ?? '';
  const [, major, minor] = oldBuilds.find(([version]) => version.test(product)) ?? [null, 1, 0];
  return { major, minor, text };
}

/** A pool that does not know the class tells nothing; one that has no driver at all does not exist. */
function driverFacts(records: Records): Pick<PoolFacts, 'storageDrivers'> {
  const types = each(records.SM).map(([, driver]) => driver.text('type'));
  return types.length === 0 ? {} : { storageDrivers: [...new Set(types)].sort() };
}

/** Every host has a certificate: a pool that shows none does not know the class. */
function certificateFacts(records: Records): Pick<PoolFacts, 'certificates'> {
  const certificates = each(records.Certificate).flatMap(([, certificate]): CertificateFacts[] => {
    const hostUuid = uuidOf(records.host, certificate.ref('host'));
    if (hostUuid === null) return [];
    return [
      {
        hostUuid,
        type: certificate.text('type'),
        notAfter: certificate.text('not_after'),
        sha256: sha256Of(certificate.text('fingerprint_sha256') || certificate.text('fingerprint')),
      },
    ];
  });
  return certificates.length === 0 ? {} : { certificates };
}

/** Digits alone; empty for a fingerprint of another kind. */
function sha256Of(fingerprint: string): string {
  const digits = fingerprint.replaceAll(':', '').toLowerCase();
  return /^[0-9a-f]{64}$/.test(digits) ? digits : '';
}

function hostsFacts(records: Records, freeMemory: ReadonlyMap<string, number>): HostFacts[] {
  const cards = groupBy(each(records.PGPU), ([, card]) => card.ref('host'));
  return each(records.host).map(([ref, host]) => ({
    ...hostFacts(ref, host, records, freeMemory),
    gpuGroupUuids: [
      ...new Set(
        (cards.get(ref) ?? []).flatMap(([, card]) => uuidOf(records.GPU_group, card.ref('GPU_group')) ?? []),
      ),
    ].sort(),
  }));
}

function hostFacts(
  ref: string,
  host: Fields,
  records: Records,
  freeMemory: ReadonlyMap<string, number>,
): HostFacts {
  const metrics = find(records.host_metrics, host.ref('metrics'));
  const cpu = host.map('cpu_info');
  return {
    uuid: host.text('uuid'),
    nameLabel: host.text('name_label'),
    address: host.text('address'),
    enabled: host.flag('enabled'),
    live: metrics?.flag('live') ?? false,
    memoryTotal: metrics?.number('memory_total') ?? 0,
    memoryFree: freeMemory.get(ref) ?? metrics?.number('memory_free') ?? 0,
    cpuCount: Number(cpu['cpu_count'] ?? host.refs('host_CPUs').length),
    cpuFeatures: cpu['features_hvm'] ?? cpu['features'] ?? '',
    cpuVendor: cpu['vendor'] ?? '',
    ...storageAdapterFacts(host),
    ...licenceFacts(host),
  };
}

/** `20370101T00:00:00Z` as xapi writes it into the map; a licence without an end has no entry, or a year far away. */
const expiryText = /^(\d{4})-?(\d{2})-?(\d{2})T(\d{2}):(\d{2}):(\d{2})Z$/;
const yearOfNever = 2099;

function licenceFacts(host: Fields): { readonly licence?: LicenceFacts } {
  const edition = host.text('edition');
  if (edition === '') return {};
  const match = expiryText.exec(host.map('license_params')['expiry'] ?? '');
  if (match === null || Number(match[1]) >= yearOfNever) return { licence: { edition, expiresAt: null } };
  const [, year, month, day, hour, minute, second] = match;
  return { licence: { edition, expiresAt: `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z` } };
}

/** Fields of their own since 7.5, keys of `other_config` before (xapi.md 7.11). */
function storageAdapterFacts(host: Fields): Pick<HostFacts, 'iscsiIqn' | 'multipathing'> {
  const before = host.map('other_config');
  const iscsiIqn = host.text('iscsi_iqn') || (before['iscsi_iqn'] ?? '');
  const multipathing = host.flag('multipathing') || before['multipathing'] === 'true';
  return { ...(iscsiIqn === '' ? {} : { iscsiIqn }), ...(multipathing ? { multipathing } : {}) };
}

function groupBy<T>(items: readonly T[], key: (item: T) => string | null): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const name = key(item);
    if (name === null) continue;
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [item]);
    else group.push(item);
  }
  return groups;
}

function networkFacts(records: Records): NetworkFacts[] {
  const pifs = groupBy(each(records.PIF), ([, pif]) => pif.ref('network'));
  return each(records.network).map(([ref, network]) => ({
    uuid: network.text('uuid'),
    nameLabel: network.text('name_label'),
    nameDescription: network.text('name_description'),
    bridge: network.text('bridge'),
    mtu: network.number('MTU'),
    // Absent before the field existed: every network was managed then.
    managed: (records.network[ref] as XapiRecord)['managed'] !== false,
    otherConfig: network.map('other_config'),
    pifs: (pifs.get(ref) ?? []).flatMap(([, pif]) => {
      const hostUuid = uuidOf(records.host, pif.ref('host'));
      if (hostUuid === null) return [];
      return [
        {
          hostUuid,
          device: pif.text('device'),
          vlan: pif.number('VLAN'),
          attached: pif.flag('currently_attached'),
        },
      ];
    }),
  }));
}

function srFacts(records: Records): SrFacts[] {
  const pbds = groupBy(each(records.PBD), ([, pbd]) => pbd.ref('SR'));
  return each(records.SR).map(([ref, sr]) => ({
    uuid: sr.text('uuid'),
    nameLabel: sr.text('name_label'),
    nameDescription: sr.text('name_description'),
    type: sr.text('type'),
    contentType: sr.text('content_type'),
    shared: sr.flag('shared'),
    physicalSize: sr.number('physical_size'),
    physicalUtilisation: sr.number('physical_utilisation'),
    smConfig: sr.map('sm_config'),
    otherConfig: sr.map('other_config'),
    tags: sr.refs('tags'),
    pbds: (pbds.get(ref) ?? []).flatMap(([, pbd]): PbdFacts[] => {
      const hostUuid = uuidOf(records.host, pbd.ref('host'));
      if (hostUuid === null) return [];
      return [
        {
          uuid: pbd.text('uuid'),
          hostUuid,
          attached: pbd.flag('currently_attached'),
          deviceConfig: pbd.map('device_config'),
        },
      ];
    }),
  }));
}

function vdiFacts(vdi: Fields, records: Records): VdiFacts {
  return {
    uuid: vdi.text('uuid'),
    srUuid: uuidOf(records.SR, vdi.ref('SR')) ?? '',
    location: vdi.text('location'),
    nameLabel: vdi.text('name_label'),
    nameDescription: vdi.text('name_description'),
    type: vdi.text('type'),
    virtualSize: vdi.number('virtual_size'),
    managed: vdi.flag('managed'),
    missing: vdi.flag('missing'),
    isASnapshot: vdi.flag('is_a_snapshot'),
    snapshotOf: uuidOf(records.VDI, vdi.ref('snapshot_of')),
    readOnly: vdi.flag('read_only'),
    smConfig: vdi.map('sm_config'),
    otherConfig: vdi.map('other_config'),
  };
}

function vmFacts(vm: Fields, records: Records): VmFacts {
  const otherConfig = vm.map('other_config');
  return {
    uuid: vm.text('uuid'),
    nameLabel: vm.text('name_label'),
    nameDescription: vm.text('name_description'),
    powerState: vm.text('power_state') as PowerState,
    isTemplate: vm.flag('is_a_template'),
    isSnapshot: vm.flag('is_a_snapshot'),
    snapshotOf: uuidOf(records.VM, vm.ref('snapshot_of')),
    residentOn: uuidOf(records.host, vm.ref('resident_on')),
    affinity: uuidOf(records.host, vm.ref('affinity')),
    tags: vm.refs('tags'),
    otherConfig,
    macSeed: otherConfig['mac_seed'] ?? null,
    version: vm.number('version'),
    memoryStaticMax: vm.number('memory_static_max'),
    memoryDynamicMin: vm.number('memory_dynamic_min'),
    memoryDynamicMax: vm.number('memory_dynamic_max'),
    memoryOverhead: vm.number('memory_overhead'),
    vcpusAtStartup: vm.number('VCPUs_at_startup'),
    order: vm.number('order'),
    startDelaySeconds: vm.number('start_delay'),
    shutdownDelaySeconds: vm.number('shutdown_delay'),
    haRestartPriority: vm.text('ha_restart_priority'),
    haAlwaysRun: vm.flag('ha_always_run'),
    applianceUuid: uuidOf(records.VM_appliance, vm.ref('appliance')),
    blockedOperations: vm.map('blocked_operations'),
    domainType: vm.text('domain_type'),
    vbds: vm.refs('VBDs').flatMap((ref) => vbdFacts(find(records.VBD, ref), records)),
    vifs: vm.refs('VIFs').flatMap((ref) => vifFacts(find(records.VIF, ref), records)),
    vtpms: vm.refs('VTPMs').flatMap((ref) => uuidOf(records.VTPM, ref) ?? []),
    hasVgpu: vm.refs('VGPUs').length > 0,
    ...bootCpu(vm.map('last_boot_CPU_flags')),
    suspendVdiUuid: uuidOf(records.VDI, vm.ref('suspend_VDI')),
    guest: guestFacts(find(records.VM_guest_metrics, vm.ref('guest_metrics'))),
  };
}

function bootCpu({ vendor, features }: TextMap): Pick<VmFacts, 'bootCpu'> {
  // A simulated host writes no features; that is as much as knowing none.
  return vendor === undefined || features === undefined || features === ''
    ? {}
    : { bootCpu: { vendor, features } };
}

function guestFacts(metrics: Fields | null): VmFacts['guest'] {
  if (metrics === null) return null;
  return {
    networks: metrics.map('networks'),
    driversDetected: metrics.flag('PV_drivers_detected'),
    live: metrics.flag('live'),
  };
}

/** Guest facts of one `VM_guest_metrics` record. */
export function guestOf(record: XapiRecord | null): VmFacts['guest'] {
  return guestFacts(record === null ? null : new Fields(record));
}

function vbdFacts(vbd: Fields | null, records: Records): VbdFacts[] {
  if (vbd === null) return [];
  return [
    {
      uuid: vbd.text('uuid'),
      vdiUuid: uuidOf(records.VDI, vbd.ref('VDI')),
      userdevice: vbd.text('userdevice'),
      type: vbd.text('type') as VbdFacts['type'],
      mode: vbd.text('mode') as VbdFacts['mode'],
      empty: vbd.flag('empty'),
      bootable: vbd.flag('bootable'),
      attached: vbd.flag('currently_attached'),
    },
  ];
}

function vifFacts(vif: Fields | null, records: Records): VifFacts[] {
  if (vif === null) return [];
  return [
    {
      uuid: vif.text('uuid'),
      networkUuid: uuidOf(records.network, vif.ref('network')) ?? '',
      device: vif.text('device'),
      mac: vif.text('MAC'),
      attached: vif.flag('currently_attached'),
    },
  ];
}

function applianceFacts(appliance: Fields, records: Records): ApplianceFacts {
  return {
    uuid: appliance.text('uuid'),
    nameLabel: appliance.text('name_label'),
    nameDescription: appliance.text('name_description'),
    vmUuids: appliance.refs('VMs').flatMap((ref) => uuidOf(records.VM, ref) ?? []),
  };
}
