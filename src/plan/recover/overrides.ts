/** What the recovery plan changes about a VM at the site where it comes up. */
import type { Adjustment } from '../../domain/actions/guests.ts';
import type { NetworkTarget } from '../../domain/plan.ts';
import type { PoolFacts } from '../../domain/pool.ts';
import type { StaticAddress, VmOverride } from '../../domain/recovery-plan.ts';
import type { PointVm } from '../../domain/recovery-point.ts';
import { compileMatch } from '../../domain/scope.ts';
import { networksNamed } from '../networks.ts';
import type { RecoverDraft } from './draft.ts';

export interface Difference {
  /** Null when nothing is to be set before the start. */
  readonly adjustment: Adjustment | null;
  readonly addresses: readonly StaticAddress[];
  readonly networks: VmOverride['networks'];
}

/** Compiles the overrides once; the function answers for each VM. Of several that name it, the first decides. */
export function differences(draft: RecoverDraft): (vm: PointVm) => Difference {
  const { group } = draft.request;
  const isDrill = draft.operation === 'drill';
  const overrides = (group.plan.overrides ?? [])
    .filter(({ site }) => site === group.recovery)
    .map((override) => ({ override, names: compileMatch(override.vms, draft.choice.point.srs) }));
  return (vm) => {
    const mine = overrides.filter(({ names }) => names(vm) !== null).map(({ override }) => override);
    return {
      adjustment: adjustmentOf(mine, draft.pool),
      addresses:
        mine.find(({ addresses, addressesInDrill }) => addresses.length > 0 && (addressesInDrill || !isDrill))
          ?.addresses ?? [],
      // Invariant 3: the copies of a drill stay on the isolated networks, whatever is said of the real thing.
      networks: isDrill ? [] : (mine.find(({ networks }) => networks.length > 0)?.networks ?? []),
    };
  };
}

function adjustmentOf(mine: readonly VmOverride[], pool: PoolFacts): Adjustment | null {
  const memory = mine.find((override) => override.memory !== null)?.memory ?? null;
  const vcpus = mine.find((override) => override.vcpus !== null)?.vcpus ?? null;
  const host = hostNamed(pool, mine.find((override) => override.host !== null)?.host ?? null);
  return memory === null && vcpus === null && host === null ? null : { memory, vcpus, host };
}

/** A host that is not there, or not once, is told by the findings; the VM then goes where there is room. */
function hostNamed(pool: PoolFacts, name: string | null): Adjustment['host'] {
  const [host, ...others] = pool.hosts.filter(({ nameLabel }) => nameLabel === name);
  return host === undefined || others.length > 0 ? null : { uuid: host.uuid, nameLabel: host.nameLabel };
}

/** The mapping of the group with a VM's own networks put in; one that is not there, once, is left unmapped (invariant 12). */
export function withOwnNetworks(
  targets: readonly NetworkTarget[],
  own: VmOverride['networks'],
  pool: PoolFacts,
): NetworkTarget[] {
  return targets.flatMap((target) => {
    const override = own.find(({ production }) => production === target.production);
    if (override === undefined) return [target];
    const [network, ...others] = networksNamed(pool, override.here);
    if (network === undefined || others.length > 0) return [];
    const { uuid, nameLabel, bridge } = network;
    return [{ production: target.production, recovery: { uuid, nameLabel, bridge } }];
  });
}
