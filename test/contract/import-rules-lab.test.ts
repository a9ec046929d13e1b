/** What the import rules say beforehand, and what the lab's import then does: the same, for any document and any pool. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import { PortError } from '../../src/domain/errors.ts';
import type { Row } from '../../src/lab/core/database.ts';
import type { LabPool } from '../../src/lab/core/pool.ts';
import { nullRef, struct } from '../../src/lab/core/values.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { classes, enums, modelType } from '../../src/metadata/datamodel/index.ts';
import { type MetadataDocument, packDocument } from '../../src/metadata/document.ts';
import { type PeerError, predictImport } from '../../src/metadata/import-rules.ts';
import { changeObjects } from '../../src/metadata/rewrite.ts';
import { merge } from '../../src/metadata/split.ts';
import { splitStream } from '../../src/metadata/split-stream.ts';
import { patientClock } from './xenapi-scripted-host.ts';

type Client = ReturnType<typeof openHypervisor>;

const storage = mkdtempSync(join(tmpdir(), 'lifeboat-rules-'));
const lab = await startLab({ world: 'recordings', storage });
const clients: Client[] = [];
t.teardown(async () => {
  await Promise.all(clients.map((made) => made.close()));
  await lab.stop();
  rmSync(storage, { recursive: true });
});

function client(of: Lab, name: string): Client {
  const made = openHypervisor({
    site: name,
    clock: patientClock,
    password: async () => of.credentials.password,
    pool: {
      hosts: of.pool(name).hosts.map((host) => ({ url: of.url(host), fingerprint: host.certificate.sha256 })),
      username: of.credentials.username,
      password: { from: 'env', name: 'UNUSED' },
      poolUuid: of.pool(name).row.uuid,
      caFile: null,
      transport: 'jsonrpc',
      maxRequests: 2,
    },
  });
  clients.push(made);
  return made;
}

function disk(pool: LabPool, sr: Row, uuid: string, more: Record<string, string | boolean> = {}): Row {
  return pool.db.create('VDI', {
    uuid,
    SR: sr.ref,
    location: uuid,
    name_label: `disk ${uuid}`,
    virtual_size: 1024n,
    type: 'user',
    managed: true,
    ...more,
  });
}

/** Fields of enums that the data model gives no default hold nothing when a row is made by hand: any value will do. */
function fillEnums(pool: LabPool): void {
  for (const [name, model] of classes)
    for (const row of pool.db.all(name))
      for (const field of model.fields.values()) {
        const type = modelType(field.type);
        if (type.kind === 'enum' && row.get(field.name) === '')
          row.set({ [field.name]: enums.get(type.name)?.[0] ?? '' });
      }
}

/** Three VMs with disks on two SRs, networks, an ISO, a vTPM and a snapshot. */
function buildProduction(pool: LabPool): void {
  const { db } = pool;
  const srs = ['sr-a', 'sr-b'].map((uuid) =>
    db.create('SR', { uuid, name_label: uuid, type: 'nfs', content_type: 'user', shared: true }),
  );
  const isoSr = db.create('SR', { uuid: 'sr-iso', name_label: 'isos', type: 'iso', content_type: 'iso' });
  const iso = disk(pool, isoSr, 'iso', { location: 'debian.iso' });
  const lans = ['app lan', 'db lan'].map((name, index) =>
    db.create('network', { name_label: name, bridge: `xapi6${index}`, managed: true }),
  );
  const machine = (name: string, more: Parameters<typeof db.create>[1] = {}): Row =>
    db.create('VM', {
      uuid: `vm-${name}`,
      name_label: name,
      power_state: 'Halted',
      domain_type: 'hvm',
      HVM_boot_policy: 'BIOS order',
      other_config: struct({ mac_seed: `seed-${name}` }),
      ...more,
    });
  const drive = (vm: Row, vdi: Row | null, userdevice: string, type: string): Row =>
    db.create('VBD', {
      uuid: `vbd-${vm.uuid}-${userdevice}`,
      VM: vm.ref,
      VDI: vdi?.ref ?? nullRef,
      userdevice,
      type,
      mode: type === 'CD' ? 'RO' : 'RW',
      empty: vdi === null,
    });
  for (const [index, name] of ['web', 'db', 'file'].entries()) {
    const vm = machine(name);
    const [first = isoSr, second = isoSr] = srs;
    drive(vm, disk(pool, first, `disk-${name}-0`), '0', 'Disk');
    if (index > 0) drive(vm, disk(pool, second, `disk-${name}-1`), '1', 'Disk');
    drive(vm, index === 0 ? iso : null, '3', 'CD');
    const lan = lans[index % 2];
    if (lan !== undefined)
      db.create('VIF', {
        uuid: `vif-${name}`,
        VM: vm.ref,
        network: lan.ref,
        device: '0',
        MAC: `02:00:00:00:00:0${index}`,
        MTU: 1500n,
      });
    if (index === 1) db.create('VTPM', { uuid: 'vtpm-db', VM: vm.ref });
    if (index === 2) {
      const snapshot = machine('snapshot of file', {
        is_a_snapshot: true,
        is_a_template: true,
        snapshot_of: vm.ref,
        other_config: struct({ mac_seed: 'seed-file' }),
      });
      drive(snapshot, disk(pool, first, 'disk-snapshot'), '0', 'Disk');
    }
  }
}

const names = ['web', 'db', 'file'] as const;
const presence = fc.constantFrom(...Array.from({ length: 11 }, () => 'there' as const), 'absent' as const);
const scenario = fc.record({
  vms: fc.subarray([0, 1, 2], { minLength: 1 }),
  snapshots: fc.boolean(),
  restore: fc.constantFrom(true, true, false),
  newer: fc.constantFrom(false, false, false, false, true),
  srs: fc.tuple(presence, presence),
  disks: fc.array(presence, { minLength: 6, maxLength: 6 }),
  lans: fc.array(fc.constantFrom('name', 'bridge', 'absent'), { minLength: 2, maxLength: 2 }),
  iso: fc.constantFrom('there', 'absent'),
  twins: fc.array(
    fc.constantFrom(
      'none',
      'none',
      'running',
      'same',
      'older',
      'seed',
      'attached',
      'blocked',
      'drive',
      'vtpm',
    ),
    { minLength: 3, maxLength: 3 },
  ),
  document: fc.constantFrom(
    'whole',
    'whole',
    'whole',
    'attached',
    'pv',
    'lost vm',
    'lost network',
    'lost sr',
    'suspended',
    'same device',
    'gpu',
    'orphan',
  ),
  readOnly: fc.constantFrom(false, false, false, false, true),
});
const smooth = {
  vms: [0, 1, 2],
  snapshots: false,
  restore: true,
  newer: false,
  srs: ['there', 'there'],
  disks: Array.from({ length: 6 }, () => 'there'),
  lans: ['name', 'name'],
  iso: 'there',
  twins: ['none', 'older', 'none'],
  document: 'whole',
  readOnly: false,
} satisfies Scenario;
type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

function buildRecovery(pool: LabPool, of: Scenario): void {
  const { db } = pool;
  const srs = ['sr-a', 'sr-b'].map((uuid, index) =>
    of.srs[index] === 'there'
      ? db.create('SR', { uuid, name_label: uuid, type: 'nfs', content_type: 'user', shared: true })
      : null,
  );
  for (const sr of srs)
    if (sr !== null)
      for (const host of pool.hosts)
        db.create('PBD', { SR: sr.ref, host: host.row.ref, currently_attached: true });
  const places = [
    ['disk-web-0', 0],
    ['disk-db-0', 0],
    ['disk-db-1', 1],
    ['disk-file-0', 0],
    ['disk-file-1', 1],
    ['disk-snapshot', 0],
  ] as const;
  for (const [index, [uuid, number]] of places.entries()) {
    const sr = srs[number] ?? null;
    if (sr !== null && of.disks[index] === 'there') disk(pool, sr, uuid, { read_only: of.readOnly });
  }
  for (const [index, name] of ['app lan', 'db lan'].entries()) {
    if (of.lans[index] === 'absent') continue;
    const bridge = `xapi6${index}`;
    db.create('network', {
      name_label: of.lans[index] === 'name' ? name : `other ${name}`,
      bridge: of.lans[index] === 'name' ? `xapi7${index}` : bridge,
    });
  }
  if (of.iso === 'there') {
    const sr = db.create('SR', { uuid: 'dr-iso', name_label: 'dr isos', type: 'iso', content_type: 'iso' });
    disk(pool, sr, 'dr-debian', { location: 'debian.iso' });
  }
  for (const [index, name] of names.entries()) {
    const twin = of.twins[index];
    if (twin === undefined || twin === 'none') continue;
    const stranger = twin === 'seed' || twin === 'drive' || twin === 'vtpm';
    const vm = db.create('VM', {
      uuid: stranger ? `stranger-${name}` : `vm-${name}`,
      name_label: stranger ? `stranger ${name}` : name,
      power_state: twin === 'running' ? 'Running' : 'Halted',
      domain_type: 'hvm',
      version: twin === 'same' ? 1n : -1n,
      other_config: struct(twin === 'drive' || twin === 'vtpm' ? {} : { mac_seed: `seed-${name}` }),
      blocked_operations: struct(twin === 'blocked' ? { destroy: 'mine' } : {}),
    });
    if (twin === 'attached' || twin === 'drive')
      db.create('VBD', {
        uuid: twin === 'drive' ? `vbd-vm-${name}-0` : `old-${name}`,
        VM: vm.ref,
        userdevice: '0',
        type: 'CD',
        mode: 'RO',
        empty: true,
        currently_attached: twin === 'attached',
      });
    if (twin === 'vtpm') db.create('VTPM', { uuid: 'vtpm-db', VM: vm.ref });
  }
}

function damaged(document: MetadataDocument, kind: Scenario['document']): MetadataDocument {
  const first = (name: string): unknown => document.ofClass(name)[0];
  switch (kind) {
    case 'attached':
      return changeObjects(document, 'VBD', () => ({ currently_attached: true }));
    case 'pv':
      return changeObjects(
        changeObjects(document, 'VBD', () => ({ currently_attached: true })),
        'VM',
        () => ({ domain_type: 'pv' }),
      );
    case 'lost vm':
      return changeObjects(document, 'VBD', (vbd) => (vbd === first('VBD') ? { VM: 'Ref:70001' } : null));
    case 'lost network':
      return changeObjects(document, 'VIF', (vif) =>
        vif === first('VIF') ? { network: 'Ref:70002' } : null,
      );
    case 'lost sr':
      return changeObjects(document, 'VDI', (vdi) => (vdi === first('VDI') ? { SR: 'Ref:70003' } : null));
    case 'suspended':
      return changeObjects(document, 'VM', (vm) =>
        vm === first('VM') ? { power_state: 'Suspended', suspend_VDI: 'Ref:70004' } : null,
      );
    case 'same device':
      return changeObjects(document, 'VBD', () => ({ userdevice: '0' }));
    case 'gpu':
      return document.with([
        ...document.objects,
        {
          class: 'GPU_group',
          id: 'Ref:70005',
          fields: struct({ uuid: 'gpu', GPU_types: ['10de/2235'] }) as never,
          extra: null,
        },
      ]);
    case 'orphan':
      return changeObjects(document, 'VM', (vm) =>
        vm.fields['is_a_snapshot'] === true ? { snapshot_of: 'Ref:70006' } : null,
      );
    default:
      return document;
  }
}

/** Code and parameters with references turned into uuids; texts of xapi's own exceptions only by their beginning. */
function normal(
  pool: LabPool,
  error: { readonly code: string; readonly params: readonly string[] } | null,
): unknown {
  if (error === null) return null;
  if (error.code === 'DUPLICATE_MAC_SEED') return error.code;
  if (error.code === 'IMPORT_ERROR')
    return [
      error.code,
      /Unable to find GPU group|A VTPM with UUID \S+ already exists/.exec(error.params.join(' '))?.[0],
    ];
  const uuid = (param: string): string => {
    if (!param.startsWith('OpaqueRef:')) return param;
    for (const cls of ['VM', 'SR', 'VDI', 'VBD']) {
      const row = pool.db.find(cls, param);
      if (row !== undefined) return row.uuid;
    }
    return param;
  };
  return [error.code, ...error.params.map(uuid)];
}

t.test('a rehearsal says what the import does', async () => {
  const prod = lab.pool('prod');
  const dr = lab.pool('dr');
  buildProduction(prod);
  fillEnums(prod);
  const [production, recovery] = [client(lab, 'prod'), client(lab, 'dr')];
  const exported = new Map<string, MetadataDocument>();
  const withSnapshots = new Map<string, MetadataDocument>();
  for await (const part of splitStream(await production.exportAllMetadata()))
    exported.set(part.nameLabel, part.document);
  for await (const part of splitStream(await production.exportAllMetadata(), { snapshots: true }))
    withSnapshots.set(part.nameLabel, part.document);
  assert.deepEqual([...exported.keys()].sort(), ['db', 'file', 'web']);

  const changing = [
    'VM',
    'VBD',
    'VIF',
    'VTPM',
    'VM_metrics',
    'VM_guest_metrics',
    'PBD',
    'VDI',
    'SR',
    'network',
    'VGPU_type',
  ];
  const given = new Set(changing.flatMap((cls) => dr.db.all(cls).map((row) => row.ref)));
  const clear = (): void => {
    for (const cls of changing)
      for (const row of dr.db.all(cls)) if (row.alive && !given.has(row.ref)) row.destroy();
  };
  const outcome = async (
    archive: Uint8Array,
    restore: boolean,
    dryRun: boolean,
  ): Promise<PeerError | null> => {
    try {
      await recovery.importMetadata(archive, { restore, dryRun });
      return null;
    } catch (error) {
      if (error instanceof PortError && error.peerCode !== undefined)
        return { code: error.peerCode, params: error.peerParams };
      throw error;
    }
  };
  const seen = new Set<string>();

  await fc.assert(
    fc.asyncProperty(scenario, async (of) => {
      clear();
      buildRecovery(dr, of);
      const source = of.snapshots ? withSnapshots : exported;
      const whole = damaged(
        merge(of.vms.flatMap((index) => source.get(names[index] ?? '') ?? [])),
        of.document,
      );
      const version = struct({ ...whole.version, ...(of.newer ? { xapi_minor: '99' } : {}) });
      const document = Object.assign(whole.with(whole.objects), { version });
      const archive = packDocument(document);
      const before = await recovery.observe();
      const prediction = predictImport([document], before, { restore: of.restore });
      const dry = await outcome(archive, of.restore, true);
      assert.deepEqual(normal(dr, prediction.firstError), normal(dr, dry), 'dry run');
      const real = await outcome(archive, of.restore, false);
      assert.deepEqual(normal(dr, prediction.importError), normal(dr, real), 'import');
      seen.add(prediction.importError?.code ?? 'none');
      assert.equal(
        prediction.perVm.some((vm) => vm.outcome === 'refuse') || prediction.importError === null,
        true,
      );
      if (real !== null) return;
      const after = await recovery.observe();
      for (const vm of prediction.perVm) {
        const now = after.vms.find((candidate) => candidate.uuid === vm.uuid);
        const inFile = document.vms.find((candidate) => candidate.uuid === vm.uuid);
        if (of.restore)
          assert.equal(now?.version, (inFile?.version ?? 0) + 1, `${vm.nameLabel} was restored`);
      }
      const made = prediction.findings.filter(
        (finding) => finding.code === 'DR-IMPORT-NETWORK-CREATED',
      ).length;
      assert.equal(after.networks.length - before.networks.length, made, 'networks as foretold');
    }),
    {
      numRuns: 60,
      examples: [[smooth], [{ ...smooth, lans: ['bridge', 'absent'], twins: ['vtpm', 'none', 'none'] }]],
    },
  );
  assert.ok(seen.has('none') && seen.size >= 5, `few outcomes came up: ${[...seen].join(', ')}`);
});
