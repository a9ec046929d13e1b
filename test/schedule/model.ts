/**
 * What a daemon should have done, worked out by another road: slots are found by looking at the clocks of a zone every
 * ten minutes, and turns by a list of what is not answered yet. Nothing of src/schedule is used.
 */
export const stepMilliseconds = 10 * 60_000;

export type Rule =
  /** Whenever the clocks show one of these minutes. */
  | { readonly rule: 'minutes'; readonly minutes: readonly number[] }
  /** On every day that fits, as soon as the clocks show this time or a later one. */
  | {
      readonly rule: 'times';
      readonly times: readonly string[];
      readonly on: (date: Day) => boolean;
    };

export interface Day {
  readonly day: number;
  readonly month: number;
  readonly year: number;
  /** 0 is Sunday. */
  readonly weekDay: number;
  readonly daysInMonth: number;
}

export interface ModelJob {
  readonly job: string;
  readonly group: string;
  readonly rule: Rule;
  readonly timeZone: string;
  /** Steps that a turn takes. */
  readonly steps: number;
}

interface Shown extends Day {
  readonly moment: number;
  readonly minute: number;
  readonly time: string;
  readonly date: string;
}

const shownIn = new Map<string, readonly Shown[]>();

/** What the clocks of a zone show at every step. */
function clocks(timeZone: string, from: number, until: number): readonly Shown[] {
  const key = `${timeZone} ${from} ${until}`;
  const known = shownIn.get(key);
  if (known !== undefined) return known;
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'short' });
  const shown: Shown[] = [];
  for (let moment = from; moment < until; moment += stepMilliseconds) {
    const [date = '', time = ''] = format.format(moment).split(' ');
    const [year = 0, month = 0, day = 0] = date.split('-').map(Number);
    shown.push({
      moment,
      date,
      time,
      minute: Number(time.slice(3)),
      year,
      month,
      day,
      weekDay: new Date(`${date}T12:00:00Z`).getUTCDay(),
      daysInMonth: new Date(Date.UTC(year, month, 0)).getUTCDate(),
    });
  }
  shownIn.set(key, shown);
  return shown;
}

export function slotsOf(
  { rule, timeZone }: Pick<ModelJob, 'rule' | 'timeZone'>,
  from: number,
  until: number,
): number[] {
  const shown = clocks(timeZone, from, until);
  if (rule.rule === 'minutes')
    return shown.filter(({ minute }) => rule.minutes.includes(minute)).map(({ moment }) => moment);
  const slots = new Set<number>();
  const answered = new Set<string>();
  for (const [index, now] of shown.entries()) {
    // The first day is seen in part: what was due before is not known.
    if (now.date === shown[0]?.date || index === 0 || !rule.on(now)) continue;
    for (const time of rule.times) {
      const key = `${now.date} ${time}`;
      if (answered.has(key) || now.time < time) continue;
      answered.add(key);
      slots.add(now.moment);
    }
  }
  return [...slots].sort((a, b) => a - b);
}

export interface ModelTurn {
  readonly job: string;
  readonly group: string;
  readonly slot: number;
  readonly startedAt: number;
  readonly missed: number;
  readonly madeUp: boolean;
  outcome: 'done' | 'failed' | 'interrupted' | 'open';
}

interface UnderWay {
  readonly job: ModelJob;
  readonly turn: ModelTurn;
  readonly endsAtStep: number;
}

/** Those in `(after, until]`. */
function within(slots: readonly number[], after: number, until: number): readonly number[] {
  return until <= after ? [] : slots.slice(firstAfter(slots, after), firstAfter(slots, until));
}

function firstAfter(slots: readonly number[], moment: number): number {
  let from = 0;
  let to = slots.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((slots[middle] ?? 0) > moment) to = middle;
    else from = middle + 1;
  }
  return from;
}

const order = ['export', 'verify', 'catalog-check', 'drill', 'report'];
const lateMilliseconds = 600_000;

export class Model {
  readonly turns: ModelTurn[] = [];
  readonly #jobs: readonly (ModelJob & { readonly slots: readonly number[] })[];
  readonly #perPool: number;
  readonly #isOutage: (moment: number) => boolean;
  readonly #answered = new Map<ModelJob, number>();
  #underWay: UnderWay[] = [];
  #step = 0;

  constructor(
    jobs: readonly ModelJob[],
    perPool: number,
    { from, until, isOutage }: { from: number; until: number; isOutage: (moment: number) => boolean },
  ) {
    this.#jobs = jobs.map((job) => ({ ...job, slots: slotsOf(job, from, until) }));
    this.#perPool = perPool;
    this.#isOutage = isOutage;
  }

  /** One step of a daemon that runs: what has come to its end frees its place, one after the other; then the beat. */
  beat(step: number, now: number): void {
    this.#step = step;
    for (const ending of this.#underWay.filter(({ endsAtStep }) => endsAtStep <= step)) {
      ending.turn.outcome = this.#isOutage(now) ? 'failed' : 'done';
      this.#underWay = this.#underWay.filter((other) => other !== ending);
      this.#begin(now);
    }
    this.#begin(now);
  }

  /** The daemon ends, in whatever way: what is under way stays open. */
  die(): void {
    this.#underWay = [];
  }

  /** A daemon finds open turns: nothing has come of them, and each slot has one more try. */
  restart(): void {
    for (const turn of this.turns.filter(({ outcome }) => outcome === 'open')) {
      const tries = this.turns.filter(
        (other) =>
          other.job === turn.job &&
          other.group === turn.group &&
          other.slot === turn.slot &&
          other.outcome === 'interrupted',
      ).length;
      turn.outcome = 'interrupted';
      const job = this.#jobs.find(({ job: kind, group }) => kind === turn.job && group === turn.group);
      if (job !== undefined && tries === 0 && this.#answered.get(job) === turn.slot)
        this.#answered.set(job, turn.slot - 1);
    }
  }

  #begin(now: number): void {
    const candidates: { readonly job: ModelJob; readonly slot: number; readonly missed: number }[] = [];
    for (const job of this.#jobs) {
      const answered = this.#answered.get(job);
      if (answered === undefined) {
        this.#answered.set(job, now);
        if (job.job === 'export') candidates.push({ job, slot: now, missed: 0 });
        continue;
      }
      const ahead = within(job.slots, now, answered).length;
      if (ahead >= 2) {
        this.#answered.set(job, now);
        continue;
      }
      const unanswered = within(job.slots, answered, now);
      const slot = unanswered.at(-1);
      if (slot === undefined || this.#underWay.some((other) => other.job === job)) continue;
      candidates.push({ job, slot, missed: unanswered.length - 1 });
    }
    candidates.sort(
      (a, b) =>
        a.slot - b.slot ||
        order.indexOf(a.job.job) - order.indexOf(b.job.job) ||
        (a.job.group < b.job.group ? -1 : 1),
    );
    for (const { job, slot, missed } of candidates) {
      if (!this.#fits(job)) continue;
      this.#answered.set(job, slot);
      const turn: ModelTurn = {
        job: job.job,
        group: job.group,
        slot,
        startedAt: now,
        missed,
        madeUp: missed > 0 || now - slot > lateMilliseconds,
        outcome: 'open',
      };
      this.turns.push(turn);
      this.#underWay.push({ job, turn, endsAtStep: this.#step + job.steps });
    }
  }

  #fits({ job, group }: ModelJob): boolean {
    if (this.#underWay.some((other) => other.job.group === group)) return false;
    const at = (kind: string): readonly string[] =>
      ({ export: ['production'], verify: ['production', 'recovery'], drill: ['production', 'recovery'] })[
        kind
      ] ?? (kind === 'catalog-check' ? ['catalog'] : []);
    return at(job).every(
      (place) => this.#underWay.filter((other) => at(other.job.job).includes(place)).length < this.#perPool,
    );
  }
}
