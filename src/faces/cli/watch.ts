/** Shows a run while it runs: a block drawn over itself on a terminal, a line per event elsewhere, JSON lines with --json. */
import { applyEvent, beginRun, type Run, type RunEvent } from '../../domain/run.ts';
import { jsonLine } from '../../report/json.ts';
import { eventLine, liveLines } from '../../report/live.ts';
import type { Session } from './session.ts';

/** Fast enough to look alive, slow enough for a serial console. */
const redrawSeconds = 0.2;

export class Watch {
  readonly #session: Session;
  readonly #drawn: boolean;
  #run: Run | null;
  #height = 0;
  #shown = '';
  #stop: (() => void) | null = null;

  /** `base` is the run so far, for a resumed one whose earlier events are not told again. */
  constructor(session: Session, base: Run | null = null) {
    this.#session = session;
    this.#run = base;
    this.#drawn = session.terminal.out.isTerminal && !session.json && session.terminal.env['TERM'] !== 'dumb';
  }

  start(): void {
    this.#session.clearProgress();
    if (!this.#drawn) return;
    this.#session.terminal.out.write('\u001b[?25l');
    this.#stop = this.#session.terminal.every(redrawSeconds, () => this.#draw());
  }

  readonly onEvent = (event: RunEvent): void => {
    this.#run = this.#run === null ? beginRun(event) : applyEvent(this.#run, event);
    const { out } = this.#session.terminal;
    if (this.#session.json) out.write(jsonLine(event));
    else if (!this.#drawn) out.write(`${eventLine(event, this.#run, this.#session.paper)}\n`);
  };

  /** Clears the block and shows the cursor again. */
  end(): void {
    if (this.#stop === null) return;
    this.#stop();
    this.#stop = null;
    this.#session.terminal.out.write(`${this.#clear()}\u001b[?25h`);
    this.#height = 0;
  }

  #clear(): string {
    return this.#height === 0 ? '' : `\u001b[${this.#height}A\r\u001b[J`;
  }

  #draw(): void {
    if (this.#run === null) return;
    const { out } = this.#session.terminal;
    // One column and one row stay free: a full line would wrap, a full screen would scroll.
    const paper = { ...this.#session.paper, width: Math.max(20, out.columns - 1) };
    const lines = liveLines(this.#run, this.#session.terminal.now(), paper, Math.max(3, out.rows - 1));
    const block = lines.join('\n');
    if (block === this.#shown) return;
    // Line over line, each cleared behind its end: a block that is wiped first would flicker.
    const up = this.#height === 0 ? '' : `\u001b[${this.#height}A\r`;
    out.write(`${up}${lines.map((line) => `${line}\u001b[K\n`).join('')}\u001b[J`);
    this.#height = lines.length;
    this.#shown = block;
  }
}
