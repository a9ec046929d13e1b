/** One call of the command line: its terminal, its paper, its global options, and the application once it is opened. */
import type { App, Context, Programme } from '../../app/app.ts';
import { type ExitCode, exitCodes } from '../../domain/errors.ts';
import { jsonLine } from '../../report/json.ts';
import { type Paper, paint } from '../../report/paper.ts';
import type { Output, Terminal } from './terminal.ts';

export interface GlobalOptions {
  readonly config: string;
  readonly json: boolean;
}

export class Session {
  readonly terminal: Terminal;
  readonly programme: Programme;
  readonly options: GlobalOptions;
  /** Aborted by the first interrupt. */
  readonly signal: AbortSignal;
  readonly #abort = new AbortController();
  #app: App | null = null;
  #progress = false;

  constructor(terminal: Terminal, programme: Programme, options: GlobalOptions) {
    this.terminal = terminal;
    this.programme = programme;
    this.options = options;
    this.signal = this.#abort.signal;
  }

  get json(): boolean {
    return this.options.json;
  }

  get paper(): Paper {
    return paperOf(this.terminal.out, this.terminal.env);
  }

  async app(): Promise<App> {
    this.#app ??= await this.programme.open(this.options.config);
    return this.#app;
  }

  /** Shows a report: as text, or as one JSON line with --json. */
  show(text: () => string, value: unknown): void {
    this.clearProgress();
    this.terminal.out.write(this.json ? jsonLine(value) : text());
  }

  /** A remark beside the result; silent with --json. */
  say(text: string): void {
    this.clearProgress();
    if (!this.json) this.terminal.out.write(text);
  }

  /** What long verbs take: the interrupt, and a passing line on a terminal that says what is being done. */
  context(): Context {
    return {
      signal: this.signal,
      onProgress: (sentence) => {
        const { err } = this.terminal;
        if (!err.isTerminal || this.json) return;
        this.clearProgress();
        err.write(paint(paperOf(err, this.terminal.env), 'dim', `${sentence} …`.slice(0, err.columns - 1)));
        this.#progress = true;
      },
    };
  }

  clearProgress(): void {
    if (!this.#progress) return;
    this.terminal.err.write('\r\u001b[K');
    this.#progress = false;
  }

  interrupt(): void {
    this.#abort.abort(new DOMException('stopped by a person', 'AbortError'));
  }

  async close(): Promise<void> {
    this.clearProgress();
    await this.#app?.close();
    this.#app = null;
  }
}

/** Colours on a terminal only, and only without NO_COLOR. */
export function paperOf(output: Output, env: Terminal['env']): Paper {
  const refused = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  return {
    width: output.isTerminal ? Math.max(40, Math.min(output.columns, 120)) : 100,
    colour: output.isTerminal && !refused,
  };
}

/** Of several results, the one that a script must hear about. */
export function worst(codes: readonly ExitCode[]): ExitCode {
  const order: readonly ExitCode[] = [
    exitCodes.stopped,
    exitCodes.stuck,
    exitCodes.failed,
    exitCodes.locked,
    exitCodes.blocked,
    exitCodes.usage,
    exitCodes.warnings,
  ];
  return order.find((code) => codes.includes(code)) ?? exitCodes.done;
}
