/** The rewrites of a failover and of a drill, in the order in which they belong, with what they did, in words. */
import type { NetworkTarget } from '../domain/plan.ts';
import type { PoolFacts, Uuid, XapiBuild } from '../domain/pool.ts';
import { quarantineKey } from '../domain/quarantine.ts';
import type { MetadataDocument } from './document.ts';
import {
  addTags,
  clearAttached,
  clearPlacement,
  dropClasses,
  dropControlDomains,
  dropSnapshots,
  ejectIsos,
  freshIdentity,
  haltSuspended,
  type IdentitySource,
  lowerBuild,
  mapNetworks,
  type NetworkRewrite,
  nullDangling,
  type ParkedHa,
  parkHa,
  raiseVersions,
  remapStorage,
  renameVms,
  type StorageRewrite,
  setOtherConfig,
} from './rewrite.ts';

export interface RecoveryOptions {
  readonly networks: readonly (NetworkTarget | NetworkRewrite)[];
  /** The recovery pool as observed: decides which ISOs stay in their drives. Without it all are ejected. */
  readonly pool?: Pick<PoolFacts, 'srs' | 'vdis'>;
  /** Snapshots are dropped unless kept. */
  readonly keepSnapshots?: boolean;
  readonly dropVtpms?: boolean;
  readonly dropVgpus?: boolean;
  /** Suspended VMs come up halted, as after a power failure; their suspend VDI is not needed then. */
  readonly haltSuspended?: boolean;
  readonly storage?: StorageRewrite;
  /** Copies in the recovery pool that this import replaces, whatever their age: uuid to version. */
  readonly replaces?: ReadonlyMap<Uuid, number>;
  /** New uuids, seeds and MACs, for a drill copy that must not meet its original. */
  readonly identity?: IdentitySource;
  /** Entries for `other_config`, such as the marker of a drill copy; null removes one. */
  readonly otherConfig?: Readonly<Record<string, string | null>>;
  /** Tags beside those that the VMs have. */
  readonly tags?: readonly string[];
  readonly rename?: (nameLabel: string) => string;
  /** Only on explicit wish (xapi.md 3.8). */
  readonly lowerBuildTo?: Pick<XapiBuild, 'major' | 'minor'>;
}

export interface RewrittenDocument {
  /** No id without object is left in it. */
  readonly document: MetadataDocument;
  readonly parked: readonly ParkedHa[];
  /** Sentences for people: what is different from the original, and what was lost by it. */
  readonly notes: readonly string[];
  /** Those of the notes that tell of a CD drive whose disc is not at the recovery site. */
  readonly emptied: readonly string[];
  /** Networks of the document that no target was given for: the import would guess or create them. */
  readonly unmappedNetworks: readonly string[];
  /** Old uuid to new uuid of each VM, when new identities were made. */
  readonly uuids: ReadonlyMap<Uuid, Uuid>;
}

/** Rewrites a document so that the recovery pool imports it as planned and in no other way (xapi.md 4.16). */
export function rewriteForRecovery(document: MetadataDocument, options: RecoveryOptions): RewrittenDocument {
  const notes: string[] = [];
  let made = dropControlDomains(document);
  if (made !== document) notes.push('The control domain in the document is left out.');
  if (options.keepSnapshots !== true) made = noted(made, dropSnapshots, notes, 'Snapshots are left out.');
  if (options.dropVtpms === true)
    made = noted(
      made,
      (d) => dropClasses(d, ['VTPM']),
      notes,
      'The virtual TPM is left out: the guest loses its keys.',
    );
  if (options.dropVgpus === true)
    made = noted(made, (d) => dropClasses(d, ['VGPU']), notes, 'Virtual GPUs are left out.');
  if (options.haltSuspended === true)
    made = noted(
      made,
      haltSuspended,
      notes,
      'A suspended VM comes up halted; its memory is lost, as after a power failure.',
    );

  const isos = isoLocations(options.pool);
  const emptied = made.vms.flatMap((vm) =>
    vm.vbds.flatMap(({ userdevice, vdi }) =>
      vdi?.sr?.isIso === true && !isos.has(vdi.location)
        ? [`CD drive ${userdevice} of ${vm.nameLabel} is emptied: ${vdi.location} is not there.`]
        : [],
    ),
  );
  notes.push(...emptied);
  made = ejectIsos(made, (iso) => iso.srType !== 'udev' && isos.has(iso.location));

  made = clearPlacement(clearAttached(made));
  const ha = parkHa(made);
  made = ha.document;
  for (const vm of ha.parked)
    notes.push(
      `HA of ${vm.nameLabel} is parked (restart priority ${vm.haRestartPriority || 'none'}) until it is restored after the start.`,
    );
  if (options.storage !== undefined) made = remapStorage(made, options.storage);

  const mapped = new Set(options.networks.map((target) => target.production));
  const unmappedNetworks = [...new Set(made.networks.map((network) => network.nameLabel))]
    .filter((name) => !mapped.has(name))
    .sort();
  made = mapNetworks(made, options.networks);

  let uuids: ReadonlyMap<Uuid, Uuid> = new Map();
  if (options.identity !== undefined) {
    const fresh = freshIdentity(made, options.identity);
    made = fresh.document;
    uuids = fresh.uuids;
    notes.push('Each VM gets a new uuid, MAC seed and MAC addresses.');
  }
  if (options.replaces !== undefined) made = raiseVersions(made, options.replaces);
  // Saved while it was put away: what is brought up here serves again.
  if (made.vms.some((vm) => vm.otherConfig[quarantineKey] !== undefined))
    made = setOtherConfig(made, { [quarantineKey]: null });
  if (options.otherConfig !== undefined) made = setOtherConfig(made, options.otherConfig);
  if (options.tags !== undefined) made = addTags(made, options.tags);
  if (options.rename !== undefined) made = renameVms(made, options.rename);
  if (options.lowerBuildTo !== undefined) {
    const { lowerBuildTo } = options;
    made = noted(
      made,
      (d) => lowerBuild(d, lowerBuildTo),
      notes,
      `The xapi build of the document is lowered to ${lowerBuildTo.major}.${lowerBuildTo.minor}.`,
    );
  }
  return { document: nullDangling(made), parked: ha.parked, notes, emptied, unmappedNetworks, uuids };
}

function noted(
  document: MetadataDocument,
  rewrite: (document: MetadataDocument) => MetadataDocument,
  notes: string[],
  note: string,
): MetadataDocument {
  const made = rewrite(document);
  if (made !== document) notes.push(note);
  return made;
}

/** File names of ISOs that an import would find: in any ISO SR but physical drives (xapi.md 4.7). */
function isoLocations(pool: Pick<PoolFacts, 'srs' | 'vdis'> | undefined): ReadonlySet<string> {
  if (pool === undefined) return noIsos;
  let known = isosOf.get(pool.vdis);
  if (known === undefined) {
    known = findIsos(pool);
    isosOf.set(pool.vdis, known);
  }
  return known;
}

const noIsos: ReadonlySet<string> = new Set();
const isosOf = new WeakMap<PoolFacts['vdis'], ReadonlySet<string>>();

function findIsos(pool: Pick<PoolFacts, 'srs' | 'vdis'>): ReadonlySet<string> {
  const isoSrs = new Set(
    pool.srs.filter((sr) => sr.contentType === 'iso' && sr.type !== 'udev').map((sr) => sr.uuid),
  );
  return new Set(pool.vdis.filter((vdi) => isoSrs.has(vdi.srUuid)).map((vdi) => vdi.location));
}
