/**
 * What a pool of the lab says it is, and what it lacks beside the newest: calls and fields by the release that brought
 * them (the data model knows it), transports, and the rules of an import that changed (xapi.md 1.4, 1.7, 3, 4, 11).
 */

export type ProductName =
  | 'XenServer 6.5'
  | 'XenServer 7.1'
  | 'Citrix Hypervisor 8.2'
  | 'XCP-ng 8.3'
  | 'current';

export interface Product {
  readonly name: ProductName;
  /** `host.software_version`. */
  readonly software: Readonly<Record<string, string>>;
  /** `host.API_version_major` and `_minor`. */
  readonly api: readonly [major: bigint, minor: bigint];
  /** The JSON-RPC that it speaks beside XML-RPC. */
  readonly jsonRpc: 'none' | '1.0' | '2.0';
  readonly tls: 'TLSv1' | 'TLSv1.2';
  /** Request line and headers together (xapi.md 1.6); null before there was a limit. */
  readonly headerLimitBytes: number | null;
  readonly transfers: {
    /** `include_dom0` of an export; before it, domain zero was never part of `all`. */
    readonly includeDom0: boolean;
    readonly excludedDeviceTypes: boolean;
    /** `vdi:` map and SCSIid of an import; before it, disks are found by their location alone. */
    readonly diskMap: boolean;
    /** An archive of an older major version is refused like one of a newer (xapi.md 3.8). */
    readonly equalMajor: boolean;
  };
  /** Whether something of this release is there: a code name, the build that brought it, or '' for recent builds. */
  has(since: string): boolean;
}

/** Code names in the order of their releases (xapi.md 11.1). */
const releases = `
rio miami symc orlando orlando-update-1 george midnight-ride cowley boston tampa clearwater vgpu-tech-preview
vgpu-productisation clearwater-felton clearwater-whetstone creedence cream indigo dundee ely falcon inverness jura kolkata
lima naples oslo quebec stockholm stockholm_psr nile
`
  .trim()
  .split(/\s+/);

/** What the data model gives no release to came with builds of this age (xapi.md 11.2). */
const unnamedBuild = [22, 26] as const;

/** Major and minor number of a build as a text shows it, such as `26.17.0`. */
function numbers(build: string): readonly [number, number] {
  const [major = 0, minor = 0] = build.split('.').map(Number);
  return [major, minor];
}

function atLeast(ours: readonly [number, number], theirs: readonly [number, number]): boolean {
  return ours[0] > theirs[0] || (ours[0] === theirs[0] && ours[1] >= theirs[1]);
}

function since(release: string, build: string): Product['has'] {
  const rank = releases.indexOf(release);
  const ours = numbers(build);
  return (name) => {
    if (name === '') return atLeast(ours, unnamedBuild);
    if (/^\d/.test(name)) return atLeast(ours, numbers(name));
    const other = releases.indexOf(name);
    return other >= 0 && other <= rank;
  };
}

const common = { git_id: '0', hostname: 'localhost', platform_name: 'XCP', network_backend: 'openvswitch' };

const modern = {
  includeDom0: true,
  excludedDeviceTypes: true,
  diskMap: true,
  equalMajor: false,
} as const;

const productList: readonly Product[] = [
  {
    name: 'XenServer 6.5',
    software: {
      ...common,
      product_version: '6.5.0',
      product_version_text: '6.5',
      product_version_text_short: '6.5',
      platform_version: '1.9.0',
      product_brand: 'XenServer',
      build_number: '90233c',
      date: '2014-12-09',
      dbv: '2015.0101',
      xapi: '1.3',
      xen: '4.4.1',
      linux: '3.10.0+2',
      xencenter_min: '2.3',
      xencenter_max: '2.3',
    },
    api: [2n, 3n],
    jsonRpc: 'none',
    tls: 'TLSv1',
    headerLimitBytes: null,
    transfers: { includeDom0: false, excludedDeviceTypes: false, diskMap: false, equalMajor: true },
    has: since('creedence', '1.3'),
  },
  {
    name: 'XenServer 7.1',
    software: {
      ...common,
      product_version: '7.1.2',
      product_version_text: '7.1',
      product_version_text_short: '7.1',
      platform_version: '2.2.0',
      product_brand: 'XenServer',
      build_number: '137272c',
      date: '2017-02-15',
      xapi: '1.14',
      xen: '4.7.1',
      linux: '4.4.0+10',
      xencenter_min: '2.6',
      xencenter_max: '2.6',
    },
    api: [2n, 6n],
    jsonRpc: '1.0',
    tls: 'TLSv1.2',
    headerLimitBytes: null,
    transfers: { includeDom0: false, excludedDeviceTypes: false, diskMap: true, equalMajor: true },
    has: since('ely', '1.14'),
  },
  {
    name: 'Citrix Hypervisor 8.2',
    software: {
      ...common,
      product_version: '8.2.1',
      product_version_text: '8.2 CU1',
      product_version_text_short: '8.2 CU1',
      platform_version: '3.2.1',
      product_brand: 'Citrix Hypervisor',
      build_number: 'release/stockholm/master/16',
      date: '2023-05-10',
      xapi: '1.249',
      xapi_build: '1.249.38',
      xen: '4.13.5',
      linux: '4.19.0+1',
      xencenter_min: '2.16',
      xencenter_max: '2.16',
    },
    api: [2n, 15n],
    jsonRpc: '2.0',
    tls: 'TLSv1.2',
    headerLimitBytes: 1024,
    transfers: { includeDom0: true, excludedDeviceTypes: false, diskMap: true, equalMajor: true },
    has: since('stockholm_psr', '1.249'),
  },
  {
    name: 'XCP-ng 8.3',
    software: {
      ...common,
      product_version: '8.3.0',
      product_version_text: '8.3',
      product_version_text_short: '8.3',
      platform_version: '3.4.0',
      product_brand: 'XCP-ng',
      build_number: 'cloud',
      date: '2025-06-01',
      xapi: '25.6',
      xapi_build: '25.6.0',
      xen: '4.17.5',
      linux: '4.19.0+1',
      xencenter_min: '2.21',
      xencenter_max: '2.21',
    },
    api: [2n, 21n],
    jsonRpc: '2.0',
    tls: 'TLSv1.2',
    headerLimitBytes: 1024,
    transfers: modern,
    has: since('nile', '25.6'),
  },
  {
    name: 'current',
    software: {
      ...common,
      product_version: '8.3.0',
      product_version_text: '8.3',
      product_version_text_short: '8.3',
      platform_version: '3.4.0',
      product_brand: 'XCP-ng',
      build_number: 'release/yangtze/master/58',
      date: '20261121T00:05:48Z',
      xapi: '26.17',
      xapi_build: '26.17.0',
      xen: '4.17.5',
      linux: '6.6.0',
      xencenter_min: '2.23',
      xencenter_max: '2.23',
      db_schema: '5.909',
    },
    api: [2n, 23n],
    jsonRpc: '2.0',
    tls: 'TLSv1.2',
    headerLimitBytes: 1024,
    transfers: modern,
    has: () => true,
  },
];

export const products: ReadonlyMap<ProductName, Product> = new Map(
  productList.map((product) => [product.name, product]),
);

export function productNamed(name: ProductName): Product {
  const found = products.get(name);
  if (found === undefined) throw new Error(`the lab plays no ${name}`);
  return found;
}

const limits = `
platform_filter regular_nag_dialog ad cbt certificate_verification checkpoint cluster_address
connection corosync cpu_masking dmc dr email_alerting equalogic gpu guest_agent_auto_update
guest_ip_setting historical_performance igmp_snooping integrated_gpu_passthrough intellicache
internal_repo_access live_patching marathon nested_virt netapp network_sriov
pci_device_for_auto_update pool_attached_storage pool_secret_rotation pool_size pooling pvs_proxy
qos rbac rpu set_vcpus_number_live storage_xen_motion updates usb_passthrough vgpu vif_locking vlan
vm_appliance_start vm_groups vm_start vmpr vmss vss vtpm wlb xen_motion zstd_export
`;

const plain = new Set(['platform_filter', 'regular_nag_dialog']);

/** `pool.restrictions` and `host.license_params` (xapi.md 1.8): nothing is restricted. */
export const restrictions: Readonly<Record<string, string>> = Object.fromEntries([
  ...limits
    .trim()
    .split(/\s+/)
    .map((name) => [plain.has(name) ? name : `restrict_${name}`, 'false'] as const),
  ['enable_xha', 'true'],
]);
