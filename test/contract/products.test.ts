/** What the client makes of old and new products: transports, absent calls, exports; and what their imports do unasked. */
import t from 'tap';
import { observedClasses, optionalClasses } from '../../src/adapters/xenapi/facts.ts';
import type { CheckContext } from '../../src/check/context.ts';
import { tlsIsOfThisAge } from '../../src/check/rules/identity.ts';
import { PortError } from '../../src/domain/errors.ts';
import { productNamed } from '../../src/lab/core/product.ts';
import { struct } from '../../src/lab/core/values.ts';
import { type MetadataDocument, packDocument, parseArchive } from '../../src/metadata/document.ts';
import { predictImport } from '../../src/metadata/import-rules.ts';
import { rewriteForRecovery } from '../../src/metadata/recovery.ts';
import { changeObjects } from '../../src/metadata/rewrite.ts';
import { fiveProducts, guestOf, productNames, type Worlds } from './products-world.ts';

t.setTimeout(120_000);

let worlds: Worlds;
const documents = new Map<string, MetadataDocument>();
t.before(async () => {
  worlds = await fiveProducts(t, 42);
  for (const name of productNames) documents.set(name, await documentOf(name));
});

async function documentOf(name: (typeof productNames)[number]): Promise<MetadataDocument> {
  const pool = worlds.source(name);
  const archive = await worlds.client(pool).exportMetadata(guestOf(pool).uuid, { snapshots: false });
  return parseArchive(archive);
}

t.test('each is spoken to in its own way, and observed whole', async (t) => {
  const protocols = new Map<string, string>();
  for (const name of productNames) {
    const pool = worlds.source(name);
    const client = worlds.client(pool);
    worlds.lab.forgetCalls();
    const facts = await client.observe();
    protocols.set(name, await client.xapi.protocol());
    t.equal(facts.productVersion, pool.product.software['product_version'], name);
    t.equal(facts.vms.length, 1, `${name}: its guest is seen`);
    t.equal(facts.vms[0]?.vifs.length, 1, `${name}: with its interface`);
    const document = await documentOf(name);
    t.same(
      [facts.xapiBuild.major, facts.xapiBuild.minor],
      [document.build.major, document.build.minor],
      `${name}: the build that is observed is the one that its documents bear`,
    );
    for (const cls of observedClasses)
      if (!optionalClasses.has(cls))
        t.ok(worlds.lab.counts.has(`${cls}.get_all_records`), `${name}: ${cls} was asked for`);
  }
  t.same(Object.fromEntries(protocols), {
    'XenServer 6.5': 'xmlrpc',
    'XenServer 7.1': 'jsonrpc',
    'Citrix Hypervisor 8.2': 'jsonrpc',
    'XCP-ng 8.3': 'jsonrpc',
    current: 'jsonrpc',
  });
});

t.test('calls and fields that a product does not have', async (t) => {
  const unknown = async (name: (typeof productNames)[number], method: string): Promise<boolean> => {
    const client = worlds.client(worlds.target(name));
    return client.xapi.call(method, []).then(
      () => false,
      (error: unknown) => error instanceof PortError && error.peerCode === 'MESSAGE_METHOD_UNKNOWN',
    );
  };
  const absent: Record<string, string[]> = {};
  for (const method of ['PVS_proxy.get_all_records', 'VMSS.get_all_records', 'VTPM.get_all_records'])
    for (const name of productNames)
      if (await unknown(name, method)) absent[method] = [...(absent[method] ?? []), name];
  t.same(absent, {
    'PVS_proxy.get_all_records': ['XenServer 6.5'],
    'VMSS.get_all_records': ['XenServer 6.5', 'XenServer 7.1'],
    'VTPM.get_all_records': ['XenServer 6.5', 'XenServer 7.1', 'Citrix Hypervisor 8.2'],
  });
  const fields = ['HVM_boot_policy', 'reference_label', 'domain_type', 'NVRAM', 'groups'];
  const held: Record<string, string[]> = {};
  for (const name of productNames)
    held[name] = fields.filter((field) => documents.get(name)?.vm?.has(field) === true);
  t.same(held, {
    'XenServer 6.5': fields.slice(0, 1),
    'XenServer 7.1': fields.slice(0, 2),
    'Citrix Hypervisor 8.2': fields.slice(0, 4),
    'XCP-ng 8.3': fields,
    current: fields,
  });
});
t.test('TLS 1.0 is not accepted unasked, and told of where it is', async (t) => {
  const pool = worlds.source('XenServer 6.5');
  const refused = await worlds
    .client(pool, { oldTls: false })
    .observe()
    .then(
      () => null,
      (error: unknown) => error,
    );
  t.match(
    refused instanceof PortError ? refused.problem.known?.join() : refused,
    /up to XenServer 6\.5 need old_tls: true at the pool in sites\.yaml/,
  );
  const told = async (name: (typeof productNames)[number]): Promise<string[]> => {
    const production = await worlds.client(worlds.source(name)).observe();
    const group = { production: 'here', recovery: 'there' };
    return tlsIsOfThisAge({ group, production, recovery: null } as unknown as CheckContext).map(
      ({ severity, what }) => `${severity}: ${what}`,
    );
  };
  t.same(await told('XenServer 7.1'), []);
  t.match(await told('XenServer 6.5'), [/^warning: TLS 1\.0 is accepted of pool source-0 at site here/]);
});

t.test('an export of all VMs: domain zero is left out of every one', async (t) => {
  for (const name of productNames) {
    const pieces: Uint8Array[] = [];
    for await (const piece of await worlds.client(worlds.source(name)).exportAllMetadata())
      pieces.push(piece);
    const document = parseArchive(Buffer.concat(pieces));
    t.same(
      document.vms.map((vm) => vm.isControlDomain),
      [false],
      name,
    );
  }
});

t.test('a network that is not there is guessed by its bridge or created, as the rules say', async (t) => {
  for (const [index, name] of productNames.entries()) {
    const target = worlds.target(name);
    const client = worlds.client(target);
    const source = worlds.source(name);
    const storage = { server: 'filer', serverpath: `/exports/${index}` };
    const sr = (await worlds.client(source).observe()).srs.find(({ type }) => type === 'nfs');
    if (sr === undefined) throw new Error('no SR');
    await client.introduceSr(sr);
    await client.createPbd(sr.uuid, target.master.row.uuid, storage);
    await client.plugPbd(sr.uuid, target.master.row.uuid);
    await client.scanSr(sr.uuid);
    const pool = await client.observe();
    const { document } = rewriteForRecovery(documents.get(name) ?? (await documentOf(name)), {
      networks: [],
      pool,
    });
    for (const [bridge, code] of [
      ['xapi1', 'DR-IMPORT-NETWORK-BRIDGE'],
      ['xapi77', 'DR-IMPORT-NETWORK-CREATED'],
    ] as const) {
      const moved = changeObjects(document, 'network', () => ({ bridge }));
      const foretold = predictImport([moved], pool, { restore: true }).findings.map(
        (finding) => finding.code,
      );
      t.ok(foretold.includes(code), `${name}: ${code} is foretold`);
      const before = target.db.all('network').length;
      const [uuid = ''] = await client.importMetadata(packDocument(moved), { restore: false, dryRun: false });
      const network = target.db.findByUuid('VM', uuid)?.rows('VIFs', 'VIF')[0]?.row('network', 'network');
      t.equal(
        network?.text('name_label'),
        code === 'DR-IMPORT-NETWORK-BRIDGE' ? 'Recovery LAN' : 'Production LAN',
        `${name}: as the pool did`,
      );
      t.equal(target.db.all('network').length - before, code === 'DR-IMPORT-NETWORK-BRIDGE' ? 0 : 1);
    }
  }
});

t.test('a LUN is found by its SCSIid from 7.0 on', async (t) => {
  for (const name of ['XenServer 6.5', 'XenServer 7.1'] as const) {
    const target = worlds.target(name);
    const client = worlds.client(target);
    const [local] = target.db.all('VDI');
    if (local === undefined) throw new Error('no disk was attached before');
    local.set({ sm_config: struct({ SCSIid: `lun-of-${name}` }) });
    const pool = await client.observe();
    const { document } = rewriteForRecovery(documents.get(name) ?? (await documentOf(name)), {
      networks: [
        { production: 'Production LAN', recovery: { uuid: '', nameLabel: 'Recovery LAN', bridge: '' } },
      ],
      pool,
    });
    const lun = changeObjects(document, 'VDI', (object) => {
      const smConfig = Object.assign(Object.create(null) as Record<string, string>, {
        SCSIid: `lun-of-${name}`,
      });
      return object.fields['location'] === '' ? null : { location: 'elsewhere', sm_config: smConfig };
    });
    const foretold = predictImport([lun], pool, { restore: false }).importError?.code ?? null;
    const seen = await client.importMetadata(packDocument(lun), { restore: false, dryRun: true }).then(
      () => null,
      (error: unknown) => (error as PortError).peerCode ?? 'unknown',
    );
    t.equal(seen, foretold, `${name}: as foretold`);
    t.equal(seen, productNamed(name).transfers.diskMap ? null : 'VDI_LOCATION_MISSING', name);
  }
});
