/** The XML of a database dump into tables of rows (xapi.md 3.7). Nothing is interpreted but white space. */
import { SaxesParser } from 'saxes';
import { OperatorError } from '../../domain/errors.ts';
import { unprotected } from './values.ts';

export interface DatabaseRow {
  readonly ref: string;
  /** By the name of the field in the data model: `name_label` for the column `name__label`. */
  readonly columns: ReadonlyMap<string, string>;
}

export interface Database {
  /** Of the manifest, such as 5 and 909; a dump fits only pools of the same schema (xapi.md 3.7). */
  readonly schemaMajor: number;
  readonly schemaMinor: number;
  readonly tables: ReadonlyMap<string, readonly DatabaseRow[]>;
}

/** Throws `OperatorError` DR-DATABASE-UNREADABLE for a text that is cut, malformed, or no database. */
export function parseDatabase(text: string): Database {
  const manifest = new Map<string, string>();
  const tables = new Map<string, DatabaseRow[]>();
  const open: string[] = [];
  let rows: DatabaseRow[] | null = null;
  let failure: Error | null = null;
  const parser = new SaxesParser({});
  parser.on('error', (error) => {
    failure ??= error;
  });
  parser.on('opentag', ({ name, attributes }) => {
    open.push(name);
    const path = open.join('/');
    if (path === 'database/manifest/pair') manifest.set(attributes['key'] ?? '', attributes['value'] ?? '');
    else if (path === 'database/table') {
      rows = [];
      tables.set(attributes['name'] ?? '', rows);
    } else if (path === 'database/table/row') rows?.push(rowOf(attributes));
  });
  parser.on('closetag', () => {
    open.pop();
  });
  parser.write(text).close();
  const schemaMajor = Number(manifest.get('schema_major_vsn') ?? Number.NaN);
  const schemaMinor = Number(manifest.get('schema_minor_vsn') ?? Number.NaN);
  if (failure !== null) throw unreadable([(failure as Error).message]);
  if (Number.isNaN(schemaMajor) || Number.isNaN(schemaMinor))
    throw unreadable(['its manifest names no version of the schema']);
  if ((tables.get('pool') ?? []).length === 0 || (tables.get('VM') ?? []).length === 0)
    throw unreadable(['it has no pool and no VM: the tables are empty']);
  return { schemaMajor, schemaMinor, tables };
}

/** Name spaces of the data model are joined with two underscores in a column, with one in a field. */
function rowOf(attributes: Readonly<Record<string, string>>): DatabaseRow {
  const columns = new Map<string, string>();
  for (const [column, value] of Object.entries(attributes))
    if (!column.startsWith('_')) columns.set(column.replaceAll('__', '_'), unprotected(value));
  return { ref: attributes['ref'] ?? attributes['_ref'] ?? '', columns };
}

function unreadable(known: readonly string[]): OperatorError {
  return new OperatorError({
    code: 'DR-DATABASE-UNREADABLE',
    what: 'The database of the pool cannot be read',
    known,
    next: 'Take an older dump; this one is cut off or is not what `xe pool-dump-database` writes.',
  });
}
