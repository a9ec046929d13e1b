import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { diffPoints } from '../../src/adapters/catalog/diff.ts';
import { extractPoint } from '../../src/adapters/catalog/extract.ts';
import { LocalStore } from '../../src/adapters/catalog/local-store.ts';
import { retain } from '../../src/adapters/catalog/retention.ts';
import type { RetentionSettings } from '../../src/domain/settings.ts';
import { storeContract } from './store-contract.ts';
import {
  documentOf,
  exportPoint,
  keyOf,
  localCatalog,
  noise,
  pointOf,
  putPoint,
  scratch,
  vmOf,
} from './world.ts';

const nothing: RetentionSettings = {
  last: 0,
  hourly: 0,
  daily: 0,
  weekly: 0,
  monthly: 0,
  yearly: 0,
  maxAgeSeconds: null,
};

const packsIn = (directory: string): string[] => readdirSync(join(directory, 'packs'));
const sizeOf = (directory: string): number =>
  packsIn(directory).reduce((sum, name) => sum + statSync(join(directory, 'packs', name)).size, 0);

t.test('a directory does what every target must do', async (t) => {
  await storeContract(t, new LocalStore('here', join(scratch(t), 'deep/root')));
});

t.test(
  'who looks at a target that is not there yet does not keep the first export from making it',
  async (t) => {
    const catalog = localCatalog([join(scratch(t), 'new')]);
    const looks = [catalog.list(null), catalog.list('shop')];
    const bytes = documentOf('db-01');
    const writing = catalog.put(bytes);
    looks.push(catalog.list(null));
    await Promise.allSettled(looks);
    t.same(Buffer.from(await catalog.get(await writing)), bytes);
    await catalog.close();
  },
);

t.test('what was put comes back, once stored however often it was put', async (t) => {
  const directory = scratch(t);
  const catalog = localCatalog([directory]);
  t.teardown(() => catalog.close());
  const document = documentOf('a', 30_000);
  const dump = documentOf('dump', 3_000_000);
  const large = noise(20 * 1024 * 1024);
  const inPieces = async function* (bytes: Buffer): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 77_777) yield bytes.subarray(at, at + 77_777);
  };
  const objects = [
    await catalog.put(document),
    await catalog.putStream(inPieces(dump)),
    await catalog.putStream(inPieces(large)),
    await catalog.put(Buffer.alloc(0)),
  ];
  const size = sizeOf(directory);
  t.ok(size < large.length + 1_500_000, 'words are compressed');
  await Promise.all([catalog.put(document), catalog.put(document), catalog.putStream(inPieces(large))]);
  t.equal(sizeOf(directory), size, 'the same bytes cost nothing again');
  for (const [index, bytes] of [document, dump, large, Buffer.alloc(0)].entries()) {
    const object = objects[index];
    if (object === undefined) throw new Error('no object');
    t.ok(Buffer.from(await catalog.get(object)).equals(bytes), `object ${index} comes back`);
  }
  const one = await exportPoint(catalog, 'payroll', 1, { a: document, b: documentOf('b') });
  const before = sizeOf(directory);
  await exportPoint(catalog, 'web', 2, { a: document, b: documentOf('b') });
  t.ok(sizeOf(directory) - before < 2000, 'a point of another group shares the documents');
  await catalog.close();

  const later = localCatalog([directory]);
  t.teardown(() => later.close());
  t.same(await later.read(one.id), one);
  const [vm] = one.vms;
  if (vm === undefined) throw new Error('no VM');
  t.ok(Buffer.from(await later.get(vm.document)).equals(document), 'in another process too');
  await t.rejects(later.get({ sha256: '0'.repeat(64), bytes: 1 }), /No catalog target has object/);
});

t.test('nothing of a point can be read without the key, and no name tells what is inside', async (t) => {
  const directory = scratch(t);
  const catalog = localCatalog([directory]);
  t.teardown(() => catalog.close());
  const secret = 'TOP-SECRET-CHAP';
  const point = await exportPoint(catalog, 'payroll', 1, { 'hidden-name': Buffer.from(secret) });
  const files = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const all = files.map((file) => `${file} ${readFileSync(file, 'latin1')}`).join('\n');
  for (const word of [secret, 'hidden-name', point.vms[0]?.document.sha256 ?? 'none'])
    t.notOk(all.includes(word), `${word} is nowhere`);
  for (const file of files) t.equal(statSync(file).mode & 0o077, 0, 'only the owner may read');
});

t.test('a wrong key is told at once, and told apart from damage', async (t) => {
  const directory = scratch(t);
  const phrase = (passphrase: string) =>
    localCatalog([directory], { key: async () => ({ from: 'passphrase', passphrase }) });
  const catalog = phrase('correct horse');
  const point = await exportPoint(catalog, 'payroll', 1, { a: documentOf('a') });
  await catalog.close();
  for (const [wrong, words] of [
    [phrase('battery staple'), /passphrase does not open this catalog/],
    [localCatalog([directory]), /key file does not open this catalog/],
  ] as const) {
    t.match((await wrong.list(null)).targets[0]?.problem?.known?.[0], words);
    await t.rejects(wrong.put(documentOf('a')), words);
    await t.rejects(wrong.read(point.id), words);
    await wrong.close();
  }
  const header = readFileSync(join(directory, 'catalog.json'), 'utf8');
  writeFileSync(join(directory, 'catalog.json'), header.replace('"r":8', '"r":9'));
  const right = phrase('correct horse');
  t.equal((await right.read(point.id)).id, point.id, 'the copy of the header opens it');
  t.match((await right.verify({})).damage, [{ file: 'catalog.json', what: /checksum/ }]);
  await right.close();
  rmSync(join(directory, 'catalog-copy.json'));
  t.equal((await phrase('correct horse').list(null)).targets[0]?.problem?.code, 'DR-CATALOG-DAMAGED');
});

t.test('a failing target is loud, costs the others nothing, and is made good by sealing again', async (t) => {
  const [good, bad] = [scratch(t), scratch(t)];
  const file = join(bad, 'file');
  writeFileSync(file, '');
  const catalog = localCatalog([good, join(file, 'below')]);
  t.teardown(() => catalog.close());
  const point = await putPoint(catalog, 'payroll', 1, { a: documentOf('a') });
  t.match(await catalog.seal(point), [
    { target: 't1', ok: true },
    { target: 't2', ok: false, problem: { code: 'DR-CATALOG-MISSING', next: /sites.yaml/ } },
  ]);
  const listing = await catalog.list('payroll');
  t.match(listing.points, [{ id: point.id, good: true, targets: ['t1'] }]);
  t.equal(listing.targets[1]?.ok, false);
  t.equal((await catalog.verify({})).targets[1]?.ok, false, 'verify is as loud');
  t.same(await catalog.read(point.id), point);

  rmSync(file);
  t.match(await catalog.seal(point), [
    { ok: true },
    { ok: true, problem: { code: 'DR-CATALOG-NEW-TARGET' } },
  ]);
  t.same(
    (await catalog.list('payroll')).points[0]?.targets,
    ['t1', 't2'],
    'the documents were fetched from the first',
  );
  t.match(await catalog.seal(point), [{ ok: true }, { ok: true }], 'once more changes nothing');
  t.equal((await catalog.list('payroll')).points.length, 1);
  t.match(await catalog.seal({ ...point, site: 'osaka' }), [
    { ok: false, problem: { code: 'DR-CATALOG-SEALED' } },
  ]);
  rmSync(good, { recursive: true });
  t.same(await catalog.read(point.id), point, 'and the second stands alone');
});

t.test('a directory of somebody else is not taken for a new target', async (t) => {
  const directory = scratch(t);
  writeFileSync(join(directory, 'thesis.odt'), 'years of work');
  const catalog = localCatalog([directory]);
  await t.rejects(catalog.put(documentOf('a')), /not of a catalog.*thesis.odt/);
  t.same(readdirSync(directory), ['thesis.odt'], 'nothing was written there');
});

t.test(
  'an object that is lost in one target comes from the other; a damaged pack is set aside',
  async (t) => {
    const [one, two] = [scratch(t), scratch(t)];
    const catalog = localCatalog([one, two]);
    const first = await exportPoint(catalog, 'payroll', 1, { a: documentOf('a', 9000) });
    await catalog.close();
    const largest = packsIn(one).sort(
      (a, b) => statSync(join(one, 'packs', b)).size - statSync(join(one, 'packs', a)).size,
    )[0];
    const path = join(one, 'packs', largest ?? '');
    const bytes = readFileSync(path);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    const later = localCatalog([one, two]);
    t.teardown(() => later.close());
    const document = first.vms[0]?.document ?? { sha256: '', bytes: 0 };
    t.ok(Buffer.from(await later.get(document)).equals(documentOf('a', 9000)), 'read from the second target');
    t.match((await later.verify({})).damage, [
      { target: 't1', file: `packs/${largest}`, point: first.id, what: /lost: VM a/ },
    ]);
    const second = await exportPoint(later, 'payroll', 2, { a: documentOf('a', 9000) });
    t.same((await later.verify({ pointId: second.id })).damage, [], 'the next point does not rest upon it');
    t.match(
      await later.seal(await later.read(second.id)),
      [
        { target: 't1', ok: true, problem: { code: 'DR-CATALOG-SET-ASIDE', known: [`damaged/${largest}`] } },
        { target: 't2', ok: true, problem: null },
      ],
      'and it is told',
    );
    t.match((await later.list('payroll')).damaged, [{ id: first.id, target: 't1', reason: /missing/ }]);
  },
);

t.test('what somebody removed, exchanged or brought in is named', async (t) => {
  const directory = scratch(t);
  const catalog = localCatalog([directory]);
  t.teardown(() => catalog.close());
  const points: string[] = [];
  for (let minute = 1; minute <= 4; minute += 1)
    points.push((await exportPoint(catalog, 'payroll', minute, { a: documentOf(`a${minute}`, 500) })).id);
  const file = (index: number): string => join(directory, 'points', `${points[index]}.point`);
  const damage = async (): Promise<string[]> =>
    (await catalog.verify({})).damage.map(({ file: name, what }) => `${name}: ${what}`);
  t.same(await damage(), []);

  renameSync(file(1), join(directory, 'aside'));
  t.match(await damage(), [/manifests 2 to 2 are missing/, /aside: a file that does not belong/]);
  t.ok(
    (await catalog.list('payroll')).points.every((point) => point.good),
    'the points that are left stay good',
  );
  renameSync(join(directory, 'aside'), file(1));

  renameSync(file(3), join(directory, 'aside'));
  t.match((await damage())[0], /newest manifest, number 4, is missing/);
  renameSync(join(directory, 'aside'), file(3));

  const [own, other] = [readFileSync(file(0)), readFileSync(file(2))];
  writeFileSync(file(0), other);
  t.match((await damage()).join('\n'), /it is the manifest of payroll\/20260301T000300Z/);
  writeFileSync(file(0), own.subarray(0, 200));
  t.match((await damage()).join('\n'), /T000100Z-0001.point: the manifest is damaged: .*cut off/);
  writeFileSync(file(0), own);

  const stranger = scratch(t);
  const foreign = localCatalog([stranger], {
    key: async () => ({ from: 'key-file', key: keyOf('foreign') }),
  });
  const theirs = await exportPoint(foreign, 'payroll', 1, { a: documentOf('theirs') });
  await foreign.close();
  writeFileSync(file(0), readFileSync(join(stranger, 'points', `${theirs.id}.point`)));
  t.match((await damage()).join('\n'), /its signature is wrong/);
  writeFileSync(file(0), own);

  const [pack = ''] = packsIn(directory);
  const bytes = readFileSync(join(directory, 'packs', pack));
  writeFileSync(join(directory, 'packs', pack), bytes.subarray(0, -1));
  t.match(
    (await damage()).join('\n'),
    new RegExp(`packs/${pack}: the pack has ${bytes.length - 1} bytes instead`),
  );
  rmSync(join(directory, 'packs', pack));
  t.match((await damage()).join('\n'), new RegExp(`packs/${pack}: the pack is missing`));
  writeFileSync(join(directory, 'packs', pack), bytes);
  writeFileSync(join(directory, 'tmp', 'half'), 'cut off');
  const proof = await catalog.verify({});
  t.same(proof.damage, []);
  t.match(proof.notes, [{ file: 'tmp/half', what: /cut off/ }]);
});

t.test('prune keeps what the rules keep, the last good point above all, and frees the rest', async (t) => {
  const directory = scratch(t);
  const catalog = localCatalog([directory], { graceSeconds: 0 });
  t.teardown(() => catalog.close());
  const ids: string[] = [];
  for (let minute = 1; minute <= 5; minute += 1) {
    const failures = minute === 5 ? [{ uuid: 'u', nameLabel: 'v', reason: 'it was migrating' }] : [];
    const point = await exportPoint(
      catalog,
      'payroll',
      minute,
      { a: noise(5000), b: documentOf('b') },
      { failures },
    );
    ids.push(point.id);
  }
  await exportPoint(catalog, 'web', 1, { w: documentOf('w') });
  const before = sizeOf(directory);
  const dry = await catalog.prune('payroll', { ...nothing, last: 2 }, { dryRun: true });
  t.equal(sizeOf(directory), before, 'a dry run removes nothing');
  const real = await catalog.prune('payroll', { ...nothing, last: 2 }, { dryRun: false });
  t.same(real.removed, dry.removed);
  t.same(
    real.removed.map(({ id }) => id),
    [ids[1], ids[0]],
  );
  t.equal(real.bytesFreed, before - sizeOf(directory));
  t.ok(real.bytesFreed > 10_000);
  t.same((await catalog.verify({ deep: true })).damage, [], 'the chain holds over the gap');

  const all = await catalog.prune('payroll', { ...nothing, maxAgeSeconds: 60 }, { dryRun: false });
  t.same(
    all.kept.map(({ id }) => id),
    [ids[3]],
    'only the last good one stays; the newest was not good',
  );
  t.match(all.kept[0]?.reasons, ['the last good point']);
  t.equal((await catalog.list('web')).points.length, 1, 'other groups are not touched');
  await exportPoint(catalog, 'payroll', 6, { a: documentOf('z') });
  t.same((await catalog.verify({ deep: true })).damage, []);

  const manifest = join(directory, 'points', `${ids[3]}.point`);
  const text = readFileSync(manifest);
  text[10] = (text[10] ?? 0) ^ 1;
  writeFileSync(manifest, text);
  const careful = await catalog.prune('payroll', { ...nothing, last: 1 }, { dryRun: false });
  t.equal(careful.bytesFreed, 0);
  t.match(careful.notes, [/cannot be read.*no pack was removed/]);
});

t.test('what an export has written and not yet sealed is not swept under its hands', async (t) => {
  const directory = scratch(t);
  const exporting = localCatalog([directory], { graceSeconds: 0 });
  const pruning = localCatalog([directory], { graceSeconds: 0 });
  t.teardown(() => Promise.all([exporting.close(), pruning.close()]));
  await exportPoint(exporting, 'payroll', 1, { a: documentOf('a') });
  await exportPoint(exporting, 'payroll', 2, { b: documentOf('b') });
  const point = await putPoint(exporting, 'payroll', 3, { b: documentOf('b'), c: documentOf('c') });
  const result = await pruning.prune('payroll', { ...nothing, last: 1 }, { dryRun: false });
  t.match(result, { bytesFreed: 0, notes: [/an export is under way/] });
  t.match(await exporting.seal(point), [{ ok: true }]);
  t.ok((await pruning.prune('payroll', { ...nothing, last: 1 }, { dryRun: false })).bytesFreed > 0);
  t.same((await pruning.verify({ deep: true })).damage, []);
});

t.test('many at once: one pack, one sync, and the same answers', async (t) => {
  const directory = scratch(t);
  const catalog = localCatalog([directory]);
  t.teardown(() => catalog.close());
  const documents = Array.from({ length: 300 }, (_, n) => documentOf(`vm${n}`, 1000));
  const batch = await catalog.batch();
  const objects = await Promise.all(documents.map((document) => batch.put(document)));
  await batch.commit();
  t.equal(packsIn(directory).length, 1);
  const again = await Promise.all(documents.map((document) => catalog.put(document)));
  t.same(again, objects);
  t.equal(packsIn(directory).length, 1, 'known already');
  const dropped = await catalog.batch();
  const lost = await dropped.put(documentOf('never committed'));
  await dropped.abort();
  await t.rejects(catalog.get(lost), /No catalog target has/);
  t.same(readdirSync(join(directory, 'tmp')), []);
  const fresh = Array.from({ length: 300 }, (_, n) => documentOf(`new${n}`, 1000));
  await Promise.all(fresh.map((document) => catalog.put(document)));
  t.ok(packsIn(directory).length < 10, 'puts that wait for each other share packs');
  const groups = await Promise.all(
    ['g1', 'g2', 'g3', 'g4'].map((group) =>
      exportPoint(catalog, group, 1, { a: documentOf(group), b: documentOf('b') }),
    ),
  );
  t.equal(groups.length, 4, 'several groups at once');
  t.same((await catalog.verify({ deep: true })).damage, []);
});

t.test('retention: newest of each hour, day, week, month and year; only good points count', (t) => {
  const at = (text: string, good = true) => ({ id: `g/${text}`, takenAt: `${text}:00.000Z`, good });
  const points = [
    at('2026-03-02T11:45'),
    at('2026-03-02T11:30'),
    at('2026-03-02T10:45', false),
    at('2026-03-02T10:15'),
    at('2026-03-01T23:45'),
    at('2026-02-28T12:00'),
    at('2025-12-31T12:00'),
    at('2025-06-01T12:00'),
  ];
  const kept = (rules: Partial<RetentionSettings>): string[] =>
    retain(points, { ...nothing, ...rules }, '2026-03-02T12:00:00.000Z')
      .filter(({ reasons }) => reasons.length > 0)
      .map(({ id }) => id.slice(2));
  t.same(kept({}), ['2026-03-02T11:45'], 'the last good point, without any rule');
  t.same(kept({ hourly: 2 }), ['2026-03-02T11:45', '2026-03-02T10:15'], 'the newest good one of each hour');
  t.same(kept({ last: 3 }), ['2026-03-02T11:45', '2026-03-02T11:30', '2026-03-02T10:45', '2026-03-02T10:15']);
  t.same(kept({ daily: 3 }), ['2026-03-02T11:45', '2026-03-01T23:45', '2026-02-28T12:00']);
  t.same(kept({ weekly: 2 }), ['2026-03-02T11:45', '2026-03-01T23:45'], 'a week begins on Monday');
  t.same(kept({ monthly: 3 }), ['2026-03-02T11:45', '2026-02-28T12:00', '2025-12-31T12:00']);
  t.same(kept({ yearly: 9 }), ['2026-03-02T11:45', '2025-12-31T12:00']);
  t.same(kept({ last: 8, maxAgeSeconds: 3600 }), ['2026-03-02T11:45', '2026-03-02T11:30']);
  t.end();
});

t.test('two points are compared, and a point is taken out as plain files', async (t) => {
  const directory = scratch(t);
  const catalog = localCatalog([join(directory, 'catalog')]);
  t.teardown(() => catalog.close());
  const object = { sha256: 'a'.repeat(64), bytes: 1 };
  const old = pointOf('g/1', '2026-03-01T00:00:00.000Z', [
    vmOf('gone', object),
    vmOf('same', object),
    vmOf('grown', object),
  ]);
  const changed = {
    ...vmOf('grown', { ...object, sha256: 'b'.repeat(64) }),
    memoryStaticMax: 2 * 1024 ** 3,
    tags: ['db'],
  };
  const now = pointOf('g/2', '2026-03-01T01:00:00.000Z', [
    vmOf('same', object),
    changed,
    vmOf('come', object),
  ]);
  t.match(diffPoints(old, now), {
    added: [{ nameLabel: 'come' }],
    removed: [{ nameLabel: 'gone' }],
    changed: [
      { nameLabel: 'grown', changes: ['static memory in bytes: 1073741824 → 2147483648', 'tags: +db'] },
    ],
    unchanged: 1,
  });
  const database = await catalog.put(Buffer.from('<database/>'));
  const point = await exportPoint(
    catalog,
    'payroll',
    1,
    { 'web/01': documentOf('w'), '../../etc/passwd': documentOf('evil') },
    { database },
  );
  const out = join(directory, 'out');
  const { files } = await extractPoint(catalog, point.id, out);
  t.same(files, ['point.json', 'pool-database.xml', '01-web_01.xva', '02-__.._etc_passwd.xva']);
  t.ok(readFileSync(join(out, '01-web_01.xva')).equals(documentOf('w')));
  t.equal(statSync(join(out, 'point.json')).mode & 0o777, 0o600);
  await t.rejects(extractPoint(catalog, point.id, out), /not empty/);
  await t.rejects(extractPoint(catalog, point.id, join(directory, 'o2'), ['nobody']), /has no VM "nobody"/);
  t.same(
    (await extractPoint(catalog, point.id, join(directory, 'o3'), ['web/01'])).files.at(-1),
    '01-web_01.xva',
  );
});

t.test('a target says which objects it does not hold whole', async (t) => {
  const directories = [scratch(t, 'small'), scratch(t, 'small')];
  const catalog = localCatalog(directories);
  t.teardown(() => catalog.close());
  const first = await catalog.put(documentOf('first'));
  const second = await catalog.put(documentOf('second'));
  const never = { sha256: 'a'.repeat(64), bytes: 1 };
  t.same(await catalog.lacking([first, second]), [
    { target: 't1', objects: [] },
    { target: 't2', objects: [] },
  ]);
  t.same(
    (await catalog.lacking([first, never])).map(({ objects }) => objects),
    [[never], [never]],
  );
  const packs = join(directories[1] ?? '', 'packs');
  const files = readdirSync(packs, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.pack'));
  t.equal(files.length, 2);
  for (const file of files) {
    const bytes = readFileSync(join(packs, file));
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(join(packs, file), bytes);
  }
  t.same(await catalog.lacking([first, second]), [
    { target: 't1', objects: [] },
    { target: 't2', objects: [first, second] },
  ]);
});
