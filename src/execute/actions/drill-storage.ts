/** The attached clone: unplugged on every host and forgotten (xapi.md 7.9). The record goes, no storage is touched. */
import { drillOfSr, groupOfDrill } from '../../domain/drill.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { PoolFacts, SrFacts } from '../../domain/pool.ts';
import type { ActionOf, ActResult, ConditionOf, StepContext, Verdict } from '../handlers.ts';
import { removeAll } from './drill-copies.ts';
import { listed, type World } from './world.ts';

export async function forgetClone(
  world: World,
  action: ActionOf<'forget-clone'>,
  context: StepContext,
): Promise<ActResult> {
  const { site, srUuid, drill } = action;
  const hypervisor = await world.hypervisor(site);
  // A resumed run may have imported a copy after the copies were removed.
  await removeAll(hypervisor, drill, [], context.signal);
  const pool = await hypervisor.observe(context.signal);
  const sr = ourClone(pool, srUuid, drill);
  if (sr === null) return { output: { forgotten: false }, warnings: [] };
  assertUnused(action, sr, pool);
  const plugged = sr.pbds.filter((pbd) => pbd.attached);
  const isMaster = (hostUuid: string): boolean => hostUuid === pool.masterUuid;
  for (const pbd of plugged.filter(({ hostUuid }) => !isMaster(hostUuid)))
    await hypervisor.unplugPbd(srUuid, pbd.hostUuid, context.signal);
  for (const pbd of plugged.filter(({ hostUuid }) => isMaster(hostUuid)))
    await hypervisor.unplugPbd(srUuid, pbd.hostUuid, context.signal);
  await hypervisor.forgetSr(srUuid, context.signal);
  return { output: { forgotten: true, unpluggedHosts: plugged.length }, warnings: [] };
}

/** Null when the pool knows no such SR, or knows it as something else than the clone of this drill. */
function ourClone(pool: PoolFacts, uuid: string, drill: string): SrFacts | null {
  const found = pool.srs.find((sr) => sr.uuid === uuid);
  return found !== undefined && drillOfSr(found) === drill ? found : null;
}

/** Forgetting an SR takes the drives of halted VMs with it (xapi.md 7.9): a VM that is not ours must not lose them. */
function assertUnused(action: ActionOf<'forget-clone'>, sr: SrFacts, pool: PoolFacts): void {
  const disks = new Set(pool.vdis.filter((vdi) => vdi.srUuid === sr.uuid).map((vdi) => vdi.uuid));
  const users = pool.vms.filter((vm) =>
    vm.vbds.some(({ vdiUuid }) => vdiUuid !== null && disks.has(vdiUuid)),
  );
  if (users.length === 0) return;
  throw new OperatorError({
    code: 'DR-DRILL-SR-USED',
    what: `The clone ${sr.nameLabel} of drill ${action.drill} is used by VMs that the drill did not make`,
    where: { site: action.site, object: `SR ${sr.uuid}` },
    known: users.map((vm) => `VM ${vm.nameLabel} (${vm.uuid}), ${vm.powerState.toLowerCase()}`),
    next: `Move or remove them: their disks go with the clone. Then run \`lifeboat drill cleanup ${groupOfDrill(action.drill) ?? 'GROUP'}\``,
  });
}

export async function isForgotten(
  world: World,
  { site, srUuid, drill }: ConditionOf<'clone-forgotten'>,
  { signal }: StepContext,
): Promise<Verdict> {
  const pool = await (await world.hypervisor(site)).observe(signal);
  const sr = ourClone(pool, srUuid, drill);
  if (sr === null) return { holds: true, output: { forgotten: true } };
  const plugged = sr.pbds.filter((pbd) => pbd.attached).length;
  return {
    holds: false,
    because: `the clone ${sr.nameLabel} is still known${plugged === 0 ? '' : ` and plugged on ${listed(hostsOf(pool, sr))}`}`,
  };
}

function hostsOf(pool: PoolFacts, sr: SrFacts): string[] {
  const names = new Map(pool.hosts.map((host) => [host.uuid, host.nameLabel]));
  return sr.pbds.filter((pbd) => pbd.attached).map((pbd) => names.get(pbd.hostUuid) ?? pbd.hostUuid);
}
