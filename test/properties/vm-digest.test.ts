/** What makes a VM another one for a recovery, and what does not: the digest that decides which documents are kept. */
import t from 'tap';
import { poolFacts, type Records, readFields } from '../../src/adapters/xenapi/facts.ts';
import { decode, type XapiRecord, type XapiValue } from '../../src/adapters/xenapi/values.ts';
import { classes, type ModelType, modelType } from '../../src/metadata/datamodel/index.ts';

const moment = { observedAt: '', serverTime: '', freeMemory: new Map<string, number>() };
type Tables = Record<string, Record<string, Record<string, unknown>>>;

/** A value of the type as JSON-RPC would send it; `n` makes it another one. */
function sample(type: ModelType, n: number): unknown {
  switch (type.kind) {
    case 'bool':
      return n % 2 === 1;
    case 'int':
      return 7 + n;
    case 'float':
      return 1.5 + n;
    case 'datetime':
      return `2026010${1 + n}T00:00:00Z`;
    case 'ref':
      return `OpaqueRef:some-${type.name}-${n}`;
    case 'set':
      return [sample(type.of, n), sample(type.of, n + 2)];
    case 'map':
      return { first: sample(type.value, n), second: sample(type.value, n + 2) };
    default:
      return `text ${n}`;
  }
}

function record(className: string, changes: Record<string, unknown>): Record<string, unknown> {
  const fields = [...(classes.get(className)?.fields.values() ?? [])];
  return {
    ...Object.fromEntries(fields.map((field) => [field.name, sample(modelType(field.type), 0)])),
    ...changes,
  };
}

/** One VM with a disk, a CD, a card and a GPU. Every field has a value. */
function world(): Tables {
  return {
    VM: {
      vm: record('VM', {
        is_a_snapshot: false,
        is_control_domain: false,
        is_default_template: false,
        is_a_template: false,
        VBDs: ['disk', 'cd'],
        VIFs: ['vif'],
        VGPUs: ['vgpu'],
        VTPMs: [],
        suspend_VDI: 'memory',
        affinity: 'host',
      }),
    },
    VBD: {
      disk: record('VBD', { uuid: 'vbd-1', VM: 'vm', VDI: 'vdi' }),
      cd: record('VBD', { uuid: 'vbd-2', VM: 'vm', VDI: 'OpaqueRef:NULL' }),
    },
    VDI: {
      vdi: record('VDI', { uuid: 'vdi-1', SR: 'sr' }),
      memory: record('VDI', { uuid: 'vdi-2', SR: 'sr' }),
      other: record('VDI', { uuid: 'vdi-3', SR: 'sr' }),
    },
    SR: { sr: record('SR', {}), sr2: record('SR', { uuid: 'another SR' }) },
    VIF: { vif: record('VIF', { VM: 'vm', network: 'net' }) },
    network: { net: record('network', {}), net2: record('network', { uuid: 'n2', name_label: 'another' }) },
    VGPU: { vgpu: record('VGPU', { VM: 'vm', GPU_group: 'group', type: 'type' }) },
    VGPU_type: { type: record('VGPU_type', {}) },
    GPU_group: { group: record('GPU_group', {}) },
    host: { host: record('host', { uuid: 'host-1' }), host2: record('host', { uuid: 'host-2' }) },
  };
}

function digest(tables: Tables): string | undefined {
  const records = Object.fromEntries(
    Object.keys(readFields).map((name) => [
      name,
      decode(
        structuredClone(tables[name] ?? {}),
        { kind: 'map', key: { kind: 'string' }, value: { kind: 'record', name } },
        'json',
      ) as XapiRecord,
    ]),
  );
  return poolFacts(records as Records, moment).vms[0]?.digest;
}

function changed(className: string, ref: string, field: string, value?: unknown): string | undefined {
  const tables = world();
  const found = tables[className]?.[ref];
  const model = classes.get(className)?.fields.get(field);
  if (found === undefined || model === undefined) throw new Error(`no ${className}.${field}`);
  found[field] = value ?? sample(modelType(model.type), 1);
  return digest(tables);
}

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');

/** What an import uses of each object (xapi.md 4.4 to 4.9). */
const used: Readonly<Record<string, string>> = {
  'VM vm': `uuid name_label name_description power_state user_version is_a_template memory_overhead memory_static_max
    memory_dynamic_max memory_dynamic_min memory_static_min VCPUs_params VCPUs_max VCPUs_at_startup
    actions_after_softreboot actions_after_shutdown actions_after_reboot actions_after_crash PV_bootloader PV_kernel
    PV_ramdisk PV_args PV_bootloader_args PV_legacy_args HVM_boot_policy HVM_boot_params HVM_shadow_multiplier platform
    PCI_bus other_config recommendations xenstore_data ha_always_run ha_restart_priority tags blocked_operations
    bios_strings start_delay shutdown_delay order version generation_id hardware_platform_version has_vendor_device
    reference_label domain_type NVRAM is_vmss_snapshot suspend_SR appliance`,
  'VBD disk': `uuid userdevice bootable mode type unpluggable empty other_config currently_attached
    qos_algorithm_type qos_algorithm_params`,
  'VBD cd': 'uuid userdevice empty mode type',
  'VDI vdi': 'uuid location name_label name_description virtual_size type other_config sm_config read_only',
  'VDI memory': 'uuid location other_config sm_config',
  'SR sr': 'uuid name_label type content_type sm_config',
  'VIF vif': `uuid device MAC MTU other_config currently_attached locking_mode ipv4_allowed ipv6_allowed
    qos_algorithm_type qos_algorithm_params`,
  'network net': 'uuid name_label name_description bridge MTU other_config managed tags',
  'VGPU vgpu': 'uuid device other_config currently_attached',
  'VGPU_type type': 'identifier vendor_name model_name',
  'GPU_group group': 'GPU_types',
};

/** What changes by itself while a VM runs, moves, is exported, or while others of its pool live. */
const volatile: Readonly<Record<string, string>> = {
  'VM vm': `allowed_operations current_operations domid resident_on scheduled_to_be_resident_on memory_target consoles
    metrics guest_metrics last_booted_record last_boot_CPU_flags requires_reboot pending_guidances
    pending_guidances_recommended pending_guidances_full snapshots children parent crash_dumps`,
  'VBD disk':
    'allowed_operations current_operations device status_code status_detail runtime_properties storage_lock metrics',
  'VDI vdi': `allowed_operations current_operations physical_utilisation storage_lock metadata_latest parent snapshots
    missing VBDs crash_dumps`,
  'SR sr': `allowed_operations current_operations VDIs PBDs virtual_allocation physical_utilisation physical_size
    other_config blobs`,
  'VIF vif': 'allowed_operations current_operations status_code status_detail runtime_properties metrics',
  'network net': 'allowed_operations current_operations VIFs PIFs assigned_ips',
  'VGPU vgpu': 'resident_on scheduled_to_be_resident_on PCI compatibility_metadata',
  'VGPU_type type': 'supported_on_PGPUs enabled_on_PGPUs VGPUs',
  'GPU_group group': 'PGPUs VGPUs allocation_algorithm',
};

t.test('whatever an import uses changes the digest', async (t) => {
  const before = digest(world());
  t.match(before, /^[0-9a-f]{64}$/);
  const seen = new Set([before]);
  for (const [where, names] of Object.entries(used)) {
    const [className = '', ref = ''] = where.split(' ');
    for (const name of words(names)) {
      const after = changed(className, ref, name);
      t.notOk(seen.has(after), `${where}: ${name}`);
      seen.add(after);
    }
  }
});

t.test('what belongs to a VM counts: other disks, cards, networks, SRs, hosts', async (t) => {
  const before = digest(world());
  const others = [
    changed('VM', 'vm', 'VBDs', ['disk']),
    changed('VM', 'vm', 'VIFs', []),
    changed('VM', 'vm', 'VGPUs', []),
    changed('VM', 'vm', 'affinity', 'host2'),
    changed('VM', 'vm', 'suspend_VDI', 'other'),
    changed('VBD', 'disk', 'VDI', 'other'),
    changed('VBD', 'cd', 'VDI', 'other'),
    changed('VDI', 'vdi', 'SR', 'sr2'),
    changed('VIF', 'vif', 'network', 'net2'),
  ];
  t.equal(new Set([before, ...others]).size, others.length + 1);
});

t.test('what changes by itself does not change the digest', async (t) => {
  const before = digest(world());
  for (const [where, names] of Object.entries(volatile)) {
    const [className = '', ref = ''] = where.split(' ');
    for (const name of words(names)) t.equal(changed(className, ref, name), before, `${where}: ${name}`);
  }
  const marked = { ...(world()['VDI']?.['vdi']?.['sm_config'] as object), 'host_OpaqueRef:4711': 'RW' };
  t.equal(changed('VDI', 'vdi', 'sm_config', marked), before, 'a host has the disk open');
});

t.test('every field of the data model is judged: it counts, or somebody wrote down why not', async (t) => {
  const followed = /^(VM (VBDs|VIFs|VGPUs|VTPMs|suspend_VDI|affinity)|VBD (VM|VDI)|VIF (VM|network)|VDI SR)$/;
  const before = digest(world());
  for (const className of ['VM', 'VBD', 'VDI', 'VIF', 'network']) {
    const where = Object.keys(volatile).find((key) => key.startsWith(`${className} `)) ?? '';
    const quiet = new Set(words(volatile[where] ?? ''));
    const ref = where.split(' ')[1] ?? '';
    for (const name of classes.get(className)?.fields.keys() ?? []) {
      if (quiet.has(name) || followed.test(`${className} ${name}`)) continue;
      // These make another kind of VM of it, which has no document of its own.
      if (/^is_(a_snapshot|control_domain|default_template)$/.test(name) && className === 'VM') continue;
      t.not(changed(className, ref, name), before, `${className}.${name}`);
    }
  }
});

t.test('order, line ends and the kind of number mean nothing', async (t) => {
  const before = digest(world());
  t.equal(changed('VM', 'vm', 'VBDs', ['cd', 'disk']), before);
  t.equal(changed('VM', 'vm', 'tags', ['text 2', 'text 0']), before);
  t.equal(changed('VM', 'vm', 'other_config', { second: 'text 2', first: 'text 0' }), before);
  t.equal(changed('VM', 'vm', 'memory_static_max', '7' as XapiValue), before, 'XML-RPC sends ints as text');
  t.equal(
    changed('VM', 'vm', 'name_description', 'a\r\nb'),
    changed('VM', 'vm', 'name_description', 'a\nb'),
    'XML knows one line end',
  );
  t.not(
    changed('VM', 'vm', 'other_config', { first: 'text 0', 'second","text 2': '' }),
    before,
    'no two maps are written alike',
  );
});

t.test('where it cannot be known there is none', async (t) => {
  t.equal(changed('VM', 'vm', 'VTPMs', ['vtpm']), undefined, 'the state of a TPM changes unseen');
  t.equal(changed('VM', 'vm', 'VBDs', ['disk', 'gone']), undefined, 'a drive that was not seen');
  t.equal(changed('VBD', 'disk', 'VDI', 'gone'), undefined, 'a disk that was not seen');
  t.equal(changed('VDI', 'vdi', 'SR', 'gone'), undefined, 'an SR that was not seen');
  t.equal(changed('VIF', 'vif', 'network', 'gone'), undefined, 'a network that was not seen');
  const tables = world();
  tables['PVS_proxy'] = { proxy: record('PVS_proxy', { VIF: 'vif' }) };
  t.equal(digest(tables), undefined, 'a proxy whose site is not read');
});
