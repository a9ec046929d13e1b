/**
 * Errors that a person can act upon. An `OperatorError` says what failed, where, what we know and what to do next;
 * anything else that escapes is a defect of the program and is reported as such.
 */

/** Exit codes of every face (README, "Exit codes"). */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  warnings: 3,
  blocked: 10,
  locked: 11,
  stuck: 12,
  stopped: 130,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Code of an operator error, such as `DR-POOL-PASSWORD`; each has a heading of the same name under runbooks/. */
export type ErrorCode = `DR-${string}`;

/** Where a problem is. `file:line:column` for config, else the site, pool, host or path. */
export interface Place {
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  readonly site?: string;
  readonly object?: string;
}

export interface Problem {
  readonly code: ErrorCode;
  /** What happened, as one sentence without a full stop: "Cannot log in to pool tokyo". */
  readonly what: string;
  readonly where?: Place;
  /** What we know: evidence, one short sentence each. Never a secret. */
  readonly known?: readonly string[];
  /** What to do next, as an imperative sentence. */
  readonly next: string;
}

export class OperatorError extends Error {
  readonly problems: readonly Problem[];
  readonly exitCode: ExitCode;

  constructor(
    problems: Problem | readonly Problem[],
    options: { exitCode?: ExitCode; cause?: unknown } = {},
  ) {
    const list = Array.isArray(problems) ? (problems as readonly Problem[]) : [problems as Problem];
    super(list.map(describeProblem).join('\n'), options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'OperatorError';
    this.problems = list;
    this.exitCode = options.exitCode ?? exitCodes.failed;
  }

  get code(): ErrorCode {
    return this.problems[0]?.code ?? 'DR-UNKNOWN';
  }
}

/** How a call that did not succeed ended, which decides whether it may be sent again. */
export type FailureKind =
  /** Nothing was sent, or the server says that it did nothing: safe to repeat. */
  | 'unreachable'
  /** Busy now; nothing was done: wait and repeat. */
  | 'busy'
  /** Sent, no answer, or the task vanished: look at the world before anything else. */
  | 'outcome-unknown'
  /** The server refused or failed, and says why: repeating brings the same answer. */
  | 'refused'
  /** Wrong user, password, key or right. */
  | 'auth'
  /** Certificate, fingerprint or host key differs from what the configuration pins. */
  | 'trust'
  /** We do not understand the answer: stop and keep it. */
  | 'protocol'
  /** A person or a deadline stopped it. */
  | 'cancelled';

/** An error at one of our ports. `problem` carries the sentence for the operator; `detail` the peer's own words. */
export class PortError extends Error {
  readonly kind: FailureKind;
  readonly problem: Problem;
  /** The peer's own code, such as `SR_BACKEND_FAILURE_107`, and its parameters. */
  readonly peerCode: string | undefined;
  readonly peerParams: readonly string[];

  constructor(
    kind: FailureKind,
    problem: Problem,
    options: { peerCode?: string; peerParams?: readonly string[]; cause?: unknown } = {},
  ) {
    super(describeProblem(problem), options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'PortError';
    this.kind = kind;
    this.problem = problem;
    this.peerCode = options.peerCode;
    this.peerParams = options.peerParams ?? [];
  }
}

/** The problem that an error tells of; null for a defect. */
export function problemOf(error: unknown): Problem | null {
  if (error instanceof PortError) return error.problem;
  if (error instanceof OperatorError) return error.problems[0] ?? null;
  return null;
}

export function describePlace(place: Place | undefined): string {
  if (place === undefined) return '';
  if (place.file !== undefined) {
    const position =
      place.line === undefined ? '' : `:${place.line}${place.column === undefined ? '' : `:${place.column}`}`;
    return `${place.file}${position}${place.object === undefined ? '' : ` ${place.object}`}`;
  }
  return [place.site && `site ${place.site}`, place.object].filter(Boolean).join(', ');
}

/** One problem as text: `CODE place: what: known. Next: …` on as few lines as it takes. */
export function describeProblem(problem: Problem): string {
  const place = describePlace(problem.where);
  const known = problem.known?.length ? `: ${problem.known.join('; ')}` : '';
  const said = `${place ? `${place}: ` : ''}${problem.what}${known}`;
  return `${said}${/[.?!]$/.test(said) ? '' : '.'} Next: ${problem.next} [${problem.code}]`;
}

/** Marks a branch that the type system says cannot be reached. */
export function unreachable(value: never): never {
  throw new Error(`unexpected value ${JSON.stringify(value)}`);
}
