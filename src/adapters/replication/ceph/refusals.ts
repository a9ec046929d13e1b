/** What an image refuses, and why, in words for the person who has to act. */
import { PortError } from '../../../domain/errors.ts';
import type { ReplicaPoint, Role } from '../../../domain/replication.ts';
import { imageSpec } from './options.ts';
import type { Rbd } from './rbd.ts';
import { type ImageState, pointsOf, roleOf } from './state.ts';

export function promotable(rbd: Rbd, state: ImageState, volume: string, ref: string): ReplicaPoint {
  const points = pointsOf(state);
  const point = points.find((one) => one.ref === ref);
  if (point === undefined) throw noPoint(rbd, volume, ref);
  const rolling = ref.startsWith('journal:');
  const newest = points.find((one) => !one.ref.startsWith('journal:'));
  if (rolling || point === newest) return point;
  throw new PortError(
    'refused',
    {
      code: 'DR-ARRAY-OLDER-POINT',
      what: `${volume} can only be promoted at its newest point`,
      where: { object: `array ${rbd.array}` },
      known: [
        `asked for ${ref}`,
        `the newest is ${newest?.ref ?? 'unknown'}`,
        'Ceph promotes what arrived last',
      ],
      next: 'Make a new plan; an older point can be opened as a drill',
    },
    { peerCode: 'unsupported', peerParams: [ref] },
  );
}

export function mustBe(rbd: Rbd, state: ImageState, verb: string, ...roles: readonly Role[]): void {
  const role = roleOf(state);
  if (roles.includes(role)) return;
  throw new PortError(
    'refused',
    {
      code: 'DR-ARRAY-ROLE',
      what: `${imageSpec(state.image)} is ${role} at array ${rbd.array}: ${verb} is for ${roles.join(' or ')}`,
      where: { object: `array ${rbd.array}` },
      known: state.status === null ? [] : [`rbd-mirror says ${state.status.state}`],
      next: 'Compare the pair in sites.yaml with what the array shows, then make a new plan',
    },
    { peerCode: 'wrong-state', peerParams: [role] },
  );
}

export function bothPrimary(rbd: Rbd, volume: string): PortError {
  return rbd.problem('refused', {
    code: 'DR-ARRAY-SPLIT',
    what: `The other side of ${volume} is primary as well`,
    known: ['nothing was sent to it'],
    next: 'Demote the old source first: `lifeboat reprotect GROUP` names what that throws away',
  });
}

export function inUse(rbd: Rbd, volume: string, addresses: readonly string[]): PortError {
  return rbd.problem('refused', {
    code: 'DR-ARRAY-IN-USE',
    what: `${volume} is still open at ${addresses.length} hosts`,
    known: addresses.map((address) => `watched from ${address}`),
    next: 'Shut the VMs down and unplug the SR; name hosts of rbd-mirror in mirror_hosts. A dead host is forgotten after 30 s',
  });
}

export function otherPoint(rbd: Rbd, volume: string, point: string): PortError {
  return rbd.problem('refused', {
    code: 'DR-ARRAY-OTHER-POINT',
    what: `${volume} was promoted at another point`,
    known: [`it stands at ${point}`],
    next: 'Make a new plan; to go back to the original direction use `lifeboat run undo`',
  });
}

export function noPoint(rbd: Rbd, volume: string, ref: string): PortError {
  return new PortError(
    'refused',
    {
      code: 'DR-ARRAY-POINT',
      what: `Array ${rbd.array} holds no complete point ${ref} of ${volume}`,
      where: { object: `array ${rbd.array}` },
      next: 'Make a new plan: Ceph keeps few points, and this one is gone or has not arrived',
    },
    { peerCode: 'not-found', peerParams: [ref] },
  );
}

export function noPeer(rbd: Rbd, volume: string): PortError {
  return rbd.problem('refused', {
    code: 'DR-ARRAY-PEER',
    what: `The other side of ${volume} cannot be asked`,
    known: ['a planned step needs both: sites.yaml must name an array of type ceph that has the image'],
    next: 'Name source and target of the volume under storage of its group',
  });
}

export function notPrepared(rbd: Rbd, volume: string, demoted: boolean): PortError {
  return rbd.problem('refused', {
    code: 'DR-ARRAY-NOT-PREPARED',
    what: `The source of ${volume} is not prepared: it may take writes that are not here`,
    known: [demoted ? 'its last point has not arrived' : 'it is primary, or has no image'],
    next: 'Prepare the source first, or make a plan for an unplanned failover',
  });
}
