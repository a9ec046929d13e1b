/** What was asked and how it ended: one entry for each request, with counts. */
export interface CallRecord {
  /** Milliseconds since 1970 on the lab's clock. */
  readonly at: number;
  readonly pool: string;
  readonly host: string;
  /** `VM.start`, `Async.VM.start` or `PUT /import_metadata`. */
  readonly call: string;
  /** The how manieth of this name in this pool, from 1. */
  readonly nth: number;
  /** `ok`, an error code, `lost` (done, not answered), `dropped` (not done), or `pending` while it runs. */
  outcome: string;
  seconds: number;
}

const remembered = 20_000;

export class CallLedger {
  #records: CallRecord[] = [];
  readonly #counts = new Map<string, number>();

  /** The last requests, oldest first. */
  get records(): readonly CallRecord[] {
    return this.#records;
  }

  /** How often a call was made, in one pool or in all. */
  count(call: string, pool?: string): number {
    if (pool !== undefined) return this.#counts.get(`${pool} ${call}`) ?? 0;
    let sum = 0;
    for (const [key, number] of this.#counts) if (key.slice(key.indexOf(' ') + 1) === call) sum += number;
    return sum;
  }

  /** Counts by pool and call, most frequent first. */
  get counts(): readonly { readonly pool: string; readonly call: string; readonly count: number }[] {
    return [...this.#counts]
      .map(([key, count]) => ({
        pool: key.slice(0, key.indexOf(' ')),
        call: key.slice(key.indexOf(' ') + 1),
        count,
      }))
      .sort((a, b) => b.count - a.count);
  }

  begin(given: { at: number; pool: string; host: string; call: string }): CallRecord {
    const key = `${given.pool} ${given.call}`;
    const nth = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, nth);
    const record: CallRecord = { ...given, nth, outcome: 'pending', seconds: 0 };
    this.#records.push(record);
    if (this.#records.length > remembered) this.#records = this.#records.slice(-remembered / 2);
    return record;
  }

  forget(): void {
    this.#records = [];
    this.#counts.clear();
  }
}
