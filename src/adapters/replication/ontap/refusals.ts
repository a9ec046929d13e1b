/** What the adapter refuses of its own, in words for the person who has to act. */
import { PortError, type Problem } from '../../../domain/errors.ts';
import type { OntapControl } from './control.ts';

function refusal(control: OntapControl, peerCode: string, problem: Omit<Problem, 'where'>): PortError {
  const where = { object: `array ${control.endpoint.array}` };
  return new PortError('refused', { ...problem, where }, { peerCode });
}

export function noVolume(control: OntapControl, volume: string): PortError {
  return refusal(control, 'not-found', {
    code: 'DR-ARRAY-VOLUME',
    what: `There is no volume ${volume}`,
    next: 'Compare the name in sites.yaml with `volume show` of the cluster; the user must see its SVM',
  });
}

export function noPeer(control: OntapControl, volume: string): PortError {
  return refusal(control, 'no-peer', {
    code: 'DR-ARRAY-PEER',
    what: `The other side of ${volume} cannot be asked`,
    known: ['a planned step needs both: sites.yaml must name an array of type ontap or ontap-cli for it'],
    next: 'Name source and target of the volume under storage of its group',
  });
}

export function wrongRole(
  control: OntapControl,
  verb: string,
  volume: string,
  role: string,
  wanted: readonly string[],
  known: readonly string[] = [],
): PortError {
  return refusal(control, 'wrong-state', {
    code: 'DR-ARRAY-ROLE',
    what: `${volume} is ${role}: ${verb} is for ${wanted.join(' or ')}`,
    known,
    next: 'Compare the pair in sites.yaml with what the array shows, then make a new plan',
  });
}

export function noRelationship(control: OntapControl, volume: string): PortError {
  return refusal(control, 'unpaired', {
    code: 'DR-ARRAY-PEER',
    what: `The destination cluster has no SnapMirror relationship for ${volume}`,
    next: 'Compare both volumes in sites.yaml with `snapmirror show` at the destination cluster',
  });
}

export function otherSidePromoted(control: OntapControl, volume: string): PortError {
  return refusal(control, 'split', {
    code: 'DR-ARRAY-SPLIT',
    what: `The other side of ${volume} is promoted: its relationship is broken off`,
    known: ['nothing was sent to it'],
    next: 'Demote the old source first: `lifeboat reprotect GROUP` names what that throws away',
  });
}

export function heldBack(control: OntapControl, volume: string): PortError {
  return refusal(control, 'paused', {
    code: 'DR-ARRAY-REFUSED',
    what: `The relationship of ${volume} is quiesced: no transfer starts`,
    known: ['a person did so, or a promotion was begun'],
    next: 'Finish the promotion, or run `snapmirror resume` at the destination cluster',
  });
}

export function wrongConfirmation(control: OntapControl, what: string): PortError {
  return refusal(control, 'confirm', {
    code: 'DR-ARRAY-CONFIRM',
    what: `The confirmation does not name ${what}`,
    next: 'Make a new plan; this one was made for something else',
  });
}

export function noPoint(control: OntapControl, volume: string, ref: string): PortError {
  return refusal(control, 'not-found', {
    code: 'DR-ARRAY-POINT',
    what: `Volume ${volume} holds no complete point ${ref}`,
    next: 'Make a new plan: it chooses among the points that are there now',
  });
}

export function otherPoint(control: OntapControl, volume: string, point: string): PortError {
  return refusal(control, 'other-point', {
    code: 'DR-ARRAY-OTHER-POINT',
    what: `${volume} was promoted at another point`,
    known: [`it stands at ${point}`],
    next: 'Make a new plan; to go back to the original direction use `lifeboat run undo`',
  });
}

export function notPrepared(control: OntapControl, volume: string): PortError {
  return refusal(control, 'not-prepared', {
    code: 'DR-ARRAY-NOT-PREPARED',
    what: `The source of ${volume} is not prepared, or this is not its last point`,
    next: 'Prepare the source first, or make a plan for an unplanned failover',
  });
}

export function diverged(
  control: OntapControl,
  verb: string,
  volume: string,
  known: readonly string[],
): PortError {
  return refusal(control, 'diverged', {
    code: 'DR-ARRAY-DIVERGED',
    what: `${volume} holds writes that its other side does not have, and ${verb} would throw them away`,
    known,
    next: 'Save what is needed, then make a plan that names what it throws away',
  });
}

export function stillOpen(control: OntapControl, volume: string, known: readonly string[]): PortError {
  return refusal(control, 'open', {
    code: 'DR-ARRAY-IN-USE',
    what: `Hosts can still reach ${volume}`,
    known,
    next: 'Take its LUN maps and export rules away on the cluster, and look who gave them back',
  });
}

export function drillsOpen(control: OntapControl, volume: string, drills: readonly string[]): PortError {
  return refusal(control, 'drill-open', {
    code: 'DR-ARRAY-IN-USE',
    what: `Drills stand on ${volume}, and an older point cannot be promoted beneath them`,
    known: drills.map((drill) => `drill ${drill}`),
    next: 'End the drills first: `lifeboat drill cleanup GROUP`',
  });
}

export function notOurs(control: OntapControl, name: string): PortError {
  return refusal(control, 'not-ours', {
    code: 'DR-ARRAY-NOT-OURS',
    what: `Volume ${name} has the name of a drill's copy, and Lifeboat has not made it`,
    known: ['its comment does not carry our mark'],
    next: 'Find out who made it; remove it by hand if nobody needs it',
  });
}

export function markTooLong(control: OntapControl, volume: string): PortError {
  return refusal(control, 'mark-too-long', {
    code: 'DR-ARRAY-NAME',
    what: `${volume} has more LUN maps than its comment can remember`,
    known: ['what is taken away must be written down first, so that it can be given back'],
    next: 'Take some of its LUN maps away by hand, or shorten the comment of the volume',
  });
}

export function severalLuns(control: OntapControl, volume: string, luns: readonly string[]): PortError {
  return refusal(control, 'several-luns', {
    code: 'DR-ARRAY-CANNOT',
    what: `${volume} holds ${luns.length} LUNs, and an SR is on one`,
    known: luns,
    next: 'Give each SR a volume of its own',
  });
}

export function noTag(control: OntapControl, tag: string): PortError {
  return refusal(control, 'name', {
    code: 'DR-ARRAY-NAME',
    what: `"${tag}" cannot be the name of a snapshot`,
    known: ['letters, digits, and . _ - are allowed, and it begins with a letter or a digit'],
    next: 'Use another name',
  });
}

export function tagTaken(control: OntapControl, volume: string, tag: string): PortError {
  return refusal(control, 'name', {
    code: 'DR-ARRAY-NAME',
    what: `${volume} has a snapshot ${tag} that Lifeboat has not taken`,
    next: 'Rename that snapshot; Lifeboat removes nothing without its own label',
  });
}

/** Something was begun and nothing moves. */
export function late(control: OntapControl, what: string, known: readonly string[]): PortError {
  return new PortError('outcome-unknown', {
    code: 'DR-ARRAY-SYNC-LATE',
    what: `${what} has not come about in time`,
    where: { object: `array ${control.endpoint.array}` },
    known,
    next: 'Look at the relationship with `snapmirror show -instance`; what was begun goes on by itself',
  });
}

export function transferFailed(control: OntapControl, volume: string, known: readonly string[]): PortError {
  return new PortError(
    'refused',
    {
      code: 'DR-ARRAY-LINK',
      what: `A transfer of ${volume} failed`,
      where: { object: `array ${control.endpoint.array}` },
      known,
      next: 'Look at the peering of the clusters (`cluster peer show`), then try again; the replica stays at its last point',
    },
    { peerCode: 'transfer-failed', peerParams: known },
  );
}
