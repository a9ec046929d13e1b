/** What the lab says it is: an XCP-ng 8.3 with xapi 26.17 and no licence limits. */

export const softwareVersion: Readonly<Record<string, string>> = {
  product_version: '8.3.0',
  product_version_text: '8.3',
  product_version_text_short: '8.3',
  platform_name: 'XCP',
  platform_version: '3.4.0',
  product_brand: 'XCP-ng',
  build_number: 'release/yangtze/master/58',
  git_id: '0',
  hostname: 'localhost',
  date: '20261121T00:05:48Z',
  xapi: '26.17',
  xapi_build: '26.17.0',
  xen: '4.17.5',
  linux: '6.6.0',
  xencenter_min: '2.23',
  xencenter_max: '2.23',
  network_backend: 'openvswitch',
  db_schema: '5.909',
};

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
