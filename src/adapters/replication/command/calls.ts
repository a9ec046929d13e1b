/** Calls of a site's program: request, answer and failure, with the secret on stdin and in no word of ours. */
import type { z } from 'zod';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Secrets } from '../../../ports/system.ts';
import { type Asked, failureOf, notUnderstood, stopped } from './failures.ts';
import { type CommandOptions, commandOptions } from './options.ts';
import { callProgram } from './program.ts';

const contract = 1;

export type Parameters = Readonly<Record<string, unknown>>;
/** What a verb costs and risks: it decides how long the program may take, and what its silence means. */
export type Effort = 'read' | 'write' | 'transfer';

export class ProgramCalls {
  readonly options: CommandOptions;
  readonly #settings: ArraySettings;
  readonly #secrets: Secrets;
  readonly #closed = new AbortController();

  constructor(settings: ArraySettings, secrets: Secrets) {
    this.options = commandOptions(settings);
    this.#settings = settings;
    this.#secrets = secrets;
  }

  async ask<T>(
    schema: z.ZodType<T>,
    verb: string,
    parameters: Parameters,
    effort: Effort,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const over = AbortSignal.any([this.#closed.signal, ...(signal === undefined ? [] : [signal])]);
    const asked = this.asked(verb, effort);
    const secret = this.#settings.secret === null ? null : await this.#secrets.resolve(this.#settings.secret);
    if (over.aborted) throw stopped(asked);
    const { timeoutSeconds } = asked;
    const request = JSON.stringify({
      contract,
      verb,
      array: this.#settings.name,
      timeoutSeconds,
      ...parameters,
      secret,
    });
    const { program_file: program, arguments: args } = this.options;
    const call = { argv: [program, ...args] as const, request: `${request}\n`, timeoutSeconds };
    const end = await callProgram(call, process.env, over);
    const redact = (text: string): string =>
      secret === null || secret === '' ? text : text.replaceAll(secret, '***');
    const failure = failureOf(asked, end, redact);
    if (failure !== null) throw failure;
    return this.#read(schema, asked, end.ended === 'by-itself' ? end.stdout : '', redact);
  }

  /** An answer is kept as evidence: a program that repeats the secret in it is not followed in that. */
  #read<T>(schema: z.ZodType<T>, asked: Asked, stdout: string, redact: (text: string) => string): T {
    let said: unknown;
    try {
      const safe = (_: string, value: unknown): unknown =>
        typeof value === 'string' ? redact(value) : value;
      said = stdout.trim() === '' ? {} : JSON.parse(stdout, safe);
    } catch {
      throw notUnderstood(asked, [
        'it is not one JSON value',
        `it begins with ${redact(stdout).slice(0, 80)}`,
      ]);
    }
    const result = schema.safeParse(said);
    if (result.success) return result.data;
    throw notUnderstood(asked, issuesOf(result.error));
  }

  asked(verb: string, effort: Effort): Asked {
    const {
      program_file: program,
      read_seconds: read,
      write_seconds: write,
      transfer_seconds: transfer,
    } = this.options;
    const timeoutSeconds = { read, write, transfer }[effort];
    return { array: this.#settings.name, program, verb, writes: effort !== 'read', timeoutSeconds };
  }

  /** What is under way is killed, and nothing is called any more. */
  close(): void {
    this.#closed.abort();
  }
}

export function issuesOf(error: z.ZodError): string[] {
  return error.issues
    .slice(0, 5)
    .map((issue) => `${issue.path.map(String).join('.') || 'answer'}: ${issue.message}`);
}
