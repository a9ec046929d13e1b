/** Disks: found by map, SCSIid or SR and location; ISOs by file name. An import never makes a disk (xapi.md 4.4, 4.7). */
import type { VdiFacts } from '../../domain/pool.ts';
import type { SrObject, VdiObject, VmObject } from '../objects.ts';
import {
  type DiskMatch,
  danglingError,
  problem,
  type RuleContext,
  refusal,
  usersOf,
  warning,
} from './context.ts';

export function findDisks(context: RuleContext): void {
  for (const vdi of context.document.vdis) context.disks.set(vdi.object, find(context, vdi));
}

const missing: DiskMatch = { kind: 'missing' };
/** xapi 1.9 is that of XenServer 7.0 (xapi.md, sources). */
const firstBuildWithMap = 9;

function find(context: RuleContext, vdi: VdiObject): DiskMatch {
  const { sr } = vdi;
  if (sr === null) {
    const id = vdi.text('SR');
    problem(
      context,
      {
        code: 'DR-IMPORT-DANGLING',
        about: 'vdi',
        name: nameOf(vdi),
        uuid: vdi.uuid,
        what: `The document names no SR for disk ${nameOf(vdi)}`,
        evidence: [`SR ${id}`],
        next: 'Export the VM again.',
        refusal: refusal(context, vdi.object, danglingError(id)),
      },
      usersOrAll(context, vdi),
    );
    return missing;
  }
  return sr.isIso ? findIso(context, vdi, sr) : findDisk(context, vdi, sr);
}

function findIso(context: RuleContext, vdi: VdiObject, sr: SrObject): DiskMatch {
  const here = context.pool.isos.get(vdi.location) ?? [];
  const [first] = here;
  const users = usersOf(context, vdi);
  const about = { about: 'vdi' as const, name: vdi.location };
  if (first === undefined) {
    warning(
      context,
      {
        ...about,
        code: 'DR-IMPORT-ISO-ABSENT',
        what: `ISO ${vdi.location} is in no ISO library of pool ${context.pool.facts.nameLabel}: the drive will be empty`,
        evidence: [`it was in ${sr.nameLabel}`],
        next: 'Nothing, unless the VM boots from it; then copy the ISO to the recovery site.',
      },
      users,
    );
    return missing;
  }
  if (here.length > 1)
    warning(
      context,
      {
        ...about,
        code: 'DR-IMPORT-ISO-AMBIGUOUS',
        what: `ISO ${vdi.location} is in ${here.length} ISO libraries of pool ${context.pool.facts.nameLabel}: the import inserts any of them`,
        evidence: here.map((iso) => `in ${context.pool.srs.get(iso.srUuid)?.nameLabel ?? iso.srUuid}`),
        next: 'Eject the ISO before the import, or keep one file of that name.',
      },
      users,
    );
  else if (first.srUuid !== sr.uuid)
    warning(
      context,
      {
        ...about,
        code: 'DR-IMPORT-ISO-ELSEWHERE',
        what: `ISO ${vdi.location} is matched by its file name to another ISO library, ${context.pool.srs.get(first.srUuid)?.nameLabel ?? first.srUuid}`,
        evidence: [`it was in ${sr.nameLabel}`, 'the content is not compared'],
        next: 'Eject the ISO before the import unless both files are known to be equal.',
      },
      users,
    );
  return { kind: 'found', vdi: first };
}

function findDisk(context: RuleContext, vdi: VdiObject, sr: SrObject): DiskMatch {
  const { pool, options } = context;
  // Before 7.0 the location was all that counted (xapi.md 4.4).
  const byMap = pool.facts.xapiBuild.major > 1 || pool.facts.xapiBuild.minor >= firstBuildWithMap;
  const scsiId = byMap ? vdi.scsiId : null;
  const map = byMap ? options.vdiMap : undefined;
  const target = map?.get(vdi.uuid) ?? (scsiId === null ? undefined : map?.get(scsiId));
  if (target !== undefined) {
    const mapped = pool.vdis.get(target) ?? pool.byScsiId.get(target);
    if (mapped !== undefined) return found(context, vdi, mapped);
    problem(
      context,
      {
        code: 'DR-IMPORT-MAP-IGNORED',
        about: 'vdi',
        name: nameOf(vdi),
        uuid: vdi.uuid,
        what: `Disk ${nameOf(vdi)} is mapped to ${target}, which is not there: the entry is silently ignored and the original disk may be attached`,
        evidence: [`VDI ${vdi.uuid}`],
        next: 'Correct the map, or scan the SR of the copy.',
      },
      usersOf(context, vdi),
    );
  } else if (scsiId !== null) {
    const sameLun = pool.byScsiId.get(scsiId);
    if (sameLun !== undefined) return found(context, vdi, sameLun);
  }
  const expected = options.attaching?.get(sr.uuid);
  const here = pool.diskAt(sr.uuid, vdi.location);
  if (here !== null) return found(context, vdi, here);
  if (expected === null || expected?.has(vdi.location) === true) return { kind: 'expected' };
  if (vdi.otherConfig['maps_to'] !== undefined) {
    problem(
      context,
      {
        code: 'DR-IMPORT-STALE-MAP',
        about: 'vdi',
        name: nameOf(vdi),
        uuid: vdi.uuid,
        what: `Disk ${nameOf(vdi)} carries the mark of a storage migration, which the import takes for a disk without looking`,
        evidence: ['other_config holds maps_to'],
        next: 'Remove maps_to from other_config of the disk at the production pool and export again.',
      },
      usersOf(context, vdi),
    );
    return { kind: 'expected' };
  }
  notFound(context, vdi, sr);
  return missing;
}

function notFound(context: RuleContext, vdi: VdiObject, sr: SrObject): void {
  const { pool, options } = context;
  const known = pool.srs.get(sr.uuid);
  const force = options.force === true;
  const attaching = options.attaching?.has(sr.uuid) === true;
  const plugged = known?.pbds.filter((pbd) => pbd.attached).length ?? 0;
  const users = usersOrAll(context, vdi);
  const outcome = force
    ? 'the import leaves it out, and the VM comes up without it'
    : 'the import is refused';
  if (known === undefined && !attaching) {
    problem(
      context,
      {
        code: 'DR-IMPORT-SR-UNKNOWN',
        about: 'sr',
        name: sr.nameLabel,
        uuid: sr.uuid,
        what: `SR ${sr.nameLabel} (${sr.type}) is not attached to pool ${pool.facts.nameLabel}: disks on it are not found, and ${outcome}`,
        evidence: [`SR ${sr.uuid}`],
        next: `Attach the replica of ${sr.nameLabel} before the import.`,
        ...(force
          ? {}
          : { refusal: refusal(context, vdi.object, { code: 'VDI_CONTENT_ID_MISSING', params: [] }) }),
      },
      users,
    );
    return;
  }
  problem(
    context,
    {
      code: 'DR-IMPORT-DISK-MISSING',
      about: 'vdi',
      name: nameOf(vdi),
      uuid: vdi.uuid,
      what: `Disk ${nameOf(vdi)} is not in SR ${sr.nameLabel}: ${outcome}`,
      evidence: [
        `location ${vdi.location}`,
        attaching
          ? 'not among the disks that the replica brings'
          : plugged > 0
            ? `the SR is plugged on ${plugged} host${plugged === 1 ? '' : 's'}`
            : 'the SR is plugged on no host, so its disks are not known',
      ],
      next:
        plugged > 0 || attaching
          ? `Find out whether the disk was made after the replica's point; scan ${sr.nameLabel} if the disk is there.`
          : `Plug ${sr.nameLabel} and scan it.`,
      ...(force
        ? {}
        : {
            refusal: refusal(context, vdi.object, {
              code: 'VDI_LOCATION_MISSING',
              params: [sr.uuid, vdi.location],
            }),
          }),
    },
    users,
  );
}

/** A disk that is there may still be of no use: on an SR that is not plugged, or in the hands of another VM. */
function found(context: RuleContext, vdi: VdiObject, here: VdiFacts): DiskMatch {
  const { pool, options } = context;
  const sr = pool.srs.get(here.srUuid);
  if (sr !== undefined && !sr.pbds.some((pbd) => pbd.attached) && options.attaching?.has(sr.uuid) !== true)
    problem(
      context,
      {
        code: 'DR-IMPORT-SR-UNPLUGGED',
        about: 'sr',
        name: sr.nameLabel,
        uuid: sr.uuid,
        what: `SR ${sr.nameLabel} is known to pool ${pool.facts.nameLabel} but plugged on no host: VMs on it are imported and cannot start`,
        evidence: [`SR ${sr.uuid}`],
        next: `Plug ${sr.nameLabel} on every host.`,
      },
      usersOf(context, vdi),
    );
  if (here.missing)
    problem(
      context,
      {
        code: 'DR-IMPORT-DISK-GONE',
        about: 'vdi',
        name: nameOf(vdi),
        uuid: vdi.uuid,
        what: `Disk ${nameOf(vdi)} is recorded in pool ${pool.facts.nameLabel} but marked missing: the VM is imported and cannot start`,
        evidence: [`location ${vdi.location}`],
        next: `Scan ${sr?.nameLabel ?? 'its SR'} and look for the disk on the array.`,
      },
      usersOf(context, vdi),
    );
  const users = usersOf(context, vdi);
  for (const { vm, vbd } of pool.diskUsers.get(here.uuid) ?? []) {
    if (users.some((user) => user.uuid === vm.uuid) || vdi.flag('sharable')) continue;
    const add = vbd.attached && vm.powerState !== 'Halted' ? problem : warning;
    add(
      context,
      {
        code: 'DR-IMPORT-DISK-IN-USE',
        about: 'vdi',
        name: nameOf(vdi),
        uuid: vdi.uuid,
        what: `Disk ${nameOf(vdi)} belongs to ${vm.nameLabel} in pool ${pool.facts.nameLabel} as well, which is ${vm.powerState}`,
        evidence: [`VM ${vm.uuid}`, `drive ${vbd.userdevice}`],
        next: `Shut ${vm.nameLabel} down and destroy it if it is the copy of a drill; never start both.`,
      },
      users,
    );
  }
  return { kind: 'found', vdi: here };
}

/** A disk that no VM uses, such as a parent of another, fails the import for all. */
function usersOrAll(context: RuleContext, vdi: VdiObject): readonly VmObject[] {
  const users = usersOf(context, vdi);
  return users.length === 0 ? context.document.vms : users;
}

export function nameOf(vdi: VdiObject): string {
  return vdi.nameLabel || vdi.uuid;
}
