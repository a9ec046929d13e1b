/** What a check or a rehearsal found. A problem blocks, a warning is told; both carry evidence and the next step. */
import type { ErrorCode } from './errors.ts';

export interface Finding {
  readonly severity: 'problem' | 'warning';
  readonly code: ErrorCode;
  /** What it is about: `vm`, `network`, `sr`, `vdi`, `host`, `pool`, `array`, `catalog`, `config`. */
  readonly about:
    | 'vm'
    | 'network'
    | 'sr'
    | 'vdi'
    | 'host'
    | 'pool'
    | 'array'
    | 'catalog'
    | 'group'
    | 'config';
  /** Name of the object for people; the uuid where names are not unique. */
  readonly name: string;
  readonly uuid?: string;
  readonly what: string;
  readonly evidence: readonly string[];
  /** Names of the VMs it touches; empty when it touches the group as a whole. */
  readonly vms: readonly string[];
  readonly next: string;
}

/** Problems before warnings, then by code, name and text: the same world prints the same list. */
export function sortFindings(findings: readonly Finding[]): Finding[] {
  const key = (f: Finding): string =>
    [f.severity === 'problem' ? 0 : 1, f.code, f.about, f.name, f.what].join('\u0000');
  return [...findings].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
}
