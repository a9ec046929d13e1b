/** Documents for tests: recorded ones where they lie beside the repository, and made ones of any shape. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import type {
  HostFacts,
  NetworkFacts,
  PoolFacts,
  SrFacts,
  VdiFacts,
  VmFacts,
} from '../../src/domain/pool.ts';
import { MetadataDocument, type MetadataObject } from '../../src/metadata/document.ts';
import type { VmObject } from '../../src/metadata/objects.ts';
import { nullRef } from '../../src/metadata/references.ts';
import { XmlScalar, type XmlStruct, type XmlValue } from '../../src/metadata/xmlvalue.ts';
import { vdiFacts as anyVdi, vmFacts } from '../support/facts.ts';

/** Exports recorded from a real xapi; they may be absent. */
const folder = fileURLToPath(new URL('../../../shared/recordings/exports/', import.meta.url));
export const recordings = existsSync(folder);
export const recorded = (name: string): Uint8Array => readFileSync(`${folder}${name}.xva`);
export const recordedNames = (): string[] =>
  recordings
    ? readdirSync(folder)
        .filter((file) => file.endsWith('.xva'))
        .map((file) => file.slice(0, -4))
    : [];
export const recordedFacts = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(`${folder}${name}.json`, 'utf8')) as Record<string, unknown>;

export function struct(members: Readonly<Record<string, XmlValue>>): XmlStruct {
  return Object.assign(Object.create(null) as XmlStruct, members);
}

/** Everything as plain data, for comparison: structs with sorted members, scalars by tag and text. */
export function plain(value: XmlValue): unknown {
  if (value instanceof XmlScalar) return { $tag: value.tag, $text: value.text };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object') return value;
  return Object.keys(value)
    .sort()
    .map((key) => [key, plain(value[key] ?? '')]);
}
export function plainDocument(document: MetadataDocument): unknown {
  return {
    version: plain(document.version),
    objects: document.objects.map((o) => [o.class, o.id, plain(o.fields), o.extra && plain(o.extra)]),
    extra: document.extra && plain(document.extra),
  };
}

export const text: fc.Arbitrary<string> = fc
  .oneof(
    { weight: 4, arbitrary: fc.string({ unit: 'grapheme', maxLength: 12 }) },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        '',
        'Ref:0',
        'Ref:3',
        'OpaqueRef:NULL',
        '<&>"\'',
        ']]>',
        'a\nb',
        ' x ',
        'a\r\nb',
        '&amp;',
      ),
    },
  )
  .filter((value) => [...value].every((c) => c >= ' ' || c === '\n' || c === '\t' || c === '\r'));

const scalar: fc.Arbitrary<XmlValue> = fc.oneof(
  text,
  fc.boolean(),
  fc.integer().map((n) => new XmlScalar('int', String(n))),
  fc.double({ noNaN: true }).map((n) => new XmlScalar('double', String(n))),
  fc.constant(new XmlScalar('dateTime.iso8601', '19700101T00:00:00Z')),
);

/** Any value of XML-RPC, for the readers and the writer. */
export const anyValue: fc.Arbitrary<XmlValue> = fc.letrec<{ value: XmlValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }),
    fc
      .array(fc.tuple(fc.oneof(text, fc.constant('__proto__')), tie('value')), { maxLength: 4 })
      .map(toStruct),
  ),
})).value;

function toStruct(entries: readonly (readonly [string, XmlValue])[]): XmlStruct {
  const made = Object.create(null) as XmlStruct;
  for (const [key, value] of entries) made[key] = value;
  return made;
}

interface Shape {
  readonly vms: readonly {
    readonly name: string;
    readonly running: boolean;
    readonly disks: readonly number[];
    readonly shared: boolean;
    readonly networks: readonly number[];
    readonly iso: boolean;
    readonly snapshots: number;
    readonly vtpm: boolean;
    readonly unknown: boolean;
    readonly ha: string;
    readonly host: boolean;
    readonly otherConfig: readonly (readonly [string, string])[];
  }[];
  readonly dom0: boolean;
  readonly firstId: number;
  readonly seed: number;
}

const shape: fc.Arbitrary<Shape> = fc.record({
  vms: fc.array(
    fc.record({
      name: text,
      running: fc.boolean(),
      disks: fc.array(fc.nat(2), { maxLength: 3 }),
      shared: fc.boolean(),
      networks: fc.array(fc.nat(2), { maxLength: 3 }),
      iso: fc.boolean(),
      snapshots: fc.nat(2),
      vtpm: fc.boolean(),
      unknown: fc.boolean(),
      ha: fc.constantFrom('', 'restart', 'best-effort'),
      host: fc.boolean(),
      otherConfig: fc.array(fc.tuple(text, text), { maxLength: 3 }),
    }),
    { minLength: 1, maxLength: 5 },
  ),
  dom0: fc.boolean(),
  firstId: fc.nat(5000),
  seed: fc.nat(1_000_000),
});

export function uuidOf(kind: string, number: number): string {
  let hash = 2_166_136_261;
  for (const c of `${kind}:${number}`) hash = Math.imul(hash ^ (c.codePointAt(0) ?? 0), 16_777_619) >>> 0;
  const hex = hash.toString(16).padStart(8, '0');
  return `${hex}-0000-4000-8000-${number.toString(16).padStart(12, '0')}`;
}

/** An `all=true` export of a pool of this shape, references in order of visit, as xapi makes it. */
export function poolDocument(of: Shape): MetadataDocument {
  let counter = of.firstId;
  const objects: { class: string; id: string; fields: Record<string, XmlValue> }[] = [];
  const newId = (): string => `Ref:${counter++}`;
  const nothing = newId();
  const add = (className: string, fields: Record<string, XmlValue>): string => {
    const id = newId();
    objects.push({ class: className, id, fields });
    return id;
  };
  const list = (owner: string, field: string, id: string): void => {
    const value = objects.find((object) => object.id === owner)?.fields[field];
    if (Array.isArray(value)) value.push(id);
  };
  const operations = {
    allowed_operations: [] as XmlValue[],
    current_operations: struct({ [`OpaqueRef:${of.seed}`]: 'metadata_export' }),
  };
  const shared = new Map<string, string>();
  const once = (key: string, make: () => string): string => {
    const known = shared.get(key);
    if (known !== undefined) return known;
    const id = make();
    shared.set(key, id);
    return id;
  };
  const host = (): string => once('host', () => add('host', { uuid: uuidOf('host', 0), resident_VMs: [] }));
  const sr = (number: number): string =>
    once(`sr${number}`, () =>
      add('SR', {
        uuid: uuidOf('sr', number),
        name_label: `SR ${number}`,
        content_type: number === 9 ? 'iso' : 'user',
        type: number === 9 ? 'iso' : 'nfs',
        VDIs: [],
        physical_utilisation: String(of.seed),
      }),
    );
  const network = (number: number): string =>
    once(`network${number}`, () =>
      add('network', {
        uuid: uuidOf('net', number),
        name_label: `LAN ${number}`,
        bridge: `xapi${number}`,
        VIFs: [],
      }),
    );
  const vdi = (key: string, number: number, location: string): string =>
    once(key, () => {
      const srId = sr(number);
      const id = add('VDI', {
        ...operations,
        uuid: location.endsWith('.iso') ? uuidOf('iso', number) : location,
        location,
        name_label: `disk ${key}`,
        SR: srId,
        VBDs: [],
        sm_config: struct({}),
        other_config: struct({}),
      });
      list(srId, 'VDIs', id);
      return id;
    });
  const addVm = (index: number, spec: Shape['vms'][number], of_: string | null, parent: string): string => {
    const number =
      index * 10 + (of_ === null ? 0 : 1 + objects.filter((o) => o.fields['snapshot_of'] === of_).length);
    const vm = add('VM', {
      ...operations,
      uuid: uuidOf('vm', number),
      name_label: spec.name,
      power_state: spec.running ? 'Running' : 'Halted',
      is_a_template: of_ !== null,
      is_a_snapshot: of_ !== null,
      is_control_domain: false,
      snapshot_of: of_ ?? nothing,
      parent,
      snapshots: ['OpaqueRef:real-snapshot'],
      suspend_VDI: nothing,
      appliance: 'OpaqueRef:appliance',
      affinity: spec.host ? host() : nothing,
      resident_on: spec.running ? host() : nothing,
      VBDs: [],
      VIFs: [],
      VTPMs: [],
      metrics: nothing,
      guest_metrics: nothing,
      version: '0',
      domain_type: 'hvm',
      order: String(index),
      ha_restart_priority: spec.ha,
      ha_always_run: spec.ha === 'restart',
      memory_target: String(of.seed),
      tags: ['Ref:1', spec.name],
      other_config: struct({ ...Object.fromEntries(spec.otherConfig), mac_seed: uuidOf('seed', index) }),
    });
    const fieldsOf = (id: string): Record<string, XmlValue> => objects.find((o) => o.id === id)?.fields ?? {};
    fieldsOf(vm)['metrics'] = add('VM_metrics', {
      uuid: uuidOf('metrics', number),
      memory_actual: String(of.seed),
    });
    const drive = (userdevice: number, disk: string | null, type: string): void => {
      const id = add('VBD', {
        ...operations,
        uuid: uuidOf('vbd', number * 10 + userdevice),
        VM: vm,
        VDI: disk ?? nullRef,
        userdevice: String(userdevice),
        type,
        mode: type === 'CD' ? 'RO' : 'RW',
        empty: disk === null,
        currently_attached: spec.running,
      });
      list(vm, 'VBDs', id);
      if (disk !== null) list(disk, 'VBDs', id);
    };
    for (const [position, srNumber] of spec.disks.entries()) {
      const serial = number * 10 + position;
      drive(position, vdi(`disk${serial}`, srNumber, uuidOf('vdi', serial)), 'Disk');
    }
    if (spec.shared && of_ === null) drive(7, vdi('quorum', 1, uuidOf('vdi', 999_999)), 'Disk');
    drive(3, spec.iso ? vdi('iso', 9, 'debian.iso') : null, 'CD');
    for (const [position, networkNumber] of spec.networks.entries()) {
      const net = network(networkNumber);
      const id = add('VIF', {
        ...operations,
        uuid: uuidOf('vif', number * 10 + position),
        VM: vm,
        network: net,
        device: String(position),
        MAC: `02:00:00:00:${index.toString(16).padStart(2, '0')}:0${position}`,
        currently_attached: spec.running,
      });
      list(vm, 'VIFs', id);
      list(net, 'VIFs', id);
    }
    if (spec.vtpm && of_ === null)
      list(
        vm,
        'VTPMs',
        add('VTPM', { "vTPM'_VM": vm, "vTPM'_uuid": uuidOf('vtpm', number), "vTPM'_content": 'c2VjcmV0' }),
      );
    if (spec.unknown)
      add('VQOS', { uuid: uuidOf('qos', number), target: vm, note: 'Ref:9999999', peers: [vm] });
    return vm;
  };
  if (of.dom0)
    add('VM', {
      uuid: uuidOf('dom0', 0),
      name_label: 'Control domain',
      is_control_domain: true,
      power_state: 'Running',
    });
  for (const [index, spec] of of.vms.entries()) {
    const vm = addVm(index, spec, null, nothing);
    let parent = nothing;
    for (let number = 0; number < spec.snapshots; number += 1)
      parent = addVm(index, { ...spec, running: false }, vm, parent);
    const own = objects.find((object) => object.id === vm);
    if (own !== undefined) own.fields['parent'] = parent;
  }
  return new MetadataDocument(
    struct({ xapi_major: '26', xapi_minor: '17', export_vsn: '2', product_brand: 'XCP-ng' }),
    objects.map(
      ({ class: name, id, fields }): MetadataObject => ({
        class: name,
        id,
        fields: struct(fields),
        extra: null,
      }),
    ),
  );
}

export const anyPool: fc.Arbitrary<MetadataDocument> = shape.map(poolDocument);
/** The same pool exported twice: ids run on, counters differ. */
export const twoExports: fc.Arbitrary<readonly [MetadataDocument, MetadataDocument]> = fc
  .tuple(shape, fc.nat(9000), fc.nat(9000))
  .map(([of, firstId, seed]) => [poolDocument(of), poolDocument({ ...of, firstId, seed })]);

/** A recovery pool in which these documents can be imported without a word: their SRs attached, their networks there. */
export function poolFor(documents: readonly MetadataDocument[]): PoolFacts {
  const hosts = [0, 1].map(
    (number): HostFacts => ({
      uuid: uuidOf('dr-host', number),
      nameLabel: `dr${number}`,
      address: `10.0.0.${number}`,
      enabled: true,
      live: true,
      memoryTotal: 2 ** 36,
      memoryFree: 2 ** 35,
      cpuCount: 8,
      cpuFeatures: '',
      cpuVendor: 'GenuineIntel',
    }),
  );
  const srs = new Map<string, SrFacts>();
  const vdis = new Map<string, VdiFacts>();
  const networks = new Map<string, NetworkFacts>();
  for (const document of documents) {
    for (const sr of document.srs)
      if (!srs.has(sr.uuid)) srs.set(sr.uuid, srFacts(sr.uuid, sr.nameLabel, sr.contentType, hosts));
    for (const vdi of document.vdis) vdis.set(vdi.uuid, vdiFacts(vdi.uuid, vdi.sr?.uuid ?? '', vdi.location));
    for (const network of document.networks)
      networks.set(network.nameLabel, networkFacts(network.nameLabel, `xapi9${networks.size}`, hosts));
  }
  return {
    uuid: uuidOf('pool', 1),
    nameLabel: 'tokyo',
    masterUuid: uuidOf('dr-host', 0),
    observedAt: '2026-11-21T00:00:00.000Z',
    serverTime: '2026-11-21T00:00:00.000Z',
    productBrand: 'XCP-ng',
    productVersion: '8.3.0',
    xapiBuild: { major: 26, minor: 17, text: '26.17' },
    haEnabled: false,
    otherConfig: {},
    hosts,
    networks: [...networks.values()],
    srs: [...srs.values()],
    vdis: [...vdis.values()],
    vms: [],
    defaultTemplateNames: [],
    appliances: [],
    gpuGroups: [],
    vtpmUuids: [],
  };
}

export function srFacts(
  uuid: string,
  nameLabel: string,
  contentType: string,
  hosts: readonly HostFacts[],
): SrFacts {
  return {
    uuid,
    nameLabel,
    nameDescription: '',
    type: contentType === 'iso' ? 'iso' : 'nfs',
    contentType,
    shared: true,
    physicalSize: 2 ** 40,
    physicalUtilisation: 0,
    smConfig: {},
    otherConfig: {},
    tags: [],
    pbds: hosts.map((host) => ({
      uuid: `${uuid}@${host.uuid}`,
      hostUuid: host.uuid,
      attached: true,
      deviceConfig: {},
    })),
  };
}

export function vdiFacts(uuid: string, srUuid: string, location: string): VdiFacts {
  return anyVdi({ uuid, srUuid, location, virtualSize: 2 ** 23 });
}

export function networkFacts(nameLabel: string, bridge: string, hosts: readonly HostFacts[]): NetworkFacts {
  return {
    uuid: `network ${nameLabel} ${bridge}`,
    nameLabel,
    nameDescription: '',
    bridge,
    mtu: 1500,
    managed: true,
    otherConfig: {},
    pifs: hosts.map((host) => ({ hostUuid: host.uuid, device: 'eth0', vlan: 20, attached: true })),
  };
}

/** The VM as the recovery pool has it after a restore of its document. */
export function restoredVm(vm: VmObject, changes: Partial<VmFacts> = {}): VmFacts {
  return vmFacts({
    uuid: vm.uuid,
    nameLabel: vm.nameLabel,
    powerState: 'Halted',
    isTemplate: vm.isATemplate,
    isSnapshot: vm.isASnapshot,
    snapshotOf: vm.snapshotOf?.uuid ?? null,
    otherConfig: vm.otherConfig,
    macSeed: vm.macSeed,
    version: vm.version + 1,
    memoryStaticMax: 2 ** 30,
    memoryDynamicMin: 2 ** 30,
    memoryDynamicMax: 2 ** 30,
    vbds: vm.vbds.map((vbd) => ({
      uuid: vbd.uuid,
      vdiUuid: vbd.vdi?.uuid ?? null,
      userdevice: vbd.userdevice,
      type: vbd.type,
      mode: vbd.mode,
      empty: vbd.empty,
      bootable: false,
      attached: false,
    })),
    vifs: vm.vifs.map((vif) => ({
      uuid: vif.uuid,
      networkUuid: '',
      device: vif.device,
      mac: vif.mac,
      attached: false,
    })),
    vtpms: vm.vtpms.map((vtpm) => vtpm.uuid),
    ...changes,
  });
}
