/** GET /export_raw_vdi and PUT /import_raw_vdi, format raw (xapi.md 3.6). */
import type { Row } from '../core/database.ts';
import { fail } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import type { HttpExchange, Registry } from '../core/registry.ts';
import { struct } from '../core/values.ts';
import type { Backend } from './driver.ts';
import { pluggedPbds, storageState } from './state.ts';
import { createVdi, srOf } from './vdi.ts';
import type { Disk } from './vhd.ts';

const piece = 256 * 1024;
const formats = ['raw', 'vhd', 'tar', 'qcow2'];

export function installRawDisks(registry: Registry): void {
  registry.route({
    method: 'GET',
    path: '/export_raw_vdi',
    realm: 'get_export_raw_vdi',
    permit: (query, pool) => known('get_export_raw_vdi', query, pool),
    handler: exportRaw,
  });
  registry.route({
    method: 'PUT',
    path: '/import_raw_vdi',
    realm: 'put_import_raw_vdi',
    permit: (query, pool) => {
      if (query.has('vdi')) known('put_import_raw_vdi', query, pool);
    },
    handler: importRaw,
  });
}

/** An unknown disk is found out while rights are checked, and told as a lack of rights (recorded). */
function known(realm: string, query: URLSearchParams, pool: LabPool): void {
  const vdi = query.get('vdi') ?? '';
  if (pool.db.find('VDI', vdi) === undefined && pool.db.findByUuid('VDI', vdi) === undefined)
    fail('RBAC_PERMISSION_DENIED', `http/${realm}`, `UUID_INVALID: [ VDI; ${vdi} ]`);
}

async function exportRaw(exchange: HttpExchange): Promise<string> {
  const vdi = namedVdi(exchange);
  const format = exchange.query.get('format') ?? 'raw';
  if (!formats.includes(format)) {
    exchange.start(404);
    exchange.end();
    fail('INTERNAL_ERROR', `Unknown format ${format}`);
  }
  if (format !== 'raw') fail('NOT_IMPLEMENTED', `export_raw_vdi format=${format}`);
  const backend = reachable(exchange, srOf(vdi));
  if (backend === null) return '';
  const held = vdi
    .rows('VBDs', 'VBD')
    .some((vbd) => vbd.bool('currently_attached') && vbd.text('mode') === 'RW');
  if (held) fail('VDI_IN_USE', vdi.ref, 'attach');
  const disk = backend.open(vdi.text('location'), 'r');
  try {
    exchange.start(200, {
      'Content-Type': 'application/octet-stream',
      'Content-Disposition': `attachment; filename="${vdi.uuid}.raw"`,
    });
    for (let at = 0; at < disk.virtualSize; at += piece) {
      exchange.signal.throwIfAborted();
      await exchange.write(disk.read(at, Math.min(piece, disk.virtualSize - at)));
    }
  } finally {
    disk.close();
  }
  return '';
}

async function importRaw(exchange: HttpExchange): Promise<string> {
  const format = exchange.query.get('format') ?? 'raw';
  const refuse = (status: number, code: string, ...params: string[]): never => {
    exchange.start(status);
    exchange.end();
    return fail(code, ...params);
  };
  const given = exchange.query.has('vdi') ? namedVdi(exchange) : null;
  const sr = given === null ? namedSr(exchange) : srOf(given);
  if (sr === null) return refuse(400, 'VDI_MISSING');
  const backend = reachable(exchange, sr);
  if (backend === null) return '';
  if (!formats.includes(format)) return refuse(404, 'INTERNAL_ERROR', `Unknown format ${format}`);
  if (format !== 'raw' && exchange.query.has('chunked'))
    return refuse(404, 'INTERNAL_ERROR', 'Cannot handle chunked VHD');
  const encoding = exchange.headers['transfer-encoding'];
  if (encoding !== undefined) return refuse(404, 'INTERNAL_ERROR', `Cannot handle encoding: ${encoding}`);
  const length = exchange.headers['content-length'];
  if (given === null && (format === 'vhd' || format === 'qcow2')) {
    const name = format === 'vhd' ? 'VHD' : 'QCOW2';
    return refuse(400, 'INTERNAL_ERROR', `Importing a ${name} directly into an SR not yet supported`);
  }
  if (given === null && (format !== 'raw' || length === undefined))
    return refuse(400, 'INTERNAL_ERROR', 'Not enough info supplied to import');
  if (format !== 'raw') fail('NOT_IMPLEMENTED', `import_raw_vdi format=${format}`);
  const vdi = given ?? newVdi(exchange.pool, sr, BigInt(length ?? '0'));
  if (vdi.rows('VBDs', 'VBD').some((vbd) => vbd.bool('currently_attached')))
    fail('VDI_IN_USE', vdi.ref, 'attach');
  exchange.start(200, { 'Content-Type': 'application/octet-stream' });
  const disk = backend.open(vdi.text('location'), 'r+');
  try {
    if (exchange.query.has('chunked')) await readChunks(exchange, disk);
    else await readPlain(exchange, disk);
  } finally {
    disk.close();
  }
  return `<value>${vdi.ref}</value>`;
}

async function readPlain(exchange: HttpExchange, disk: Disk): Promise<void> {
  let at = 0;
  for await (const chunk of exchange.body) {
    const bytes = chunk as Buffer;
    if (at + bytes.length > disk.virtualSize) fail('VDI_IO_ERROR', 'Device I/O errors');
    disk.write(at, bytes);
    at += bytes.length;
  }
  const expected = Number(exchange.headers['content-length'] ?? String(at));
  if (at < expected) fail('INTERNAL_ERROR', 'End_of_file');
}

/** The framing of `chunked`: offset and length in front of each piece, little endian; length 0 ends it. */
async function readChunks(exchange: HttpExchange, disk: Disk): Promise<void> {
  let rest = Buffer.alloc(0);
  for await (const chunk of exchange.body) {
    rest = Buffer.concat([rest, chunk as Buffer]);
    while (rest.length >= 12) {
      const length = rest.readUInt32LE(8);
      if (length === 0) return;
      if (rest.length < 12 + length) break;
      const offset = Number(rest.readBigUInt64LE(0));
      if (offset + length > disk.virtualSize) fail('VDI_IO_ERROR', 'Device I/O errors');
      disk.write(offset, rest.subarray(12, 12 + length));
      rest = rest.subarray(12 + length);
    }
  }
  fail('INTERNAL_ERROR', 'End_of_file');
}

function named(pool: LabPool, cls: string, text: string): Row {
  return pool.db.find(cls, text) ?? pool.db.byUuid(cls, text);
}

function namedVdi(exchange: HttpExchange): Row {
  return named(exchange.pool, 'VDI', exchange.query.get('vdi') ?? '');
}

function namedSr(exchange: HttpExchange): Row | null {
  const { pool, query } = exchange;
  const ref = query.get('sr_id');
  if (ref !== null) return pool.db.row('SR', ref);
  const uuid = query.get('sr_uuid');
  return uuid === null ? null : pool.db.byUuid('SR', uuid);
}

function newVdi(pool: LabPool, sr: Row, size: bigint): Row {
  return createVdi(pool, sr, size, {}, struct({ name_label: 'Imported VDI', type: 'user' }));
}

/** The SR on the host that was asked; else a redirect to a host that has it, unread (xapi.md 3.1). */
function reachable(exchange: HttpExchange, sr: Row): Backend | null {
  const { pool, host } = exchange;
  const plugged = pluggedPbds(pool, sr);
  const here = plugged.find((pbd) => pbd.text('host') === host.row.ref);
  const backend = here === undefined ? undefined : storageState(pool).attached.get(here.ref);
  if (backend !== undefined) return backend;
  const other = plugged.map((pbd) => pool.hostOf(pbd.text('host'))).find((h) => h?.up === true);
  if (other === undefined) fail('SR_HAS_NO_PBDS', sr.ref);
  const path = exchange.method === 'GET' ? '/export_raw_vdi' : '/import_raw_vdi';
  exchange.start(302, { Location: `https://${other.address}:${other.port}${path}?${exchange.query}` });
  exchange.end();
  return null;
}
