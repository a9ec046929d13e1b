/**
 * The `device_config` with which a host may reach the replica: what production said, moved to this site's array, with the
 * passwords of the recovery point; and where a PBD is left from before, what that one says, moved in the same way.
 */
import type { SrToAttach } from '../../domain/plan.ts';
import { plainDeviceConfig, type SrFacts, type TextMap } from '../../domain/pool.ts';
import type { RecoveryPoint } from '../../domain/recovery-point.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { StepContext } from '../handlers.ts';
import { deviceConfigAt } from './device-config.ts';
import { exposedBy } from './replica.ts';
import { concernsOneObject, type World } from './world.ts';

export interface Ways {
  /** As production said, moved; holds clear passwords. */
  readonly general: TextMap;
  of(host: string): readonly TextMap[];
  /** Passwords that production used and nobody could read. */
  readonly doubts: readonly string[];
}

/** A `device_config` moved to where the replica is; null address: as it is. */
export function placeOf(world: World, sr: SrToAttach, context: StepContext): (how: TextMap) => TextMap {
  if (sr.exposedBy === null) return (how) => ({ ...how, ...sr.deviceConfig });
  const exposed = exposedBy(sr.exposedBy, context);
  const place = world.deviceConfigFor ?? deviceConfigAt;
  return (how) => place(sr.type, how, exposed);
}

/**
 * What a PBD of this pool says of options and passwords was right for its host and its array once (after a failover and
 * back they are not production's), so it is tried before production's.
 */
export async function waysTo(
  world: World,
  sr: SrToAttach,
  known: SrFacts | undefined,
  point: RecoveryPoint,
  hypervisor: Hypervisor,
  context: StepContext,
): Promise<Ways> {
  const move = placeOf(world, sr, context);
  const captured = point.srs.find((candidate) => candidate.uuid === sr.uuid);
  const secrets = captured?.secretDeviceConfig ?? {};
  const general = { ...move(sr.deviceConfig), ...secrets };
  const left = new Map<string, TextMap>();
  for (const pbd of sr.exposedBy === null ? [] : (known?.pbds ?? [])) {
    if (pbd.attached) continue;
    const passwords = await passwordsOf(pbd.deviceConfig, hypervisor, context.signal);
    if (passwords === null) continue;
    const own = { ...move(plainDeviceConfig(pbd.deviceConfig)), ...passwords };
    if (!isSame(own, general)) left.set(pbd.hostUuid, own);
  }
  const wanted = new Set(captured?.pbds.flatMap((pbd) => secretNames(pbd.deviceConfig)) ?? []);
  return {
    general,
    of(host) {
      const own = left.get(host);
      return own === undefined ? [general] : [own, general];
    },
    doubts: [...wanted]
      .filter((name) => secrets[name] === undefined)
      .sort()
      .map((name) => `the recovery point holds no ${name} of this SR: it could not be read at the export`),
  };
}

/** Null when one cannot be read any more. */
async function passwordsOf(
  config: TextMap,
  hypervisor: Hypervisor,
  signal: AbortSignal,
): Promise<TextMap | null> {
  const found: Record<string, string> = {};
  for (const name of secretNames(config)) {
    try {
      found[name] = await hypervisor.readSecret(config[`${name}_secret`] ?? '', signal);
    } catch (error) {
      if (!concernsOneObject(error)) throw error;
      return null;
    }
  }
  return found;
}

/** `chappassword` for `chappassword_secret` (xapi.md 7.2). */
function secretNames(config: TextMap): string[] {
  return Object.keys(config).flatMap((key) => (key.endsWith('_secret') ? [key.slice(0, -7)] : []));
}

function isSame(one: TextMap, other: TextMap): boolean {
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...keys].every((key) => one[key] === other[key]);
}
