/** What may stand round calls and handlers: faults, then costs (src/lab/faults, src/lab/cost). */
import type { Answer } from './encode.ts';
import type { Call, HttpExchange } from './registry.ts';

export interface Wrap {
  /** Round the handler of a message; for an Async call inside its task. */
  message?(call: Call, next: () => Promise<Answer>): Promise<Answer>;
  /** Before an Async call is handed over to its task. `lose`: the work goes on, the answer never comes. */
  handOver?(call: Call): Promise<'go on' | 'lose' | 'drop'>;
  /** Round the handler of an HTTP path, behind credentials and task. */
  http?(exchange: HttpExchange, next: (exchange: HttpExchange) => Promise<string>): Promise<string>;
}

/** The connection closes without an answer. `done` tells whether the work was done; `result` is then the task's. */
export class AnswerLost extends Error {
  readonly done: boolean;
  readonly result: string | null;
  constructor(done: boolean, result: string | null = null) {
    super(done ? 'the work is done and the answer lost' : 'the connection was closed before the work');
    this.name = 'AnswerLost';
    this.done = done;
    this.result = result;
  }
}
