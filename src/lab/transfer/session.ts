/** One import while it runs: the table of ids, what has been made, and how to take it away again (xapi.md 4.1). */
import type { Row } from '../core/database.ts';
import { fail } from '../core/failure.ts';
import { genericHandler } from '../core/generic.ts';
import type { LabHost, LabPool } from '../core/pool.ts';
import { Call } from '../core/registry.ts';
import type { Struct, Value } from '../core/values.ts';
import type { FileDocument } from './document.ts';

export interface ImportOptions {
  readonly restore: boolean;
  readonly force: boolean;
  readonly dryRun: boolean;
  /** `vdi:<key>=<target>` of the query. */
  readonly vdiMap: ReadonlyMap<string, string>;
}

interface Entry {
  readonly cls: string;
  readonly id: string;
  readonly ref: string;
}

export class ImportSession {
  readonly pool: LabPool;
  readonly host: LabHost;
  readonly task: Row;
  readonly options: ImportOptions;
  readonly document: FileDocument;
  /** Refs of VMs for the result: made, or matched default templates. */
  readonly vms: string[] = [];
  readonly #table = new Map<string, string>();
  #entries: Entry[] = [];
  #cleanup: (() => Promise<void>)[] = [];

  constructor(given: {
    pool: LabPool;
    host: LabHost;
    task: Row;
    options: ImportOptions;
    document: FileDocument;
  }) {
    this.pool = given.pool;
    this.host = given.host;
    this.task = given.task;
    this.options = given.options;
    this.document = given.document;
  }

  /** What was entered, newest first. */
  get entries(): readonly Entry[] {
    return this.#entries.toReversed();
  }

  enter(cls: string, id: string, ref: string): void {
    this.#table.set(id, ref);
    this.#entries.push({ cls, id, ref });
  }

  find(id: string): string | undefined {
    return this.#table.get(id);
  }

  /** The reference behind an id, or `IMPORT_ERROR_FAILED_TO_FIND_OBJECT [id]`. */
  lookup(id: string): string {
    return this.#table.get(id) ?? fail('IMPORT_ERROR_FAILED_TO_FIND_OBJECT', id);
  }

  /** Remembers how to take back what was just made; run newest first. */
  undo(step: () => Promise<void>): void {
    this.#cleanup.push(step);
  }

  /** Takes back what was made. A step that fails does not stop the others. */
  async cleanUp(): Promise<void> {
    const failures: unknown[] = [];
    for (const step of this.#cleanup.reverse()) await step().catch((error: unknown) => failures.push(error));
    this.#cleanup = [];
  }

  /** Calls a message as xapi's internal root session does: with its ordinary checks, without cost and faults. */
  async call(method: string, ...params: Value[]): Promise<Value> {
    const dot = method.indexOf('.');
    const handler =
      this.pool.registry.handler(method) ?? genericHandler(method.slice(0, dot), method.slice(dot + 1));
    if (handler === null) return fail('MESSAGE_METHOD_UNKNOWN', method);
    const answer = await handler(
      new Call({
        pool: this.pool,
        host: this.host,
        method,
        params,
        session: null,
        sessionRef: '',
        task: null,
        signal: new AbortController().signal,
      }),
    );
    return typeof answer === 'string' || Array.isArray(answer) ? (answer as Value) : '';
  }

  /** The row that such a call has made. */
  async create(cls: string, record: Struct): Promise<Row> {
    const ref = await this.call(`${cls}.create`, record);
    return this.pool.db.row(cls, typeof ref === 'string' ? ref : '');
  }
}
