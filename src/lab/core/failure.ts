/** A XenAPI failure: the code and its parameters, as they stand in ErrorDescription and in a task's error_info. */
export class XenFailure extends Error {
  readonly code: string;
  readonly params: readonly string[];
  constructor(code: string, params: readonly string[] = []) {
    super([code, ...params].join(' '));
    this.name = 'XenFailure';
    this.code = code;
    this.params = params;
  }
  get description(): string[] {
    return [this.code, ...this.params];
  }
}

export function fail(code: string, ...params: string[]): never {
  throw new XenFailure(code, params);
}

/** An exception inside xapi that has no code of its own: `INTERNAL_ERROR [text]` (xapi.md 1.2). */
export function internal(text: string): never {
  throw new XenFailure('INTERNAL_ERROR', [text]);
}

/** What a client is told about any exception: failures as they are, anything else as INTERNAL_ERROR. */
export function failureOf(error: unknown): XenFailure {
  if (error instanceof XenFailure) return error;
  return new XenFailure('INTERNAL_ERROR', [
    error instanceof Error ? (error.stack ?? error.message) : String(error),
  ]);
}

/** OCaml's `%S`, as it stands in texts such as `Failure("...")`. */
export function quoted(text: string): string {
  return `"${text.replace(/[\\"\n\t\r]/g, (c) => ({ '\n': '\\n', '\t': '\\t', '\r': '\\r' })[c] ?? `\\${c}`)}"`;
}
