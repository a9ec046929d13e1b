/** What the verbs of an array refuse because of the state it is in, in words for the person who has to act. */
import { PortError, type Problem } from '../../../domain/errors.ts';
import { discardConfirmation, promotionConfirmation, type Role } from '../../../domain/replication.ts';
import type { Discarding } from '../../../ports/replication.ts';

function refusal(array: string, problem: Omit<Problem, 'where'>, peerCode: string): PortError {
  return new PortError('refused', { ...problem, where: { object: `array ${array}` } }, { peerCode });
}

export function noVolume(array: string, volume: string): PortError {
  return refusal(
    array,
    {
      code: 'DR-ARRAY-VOLUME',
      what: `Array ${array} has no volume ${volume}`,
      known: ['either its name is wrong, or nothing has arrived there yet'],
      next: 'Compare the name in sites.yaml with what the array lists',
    },
    'not-found',
  );
}

/** @param type - the type of array that the other side must have */
export function noPeer(array: string, volume: string, type: string): PortError {
  return refusal(
    array,
    {
      code: 'DR-ARRAY-PEER',
      what: `No storage of a group names volume ${volume} together with another side of type ${type}`,
      next: 'Name source and target of the volume under `storage` of a group in sites.yaml',
    },
    'no-peer',
  );
}

export function wrongRole(
  array: string,
  volume: string,
  verb: string,
  role: Role,
  needed: readonly Role[],
): PortError {
  return refusal(
    array,
    {
      code: 'DR-ARRAY-ROLE',
      what: `Volume ${volume} is ${role} at array ${array}: ${verb} is for ${needed.join(' or ')}`,
      next: 'Look at both sides with `lifeboat status`, then make a new plan',
    },
    'wrong-state',
  );
}

/** The other side has been promoted, or stands in the way as it is. */
export function otherSideIs(array: string, volume: string, verb: string, role: Role): PortError {
  return refusal(
    array,
    {
      code: 'DR-ARRAY-ROLE',
      what: `The other side of volume ${volume} is ${role}: ${verb} is refused`,
      known: ['nothing was changed'],
      next: 'Look at both sides with `lifeboat status`, then make a new plan',
    },
    'wrong-state',
  );
}

export function notPrepared(array: string, volume: string, known: readonly string[]): PortError {
  return refusal(
    array,
    {
      code: 'DR-ARRAY-NOT-PREPARED',
      what: `The source of ${volume} is not prepared: it may take writes that are not here`,
      known,
      next: 'Prepare the source first, or make a plan for an unplanned failover',
    },
    'wrong-state',
  );
}

export function noPoint(array: string, volume: string, ref: string): PortError {
  return refusal(
    array,
    {
      code: 'DR-ARRAY-POINT',
      what: `Volume ${volume} holds no complete point ${ref}`,
      next: 'Make a new plan: it chooses among the points that are there now',
    },
    'not-found',
  );
}

export function otherPoint(array: string, volume: string, point: string): PortError {
  return refusal(
    array,
    {
      code: 'DR-ARRAY-OTHER-POINT',
      what: `${volume} was promoted at another point`,
      known: [`it stands at ${point}`],
      next: 'Make a new plan; to go back to the original direction use `lifeboat run undo`',
    },
    'wrong-state',
  );
}

export function inUse(array: string, volume: string, where: readonly string[]): PortError {
  return refusal(
    array,
    {
      code: 'DR-ARRAY-IN-USE',
      what: `${volume} is still open at ${where.length} hosts`,
      known: where.map((host) => `open at ${host}`),
      next: 'Shut the VMs down and unplug the SR at these hosts',
    },
    'in-use',
  );
}

export function diverged(array: string, volume: string, known: readonly string[]): PortError {
  return refusal(
    array,
    {
      code: 'DR-ARRAY-DIVERGED',
      what: `Volume ${volume} may hold what the other side does not`,
      known,
      next: 'Decide which side is to be kept; the plan for it names what is lost, and asks',
    },
    'needs-discard',
  );
}

/** Refused unless volume and point are named once more. */
export function mustConfirmPromotion(array: string, volume: string, point: string, confirm: string): void {
  if (confirm !== promotionConfirmation(volume, point))
    throw wrongConfirmation(array, `point ${point} of volume ${volume}`);
}

/** Refused unless what is thrown away is named exactly; quiet where nothing is to be discarded. */
export function mustConfirmDiscard(
  array: string,
  verb: 'demote' | 'reverse' | 'restore',
  volume: string,
  common: string | null,
  options: Discarding,
): void {
  if (options.discard && options.confirm !== discardConfirmation(verb, volume, common))
    throw wrongConfirmation(array, `what ${verb} of volume ${volume} throws away`);
}

function wrongConfirmation(array: string, what: string): PortError {
  return refusal(
    array,
    {
      code: 'DR-ARRAY-CONFIRM',
      what: `The confirmation does not name ${what}`,
      next: 'Make a new plan; this one was made for something else',
    },
    'wrong-confirmation',
  );
}
