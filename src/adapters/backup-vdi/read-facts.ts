/**
 * One date of a metadata backup as a backup of other tools is read: documents of the date, completed by the dump of the
 * database that was made with it, names by SRMETA.xml.
 */
import { createHash } from 'node:crypto';
import { PortError, problemOf } from '../../domain/errors.ts';
import type { PoolFacts, Uuid } from '../../domain/pool.ts';
import type { Instant } from '../../domain/time.ts';
import { withNames } from '../../metadata/backup-tree.ts';
import { type NamedSr, parseSrMeta } from '../../metadata/srmeta.ts';
import type { BackupTree } from '../../ports/backup-vdi.ts';
import type { ForeignBackup } from '../../ports/foreign.ts';
import { backupOfArchives } from '../foreign/archives.ts';
import { type OpenDump, openDump } from '../foreign/dump.ts';
import { DecodeError } from '../xenapi/values.ts';

/** Kind `refused`, DR-BACKUP-EMPTY, for a date without a document and without a database. */
export function factsOfBackup(
  tree: BackupTree,
  database: Uint8Array | null,
  made: ForeignBackup['made'],
): ForeignBackup {
  const remarks: string[] = [];
  const { whole, changed } = asWritten(tree);
  const told = backupOfArchives(
    whole.map(({ vm, archive }) => ({ file: `${vm}.vmmeta`, bytes: archive })),
    made.at,
  );
  const dump = database === null ? null : readDump(database, made.at, told.pool, remarks);
  if (told.documents.size === 0 && dump === null) throw empty(tree.date);
  const pool = dump === null ? told.pool : united(dump.pool, told.pool);
  const madeGood = fromDump(tree, told.documents, dump);
  const documents = new Map([...madeGood, ...told.documents]);
  if (madeGood.size > 0)
    remarks.push(
      `${madeGood.size} VMs have no document in this date: they were made from the dump of the pool's database`,
    );
  return {
    kind: 'backup-vdi',
    files: [tree.date],
    made,
    pool: { ...pool, ...withNames(pool, namesOf(tree, remarks)) },
    documents,
    // What the dump makes good is no failure.
    failures: [...changed, ...told.failures].filter(
      ({ file }) => !documents.has(file.replace(/\.vmmeta$/, '')),
    ),
    secretDeviceConfig: dump?.secretDeviceConfig ?? new Map(),
    database: dump === null ? null : database,
    remarks: [...remarks, ...told.remarks, ...(dump?.remarks ?? [])],
  };
}

/** Documents of VMs that the date ought to hold and does not. */
function fromDump(
  tree: BackupTree,
  there: ForeignBackup['documents'],
  dump: OpenDump | null,
): ForeignBackup['documents'] {
  const lacking = (dump?.pool.vms ?? [])
    .filter((vm) => !vm.isSnapshot && !there.has(vm.uuid) && shouldBeThere(tree, vm.uuid))
    .map((vm) => vm.uuid);
  if (dump === null || lacking.length === 0) return new Map();
  const all = dump.documents();
  return new Map(
    lacking.flatMap((uuid) => {
      const bytes = all.get(uuid);
      return bytes === undefined ? [] : [[uuid, bytes] as const];
    }),
  );
}

/** What Lifeboat wrote says what its documents are: one that is another by now is not used. */
function asWritten({ documents, provenance }: BackupTree): {
  readonly whole: BackupTree['documents'];
  readonly changed: ForeignBackup['failures'];
} {
  const isWhole = ({ vm, archive }: BackupTree['documents'][number]): boolean => {
    const claimed = provenance?.documents[vm];
    return claimed === undefined || createHash('sha256').update(archive).digest('hex') === claimed;
  };
  return {
    whole: documents.filter(isWhole),
    changed: documents
      .filter((each) => !isWhole(each))
      .map(({ vm }) => ({ file: `${vm}.vmmeta`, reason: 'it is not what Lifeboat wrote there' })),
  };
}

/** A host's script saves every VM of the pool, Lifeboat those of a group. */
function shouldBeThere({ provenance }: BackupTree, vm: Uuid): boolean {
  return provenance === null || provenance.documents[vm] !== undefined;
}

/** Null for a dump that cannot be read, or of another moment: it must know every VM of the date. */
function readDump(bytes: Uint8Array, at: Instant, documents: PoolFacts, remarks: string[]): OpenDump | null {
  let dump: OpenDump;
  try {
    dump = openDump(bytes, at);
  } catch (error) {
    const problem = problemOf(error);
    if (problem === null && !(error instanceof DecodeError)) throw error;
    const why =
      problem === null ? (error as Error).message : [problem.what, ...(problem.known ?? [])].join(': ');
    remarks.push(`The dump of the pool's database was not used: ${why}`);
    return null;
  }
  const known = new Set(dump.pool.vms.map((vm) => vm.uuid));
  if (documents.vms.every((vm) => known.has(vm.uuid))) return dump;
  remarks.push("The dump of the pool's database was not used: it does not know all VMs of this date");
  return null;
}

/** The dump has PBDs, VLANs, hosts and vApps; what both tell of a VM is the document's, which is imported. */
function united(dump: PoolFacts, documents: PoolFacts): PoolFacts {
  const appliances = new Map(dump.vms.map((vm) => [vm.uuid, vm.applianceUuid]));
  const ofDocuments = new Map(
    documents.vms.map((vm) => [vm.uuid, { ...vm, applianceUuid: appliances.get(vm.uuid) ?? null }]),
  );
  const vdis = new Map([...dump.vdis, ...documents.vdis].map((vdi) => [vdi.uuid, vdi]));
  return {
    ...dump,
    vms: dump.vms.map((vm) => ofDocuments.get(vm.uuid) ?? vm),
    vdis: [...vdis.values()],
  };
}

function namesOf({ srMeta }: BackupTree, remarks: string[]): NamedSr[] {
  if (srMeta === null) {
    remarks.push('This date has no names of SRs and disks (SRMETA.xml)');
    return [];
  }
  try {
    return parseSrMeta(new TextDecoder().decode(srMeta));
  } catch (error) {
    const problem = problemOf(error);
    if (problem === null) throw error;
    remarks.push(`${problem.what}: ${(problem.known ?? []).join('; ')}`);
    return [];
  }
}

function empty(date: string): PortError {
  return new PortError('refused', {
    code: 'DR-BACKUP-EMPTY',
    what: `Date ${date} of the metadata backup holds no document of a VM that can be read`,
    next: 'Take another date: lifeboat catalog recover GROUP --list',
  });
}
