/** What recovery plans need beside pools and arrays: local programs, and ways of asking a guest whether it serves. */
import type { HostKeySource } from '../domain/recovery-plan.ts';

/** A program of this machine. No shell is involved; of our environment it sees only the path, home, locale and time zone. */
export interface ProgramCall {
  readonly argv: readonly string[];
  /** Facts for the program, such as `LIFEBOAT_GROUP`. */
  readonly env: Readonly<Record<string, string>>;
  /** After so many seconds it is killed, with everything that it started. */
  readonly timeoutSeconds: number;
}

/** Output is the end of what it wrote, without known secrets. */
export interface ProgramEnd {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly signal: string | null;
  /** Whether it was killed because its time was over. */
  readonly timedOut: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs the program to its end. Throws `PortError`: `refused` when it cannot be started, `cancelled` when the signal
 * aborted it half-way (it is killed then).
 */
export type RunProgram = (call: ProgramCall, signal?: AbortSignal) => Promise<ProgramEnd>;

export interface HttpProbe {
  readonly address: string;
  readonly port: number;
  readonly path: string;
  readonly tls: boolean;
  /** Name for the Host header, SNI and the certificate; the address when null. */
  readonly host: string | null;
  readonly verify: boolean;
  /** CA certificates in PEM; those of the system when null. */
  readonly caFile: string | null;
}

export type HttpAnswer =
  /** `text`: the first 64 KiB of the body. */
  | { readonly answered: true; readonly status: number; readonly text: string }
  | { readonly answered: false; readonly because: string };

/** One GET, redirects not followed, within ten seconds. Never throws. */
export type ProbeHttp = (probe: HttpProbe, signal?: AbortSignal) => Promise<HttpAnswer>;

export interface GuestCommand {
  readonly address: string;
  readonly port: number;
  /** Name label of the VM, for known_hosts. */
  readonly nameLabel: string;
  readonly user: string;
  readonly keyFile: string;
  readonly hostKey: HostKeySource;
  readonly argv: readonly string[];
  readonly timeoutSeconds: number;
}

/** Runs a program that changes nothing inside a guest, over SSH. Throws `PortError` when there is no exit code to be had. */
export type RunInGuest = (
  command: GuestCommand,
  signal?: AbortSignal,
) => Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>;
