/**
 * Five products, each as the source and as the target of a recovery: the VM comes up there with its identity, or the target
 * refuses with the error of the real thing, and either was foretold by the import rules. docs/products.md is the table.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { PortError } from '../../src/domain/errors.ts';
import type { ProductName } from '../../src/lab/core/product.ts';
import { packDocument, parseArchive } from '../../src/metadata/document.ts';
import { predictImport } from '../../src/metadata/import-rules.ts';
import { rewriteForRecovery } from '../../src/metadata/recovery.ts';
import { fiveProducts, guestOf, productNames, type Worlds } from './products-world.ts';

t.setTimeout(120_000);

const accepted = 'comes up';

/** What the version gate of each target does (xapi.md 3.8): an older pool refuses, and a newer one takes everything. */
const expected: Readonly<Record<ProductName, readonly ProductName[]>> = {
  'XenServer 6.5': productNames,
  'XenServer 7.1': productNames.slice(1),
  'Citrix Hypervisor 8.2': productNames.slice(2),
  'XCP-ng 8.3': productNames.slice(3),
  current: productNames.slice(4),
};

/** Brings the guest of one pool up in another; the words are those of the rules, told before anything was sent. */
async function recover(worlds: Worlds, from: ProductName, to: ProductName) {
  const source = worlds.source(from);
  const target = worlds.target(to);
  const index = productNames.indexOf(from);
  const production = worlds.client(source);
  const recovery = worlds.client(target);
  const guest = guestOf(source);
  const archive = await production.exportMetadata(guest.uuid, { snapshots: false });
  const observed = await production.observe();
  const [sr] = observed.srs.filter((each) => each.type === 'nfs');
  const host = target.master.row.uuid;
  if (sr === undefined) throw new Error(`no SR at ${source.name}`);
  await recovery.introduceSr({ ...sr, tags: undefined } as unknown as Parameters<
    typeof recovery.introduceSr
  >[0]);
  await recovery.createPbd(sr.uuid, host, { server: 'filer', serverpath: `/exports/${index}` });
  await recovery.plugPbd(sr.uuid, host);
  await recovery.scanSr(sr.uuid);
  const pool = await recovery.observe();
  const network = pool.networks.find(({ nameLabel }) => nameLabel === 'Recovery LAN');
  if (network === undefined) throw new Error(`no network at ${target.name}`);
  const rewritten = rewriteForRecovery(parseArchive(archive), {
    networks: [{ production: 'Production LAN', recovery: network }],
    pool,
  });
  const foretold = predictImport([rewritten.document], pool, { restore: true });
  let error: string | null = null;
  try {
    await recovery.importMetadata(packDocument(rewritten.document), { restore: true, dryRun: false });
    await recovery.startVm(guest.uuid);
  } catch (failure) {
    if (!(failure instanceof PortError)) throw failure;
    error = failure.peerCode ?? failure.kind;
  }
  const vm = target.db.findByUuid('VM', guest.uuid);
  return {
    error,
    foretold: foretold.importError?.code ?? null,
    words: foretold.findings.find(({ code }) => code === 'DR-IMPORT-VERSION')?.what ?? null,
    problems: foretold.findings.filter(({ severity }) => severity === 'problem').map(({ code }) => code),
    vm,
    state: vm?.text('power_state') ?? 'absent',
    network: vm?.rows('VIFs', 'VIF')[0]?.row('network', 'network')?.text('name_label'),
    mac: vm?.rows('VIFs', 'VIF')[0]?.text('MAC'),
    ownMac: guest.rows('VIFs', 'VIF')[0]?.text('MAC'),
  };
}

t.test('every product as the source and the target of a recovery', async (t) => {
  const worlds = await fiveProducts(t, 41);
  const rows: string[][] = [];
  for (const from of productNames) {
    const row: string[] = [];
    for (const to of productNames) {
      const outcome = await recover(worlds, from, to);
      const what = `${from} → ${to}`;
      t.equal(outcome.foretold, outcome.error, `${what}: as foretold`);
      if (expected[from].includes(to)) {
        t.equal(outcome.error, null, `${what}: taken`);
        t.same(outcome.problems, [], `${what}: no problem was foretold`);
        t.equal(outcome.state, 'Running', `${what}: runs`);
        t.equal(outcome.network, 'Recovery LAN', `${what}: on the mapped network`);
        t.equal(outcome.mac, outcome.ownMac, `${what}: with its MAC address`);
        t.equal(outcome.vm?.int('order'), 3n, `${what}: with its order`);
        row.push(accepted);
      } else {
        t.equal(outcome.error, 'IMPORT_INCOMPATIBLE_VERSION', `${what}: refused`);
        t.match(outcome.words, /^Pool target-\d \(xapi [\d.]+\) refuses documents of xapi [\d.]+$/);
        t.equal(outcome.state, 'absent', `${what}: nothing is left`);
        row.push(`refused: \`${outcome.error}\``);
      }
    }
    rows.push(row);
  }
  checkTable(rows);
});

/** The table of the page is what was seen here; `LIFEBOAT_GOLDEN=write` writes it. */
function checkTable(rows: readonly (readonly string[])[]): void {
  const file = join(import.meta.dirname, '../../docs/products.md');
  const page = readFileSync(file, 'utf8');
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const table = [
    line(['from ↓ to →', ...productNames]),
    line(['---', ...productNames.map(() => '---')]),
    ...rows.map((row, index) => line([`**${productNames[index] ?? ''}**`, ...row])),
  ].join('\n');
  const between = /(?<=<!-- matrix -->\n)[\s\S]*(?=\n<!-- end of matrix -->)/;
  t.match(page, between, 'the page has a place for the table');
  const wanted = page.replace(between, () => table);
  if (process.env['LIFEBOAT_GOLDEN'] === 'write') writeFileSync(file, wanted);
  t.equal(readFileSync(file, 'utf8'), wanted, 'docs/products.md says what was seen');
}
