/** What every rule gets to see of one document, and what earlier rules have made out. */
import type { Uuid, VdiFacts, VmFacts } from '../../domain/pool.ts';
import type { MetadataDocument, MetadataObject } from '../document.ts';
import type { VdiObject, VmObject } from '../objects.ts';
import type { Found, Ledger, PeerError, Refusal } from './ledger.ts';
import type { PoolIndex } from './pool-index.ts';

export interface ImportOptions {
  /** Keeps uuids, MACs and seeds; may replace an existing VM (xapi.md 4.5). */
  readonly restore: boolean;
  readonly force?: boolean;
  /** `vdi:` entries of the request: uuid in the document (or SCSIid) to uuid (or SCSIid) at the target. */
  readonly vdiMap?: ReadonlyMap<string, string>;
  /**
   * SRs that will be attached before the import, with the locations expected there; null when these are not known.
   * Their disks count as found, so that a rehearsal says what will be and not what is.
   */
  readonly attaching?: ReadonlyMap<Uuid, ReadonlySet<string> | null>;
}

/** What becomes of a VM record: a new VM, one in the place of an old one, none since one runs, or a default template. */
export type VmDecision =
  | { readonly kind: 'create' }
  | { readonly kind: 'replace'; readonly existing: VmFacts }
  | { readonly kind: 'skip'; readonly existing: VmFacts }
  | { readonly kind: 'match' }
  | { readonly kind: 'refuse'; readonly existing: VmFacts };

/** What becomes of a disk of the document: found here, expected with its SR, or not. */
export type DiskMatch =
  | { readonly kind: 'found'; readonly vdi: VdiFacts }
  | { readonly kind: 'expected' }
  | { readonly kind: 'missing' };

export interface RuleContext {
  readonly document: MetadataDocument;
  readonly pool: PoolIndex;
  readonly options: ImportOptions;
  readonly ledger: Ledger;
  readonly decisions: Map<VmObject, VmDecision>;
  readonly disks: Map<MetadataObject, DiskMatch>;
  /** VMs of the document by disk id: through a drive, or as their suspend image. */
  readonly diskUsers: ReadonlyMap<string, readonly VmObject[]>;
}

export type Rule = (context: RuleContext) => void;

/** Key of a VM in the ledger. A record without uuid goes by its id. */
export function keyOf(vm: VmObject): string {
  return vm.uuid || vm.id;
}

export function problem(
  context: RuleContext,
  found: Omit<Found, 'severity' | 'vms'>,
  vms: readonly VmObject[],
): void {
  context.ledger.add({ ...found, severity: 'problem', vms: vms.map(named) });
}

export function warning(
  context: RuleContext,
  found: Omit<Found, 'severity' | 'vms'>,
  vms: readonly VmObject[],
): void {
  context.ledger.add({ ...found, severity: 'warning', vms: vms.map(named) });
}

function named(vm: VmObject): { readonly key: string; readonly nameLabel: string } {
  return { key: keyOf(vm), nameLabel: vm.nameLabel };
}

/** An error that xapi raises at this object. */
export function refusal(
  context: RuleContext,
  object: MetadataObject,
  error: PeerError,
  seenBy: Refusal['seenBy'] = 'both',
): Refusal {
  return { error, stage: object.class, position: context.document.objects.indexOf(object), seenBy };
}

export function usersOf(context: RuleContext, vdi: VdiObject): readonly VmObject[] {
  return context.diskUsers.get(vdi.id) ?? [];
}

/** The object that a field names is not in the document: xapi ends with the id. */
export function danglingError(id: string): PeerError {
  return { code: 'IMPORT_ERROR_FAILED_TO_FIND_OBJECT', params: [id] };
}
