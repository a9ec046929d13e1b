/** GET and PUT /pool/xmldbdump: the whole database as XML (xapi.md 3.7). */
import { SaxesParser } from 'saxes';
import { classes } from '../../metadata/datamodel/index.ts';
import { columnOf } from '../core/columns.ts';
import { fail, internal } from '../core/failure.ts';
import type { Lab } from '../core/lab.ts';
import type { LabPool } from '../core/pool.ts';
import type { HttpExchange } from '../core/registry.ts';
import { DateTime, type Value } from '../core/values.ts';
import { xmlmError } from './xmlrpc.ts';

const schemaMajor = '5';
const schemaMinor = '909';

function attribute(text: string): string {
  return text.replace(
    /[&<>"'\n\r\t]/g,
    (c) =>
      ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' })[c] ??
      `&#${c.charCodeAt(0)};`,
  );
}

/** A value as the database keeps it: sets and maps are s-expressions. */
function stored(value: Value): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint' || typeof value === 'boolean' || typeof value === 'number')
    return String(value);
  if (value instanceof DateTime) return value.text;
  const quote = (text: string): string => `'${text.replace(/[\\'"]/g, (c) => `\\${c}`)}'`;
  if (Array.isArray(value)) return `(${value.map((item) => quote(stored(item))).join(' ')})`;
  return `(${Object.entries(value)
    .map(([key, item]) => `(${quote(key)} ${quote(stored(item))})`)
    .join(' ')})`;
}

/** White space in attributes stands protected, since XML parsers fold it (xen-api: ocaml/database/xml_spaces.ml). */
function protectedText(text: string): string {
  const marks: Record<string, string> = { ' ': '.', '\t': 't', '\n': 'n', '\r': 'r', '%': '%' };
  return text.replace(/[ \t\n\r%]/g, (c) => `%${marks[c] ?? c}`);
}

/** The whole database of a pool, as `GET /pool/xmldbdump` and `xe pool-dump-database` give it. */
export function databaseDump({ db }: LabPool): Buffer {
  const parts = [
    '<?xml version="1.0" encoding="UTF-8"?>\n<database><manifest>',
    `<pair key="schema_major_vsn" value="${schemaMajor}"/><pair key="schema_minor_vsn" value="${schemaMinor}"/>`,
    `<pair key="generation_count" value="${db.generation}"/></manifest>`,
  ];
  for (const cls of classes.keys()) {
    parts.push(`<table name="${cls}">`);
    for (const row of db.table(cls).values()) {
      parts.push(
        `<row ref="${row.ref}" _ref="${row.ref}" __ctime="${row.created}" __mtime="${row.modified}"`,
      );
      for (const [name, value] of Object.entries(row.shown))
        parts.push(` ${columnOf(cls, name)}="${attribute(protectedText(stored(value)))}"`);
      parts.push('/>');
    }
    parts.push('</table>');
  }
  parts.push('</database>');
  return Buffer.from(parts.join(''));
}

async function dump(exchange: HttpExchange): Promise<string> {
  const body = databaseDump(exchange.pool);
  exchange.start(200, {
    'Content-Type': 'application/octet-stream',
    'Content-Disposition': 'attachment; filename="xapi.db"',
    'Content-Length': String(body.length),
  });
  await exchange.write(body);
  exchange.end();
  return '';
}

interface Dump {
  readonly manifest: ReadonlyMap<string, string>;
  readonly rows: readonly { readonly table: string; readonly columns: Readonly<Record<string, string>> }[];
}

function parse(text: string): Dump {
  const manifest = new Map<string, string>();
  const rows: { table: string; columns: Record<string, string> }[] = [];
  const parser = new SaxesParser();
  let table = '';
  let failure: Error | null = null;
  parser.on('error', (error) => {
    failure ??= error;
  });
  parser.on('opentag', (tag) => {
    const attributes = tag.attributes as Record<string, string>;
    if (tag.name === 'pair') manifest.set(attributes['key'] ?? '', attributes['value'] ?? '');
    else if (tag.name === 'table') table = attributes['name'] ?? '';
    else if (tag.name === 'row') rows.push({ table, columns: { ...attributes } });
  });
  parser.write(text).close();
  if (failure !== null) internal(xmlmError(text, failure));
  return { manifest, rows };
}

/** The checks of a restore. The master of the dump must have the physical cards that this master has. */
function check(pool: LabPool, dump: Dump): void {
  if (
    dump.manifest.get('schema_major_vsn') !== schemaMajor ||
    dump.manifest.get('schema_minor_vsn') !== schemaMinor
  )
    fail('RESTORE_INCOMPATIBLE_VERSION');
  const rowsOf = (table: string): readonly Readonly<Record<string, string>>[] =>
    dump.rows.filter((row) => row.table === table).map((row) => row.columns);
  const master = rowsOf('pool')[0]?.['master'];
  const cards = rowsOf('PIF').filter((pif) => pif['host'] === master && pif['physical'] === 'true');
  const here = pool.db
    .all('PIF')
    .filter((pif) => pif.get('host') === pool.master.row.ref && pif.bool('physical'));
  const names = new Set(here.map((pif) => pif.text('device')));
  for (const card of cards)
    if (!names.has(card['device'] ?? '')) fail('RESTORE_TARGET_MISSING_DEVICE', card['device'] ?? '');
  const management = here.find((pif) => pif.bool('management'))?.text('device');
  if (management !== undefined && !cards.some((card) => card['device'] === management))
    fail('RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP');
}

async function restore(exchange: HttpExchange): Promise<string> {
  const dryRun = exchange.query.get('dry_run') === 'true';
  exchange.start(200);
  const pieces: Buffer[] = [];
  for await (const piece of exchange.body as AsyncIterable<Buffer>) pieces.push(piece);
  check(exchange.pool, parse(Buffer.concat(pieces).toString()));
  if (!dryRun) fail('NOT_IMPLEMENTED', 'pool_restore_database');
  return '';
}

export function installDump(lab: Lab): void {
  lab.registry.route({
    method: 'GET',
    path: '/pool/xmldbdump',
    realm: 'get_pool_xml_db_sync',
    handler: dump,
  });
  lab.registry.route({
    method: 'PUT',
    path: '/pool/xmldbdump',
    realm: 'put_pool_xml_db_sync',
    handler: restore,
  });
}
