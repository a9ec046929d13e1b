/**
 * Checks before a reprotection: nothing serves at two sites, and nobody's work is thrown away unsaid. The way the group
 * stands at the serving site is looked at too, for it is what protects from here on.
 */
import { type Finding, sortFindings } from '../domain/finding.ts';
import { capabilitiesOf } from '../domain/observation.ts';
import type { VmFacts } from '../domain/pool.ts';
import type { Divergence } from '../domain/replication.ts';
import type { ReplicatedSr } from '../domain/settings.ts';
import { type CheckContext, counted, labels, problem, storageOf, warning } from './context.ts';
import { noDrillIsOpen } from './drill.ts';
import { groupMayMove } from './rules/group-state.ts';

export interface ReprotectCheck {
  readonly context: CheckContext;
  /** uuids of the copies at the old site. */
  readonly stale: ReadonlySet<string>;
  /** uuids of the VMs that serve. */
  readonly serving: ReadonlySet<string>;
  readonly divergence: ReadonlyMap<string, Divergence | null>;
  readonly quarantineOnly: boolean;
}

/** That the group was failed over is why it is reprotected, not a reason against it. */
const whyWeAreHere = new Set(['DR-GROUP-FAILED-OVER']);

export function checkReprotect(check: ReprotectCheck): Finding[] {
  const { context, quarantineOnly } = check;
  const state = groupMayMove(context).filter(({ code }) => !whyWeAreHere.has(code));
  if (quarantineOnly) return sortFindings([...state, ...copiesAreHalted(check)]);
  return sortFindings([
    ...state,
    ...copiesAreHalted(check),
    // Once the sites have changed places nobody looks for it where it is, and its clone may hold the volume.
    ...noDrillIsOpen(context),
    ...storageIsNotUsed(check),
    ...nothingIsLostUnsaid(check),
    ...vmsServe(check),
  ]);
}

function copiesAreHalted({ context, stale }: ReprotectCheck): Finding[] {
  const { group, production, recovery, decisions } = context;
  const running = (production?.vms ?? []).filter((vm) => stale.has(vm.uuid) && vm.powerState !== 'Halted');
  if (running.length === 0) return [];
  const here = new Set(recovery?.vms.filter((vm) => vm.powerState !== 'Halted').map((vm) => vm.uuid));
  const twice = running.filter((vm) => here.has(vm.uuid));
  const say = decisions.has('stop-old') ? warning : problem;
  return [
    say({
      code: 'DR-VMS-AT-BOTH-SITES',
      about: 'group',
      name: group.name,
      what: `${counted(running.length, 'VM')} of group ${group.name} ${running.length === 1 ? 'runs' : 'run'} at site ${group.production}, ${twice.length === 0 ? 'and not' : twice.length === running.length ? 'and also' : `and ${twice.length} of them also`} at site ${group.recovery}`,
      vms: labels(running),
      next: decisions.has('stop-old')
        ? `Nothing: they are stopped at site ${group.production} and cannot be started there again.`
        : `Find out whether anybody works with them. To stop them: --stop-old "REASON".`,
    }),
  ];
}

/** VMs outside the group that run on the storage which is about to be overwritten. */
function storageIsNotUsed({ context, stale }: ReprotectCheck): Finding[] {
  const { group, production } = context;
  if (production === null) return [];
  const srOf = new Map(production.vdis.map((vdi) => [vdi.uuid, vdi.srUuid]));
  const onSr = (vm: VmFacts, sr: string): boolean =>
    vm.vbds.some((vbd) => vbd.vdiUuid !== null && srOf.get(vbd.vdiUuid) === sr);
  return production.srs
    .filter((sr) => storageOf(group, sr) !== undefined)
    .flatMap((sr) => {
      const others = production.vms.filter(
        (vm) => !stale.has(vm.uuid) && !vm.isSnapshot && !vm.isTemplate && onSr(vm, sr.uuid),
      );
      const running = others.filter((vm) => vm.powerState !== 'Halted');
      if (others.length === 0) return [];
      const say = running.length > 0 ? problem : warning;
      const named = running.length > 0 ? running : others;
      return [
        say({
          code: running.length > 0 ? 'DR-SR-STILL-USED' : 'DR-SR-OTHERS',
          about: 'sr',
          name: sr.nameLabel,
          uuid: sr.uuid,
          what: `${counted(named.length, 'VM')} outside group ${group.name} ${named.length === 1 ? 'has' : 'have'} disks on its SR ${sr.nameLabel} at site ${group.production}, which is about to be overwritten`,
          vms: labels(named),
          next:
            running.length > 0
              ? 'Shut them down and bring their disks to another SR.'
              : 'Bring their disks to another SR, if they are worth anything.',
        }),
      ];
    });
}

/** Where a person turns the pair round, a person may give up what nobody can list; an array that can tell is asked. */
function unknownLoss({ context }: ReprotectCheck, storage: ReplicatedSr, name: string): Finding {
  const { array } = storage.source;
  const can = capabilitiesOf(context.observation, array);
  const byHand = can?.reverse === 'none';
  const givenUp = byHand && context.decisions.has('discard-changes');
  const look = `Look at array ${array}, then run the command again.`;
  return (givenUp ? warning : problem)({
    code: 'DR-DIVERGENCE-UNKNOWN',
    about: 'array',
    name,
    what: `What array ${array} alone holds of SR ${storage.sr} could not be learned`,
    next: givenUp
      ? 'Nothing: a person gave it up, whatever it is.'
      : byHand
        ? `Look at array ${array}: nobody can list it. To give it up: --discard-changes "REASON".`
        : look,
  });
}

/** What the old site wrote after its last point, and VMs that were made too late to be replicated. */
function nothingIsLostUnsaid(check: ReprotectCheck): Finding[] {
  const { context, stale, serving, divergence } = check;
  const { group, production, decisions } = context;
  const discarding = decisions.has('discard-changes');
  const say = discarding ? warning : problem;
  const findings: Finding[] = [];
  for (const storage of group.storage) {
    const what = divergence.get(storage.sr);
    const name = `${storage.source.array} ${storage.source.volume}`;
    if (what == null) {
      // Without the array the plan waits; to go on without its answer, nobody may decide.
      if (what === null && production !== null) findings.push(unknownLoss(check, storage, name));
    } else if (holdsSomething(what))
      findings.push(
        say({
          code: 'DR-DIVERGENCE',
          about: 'array',
          name,
          what: `Site ${group.production} holds writes of SR ${storage.sr} that site ${group.recovery} does not have`,
          evidence: [
            ...what.says,
            what.common === null
              ? 'the two sides have no point in common: everything is copied anew'
              : `both sides hold the point of ${what.common.takenAt}`,
          ],
          next: discarding
            ? 'Nothing: a person gave them up.'
            : 'Save what matters first. To give them up: --discard-changes "REASON".',
        }),
      );
  }
  const onlyThere = (production?.vms ?? []).filter((vm) => stale.has(vm.uuid) && !serving.has(vm.uuid));
  if (onlyThere.length > 0)
    findings.push(
      say({
        code: 'DR-VMS-LEFT-BEHIND',
        about: 'group',
        name: group.name,
        what: `${counted(onlyThere.length, 'VM')} of group ${group.name} ${onlyThere.length === 1 ? 'exists' : 'exist'} at site ${group.production} alone: ${onlyThere.length === 1 ? 'its' : 'their'} disks are overwritten`,
        vms: labels(onlyThere),
        next: discarding
          ? 'Nothing: a person gave them up.'
          : 'Export them to another SR first. To give them up: --discard-changes "REASON".',
      }),
    );
  return findings;
}

function holdsSomething({ pointsLost, bytesLost }: Divergence): boolean {
  // An array that cannot tell may hold something.
  return pointsLost === null || bytesLost === null || pointsLost > 0 || bytesLost > 0;
}

function vmsServe({ context, serving }: ReprotectCheck): Finding[] {
  const { group, recovery, point } = context;
  if (recovery === null) return [];
  const ran = new Set((point?.vms ?? []).filter((vm) => vm.powerState === 'Running').map((vm) => vm.uuid));
  const halted = recovery.vms.filter(
    (vm) => serving.has(vm.uuid) && ran.has(vm.uuid) && vm.powerState === 'Halted',
  );
  if (halted.length === 0) return [];
  return [
    warning({
      code: 'DR-VMS-NOT-RUNNING',
      about: 'group',
      name: group.name,
      what: `${counted(halted.length, 'VM')} of group ${group.name} ${halted.length === 1 ? 'does' : 'do'} not run at site ${group.recovery}`,
      vms: labels(halted),
      next: 'Start them there, or find out why not, before the old copies are overwritten.',
    }),
  ];
}
