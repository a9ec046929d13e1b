/**
 * What an import into an observed pool would do, worked out without asking the pool: every rule of xapi.md 4 as a pure
 * function, all findings at once. `dry_run` costs nearly as much as an import, stops at its first error and does not say
 * which network or ISO would be matched (xapi.md 4.13); this costs less than reading the documents.
 */
import type { Finding } from '../domain/finding.ts';
import type { PoolFacts } from '../domain/pool.ts';
import type { MetadataDocument } from './document.ts';
import type { VmObject } from './objects.ts';
import { type ImportOptions, keyOf, type Rule, type RuleContext, type VmDecision } from './rules/context.ts';
import { graphics, otherHardware, virtualTpms } from './rules/devices.ts';
import { findDisks } from './rules/disks.ts';
import { drives } from './rules/drives.ts';
import { autoPowerOn, highAvailability, losses } from './rules/fields.ts';
import { Ledger, type PeerError } from './rules/ledger.ts';
import { decideVms, macSeeds, unusualVms, versionGate } from './rules/machines.ts';
import { interfaces, networks } from './rules/networks.ts';
import { PoolIndex } from './rules/pool-index.ts';
import { copyText } from './xmlvalue.ts';

export type { ImportOptions } from './rules/context.ts';
export type { PeerError } from './rules/ledger.ts';

/** What becomes of one VM record of the documents. */
export interface VmPrediction {
  readonly uuid: string;
  readonly nameLabel: string;
  readonly isASnapshot: boolean;
  /** `match`: a default template that is here already. `refuse`: this VM alone would fail the import. */
  readonly outcome: 'create' | 'replace' | 'skip' | 'match' | 'refuse';
  /** The error that this VM brings upon the import; null when it brings none. */
  readonly error: PeerError | null;
}

export interface ImportPrediction {
  readonly perVm: readonly VmPrediction[];
  readonly findings: readonly Finding[];
  /** The error of a `dry_run` of all documents as one; null when it would succeed. References appear as uuids. */
  readonly firstError: PeerError | null;
  /** The error of the import itself, which sees more than a dry run (xapi.md 4.13). */
  readonly importError: PeerError | null;
}

/** Rules in an order in which each finds what it needs: VMs and disks are decided before what hangs on them. */
const rules: readonly Rule[] = [
  versionGate,
  macSeeds,
  decideVms,
  findDisks,
  unusualVms,
  networks,
  graphics,
  drives,
  interfaces,
  virtualTpms,
  otherHardware,
  highAvailability,
  autoPowerOn,
  losses,
];

const indexes = new WeakMap<PoolFacts, PoolIndex>();

/** All findings for a batch of documents, as if they were one (src/metadata/split.ts, `merge`), against the pool as observed. */
export function predictImport(
  documents: Iterable<MetadataDocument>,
  pool: PoolFacts,
  options: ImportOptions,
): ImportPrediction {
  const rehearsal = new ImportRehearsal(pool, options);
  for (const document of documents) rehearsal.add(document);
  return rehearsal.result();
}

/** The same document by document, so that thousands of them need not be in memory together. */
export class ImportRehearsal {
  readonly #pool: PoolIndex;
  readonly #options: ImportOptions;
  readonly #ledger = new Ledger();
  readonly #decided: {
    readonly key: string;
    readonly uuid: string;
    readonly nameLabel: string;
    readonly isASnapshot: boolean;
    readonly decision: VmDecision;
  }[] = [];

  constructor(pool: PoolFacts, options: ImportOptions) {
    let index = indexes.get(pool);
    if (index === undefined) {
      index = new PoolIndex(pool);
      indexes.set(pool, index);
    }
    this.#pool = index;
    this.#options = options;
  }

  add(document: MetadataDocument): void {
    this.#ledger.nextDocument();
    const context: RuleContext = {
      document,
      pool: this.#pool,
      options: this.#options,
      ledger: this.#ledger,
      decisions: new Map(),
      disks: new Map(),
      diskUsers: usersOfDisks(document),
    };
    for (const rule of rules) rule(context);
    for (const [vm, decision] of context.decisions)
      this.#decided.push({
        key: copyText(keyOf(vm)),
        uuid: copyText(vm.uuid),
        nameLabel: copyText(vm.nameLabel),
        isASnapshot: vm.isASnapshot,
        decision,
      });
  }

  result(): ImportPrediction {
    return {
      perVm: this.#decided.map(({ key, decision, ...vm }) => {
        const error = this.#ledger.errorOf(key);
        return { ...vm, outcome: error === null ? decision.kind : 'refuse', error };
      }),
      findings: this.#ledger.findings(),
      firstError: this.#ledger.firstError('dry-run'),
      importError: this.#ledger.firstError('import'),
    };
  }
}

function usersOfDisks(document: MetadataDocument): RuleContext['diskUsers'] {
  const users = new Map<string, VmObject[]>();
  const add = (id: string, vm: VmObject): void => {
    const list = users.get(id);
    if (list === undefined) users.set(id, [vm]);
    else if (!list.includes(vm)) list.push(vm);
  };
  for (const vm of document.vms) {
    for (const vbd of vm.vbds) add(vbd.text('VDI'), vm);
    if (vm.powerState === 'Suspended') add(vm.text('suspend_VDI'), vm);
  }
  return users;
}
