/** The heartbeat over the real node-cron, on clocks that the test drives: the wall clock is set, the other never jumps. */
import { mock } from 'node:test';
import t from 'tap';
import { heartbeat } from '../../src/adapters/system/heartbeat.ts';

const SystemDate = globalThis.Date;
const start = Date.parse('2026-10-25T00:30:20.000Z');

class Clocks {
  #seconds = 0;
  #wall = start;
  readonly beats: number[] = [];
  readonly silences: number[] = [];
  readonly #stop: () => void;

  constructor() {
    // Not the Date of the mock: its timers would stand still with a wall clock that is set back.
    mock.timers.enable({ apis: ['setInterval', 'setTimeout'] });
    const wall = (): number => this.#wall;
    globalThis.Date = class extends SystemDate {
      constructor(...values: unknown[]) {
        super(...((values.length === 0 ? [wall()] : values) as [number]));
      }
      static override now(): number {
        return wall();
      }
    } as DateConstructor;
    this.#stop = heartbeat({
      beat: () => this.beats.push(this.#seconds),
      onSilence: (seconds) => this.silences.push(seconds),
      monotonicSeconds: () => this.#seconds,
    });
  }

  async pass(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      this.#seconds += 1;
      this.#wall += 1000;
      mock.timers.tick(1000);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** The wall clock alone is set: timers know nothing of it. */
  set(seconds: number): void {
    this.#wall += seconds * 1000;
  }

  stop(): void {
    this.#stop();
  }
}

function longestSilence(beats: readonly number[]): number {
  return Math.max(...beats.slice(1).map((beat, index) => beat - (beats[index] ?? 0)));
}

t.afterEach(() => {
  mock.timers.reset();
  globalThis.Date = SystemDate;
});

t.test('a beat with every minute of the clock, until it is stopped', async (t) => {
  const clocks = new Clocks();
  await clocks.pass(300);
  t.strictSame(clocks.beats, [40, 100, 160, 220, 280]);
  t.strictSame(clocks.silences, [], 'nothing had to be started anew');
  clocks.stop();
  await clocks.pass(120);
  t.equal(clocks.beats.length, 5, 'and none after its end');
});

for (const hours of [-25, -1, 1, 25])
  t.test(`the clock is set ${hours < 0 ? 'back' : 'forward'} by ${Math.abs(hours)} h`, async (t) => {
    const clocks = new Clocks();
    await clocks.pass(130);
    const before = clocks.beats.length;
    clocks.set(hours * 3600);
    await clocks.pass(600);
    clocks.stop();
    t.ok(clocks.beats.length >= before + 8, `${clocks.beats.length - before} beats in ten minutes`);
    t.ok(longestSilence(clocks.beats) <= 90, `silent for ${longestSilence(clocks.beats)} s at most`);
    if (hours < 0) t.equal(clocks.silences.length, 1, 'node-cron falls silent, and is started anew once');
    t.ok(
      clocks.silences.every((seconds) => seconds >= 75 && seconds <= 90),
      'a silence is told in its length',
    );
  });
