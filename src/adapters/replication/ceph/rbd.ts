/**
 * One `rbd` or `ceph` command on the admin host. Every command has a limit of its own, kept twice: by `timeout` on the
 * admin host, so that nothing stays behind there, and by us, in case the admin host hangs (storage.md A.9: giving up a
 * channel does not stop the program). Dates are asked for in UTC: rbd prints local time without a zone.
 */
import { z } from 'zod';
import { type FailureKind, PortError, type Problem } from '../../../domain/errors.ts';
import type { SshRemote } from '../../ssh/pool.ts';
import type { RemoteResult } from '../../ssh/remote.ts';
import type { CephOptions } from './options.ts';

/** Seconds by kind of command. Tests make them short. */
export interface Limits {
  readonly readSeconds: number;
  /** Snapshots, demotion, planned promotion, metadata. */
  readonly verbSeconds: number;
  /** From the start of a forced promotion to the look why it is held up. */
  readonly heldSeconds: number;
  readonly forcedSeconds: number;
  /** Copies and removal of images. */
  readonly copySeconds: number;
  readonly pollSeconds: number;
}

export const usualLimits: Limits = {
  readSeconds: 15,
  verbSeconds: 60,
  heldSeconds: 10,
  forcedSeconds: 60,
  copySeconds: 3600,
  pollSeconds: 0.5,
};

export interface Command {
  readonly effect: 'read' | 'write';
  readonly seconds: number;
  readonly signal: AbortSignal | undefined;
  readonly stdin?: string;
}

/** Exit codes are error numbers of the kernel (storage.md A.5): 2 not there, 16 not yet, 17 and 22 already, 30 read-only. */
export const exits = { absent: 2, notYet: 16, exists: 17, already: 22, readOnly: 30 } as const;

/** What `timeout` says when it had to end the command. */
const timeoutExits = [124, 137];

export class Rbd {
  readonly array: string;
  readonly limits: Limits;
  readonly #remote: SshRemote;
  readonly #options: CephOptions;

  constructor(array: string, remote: SshRemote, options: CephOptions, limits: Limits) {
    this.array = array;
    this.limits = limits;
    this.#remote = remote;
    this.#options = options;
  }

  /** The answer of a read; `PortError` when it has none. Null: what was asked for is not there, or rbd has nothing to print. */
  async read<T>(
    schema: z.ZodType<T>,
    args: readonly string[],
    signal: AbortSignal | undefined,
    seconds = this.limits.readSeconds,
  ): Promise<T | null> {
    const command = { effect: 'read', seconds, signal } as const;
    const result = await this.run(['rbd', ...this.#access(), ...args, '--format', 'json'], command);
    if (result.code === exits.absent) return null;
    if (result.code !== 0) throw this.refused(args, result);
    return result.stdout.trim() === '' ? null : this.parsed(schema, result.stdout, args);
  }

  /** A verb that ends with 0, or with one of the codes that the caller understands. */
  async verb(
    args: readonly string[],
    signal: AbortSignal | undefined,
    options: { readonly accept?: readonly number[]; readonly seconds?: number } = {},
  ): Promise<RemoteResult> {
    const seconds = options.seconds ?? this.limits.verbSeconds;
    const result = await this.run(['rbd', ...this.#access(), ...args], { effect: 'write', seconds, signal });
    if (result.code === 0 || (options.accept ?? []).includes(result.code ?? -1)) return result;
    throw this.refused(args, result);
  }

  /** The `ceph` command, for what rbd cannot do. */
  async ceph(args: readonly string[], signal: AbortSignal | undefined): Promise<RemoteResult> {
    const { verbSeconds: seconds } = this.limits;
    const result = await this.run(['ceph', ...this.#access(), ...args], { effect: 'write', seconds, signal });
    if (result.code !== 0) throw this.refused(args, result);
    return result;
  }

  /** Addresses of the monitors as ceph.conf has them: what a host needs to find the cluster. */
  async monitors(signal: AbortSignal | undefined): Promise<string> {
    const { conf } = this.#options;
    const { readSeconds: seconds } = this.limits;
    const args = ['ceph-conf', ...(conf === undefined ? [] : ['--conf', conf]), '--lookup', 'mon_host'];
    const result = await this.run(args, { effect: 'read', seconds, signal });
    if (result.code !== 0) throw this.refused(args, result);
    return result.stdout.trim();
  }

  /** The same question about many images in one command of the admin host, one image after the other; what fails prints nothing. */
  async ofMany(
    question: readonly string[],
    specs: readonly string[],
    more: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<string> {
    if (specs.length === 0) return '';
    const each = String(this.limits.readSeconds);
    const rbd = ['timeout', each, 'rbd', ...this.#access(), ...question, '{}', ...more];
    const result = await this.run(['xargs', '-r', '-d', '\\n', '-I', '{}', ...rbd], {
      effect: 'read',
      seconds: this.limits.readSeconds + specs.length,
      signal,
      stdin: specs.map((spec) => `${spec}\n`).join(''),
    });
    if (result.code !== 0 && result.code !== 123) throw this.refused(question, result);
    return result.stdout;
  }

  /** Runs a program under `timeout`. An abort, a limit and a broken cluster connection are errors; other codes are answers. */
  async run(argv: readonly string[], command: Command): Promise<RemoteResult> {
    const seconds = Math.max(1, Math.ceil(command.seconds));
    const bounded = ['env', 'TZ=UTC', 'LC_ALL=C', 'timeout', '-k', '2', String(seconds), ...argv];
    const result = await this.#remote.run(bounded, {
      effect: command.effect,
      timeoutSeconds: seconds + 5,
      signal: command.signal,
      ...(command.stdin === undefined ? {} : { stdin: command.stdin }),
    });
    const words = lastWords(result.stderr);
    if (result.code !== null && timeoutExits.includes(result.code)) throw this.#tooSlow(argv, command, words);
    if (result.code === 127 || result.code === 126) throw this.#noProgram(argv, words);
    if (crashed(result)) throw this.#crashed(argv, command, words);
    if (/error connecting to the cluster|couldn't connect to the cluster/i.test(result.stderr))
      throw this.#noCluster(result, words);
    return result;
  }

  parsed<T>(schema: z.ZodType<T>, text: string, args: readonly string[]): T {
    try {
      return schema.parse(JSON.parse(text));
    } catch (error) {
      throw this.problem(
        'protocol',
        {
          code: 'DR-ARRAY-PROTOCOL',
          what: `The answer of array ${this.array} to ${said(args)} is not understood`,
          known: [error instanceof z.ZodError ? (error.issues[0]?.message ?? '') : 'it is not JSON'],
          next: 'Run the command by hand on the admin host; a login script that prints something spoils it',
        },
        error,
      );
    }
  }

  refused(args: readonly string[], result: RemoteResult): PortError {
    const words = lastWords(result.stderr);
    return new PortError(
      'refused',
      {
        code: 'DR-ARRAY-REFUSED',
        what: `Array ${this.array} refuses ${said(args)}`,
        where: { object: `array ${this.array}` },
        known: words,
        next: 'Compare the pair in sites.yaml with what the array shows, then make a new plan',
      },
      { peerCode: String(result.code ?? result.signal), peerParams: words },
    );
  }

  problem(kind: FailureKind, problem: Omit<Problem, 'where'>, cause?: unknown): PortError {
    return new PortError(
      kind,
      { ...problem, where: { object: `array ${this.array}` } },
      cause === undefined ? {} : { cause },
    );
  }

  #access(): string[] {
    const { conf, ceph_user, keyring } = this.#options;
    return [
      '--id',
      ceph_user,
      ...(conf === undefined ? [] : ['--conf', conf]),
      ...(keyring === undefined ? [] : ['--keyring', keyring]),
    ];
  }

  #tooSlow(argv: readonly string[], command: Command, words: readonly string[]): PortError {
    const wrote = command.effect === 'write';
    return this.problem(wrote ? 'outcome-unknown' : 'unreachable', {
      code: wrote ? 'DR-ARRAY-OUTCOME-UNKNOWN' : 'DR-ARRAY-UNREACHABLE',
      what: `Ceph behind array ${this.array} did not answer ${said(argv.slice(1))} within ${command.seconds} s`,
      known: [...words, 'the command was ended on the admin host'],
      next: 'Look at `ceph status` on the admin host: a monitor or OSD is down, or the network to them',
    });
  }

  #noProgram(argv: readonly string[], words: readonly string[]): PortError {
    return this.problem('refused', {
      code: 'DR-ARRAY-TOOLS',
      what: `${argv[0]} cannot be run on the admin host of array ${this.array}`,
      known: words,
      next: 'Install ceph-common there, and check PATH of the user',
    });
  }

  #crashed(argv: readonly string[], command: Command, words: readonly string[]): PortError {
    return this.problem(command.effect === 'write' ? 'outcome-unknown' : 'protocol', {
      code: 'DR-ARRAY-CRASHED',
      what: `${argv[0]} crashed on the admin host of array ${this.array} at ${said(argv.slice(1))}`,
      known: words,
      next: 'Run it again once no transfer is under way: rbd is known to abort over a point that has half arrived',
    });
  }

  #noCluster(result: RemoteResult, words: readonly string[]): PortError {
    const denied = result.code === 1 || result.code === 13 || /permitted|denied|auth/i.test(result.stderr);
    return denied
      ? this.problem('auth', {
          code: 'DR-ARRAY-PASSWORD',
          what: `Ceph refuses user ${this.#options.ceph_user} on the admin host of array ${this.array}`,
          known: words,
          next: 'Correct ceph_user and keyring of the array, or give the user the capabilities that docs say',
        })
      : this.problem('unreachable', {
          code: 'DR-ARRAY-UNREACHABLE',
          what: `The admin host of array ${this.array} does not reach its Ceph cluster`,
          known: words,
          next: 'Look at `ceph status` on the admin host, and at conf in the options of the array',
        });
  }
}

/** The words of a command without where its keys are. */
function said(args: readonly string[]): string {
  return `"${withoutAccess(args).join(' ')}"`;
}

function withoutAccess(args: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < args.length; at += 1) {
    const word = args[at] ?? '';
    if (['--id', '--conf', '--keyring', '--format'].includes(word)) at += 1;
    else kept.push(word);
  }
  return kept;
}

/** An abort shows as a signal, or as the code that a shell or `timeout` makes of it. */
function crashed({ code, signal, stderr }: RemoteResult): boolean {
  const bySignal = signal !== null && /ABRT|SEGV|BUS|ILL/.test(signal);
  return bySignal || code === 134 || code === 139 || /ceph_assert|\*\*\* Caught signal/.test(stderr);
}

/** The last lines that say something: rbd repaints its progress before them. */
export function lastWords(stderr: string): string[] {
  return stderr
    .split(/[\r\n]+/)
    .map((line) => line.replace(/^\d{4}-\d\d-\d\dT\S+ \S+ +-?\d+ /, '').trim())
    .filter((line) => line !== '' && !/\d+% complete/.test(line))
    .slice(-3)
    .map((line) => line.slice(0, 300));
}
