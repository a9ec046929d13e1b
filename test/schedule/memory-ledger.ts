/** The ledger in memory, for months in seconds; `ledger.test.ts` holds it against the one in SQLite. */
import { type Answered, type JobName, type JobTurn, jobKey, type LedgerTurn } from '../../src/domain/jobs.ts';
import type { NewestTurns, NewTurn, ScheduleLedger, TurnEnd } from '../../src/ports/schedule.ts';

export class MemoryLedger implements ScheduleLedger {
  readonly #answered = new Map<string, Answered>();
  readonly #goodAt = new Map<string, string>();
  #turns: LedgerTurn[] = [];
  readonly #open = new Map<number, LedgerTurn>();
  readonly #last = new Map<string, number>();
  #places = new Map<number, number>();
  #next = 1;

  async answered(): Promise<ReadonlyMap<string, Answered>> {
    return new Map(this.#answered);
  }

  async anchor(name: JobName, answered: Answered): Promise<void> {
    this.#answered.set(jobKey(name), answered);
  }

  async begin(turn: NewTurn, from: Answered, to: Answered): Promise<number | null> {
    const key = jobKey(turn);
    const now = this.#answered.get(key);
    if (now?.calendar !== from.calendar || now.until !== from.until) return null;
    this.#answered.set(key, to);
    const id = this.#next++;
    this.#change({ ...turn, id, endedAt: null, outcome: null, run: null, summary: null });
    this.#last.set(key, id);
    return id;
  }

  async noteRun(turn: number, run: string): Promise<void> {
    this.#change({ ...this.#turn(turn), run });
  }

  async end(turn: number, { at, outcome, summary, again }: TurnEnd): Promise<void> {
    const ended = { ...this.#turn(turn), endedAt: at, outcome, summary };
    this.#change(ended);
    if (outcome === 'done' || outcome === 'warnings') this.#goodAt.set(jobKey(ended), at);
    if (again !== undefined) this.#answered.set(jobKey(ended), again);
  }

  async newest(): Promise<ReadonlyMap<string, NewestTurns>> {
    return new Map(
      [...this.#answered.keys()].map((key) => {
        const id = this.#last.get(key);
        return [
          key,
          {
            last: id === undefined ? null : turnOf(this.#turn(id)),
            lastGoodAt: this.#goodAt.get(key) ?? null,
          },
        ];
      }),
    );
  }

  async open(): Promise<readonly LedgerTurn[]> {
    return [...this.#open.values()];
  }

  async turns({
    group,
    limit,
  }: {
    readonly group: string | null;
    readonly limit: number;
  }): Promise<readonly LedgerTurn[]> {
    const found: LedgerTurn[] = [];
    for (let at = this.#turns.length - 1; at >= 0 && found.length < limit; at -= 1) {
      const turn = this.#turns[at];
      if (turn !== undefined && (group === null || turn.group === group)) found.push(turn);
    }
    return found;
  }

  async forget(before: string): Promise<void> {
    const kept = new Set(this.#last.values());
    this.#turns = this.#turns.filter(
      ({ id, endedAt }) => endedAt === null || endedAt >= before || kept.has(id),
    );
    this.#places = new Map(this.#turns.map(({ id }, at) => [id, at]));
  }

  #turn(id: number): LedgerTurn {
    const found = this.#open.get(id) ?? this.#turns[this.#places.get(id) ?? -1];
    if (found === undefined) throw new Error(`there is no turn ${id}`);
    return found;
  }

  #change(turn: LedgerTurn): void {
    const at = this.#places.get(turn.id) ?? this.#turns.length;
    this.#places.set(turn.id, at);
    this.#turns[at] = turn;
    if (turn.endedAt === null) this.#open.set(turn.id, turn);
    else this.#open.delete(turn.id);
  }
}

function turnOf({ id: _id, job: _job, group: _group, ...turn }: LedgerTurn): JobTurn {
  return turn;
}
