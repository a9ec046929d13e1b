/**
 * Rows of the database as objects with the fields of the data model. Columns that the data model does not know (those of
 * newer or private schemas) are left out; a column that is no value of its type is told, and left out too, since the
 * importer fills in the default (xapi.md 3.3).
 */
import { classes, modelType } from '../datamodel/index.ts';
import type { MetadataObject } from '../document.ts';
import { emptyStruct, type XmlStruct } from '../xmlvalue.ts';
import type { Database, DatabaseRow } from './parse.ts';
import { ColumnError, columnValue } from './values.ts';

/** Set of an object and the single reference at the other end of it. The single end is what xapi goes by. */
const backLists: readonly (readonly [cls: string, list: string, of: string, field: string])[] = [
  ['VM', 'VBDs', 'VBD', 'VM'],
  ['VM', 'VIFs', 'VIF', 'VM'],
  ['VM', 'VGPUs', 'VGPU', 'VM'],
  ['VM', 'VTPMs', 'VTPM', 'VM'],
  ['VM_appliance', 'VMs', 'VM', 'appliance'],
  ['SR', 'VDIs', 'VDI', 'SR'],
  ['network', 'VIFs', 'VIF', 'network'],
];

export class DatabaseRecords {
  readonly #classes = new Map<string, readonly MetadataObject[]>();
  readonly #secrets = new Map<string, string>();
  /** Secrets by the reference of the vTPM whose state they are. */
  readonly #contents: ReadonlyMap<string, string>;
  /** Columns that could not be read, one short sentence each. */
  readonly problems: readonly string[];

  constructor(database: Database) {
    const problems = new Set<string>();
    for (const [name, rows] of database.tables) {
      if (!classes.has(name)) continue;
      this.#classes.set(
        name,
        rows.map((row) => ({
          class: name,
          id: row.ref,
          fields: fieldsOf(name, row, (problem) => problems.add(problem)),
          extra: null,
        })),
      );
    }
    for (const row of database.tables.get('secret') ?? []) {
      const value = row.columns.get('value') ?? '';
      this.#secrets.set(row.ref, value);
      this.#secrets.set(row.columns.get('uuid') ?? '', value);
    }
    for (const [cls, list, of, field] of backLists) this.#rebuild(cls, list, of, field);
    this.#contents = contentsOf(database);
    this.problems = [...problems].sort();
  }

  ofClass(name: string): readonly MetadataObject[] {
    return this.#classes.get(name) ?? [];
  }

  find(name: string, ref: string): MetadataObject | null {
    return this.ofClass(name).find((object) => object.id === ref) ?? null;
  }

  /** The text of a secret by reference or uuid; undefined when the dump does not hold it. */
  secret(name: string): string | undefined {
    return name === '' ? undefined : this.#secrets.get(name);
  }

  /** State of a vTPM, which the database keeps as a secret; undefined when the dump does not hold it. */
  vtpmState(ref: string): string | undefined {
    return this.secret(this.#contents.get(ref) ?? '');
  }

  #rebuild(cls: string, name: string, of: string, field: string): void {
    const lists = new Map<string, string[]>();
    for (const object of this.ofClass(of)) {
      const owner = object.fields[field];
      if (typeof owner !== 'string') continue;
      const list = lists.get(owner);
      if (list === undefined) lists.set(owner, [object.id]);
      else list.push(object.id);
    }
    for (const object of this.ofClass(cls)) object.fields[name] = lists.get(object.id) ?? [];
  }
}

/** `VTPM.contents` is no published field. */
function contentsOf(database: Database): ReadonlyMap<string, string> {
  return new Map(
    (database.tables.get('VTPM') ?? []).map((row) => [row.ref, row.columns.get('contents') ?? '']),
  );
}

function fieldsOf(name: string, row: DatabaseRow, tell: (problem: string) => void): XmlStruct {
  const fields = emptyStruct();
  for (const field of classes.get(name)?.fields.values() ?? []) {
    const text = row.columns.get(field.name);
    if (text === undefined) continue;
    try {
      fields[field.name] = columnValue(text, modelType(field.type));
    } catch (error) {
      if (!(error instanceof ColumnError)) throw error;
      tell(`${field.name} of a ${name} is ${error.message}`);
    }
  }
  return fields;
}
