/** The document: recorded exports of a real xapi, its rewrites, and what happens with a broken one. */
import t from 'tap';
import type { OperatorError } from '../../src/domain/errors.ts';
import { afterRefusal, planBatches } from '../../src/metadata/batches.ts';
import { canonicalDocument, fingerprint } from '../../src/metadata/canonical.ts';
import {
  formatDocument,
  MetadataDocument,
  packDocument,
  parseArchive,
  parseArchiveTolerantly,
  parseDocument,
} from '../../src/metadata/document.ts';
import { rewriteForRecovery } from '../../src/metadata/recovery.ts';
import { changeObjects, danglingReferences, lowerBuild, remapStorage } from '../../src/metadata/rewrite.ts';
import { extractVm, merge, split } from '../../src/metadata/split.ts';
import { type StreamedVmDocument, splitStream } from '../../src/metadata/split-stream.ts';
import { summarize } from '../../src/metadata/summary.ts';
import { packOva, unpackOva } from '../../src/metadata/tar.ts';
import {
  plainDocument,
  poolDocument,
  recorded,
  recordedFacts,
  recordedNames,
  recordings,
  struct,
} from './support.ts';

const withoutRecordings = recordings
  ? {}
  : { skip: 'the recordings of a real xapi are not beside the repository' };

type Shape = Parameters<typeof poolDocument>[0]['vms'][number];
const vmShape: Shape = {
  name: 'web1',
  running: false,
  disks: [0],
  shared: false,
  networks: [1],
  iso: false,
  snapshots: 0,
  vtpm: false,
  unknown: false,
  ha: '',
  host: false,
  otherConfig: [],
};
const pool = (...vms: Partial<Shape>[]) =>
  poolDocument({ vms: vms.map((vm) => ({ ...vmShape, ...vm })), dom0: true, firstId: 17, seed: 4 });

t.test('recorded exports are read whole and written byte for byte', withoutRecordings, async (t) => {
  for (const name of recordedNames()) {
    const archive = recorded(name);
    const document = parseArchive(archive);
    const facts = recordedFacts(name);
    const count: Record<string, number> = {};
    for (const object of document.objects) count[object.class] = (count[object.class] ?? 0) + 1;
    t.strictSame(count, facts['count'], `${name}: objects by class`);
    t.strictSame({ ...document.version }, facts['version'], `${name}: version`);
    t.same(
      document.vms.map((vm) => ({
        uuid: vm.uuid,
        name_label: vm.nameLabel,
        power_state: vm.powerState,
        is_a_template: vm.isATemplate,
        is_a_snapshot: vm.isASnapshot,
        is_control_domain: vm.isControlDomain,
        version: String(vm.version),
        tags: vm.tags,
      })),
      facts['vms'],
      `${name}: VMs`,
    );
    t.ok(Buffer.from(formatDocument(document)).equals(unpackOva(archive)), `${name}: written again`);
    t.equal(document.build.text, '26.17');
  }
});

t.test('an export of all VMs holds the same documents as single exports', withoutRecordings, async (t) => {
  const all = parseArchive(recorded('pool-all'));
  for (const [name, snapshots] of [
    ['with-snapshots', true],
    ['without-snapshots', false],
    ['with-vtpm', false],
    ['cd-with-iso', false],
    ['custom-template', false],
  ] as const) {
    const single = parseArchive(recorded(name));
    const uuid = single.vm?.uuid ?? '';
    const cut = extractVm(all, uuid, { snapshots });
    if (cut === null) throw new Error(`${name} is not in pool-all`);
    t.same(
      cut.objects.map((o) => [o.class, o.fields['uuid']]),
      canonicalDocument(single).objects.map((o) => [o.class, o.fields['uuid']]),
      `${name}: the same objects`,
    );
    t.equal(fingerprint(cut), fingerprint(single), `${name}: the same meaning`);
  }
  t.equal(
    fingerprint(parseArchive(recorded('halted-two-disks'))) ===
      fingerprint(parseArchive(recorded('running-two-disks'))),
    false,
    'a VM that was started is told from the halted one',
  );
  const parts = split(all);
  t.strictSame(
    split(merge(parts.map((p) => p.document))).map((p) => plainDocument(p.document)),
    [...parts].sort((a, b) => (a.uuid < b.uuid ? -1 : 1)).map((p) => plainDocument(p.document)),
  );
});

t.test('an unescaped map key is named, with what to do, and can be forgiven', async (t) => {
  const healthy = pool({
    name: 'payroll db',
    otherConfig: [
      ['k1', 'v'],
      ['owner', 'Anna'],
    ],
  });
  const xml = formatDocument(healthy);
  const broken = packOva(xml.replace('<name>owner</name>', '<name>a<&>b</name>'));
  t.throws(() => parseArchive(broken), { code: 'DR-DOCUMENT-HOSTILE-KEY' });
  try {
    parseArchive(broken);
  } catch (error) {
    const [problem] = (error as OperatorError).problems;
    t.strictSame(problem?.known, ['key "a<&>b" in other_config of VM payroll db']);
    t.match(problem?.next, /vm-param-remove uuid=… param-name=other-config/);
  }
  const { document, repaired } = parseArchiveTolerantly(broken);
  t.strictSame(repaired, [{ key: 'a<&>b', field: 'other_config', class: 'VM', name: 'payroll db' }]);
  t.equal(document.vm?.otherConfig['a<&>b'], 'Anna');
  t.equal(
    parseDocument(formatDocument(document)).vm?.otherConfig['a<&>b'],
    'Anna',
    'written, it is well-formed',
  );
  t.throws(
    () => parseArchiveTolerantly(packOva(xml.replace('<name>owner</name>', '<name>a</value><b></name>'))),
    { code: 'DR-DOCUMENT-UNREADABLE' },
    'a key that looks like the grammar is not guessed at',
  );
});

t.test('a damaged archive is refused with the place of the damage', async (t) => {
  const xml = formatDocument(pool({}));
  const problem = (run: () => unknown): string => {
    try {
      run();
    } catch (error) {
      return (error as OperatorError).message;
    }
    return 'no error';
  };
  t.match(
    problem(() => parseArchive(new Uint8Array(20))),
    /20 bytes long.*DR-DOCUMENT-UNREADABLE/,
  );
  t.match(
    problem(() => parseArchive(packOva(xml).subarray(0, 2000))),
    /cut/,
  );
  t.match(
    problem(() => parseDocument(xml.slice(0, -9))),
    /line 1, column \d+/,
  );
  t.match(
    problem(() => parseDocument('<value>text</value>')),
    /not a struct/,
  );
  t.match(
    problem(() => parseDocument(xml.replace('<name>id</name>', '<name>ident</name>'))),
    /object 1 lacks/,
  );
  t.match(
    problem(() => parseDocument(new Uint8Array([60, 255, 62]))),
    /UTF-8/,
  );
});

t.test('for a failover networks, HA, ISOs, placement and snapshots are rewritten', async (t) => {
  const document = pool({
    running: true,
    ha: 'restart',
    iso: true,
    snapshots: 1,
    host: true,
    networks: [1, 2],
    vtpm: true,
  });
  const made = rewriteForRecovery(document, {
    networks: [{ production: 'LAN 1', recovery: { nameLabel: 'DR app', bridge: 'xapi44' } }],
    dropVtpms: true,
    otherConfig: { lifeboat: 'group payroll' },
    lowerBuildTo: { major: 25, minor: 6 },
  });
  const [vm] = made.document.vms;
  t.equal(made.document.vms.length, 1);
  t.strictSame(made.parked, [
    { uuid: vm?.uuid, nameLabel: 'web1', haRestartPriority: 'restart', haAlwaysRun: true },
  ]);
  t.strictSame(made.unmappedNetworks, ['LAN 2']);
  t.strictSame(
    vm?.vifs.map((vif) => [vif.network?.nameLabel, vif.network?.bridge]),
    [
      ['DR app', 'xapi44'],
      ['LAN 2', 'xapi2'],
    ],
  );
  t.strictSame(vm?.vbds.map((vbd) => [vbd.userdevice, vbd.empty, vbd.currentlyAttached]).sort(), [
    ['0', false, false],
    ['3', true, false],
  ]);
  t.equal(vm?.otherConfig['lifeboat'], 'group payroll');
  t.equal(made.document.build.text, '25.6');
  t.strictSame(
    ['host', 'VTPM', 'VDI', 'SR'].map((name) => made.document.ofClass(name).length),
    [0, 0, 1, 1],
  );
  t.match(made.notes.join('\n'), /CD drive 3 of web1 is emptied: debian.iso is not there/);
  t.match(made.notes.join('\n'), /HA of web1 is parked \(restart priority restart\)/);
  t.equal(lowerBuild(document, { major: 27, minor: 0 }), document, 'a build is never raised');
});

t.test('disks are pointed at copies by SR and location', async (t) => {
  const document = pool({ disks: [0, 1] });
  const [first, second] = document.vdis;
  const made = remapStorage(document, {
    srs: new Map([[first?.sr?.uuid ?? '', 'copy-sr']]),
    disks: new Map([[second?.uuid ?? '', { location: 'copy-2', uuid: 'copy-2' }]]),
  });
  t.strictSame(
    made.vdis.map((vdi) => [vdi.uuid, vdi.location, vdi.sr?.uuid]),
    [
      [first?.uuid, first?.location, 'copy-sr'],
      ['copy-2', 'copy-2', second?.sr?.uuid],
    ],
  );
});

t.test('a batch holds each VM once and the version of the newest exporter', async (t) => {
  const [a, b] = split(pool({}, { name: 'db1', shared: true }));
  if (a === undefined || b === undefined) throw new Error('two VMs were made');
  t.throws(() => merge([a.document, a.document]), { code: 'DR-DOCUMENT-DUPLICATE-VM' });
  const merged = merge([lowerBuild(a.document, { major: 25, minor: 1 }), b.document]);
  t.equal(merged.build.text, '26.17');
  t.strictSame(danglingReferences(merged), []);
  t.strictSame(
    parseArchive(packDocument(merged))
      .vms.map((vm) => vm.nameLabel)
      .sort(),
    ['db1', 'web1'],
  );
});

t.test('an export of all VMs is taken apart while it arrives', async (t) => {
  const whole = pool({ name: 'payroll', otherConfig: [['owner', 'Anna']] }, { name: 'db1' });
  async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
    yield bytes;
  }
  const read = async (bytes: Uint8Array) => {
    const parts: StreamedVmDocument[] = [];
    for await (const part of splitStream(once(bytes))) parts.push(part);
    return parts;
  };
  const parts = await read(packDocument(whole));
  t.strictSame(
    parts.map((part) => [part.nameLabel, part.repaired.length]),
    [
      ['payroll', 0],
      ['db1', 0],
    ],
    'without the control domain',
  );
  const hostile = formatDocument(whole).replace('<name>owner</name>', '<name>a&b</name>');
  t.strictSame(
    (await read(packOva(hostile))).map((part) => [part.nameLabel, part.repaired.map((key) => key.key)]),
    [
      ['payroll', ['a&b']],
      ['db1', []],
    ],
    'one hostile key does not spoil the others',
  );
  const archive = packDocument(whole);
  await t.rejects(read(archive.subarray(0, 3000)), { code: 'DR-DOCUMENT-UNREADABLE' });
  await t.rejects(read(archive.subarray(0, 100)), { code: 'DR-DOCUMENT-UNREADABLE' });
  await t.rejects(read(packOva(formatDocument(whole).slice(0, -60))), { code: 'DR-DOCUMENT-UNREADABLE' });
});

t.test('a refused batch is halved until the culprit stands alone and all others are in', async (t) => {
  const vms = Array.from({ length: 23 }, (_, number) => number);
  t.strictSame(
    planBatches(vms, 10).map((batch) => batch.length),
    [10, 10, 3],
  );
  t.throws(() => planBatches(vms, 0), RangeError);
  const run = (bad: ReadonlySet<number>, suspects?: (vm: number) => boolean) => {
    const queue: (readonly number[])[] = planBatches(vms, 10);
    const imported: number[] = [];
    const refused: number[] = [];
    let requests = 0;
    for (let batch = queue.shift(); batch !== undefined; batch = queue.shift()) {
      requests += 1;
      if (!batch.some((vm) => bad.has(vm))) {
        imported.push(...batch);
        continue;
      }
      const next = afterRefusal(batch, suspects);
      refused.push(...next.refused);
      queue.unshift(...next.retry);
    }
    return { imported, refused, requests };
  };
  for (const bad of [[], [0], [7, 8], [22], vms]) {
    const outcome = run(new Set(bad));
    t.strictSame(outcome.refused, bad);
    t.strictSame(
      outcome.imported,
      vms.filter((vm) => !bad.includes(vm)),
    );
  }
  const known = run(new Set([7, 15]), (vm) => vm === 7 || vm === 15);
  t.strictSame([known.refused, known.requests], [[7, 15], 7], 'known culprits cost two more requests each');
  t.ok(run(new Set([7, 15])).requests > known.requests);
  t.strictSame(run(new Set([3]), (vm) => vm === 4).refused, [3], 'a wrong suspicion does no harm');
});

t.test('the summary tells what the catalog needs to plan', async (t) => {
  const [web] = split(
    pool({ disks: [0, 1], networks: [2, 1], iso: true, ha: 'restart', otherConfig: [['folder', '/prod']] }),
  );
  if (web === undefined) throw new Error('one VM was made');
  const { vm } = web.document;
  t.strictSame(summarize(web.document, new Map([[web.uuid, 'tier']])), {
    uuid: web.uuid,
    nameLabel: 'web1',
    powerState: 'Halted',
    order: 0,
    startDelaySeconds: 0,
    memoryStaticMax: 0,
    memoryDynamicMax: 0,
    vcpusAtStartup: 0,
    haRestartPriority: 'restart',
    haAlwaysRun: true,
    tags: ['Ref:1', 'web1'],
    folder: '/prod',
    srUuids: [...new Set(vm?.vbds.flatMap((vbd) => (vbd.type === 'Disk' ? [vbd.vdi?.sr?.uuid] : [])))].sort(),
    vdiUuids: vm?.vbds.flatMap((vbd) => (vbd.type === 'Disk' ? [vbd.vdi?.uuid] : [])).sort(),
    networkNames: ['LAN 1', 'LAN 2'],
    applianceUuid: 'tier',
  });
});

t.test('long lists of a large pool are cut down for each VM, real references stay', async (t) => {
  const names = Array.from({ length: 40 }, (_, number) => `vm${number}`);
  const foreign = Array.from(
    { length: 30 },
    (_, number) => `OpaqueRef:pbd-${String(number).padStart(2, '0')}`,
  );
  const whole = changeObjects(pool(...names.map((name) => ({ name, shared: true }))), 'SR', () => ({
    PBDs: foreign,
  }));
  async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
    yield bytes;
  }
  const streamed: string[] = [];
  for await (const part of splitStream(once(packDocument(whole)))) {
    streamed.push(formatDocument(part.document));
    const [sr] = part.document.srs.filter((candidate) => candidate.nameLabel === 'SR 0');
    t.equal(sr?.texts('VDIs').length, 1);
    t.strictSame(sr?.texts('PBDs'), foreign);
    const quorum = part.document.vdis.find((vdi) => vdi.nameLabel === 'disk quorum');
    t.equal(quorum?.texts('VBDs').length, 1, 'of the shared disk its own drive');
  }
  t.strictSame(
    streamed,
    split(whole).map((part) => formatDocument(part.document)),
  );
  const merged = merge(split(whole).map((part) => part.document));
  t.equal(merged.vdis.find((vdi) => vdi.nameLabel === 'disk quorum')?.texts('VBDs').length, 40);
});

t.test(
  'what a guest tells of itself has no meaning for a recovery, as for the digest that keeps documents',
  (t) => {
    const plain = poolDocument({ vms: [vmShape], dom0: false, firstId: 1, seed: 1 });
    const withGuest = (address: string) =>
      new MetadataDocument(
        plain.version,
        [
          ...plain.objects.map((object) =>
            object.class === 'VM'
              ? {
                  ...object,
                  fields: struct({ ...object.fields, guest_metrics: 'Ref:9001', metrics: 'Ref:9002' }),
                }
              : object,
          ),
          {
            class: 'VM_guest_metrics',
            id: 'Ref:9001',
            fields: struct({ os_version: struct({ name: address }), networks: struct({ '0/ip': address }) }),
            extra: struct({}),
          },
          {
            class: 'VM_metrics',
            id: 'Ref:9002',
            fields: struct({ current_domain_type: 'hvm', start_time: address }),
            extra: struct({}),
          },
        ],
        plain.extra,
      );
    t.equal(fingerprint(withGuest('10.0.0.1')), fingerprint(withGuest('10.0.0.2')));
    t.equal(fingerprint(withGuest('10.0.0.1')), fingerprint(plain), 'as if it had told nothing');
    const [vm] = plain.objects.filter((object) => object.class === 'VM');
    const renamed = plain.with(
      plain.objects.map((object) =>
        object === vm ? { ...object, fields: struct({ ...object.fields, name_label: 'other' }) } : object,
      ),
    );
    t.not(fingerprint(renamed), fingerprint(plain), 'the name has a meaning');
    t.end();
  },
);
