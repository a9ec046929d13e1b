/** Where rules write what they find: one finding per cause with all VMs that it touches, and what xapi would answer. */
import type { ErrorCode } from '../../domain/errors.ts';
import { type Finding, sortFindings } from '../../domain/finding.ts';
import { importOrder } from '../canonical.ts';
import { copyText } from '../xmlvalue.ts';

/** An error as xapi would raise it. References are not known beforehand: uuids stand in their places. */
export interface PeerError {
  readonly code: string;
  readonly params: readonly string[];
}

/** Where in the import an error is raised: the two checks before the objects, the classes in order, the links last. */
export type Stage = 'version' | 'mac-seed' | 'snapshot-links' | (string & {});

export interface Refusal {
  readonly error: PeerError;
  readonly stage: Stage;
  /** Position of the object in its document. */
  readonly position: number;
  /** Whether `dry_run` sees it, and whether the import itself does. */
  readonly seenBy: 'both' | 'import' | 'dry-run';
}

export interface Found {
  readonly severity: Finding['severity'];
  readonly code: ErrorCode;
  readonly about: Finding['about'];
  readonly name: string;
  readonly uuid?: string;
  readonly what: string;
  readonly evidence: readonly string[];
  readonly next: string;
  /** VMs that it touches, by their key in the ledger and their name. */
  readonly vms: readonly { readonly key: string; readonly nameLabel: string }[];
  readonly refusal?: Refusal;
}

interface Recorded {
  readonly rank: number;
  readonly document: number;
  readonly refusal: Refusal;
}

const versionRank = 0;
const seedRank = 1;
const linksRank = 1000;

export class Ledger {
  readonly #findings = new Map<string, { finding: Omit<Found, 'vms' | 'refusal'>; vms: Set<string> }>();
  readonly #refusals: Recorded[] = [];
  readonly #byVm = new Map<string, Recorded>();
  #document = 0;

  nextDocument(): void {
    this.#document += 1;
  }

  add(found: Found): void {
    const key = `${found.code}\n${found.about}\n${found.uuid ?? found.name}\n${found.what}`;
    let known = this.#findings.get(key);
    if (known === undefined) {
      const { vms: _vms, refusal: _refusal, ...finding } = found;
      known = { finding: ownTexts(finding), vms: new Set() };
      this.#findings.set(key, known);
    }
    for (const vm of found.vms) if (!known.vms.has(vm.nameLabel)) known.vms.add(copyText(vm.nameLabel));
    if (found.refusal === undefined) return;
    const refusal = ownTexts(found.refusal);
    const recorded = { rank: rankOf(refusal.stage), document: this.#document, refusal };
    this.#refusals.push(recorded);
    if (found.refusal.seenBy === 'dry-run') return;
    for (const vm of found.vms) {
      const first = this.#byVm.get(vm.key);
      if (first === undefined || before(recorded, first) < 0) this.#byVm.set(copyText(vm.key), recorded);
    }
  }

  /** The error with which the import of everything as one document would end. */
  firstError(seenBy: 'dry-run' | 'import'): PeerError | null {
    let first: Recorded | null = null;
    for (const recorded of this.#refusals) {
      if (recorded.refusal.seenBy !== 'both' && recorded.refusal.seenBy !== seenBy) continue;
      if (first === null || before(recorded, first) < 0) first = recorded;
    }
    return first?.refusal.error ?? null;
  }

  /** The first error that this VM alone would bring upon the import. */
  errorOf(vmKey: string): PeerError | null {
    return this.#byVm.get(vmKey)?.refusal.error ?? null;
  }

  findings(): Finding[] {
    return sortFindings(
      [...this.#findings.values()].map(({ finding, vms }) => ({ ...finding, vms: [...vms].sort() })),
    );
  }
}

/** A copy that keeps no document in memory. */
function ownTexts<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

function before(a: Recorded, b: Recorded): number {
  return a.rank - b.rank || a.document - b.document || a.refusal.position - b.refusal.position;
}

function rankOf(stage: Stage): number {
  if (stage === 'version') return versionRank;
  if (stage === 'mac-seed') return seedRank;
  if (stage === 'snapshot-links') return linksRank;
  return 2 + importOrder.indexOf(stage);
}
