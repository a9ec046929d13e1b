/** VM records: the version gate, MAC seeds, twins, templates and control domains (xapi.md 3.8, 4.2, 4.5, 4.11, 4.12, 4.15, 8.2). */
import type { VmFacts } from '../../domain/pool.ts';
import { isQuarantined } from '../../domain/quarantine.ts';
import type { VmObject } from '../objects.ts';
import { danglingError, problem, type RuleContext, refusal, type VmDecision, warning } from './context.ts';

/** A document of a newer xapi is refused; product versions play no part. */
export function versionGate(context: RuleContext): void {
  const { document, pool } = context;
  const theirs = document.build;
  const ours = pool.facts.xapiBuild;
  // Before build 21.1 the major number had to be equal, in both directions.
  const equalMajor = ours.major < 21 || (ours.major === 21 && ours.minor < 1);
  const newer = theirs.major > ours.major || (theirs.major === ours.major && theirs.minor > ours.minor);
  if (!newer && !(equalMajor && theirs.major !== ours.major)) return;
  problem(
    context,
    {
      code: 'DR-IMPORT-VERSION',
      about: 'pool',
      name: pool.facts.nameLabel,
      uuid: pool.facts.uuid,
      what: `Pool ${pool.facts.nameLabel} (xapi ${ours.text}) refuses documents of xapi ${theirs.text}`,
      evidence: ['the build of the document must not be newer than that of the pool'],
      next: `Update pool ${pool.facts.nameLabel} to at least the version of the production pool.`,
      refusal: {
        error: { code: 'IMPORT_INCOMPATIBLE_VERSION', params: [] },
        stage: 'version',
        position: 0,
        seenBy: 'both',
      },
    },
    document.vms,
  );
}

/** A restore is refused when another VM has the same MAC seed; force does not help. */
export function macSeeds(context: RuleContext): void {
  const { document, pool, options } = context;
  if (!options.restore) return;
  for (const vm of document.vms) {
    const seed = vm.macSeed;
    if (seed === null) continue;
    for (const existing of pool.bySeed.get(seed) ?? []) {
      if (sameMachine(vm, existing)) continue;
      const kind = existing.isSnapshot ? 'snapshot' : existing.isTemplate ? 'template' : 'VM';
      problem(
        context,
        {
          code: 'DR-IMPORT-MAC-SEED',
          about: 'vm',
          name: existing.nameLabel,
          uuid: existing.uuid,
          what: `The ${kind} ${existing.nameLabel} in pool ${pool.facts.nameLabel} has the MAC seed of ${vm.nameLabel}, so the restore is refused`,
          evidence: [`MAC seed ${seed}`, `${kind} ${existing.uuid}`],
          next: existing.isSnapshot
            ? `Take the seed off the snapshot, whose disks stay: xe snapshot-param-remove uuid=${existing.uuid} param-name=other-config param-key=mac_seed`
            : `Destroy ${kind} ${existing.nameLabel} if it is a left copy of a drill or of an earlier import, or remove mac_seed from its other_config.`,
          refusal: {
            error: { code: 'DUPLICATE_MAC_SEED', params: [seed] },
            stage: 'mac-seed',
            position: document.objects.indexOf(vm.object),
            seenBy: 'both',
          },
        },
        [vm],
      );
    }
  }
}

function sameMachine(vm: VmObject, existing: VmFacts): boolean {
  const theirs = vm.isASnapshot ? (vm.snapshotOf?.uuid ?? null) : vm.uuid;
  const ours = existing.isSnapshot ? existing.snapshotOf : existing.uuid;
  return theirs !== null && theirs === ours;
}

/** Skip, replace, create or match, for each record; and what stands in the way. */
export function decideVms(context: RuleContext): void {
  for (const vm of context.document.vms) context.decisions.set(vm, decide(context, vm));
}

function decide(context: RuleContext, vm: VmObject): VmDecision {
  const { pool, options } = context;
  const force = options.force === true;
  if (vm.isDefaultTemplate) {
    const here =
      pool.facts.defaultTemplateNames.includes(vm.nameLabel) ||
      pool.facts.vms.some((existing) => existing.nameLabel === vm.nameLabel);
    if (here) {
      warning(
        context,
        {
          code: 'DR-IMPORT-DEFAULT-TEMPLATE',
          about: 'vm',
          name: vm.nameLabel,
          uuid: vm.uuid,
          what: `VM ${vm.nameLabel} is a default template: the import takes whatever has this name here and brings nothing of the document`,
          evidence: ['matched by name label, template or not'],
          next: 'Leave default templates out of the group.',
        },
        [vm],
      );
      return { kind: 'match' };
    }
  }
  const existing = pool.vms.get(vm.uuid);
  if (existing === undefined) return { kind: 'create' };
  if (!options.restore) {
    warning(
      context,
      {
        code: 'DR-IMPORT-SECOND-COPY',
        about: 'vm',
        name: vm.nameLabel,
        uuid: vm.uuid,
        what: `VM ${vm.nameLabel} is in pool ${pool.facts.nameLabel} already: the import makes a second VM on the same disks`,
        evidence: [`${existing.nameLabel} is ${existing.powerState}`],
        next: 'Never start both; destroy the copy that is not wanted.',
      },
      [vm],
    );
    return { kind: 'create' };
  }
  if (existing.powerState !== 'Halted') {
    const error = { code: 'VM_BAD_POWER_STATE', params: [existing.uuid, 'Halted', existing.powerState] };
    problem(
      context,
      {
        code: 'DR-IMPORT-VM-NOT-HALTED',
        about: 'vm',
        name: existing.nameLabel,
        uuid: existing.uuid,
        what: `VM ${existing.nameLabel} is in pool ${pool.facts.nameLabel} already and is ${existing.powerState}: ${force ? 'the import leaves it as it is' : 'the import is refused'}`,
        evidence: [`VM ${existing.uuid}`],
        next: `If ${existing.nameLabel} is the copy of an earlier failover, there is nothing to import; otherwise shut it down first.`,
        ...(force ? {} : { refusal: refusal(context, vm.object, error) }),
      },
      [vm],
    );
    return force ? { kind: 'skip', existing } : { kind: 'refuse', existing };
  }
  if (existing.version >= vm.version && !force) {
    problem(
      context,
      {
        code: 'DR-IMPORT-NOT-NEWER',
        about: 'vm',
        name: existing.nameLabel,
        uuid: existing.uuid,
        what: `VM ${existing.nameLabel} was restored in pool ${pool.facts.nameLabel} before: its version ${existing.version} is not older than version ${vm.version} of the document`,
        evidence: ['a restore counts the version up and replaces older copies only'],
        next: `Destroy the copy of ${existing.nameLabel} in pool ${pool.facts.nameLabel} (its disks stay), then import.`,
        refusal: refusal(context, vm.object, {
          code: 'VM_TO_IMPORT_IS_NOT_NEWER_VERSION',
          params: [existing.uuid, String(existing.version), String(vm.version)],
        }),
      },
      [vm],
    );
    return { kind: 'refuse', existing };
  }
  replaceRules(context, vm, existing);
  return { kind: 'replace', existing };
}

/** Replace destroys the old VM piece by piece, and a failure half way leaves it without interfaces. */
function replaceRules(context: RuleContext, vm: VmObject, existing: VmFacts): void {
  const blocked = existing.blockedOperations['destroy'];
  const attached = existing.vbds.find((vbd) => vbd.attached);
  const about = { about: 'vm' as const, name: existing.nameLabel, uuid: existing.uuid };
  // A copy that was put away is there to be replaced.
  if (!isQuarantined(existing))
    warning(
      context,
      {
        ...about,
        code: 'DR-IMPORT-REPLACES',
        what: `The import destroys the older copy of ${existing.nameLabel} in pool ${context.pool.facts.nameLabel} and does not bring it back if a later step fails`,
        evidence: [`version ${existing.version} here, ${vm.version} in the document`],
        next: 'Make sure that nobody needs the older copy.',
      },
      [vm],
    );
  if (attached !== undefined)
    problem(
      context,
      {
        ...about,
        code: 'DR-IMPORT-REPLACE-ATTACHED',
        what: `The older copy of ${existing.nameLabel} has drives that count as attached: replacing it fails half way and costs it its interfaces`,
        evidence: [`drive ${attached.userdevice} (${attached.uuid})`],
        next: `Run VM.power_state_reset on ${existing.nameLabel} first, or destroy it.`,
        refusal: refusal(
          context,
          vm.object,
          {
            code: 'OPERATION_NOT_ALLOWED',
            params: [`VBD '${attached.uuid}' still attached to '${existing.uuid}'`],
          },
          'import',
        ),
      },
      [vm],
    );
  if (blocked !== undefined)
    problem(
      context,
      {
        ...about,
        code: 'DR-IMPORT-REPLACE-BLOCKED',
        what: `The older copy of ${existing.nameLabel} blocks destroy, so it cannot be replaced`,
        evidence: ['blocked_operations holds destroy'],
        next: `Remove destroy from blocked_operations of ${existing.nameLabel}.`,
        refusal: refusal(
          context,
          vm.object,
          { code: 'OPERATION_BLOCKED', params: [existing.uuid, blocked] },
          'import',
        ),
      },
      [vm],
    );
}

/** Records that are no ordinary VMs, and the links between snapshots. */
export function unusualVms(context: RuleContext): void {
  const { document, options } = context;
  const snapshots = document.vms.filter((vm) => vm.isASnapshot);
  for (const vm of document.vms) {
    if (vm.isControlDomain)
      problem(
        context,
        {
          code: 'DR-IMPORT-CONTROL-DOMAIN',
          about: 'vm',
          name: vm.nameLabel,
          uuid: vm.uuid,
          what: `The document holds the control domain ${vm.nameLabel}: the import would make a bogus VM of it`,
          evidence: ['is_control_domain is set'],
          next: 'Leave the control domain out of the document.',
        },
        [vm],
      );
    if (vm.powerState === 'Suspended') suspended(context, vm);
    if (vm.domainType.startsWith('pv') && vm.domainType !== 'pvh')
      warning(
        context,
        {
          code: 'DR-IMPORT-PV-GUEST',
          about: 'vm',
          name: vm.nameLabel,
          uuid: vm.uuid,
          what: `VM ${vm.nameLabel} is a paravirtualised guest (${vm.domainType}), which current hosts may not start`,
          evidence: ['paravirtualised guests are unsupported since release 8.1'],
          next: `Convert ${vm.nameLabel} to HVM, or try its start in a drill.`,
        },
        [vm],
      );
  }
  if (snapshots.length === 0) return;
  const owners = [...new Set(snapshots.map((snapshot) => snapshot.snapshotOf ?? snapshot))];
  warning(
    context,
    {
      code: 'DR-IMPORT-SNAPSHOTS',
      about: 'vm',
      name: owners.map((vm) => vm.nameLabel).join(', '),
      what: `The document holds ${snapshots.length} snapshot${snapshots.length === 1 ? '' : 's'}, each of which must be found and can fail the import; reverting to one afterwards is unsafe`,
      evidence: snapshots.map((snapshot) => `snapshot ${snapshot.nameLabel}`),
      next: 'Import without snapshots, or forbid revert until the disks know what they are snapshots of.',
    },
    owners,
  );
  for (const snapshot of snapshots) {
    const id = snapshot.text('snapshot_of');
    const of = snapshot.snapshotOf;
    const gone =
      of === null ? id !== '' && id !== 'OpaqueRef:NULL' : context.decisions.get(of)?.kind === 'skip';
    if (!gone) continue;
    problem(
      context,
      {
        code: 'DR-IMPORT-SNAPSHOT-ORPHAN',
        about: 'vm',
        name: snapshot.nameLabel,
        uuid: snapshot.uuid,
        what: `Snapshot ${snapshot.nameLabel} belongs to a VM that ${of === null ? 'is not in the document' : 'the import skips'}, so the import fails at its end`,
        evidence: [`snapshot_of ${id}`, ...(options.force === true ? ['force undoes nothing'] : [])],
        next: 'Leave the snapshot out of the document.',
        refusal: {
          error: danglingError(id),
          stage: 'snapshot-links',
          position: document.objects.indexOf(snapshot.object),
          seenBy: 'import',
        },
      },
      [snapshot],
    );
  }
}

function suspended(context: RuleContext, vm: VmObject): void {
  const about = { about: 'vm' as const, name: vm.nameLabel, uuid: vm.uuid };
  const match = vm.suspendVdi === null ? undefined : context.disks.get(vm.suspendVdi.object);
  if (match === undefined || match.kind === 'missing') {
    const force = context.options.force === true;
    problem(
      context,
      {
        ...about,
        code: 'DR-IMPORT-SUSPEND-DISK',
        what: `VM ${vm.nameLabel} is suspended and its memory image is not there: ${force ? 'it comes up halted' : 'the import is refused'}`,
        evidence: [`suspend_VDI ${vm.suspendVdi?.uuid ?? 'is not in the document'}`],
        next: `Import ${vm.nameLabel} as halted (its memory is lost, as after a power failure), or replicate the SR of its suspend image.`,
        ...(force
          ? {}
          : { refusal: refusal(context, vm.object, danglingError(vm.text('suspend_VDI')), 'import') }),
      },
      [vm],
    );
  } else
    warning(
      context,
      {
        ...about,
        code: 'DR-IMPORT-SUSPENDED',
        what: `VM ${vm.nameLabel} is suspended: its memory image fits only disks of the very moment of its suspension`,
        evidence: [`power_state ${vm.powerState}`],
        next: `Import ${vm.nameLabel} as halted unless it was suspended before the replica was taken.`,
      },
      [vm],
    );
}
