/** Making pools and hosts as an installer would leave them (records as in a fresh xapi 26.17). */
import { randomUUID } from 'node:crypto';
import { selfSigned } from '../server/certificate.ts';
import type { Row } from './database.ts';
import type { Lab } from './lab.ts';
import { type LabHost, LabPool } from './pool.ts';
import { type ProductName, productNamed, restrictions } from './product.ts';
import { DateTime, nullRef, struct } from './values.ts';

export interface HostSpec {
  readonly name: string;
  /** Loopback address, one per host. */
  readonly address: string;
  readonly memoryBytes?: bigint;
  readonly cpus?: number;
  /** Network cards; the first carries the management interface. */
  readonly nics?: number;
}

export interface PoolSpec {
  readonly name: string;
  readonly site: string;
  readonly label: string;
  /** The first is the master. */
  readonly hosts: readonly HostSpec[];
  /** The newest when absent. */
  readonly product?: ProductName;
  /** `product_version`, `xapi_build` and the like, over those of the product. */
  readonly software?: Readonly<Record<string, string>>;
}

const gibibyte = 1024n ** 3n;

/** Adds a pool to a lab that does not listen yet. */
export function addPool(lab: Lab, spec: PoolSpec): LabPool {
  const pool = new LabPool({
    name: spec.name,
    site: spec.site,
    clock: lab.clock,
    registry: lab.registry,
    credentials: lab.credentials,
    product: productNamed(spec.product ?? 'current'),
  });
  lab.pools.set(spec.name, pool);
  for (const listener of lab.onPool) listener(pool);
  pool.db.create('pool', {
    name_label: spec.label,
    master: nullRef,
    ext_auth_cache_enabled: false,
    restrictions: struct(restrictions),
    other_config: struct({ 'memory-ratio-hvm': '0.25', 'memory-ratio-pv': '0.25' }),
    allowed_operations: [
      'ha_enable',
      'cluster_create',
      'designate_new_master',
      'tls_verification_enable',
      'configure_repositories',
      'sync_updates',
      'sync_bundle',
      'apply_updates',
      'cert_refresh',
      'exchange_certificates_on_join',
      'exchange_ca_certificates_on_join',
      'copy_primary_host_certs',
      'eject',
      'get_updates',
      'exchange_crls_on_join',
    ],
    telemetry_uuid: pool.db.create('secret', { value: randomUUID() }).ref,
    tls_verification_enabled: false,
    ha_cluster_stack: 'xhad',
    coordinator_bias: true,
  });
  for (const host of spec.hosts) addHost(pool, host, spec.software ?? {});
  pool.row.set({ master: pool.hosts[0]?.row.ref ?? nullRef });
  pool.row.set({
    cpu_info: struct({
      cpu_count: String(spec.hosts.reduce((sum, h) => sum + (h.cpus ?? 8), 0)),
      features_hvm_host: cpuFeatures,
      features_pv_host: cpuFeatures,
      socket_count: String(spec.hosts.length),
      vendor: 'GenuineIntel',
    }),
  });
  return pool;
}

const cpuFeatures =
  '1fc3fbff-fffa3203-2c100800-00000123-00000009-819c4eb9-00000000-00000100-00000000-bc000400-00000000-00000000';

function addHost(pool: LabPool, spec: HostSpec, software: Readonly<Record<string, string>>): LabHost {
  const { db } = pool;
  const cpus = spec.cpus ?? 8;
  const memory = spec.memoryBytes ?? 64n * gibibyte;
  const now = pool.now();
  const certificate = selfSigned(
    spec.name,
    [spec.name, spec.address, 'localhost'],
    `${pool.name}/${spec.name}/${spec.address}`,
    pool.product.tls === 'TLSv1' ? 'rsa' : 'ed25519',
  );
  const metrics = db.create('host_metrics', {
    last_updated: now,
    live: true,
    memory_free: 0n,
    memory_total: memory,
  });
  const seconds = `${Math.floor(pool.clock.now() / 1000)}.`;
  const row = db.create('host', {
    name_label: spec.name,
    name_description: 'Default install',
    ssl_legacy: false,
    hostname: spec.name,
    address: spec.address,
    API_version_major: pool.product.api[0],
    API_version_minor: pool.product.api[1],
    API_version_vendor: 'XenSource',
    enabled: true,
    edition: 'xcp-ng',
    editions: ['xcp-ng'],
    allowed_operations: ['vm_migrate', 'provision', 'vm_resume', 'enable', 'evacuate', 'vm_start'],
    capabilities: [
      'xen-3.0-x86_64',
      'xen-3.0-x86_32p',
      'hvm-3.0-x86_32',
      'hvm-3.0-x86_32p',
      'hvm-3.0-x86_64',
    ],
    license_params: struct(restrictions),
    license_server: struct({ address: 'localhost', port: '27000' }),
    software_version: struct({ ...pool.product.software, ...software }),
    memory_overhead: 4n * gibibyte,
    metrics: metrics.ref,
    other_config: struct({ agent_start_time: seconds, boot_time: seconds }),
    sched_policy: 'credit',
    supported_bootloaders: ['pygrub', 'eliloader'],
    timezone: 'UTC',
    virtual_hardware_platform_versions: ['0', '1', '2'].map(BigInt),
    display: 'enabled',
    ntp_mode: 'Factory',
    ssh_auto_mode: true,
    ssh_enabled: true,
    cpu_info: struct({
      cpu_count: String(cpus),
      socket_count: '1',
      threads_per_core: '1',
      nr_nodes: '1',
      vendor: 'GenuineIntel',
      speed: '2400.000',
      modelname: 'Simulated CPU @ 2.40GHz',
      family: '6',
      model: '85',
      stepping: '4',
      flags:
        'fpu de tsc msr pae mce cx8 apic sep mtrr mca cmov pat clflush acpi mmx fxsr sse sse2 ht syscall nx lm vmx',
      features_pv: cpuFeatures,
      features_hvm: cpuFeatures,
      features_hvm_host: cpuFeatures,
      features_pv_host: cpuFeatures,
    }),
  });
  for (let i = 0; i < cpus; i += 1)
    db.create('host_cpu', {
      host: row.ref,
      number: BigInt(i),
      vendor: 'GenuineIntel',
      speed: 2400n,
      modelname: 'Simulated CPU @ 2.40GHz',
      family: 6n,
      model: 85n,
      stepping: '4',
    });
  for (const type of ['host_internal', 'host'])
    db.create('Certificate', {
      type,
      host: row.ref,
      not_before: DateTime.ofMillis(certificate.notBefore.getTime()),
      not_after: DateTime.ofMillis(certificate.notAfter.getTime()),
      fingerprint: certificate.sha256,
      fingerprint_sha256: certificate.sha256,
      fingerprint_sha1: certificate.sha1,
    });
  const host: LabHost = {
    name: spec.name,
    pool,
    row,
    address: spec.address,
    certificate,
    port: 0,
    up: false,
    localSessions: new Set(),
  };
  pool.hosts.push(host);
  addControlDomain(pool, host);
  for (let i = 0; i < (spec.nics ?? 3); i += 1) addNic(pool, host, i);
  return host;
}

function addControlDomain(pool: LabPool, host: LabHost): void {
  const { db } = pool;
  const metrics = db.create('VM_metrics', {
    VCPUs_number: 2n,
    start_time: pool.now(),
    current_domain_type: 'pv',
    memory_actual: gibibyte,
  });
  const vm = db.create('VM', {
    name_label: `Control domain on host: ${host.name}`,
    name_description: 'The domain which manages physical devices and manages other domains',
    power_state: 'Running',
    is_control_domain: true,
    resident_on: host.row.ref,
    affinity: host.row.ref,
    user_version: 1n,
    memory_overhead: 12582912n,
    memory_target: gibibyte,
    memory_static_max: gibibyte,
    memory_static_min: gibibyte,
    memory_dynamic_max: gibibyte,
    memory_dynamic_min: gibibyte,
    VCPUs_max: 2n,
    VCPUs_at_startup: 2n,
    actions_after_crash: 'destroy',
    actions_after_reboot: 'destroy',
    actions_after_shutdown: 'destroy',
    domid: 0n,
    domarch: 'x64',
    domain_type: 'pv',
    generation_id: '',
    has_vendor_device: false,
    metrics: metrics.ref,
    allowed_operations: ['metadata_export', 'changing_static_range', 'changing_dynamic_range'],
  });
  host.row.set({ control_domain: vm.ref });
  for (const protocol of ['vt100', 'rfb']) {
    const row = db.create('console', { protocol });
    // dom0's consoles point at it without standing in its own set.
    row.set({ location: `https://${host.address}/console?ref=${row.ref}` });
  }
}

/** A network card: PIF `ethN` on the pool-wide network of bridge `xenbrN`. */
function addNic(pool: LabPool, host: LabHost, index: number): void {
  const { db } = pool;
  const bridge = `xenbr${index}`;
  const network =
    db.all('network').find((n) => n.get('bridge') === bridge) ??
    addNetwork(pool, `Pool-wide network ${index}`, { bridge });
  const number = pool.hosts.length;
  const site = [...pool.name].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 251, 7);
  const hex = (n: number): string => n.toString(16).padStart(2, '0');
  db.create('PIF', {
    device: `eth${index}`,
    network: network.ref,
    host: host.row.ref,
    MAC: `02:00:00:${hex(site)}:${hex(number)}:${hex(index + 1)}`,
    MTU: 1500n,
    VLAN: -1n,
    metrics: db.create('PIF_metrics').ref,
    physical: true,
    currently_attached: index === 0,
    management: index === 0,
    IP: index === 0 ? host.address : '',
    ip_configuration_mode: index === 0 ? 'Static' : 'None',
    netmask: index === 0 ? '255.255.255.0' : '',
    properties: struct({ gro: 'on' }),
    managed: true,
  });
}

const networkNumbers = new WeakMap<LabPool, number>();

/** A network; without a bridge name it takes the next `xapiN`. */
export function addNetwork(
  pool: LabPool,
  name: string,
  options: { bridge?: string; description?: string; mtu?: bigint } = {},
): Row {
  return pool.db.create('network', {
    name_label: name,
    name_description: options.description ?? '',
    MTU: options.mtu ?? 1500n,
    bridge: options.bridge ?? nextBridge(pool),
    managed: true,
  });
}

/** A VLAN on the first network card of every host: gives a network its way out. */
export function addVlan(pool: LabPool, network: Row, tag: bigint): void {
  const { db } = pool;
  for (const host of pool.hosts) {
    const trunk = db
      .all('PIF')
      .find(
        (pif) => pif.get('host') === host.row.ref && pif.get('device') === 'eth0' && pif.bool('physical'),
      );
    if (trunk === undefined) continue;
    const untagged = db.create('PIF', {
      device: 'eth0',
      network: network.ref,
      host: host.row.ref,
      MAC: trunk.text('MAC'),
      MTU: network.int('MTU'),
      VLAN: tag,
      metrics: db.create('PIF_metrics').ref,
      physical: false,
      currently_attached: true,
      management: false,
      ip_configuration_mode: 'None',
      managed: true,
    });
    const vlan = db.create('VLAN', { tagged_PIF: trunk.ref, untagged_PIF: untagged.ref, tag });
    untagged.set({ VLAN_master_of: vlan.ref });
  }
}

export function nextBridge(pool: LabPool): string {
  const number = networkNumbers.get(pool) ?? 0;
  networkNumbers.set(pool, number + 1);
  return `xapi${number}`;
}
