/**
 * `lifeboat catalog import`: a recovery point made from a backup of other tools. What such a backup says is taken; what it
 * does not say is left empty and told, since a failover takes it from sites.yaml, the arrays and the recovery pool.
 */
import { basename } from 'node:path';
import type { TargetOutcome } from '../domain/catalog.ts';
import { exitCodes, OperatorError } from '../domain/errors.ts';
import type { ForeignImport } from '../domain/foreign-import.ts';
import { oriented } from '../domain/orientation.ts';
import type { SrFacts, Uuid, VmFacts } from '../domain/pool.ts';
import { type ObjectRef, type PointVm, pointVmsOf, type RecoveryPoint } from '../domain/recovery-point.ts';
import { judgeScope, matchableVms } from '../domain/scope.ts';
import type { GroupSettings } from '../domain/settings.ts';
import type { Instant } from '../domain/time.ts';
import type { Catalog } from '../ports/catalog.ts';
import type { ForeignBackup } from '../ports/foreign.ts';
import type { Context } from './app.ts';
import { groupNamed } from './groups.ts';
import { pointIdOf } from './planning/common.ts';
import type { AppPorts } from './ports.ts';

export interface ForeignRequest {
  readonly group: string;
  readonly paths: readonly string[];
  /** When the backup was made; null takes what the names or times of its files say. */
  readonly at: Instant | null;
  /** Only reads and tells; nothing is kept. */
  readonly dryRun: boolean;
}

/** Throws as `ForeignBackups.read`, and DR-FOREIGN-NO-VM, DR-FOREIGN-TIME, DR-CATALOG-NO-TARGET. */
export async function importForeign(
  ports: AppPorts,
  request: ForeignRequest,
  { signal, onProgress }: Context = {},
): Promise<ForeignImport> {
  const configured = groupNamed(ports.settings, request.group);
  const group = oriented(configured, await (await ports.states()).get(configured.name));
  onProgress?.(`Reading the backup under ${request.paths.join(', ')}`);
  const backup = await ports.foreign.read(request.paths, signal);
  const takenAt = timeOf(ports, request, backup);
  const vms = membersOf(group, backup);
  const made = pointOf(ports, {
    group,
    backup,
    takenAt,
    vms,
    ...(request.at === null ? {} : { timeFrom: 'person' }),
  });
  const told = {
    pointId: made.id,
    group: group.name,
    takenAt,
    origin: originOf(made),
    taken: vms.map((vm) => vm.nameLabel),
    left: othersOf(backup, vms),
    failures: backup.failures,
    remarks: backup.remarks,
    open: [...doubtsOfTime(made), ...openQuestions(group, made)],
  };
  if (request.dryRun) return { ...told, targets: null };
  onProgress?.(`Keeping ${vms.length} VMs as recovery point ${made.id}`);
  const catalog = await ports.catalog();
  return { ...told, targets: await keep(catalog, backup, made, signal) };
}

function timeOf(ports: AppPorts, { at }: ForeignRequest, backup: ForeignBackup): Instant {
  const takenAt = at ?? backup.made.at;
  if (takenAt <= ports.clock.now()) return takenAt;
  throw new OperatorError(
    {
      code: 'DR-FOREIGN-TIME',
      what: `The backup would be of ${takenAt}, which is still to come`,
      known: [
        at === null
          ? `the ${backup.made.by === 'name' ? 'name of its directory' : 'time of its newest file'} says so`
          : '--at says so',
      ],
      next: 'Say when it was made: --at 2026-01-31T02:30:00Z',
    },
    { exitCode: exitCodes.usage },
  );
}

export function membersOf(group: GroupSettings, { pool, documents, files }: ForeignBackup): VmFacts[] {
  const wanted = new Set(
    judgeScope(matchableVms(pool), pool.srs, group.scope).flatMap(({ vm, included }) =>
      included ? [vm.uuid] : [],
    ),
  );
  const vms = pool.vms
    .filter((vm) => wanted.has(vm.uuid) && documents.has(vm.uuid))
    .sort((a, b) => (a.nameLabel < b.nameLabel ? -1 : 1));
  if (vms.length > 0) return vms;
  throw new OperatorError({
    code: 'DR-FOREIGN-NO-VM',
    what: `The backup holds no VM of group ${group.name}`,
    known: [
      `${files.length} files hold ${documents.size} VMs`,
      ...pool.vms.slice(0, 10).map((vm) => `VM ${vm.nameLabel}`),
    ],
    next: `Compare the names with the rules of group ${group.name} in sites.yaml, or name another backup.`,
  });
}

function othersOf({ pool }: ForeignBackup, vms: readonly VmFacts[]): string[] {
  const taken = new Set(vms.map((vm) => vm.uuid));
  return matchableVms(pool).flatMap((vm) => (taken.has(vm.uuid) ? [] : [vm.nameLabel]));
}

/** What a point is made of: a backup, the members that it is to hold, and what is known beside. */
export interface PointWanted {
  readonly group: GroupSettings;
  readonly backup: ForeignBackup;
  readonly takenAt: Instant;
  readonly vms: readonly VmFacts[];
  readonly timeFrom?: 'person';
  /** A new one when absent. */
  readonly id?: string;
  readonly storage?: NonNullable<RecoveryPoint['foreign']>['storage'];
}

/** Makes the point and keeps it in the catalog. Throws DR-CATALOG-NO-TARGET. */
export async function keepBackup(
  ports: AppPorts,
  wanted: PointWanted,
  signal?: AbortSignal,
): Promise<{ readonly point: Made; readonly targets: readonly TargetOutcome[] }> {
  const point = pointOf(ports, wanted);
  return { point, targets: await keep(await ports.catalog(), wanted.backup, point, signal) };
}

type Made = Omit<RecoveryPoint, 'vms' | 'database'> & { readonly vms: readonly Omit<PointVm, 'document'>[] };

function pointOf(ports: AppPorts, wanted: PointWanted): Made {
  const { group, backup, takenAt, vms, timeFrom, id, storage } = wanted;
  const { pool } = backup;
  const site = ports.settings.sites.find(({ name }) => name === group.production);
  const srs = srsOf(group, backup, vms);
  const kept = new Set(srs.map((sr) => sr.uuid));
  const members = new Set(vms.map((vm) => vm.uuid));
  const hasDatabase = backup.database !== null;
  return {
    id: id ?? pointIdOf(ports, group.name, takenAt),
    group: group.name,
    takenAt,
    site: group.production,
    poolUuid: pool.uuid || (site?.pool.poolUuid ?? ''),
    poolName: pool.nameLabel || `of site ${group.production}`,
    productBrand: pool.productBrand,
    productVersion: pool.productVersion,
    xapiBuild: pool.xapiBuild,
    configDigest: ports.settings.digest,
    vms: pointVmsOf(vms, pool),
    failures: backup.failures.map(({ file, reason }) => ({
      uuid: uuidIn(file),
      nameLabel: basename(file),
      reason,
    })),
    srs: srs.map((sr) => ({ ...sr, secretDeviceConfig: backup.secretDeviceConfig.get(sr.uuid) ?? {} })),
    vdis: pool.vdis.filter((vdi) => kept.has(vdi.srUuid)),
    networks: pool.networks,
    // Of a host an archive knows little more than the uuid.
    hosts: hasDatabase ? pool.hosts : [],
    appliances: pool.appliances.filter((appliance) => appliance.vmUuids.some((vm) => members.has(vm))),
    poolOtherConfig: pool.otherConfig,
    ...(hasDatabase ? { haEnabled: pool.haEnabled } : {}),
    replication: group.storage.flatMap(({ sr: named, source, target }) => {
      const sr = srs.find((candidate) => candidate.uuid === named || candidate.nameLabel === named);
      const gap = 'the backup was made by other tools, which do not look at replicas';
      return sr === undefined ? [] : [{ srUuid: sr.uuid, source, target, newestPoint: null, gap }];
    }),
    foreign: {
      kind: backup.kind,
      files: backup.files.map((file) => basename(file)),
      importedAt: ports.clock.now(),
      timeFrom: timeFrom ?? backup.made.by,
      unsaid: hasDatabase ? [fromArrays] : notInArchives,
      ...(storage === undefined ? {} : { storage }),
    },
  };
}

function originOf({ foreign }: Made): ForeignImport['origin'] {
  if (foreign === undefined) throw new Error('a point that is made here says of what');
  return foreign;
}

/** SRs with a disk of a member, and those of the settings, as an export keeps them. */
function srsOf(group: GroupSettings, { pool }: ForeignBackup, vms: readonly VmFacts[]): SrFacts[] {
  const used = new Set<Uuid>(pointVmsOf(vms, pool).flatMap((vm) => vm.srUuids));
  const named = new Set(group.storage.map(({ sr }) => sr));
  return pool.srs.filter((sr) => used.has(sr.uuid) || named.has(sr.uuid) || named.has(sr.nameLabel));
}

const fromArrays =
  'The state of the replicas at that moment: the arrays say what they hold now, and the age of that is the loss';
const notInArchives: readonly string[] = [
  'How the SRs were attached (device_config, passwords): the arrays say where the replicas are; options and CHAP or SMB passwords are missing',
  'Networks by name and bridge alone, without VLANs: the networks of the group in sites.yaml say what takes their place',
  'vApps, the HA settings of the pool, and the CPUs of its hosts: start order and tiers come from the VMs and the recovery plan',
  fromArrays,
];

/** A copied file may say yesterday of what was saved last year, and the newest metadata is what a failover takes. */
function doubtsOfTime({ takenAt, foreign }: Made): string[] {
  return foreign?.timeFrom === 'file'
    ? [
        `That the backup is of ${takenAt} is said by the time of its newest file alone; if that was copied, import it again with --at`,
      ]
    : [];
}

/** What is known now to be in the way; the checks of a failover look at all the rest. */
function openQuestions(group: GroupSettings, point: Made): string[] {
  const names = [...new Set(point.vms.flatMap((vm) => vm.networkNames))].sort();
  const unmapped = names.filter((name) => !group.networks.some(({ production }) => production === name));
  const known = (sr: string): boolean =>
    point.srs.some((candidate) => candidate.uuid === sr || candidate.nameLabel === sr);
  const replicated = new Set(point.replication.map(({ srUuid }) => srUuid));
  return [
    ...group.storage
      .filter(({ sr }) => !known(sr))
      .map(({ sr }) => `SR ${sr} of the settings is not in the backup: it would not be attached`),
    ...point.srs
      .filter((sr) => !replicated.has(sr.uuid) && sr.contentType !== 'iso')
      .map(
        (sr) => `SR ${sr.nameLabel} holds disks and is not replicated by the settings of group ${group.name}`,
      ),
    ...unmapped.map(
      (name) => `Network ${name} is not mapped in sites.yaml: the recovery pool must have one of that name`,
    ),
  ];
}

/** Every object first, the manifest last; a target that fails is told, and costs nothing in the others. */
async function keep(
  catalog: Catalog,
  backup: ForeignBackup,
  made: Made,
  signal: AbortSignal | undefined,
): Promise<readonly TargetOutcome[]> {
  const vms = await keepDocuments(catalog, backup, made, signal);
  const database: ObjectRef | null =
    backup.database === null ? null : await catalog.put(backup.database, signal);
  const targets = await catalog.seal({ ...made, vms, database }, signal);
  if (targets.some((target) => target.ok)) return targets;
  const problems = targets.flatMap((target) => target.problem ?? []);
  throw new OperatorError(
    problems.length > 0
      ? problems
      : {
          code: 'DR-CATALOG-NO-TARGET',
          what: 'The recovery point could not be sealed in any target of the catalog',
          next: 'Check the targets with `lifeboat catalog verify`',
        },
  );
}

/** Together where the catalog takes them so: each by itself would wait for the disks of every target. */
async function keepDocuments(
  catalog: Catalog,
  backup: ForeignBackup,
  made: Made,
  signal: AbortSignal | undefined,
): Promise<PointVm[]> {
  const batch = await catalog.batch?.(signal);
  try {
    const vms: PointVm[] = [];
    for (const vm of made.vms) {
      const bytes = backup.documents.get(vm.uuid);
      if (bytes === undefined) throw new Error(`no document of VM ${vm.uuid}`);
      const document = batch === undefined ? await catalog.put(bytes, signal) : await batch.put(bytes);
      vms.push({ ...vm, document });
    }
    await batch?.commit();
    return vms;
  } catch (error) {
    await batch?.abort();
    throw error;
  }
}

/** `.vmmeta` files are called by the uuid of their VM (xapi.md 5.5). */
function uuidIn(file: string): Uuid {
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=\.vmmeta$)/.exec(basename(file))?.[0] ?? '';
}
