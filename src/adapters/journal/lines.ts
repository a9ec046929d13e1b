/**
 * One journal line: `{"at":…,"event":…,"seq":…, …the event…, "prev":…,"sha256":…}`. `sha256` is the SHA-256 of the
 * line's text with the member `,"sha256":"…"` taken out; `prev` is the `sha256` of the line before (64 zeros in the
 * first line). Anyone with sha256sum can follow the chain.
 */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../../domain/canonical.ts';
import type { RunEvent } from '../../domain/run.ts';

export const chainStart = '0'.repeat(64);

export function journalLine(
  event: RunEvent,
  seq: number,
  prev: string,
): { readonly text: string; readonly sha256: string } {
  const { at, event: name, ...rest } = event;
  const body = canonicalJson(rest).slice(1, -1);
  const open = `{"at":${JSON.stringify(at)},"event":${JSON.stringify(name)},"seq":${seq},${body === '' ? '' : `${body},`}"prev":"${prev}"`;
  const sha256 = hash(`${open}}`);
  return { text: `${open},"sha256":"${sha256}"}`, sha256 };
}

export type LineReading =
  | { readonly ok: true; readonly event: RunEvent; readonly sha256: string }
  | { readonly ok: false; readonly reason: string };

/** Reads one line and checks its place in the chain. */
export function readJournalLine(text: string, seq: number, prev: string): LineReading {
  const tail = /,"sha256":"([0-9a-f]{64})"\}$/.exec(text);
  if (tail?.[1] === undefined) return { ok: false, reason: 'the line does not end with its SHA-256' };
  if (hash(`${text.slice(0, tail.index)}}`) !== tail[1])
    return { ok: false, reason: 'the line was changed: its SHA-256 does not fit its text' };
  const value: unknown = JSON.parse(text);
  if (!isLine(value)) return { ok: false, reason: 'the line is not a journal line' };
  const { seq: found, prev: before, sha256, ...event } = value;
  if (found !== seq) return { ok: false, reason: `line number ${found} stands where ${seq} belongs` };
  if (before !== prev) return { ok: false, reason: 'the line does not follow the one before it' };
  return { ok: true, event, sha256 };
}

type Line = RunEvent & { readonly seq: number; readonly prev: string; readonly sha256: string };

/** The hash has vouched for the content; the shape tells a line of ours from any other text that carries a hash. */
function isLine(value: unknown): value is Line {
  return (
    typeof value === 'object' &&
    value !== null &&
    'at' in value &&
    'event' in value &&
    'seq' in value &&
    'prev' in value &&
    typeof value.at === 'string' &&
    typeof value.event === 'string' &&
    typeof value.seq === 'number' &&
    typeof value.prev === 'string'
  );
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
