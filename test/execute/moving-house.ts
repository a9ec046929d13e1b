/** The fake world with two living sites, and the plans that move its group between them. */
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import type { GroupState } from '../../src/domain/group.ts';
import { oriented } from '../../src/domain/orientation.ts';
import type { Plan } from '../../src/domain/plan.ts';
import type { Divergence } from '../../src/domain/replication.ts';
import type { RunEvent } from '../../src/domain/run.ts';
import { matchableVms, nothing } from '../../src/domain/scope.ts';
import type { GroupSettings } from '../../src/domain/settings.ts';
import { execute, planDigest, resume, undo } from '../../src/execute/executor.ts';
import { handlersOver } from '../../src/execute/interpreter.ts';
import { observe } from '../../src/observe/observe.ts';
import { planFailover } from '../../src/plan/failover.ts';
import { planMigrate } from '../../src/plan/migrate.ts';
import { planReprotect } from '../../src/plan/reprotect.ts';
import { type FakeState, FakeWorld, fakeDisk, pair, twoSites } from './fakes.ts';
import { countingEntropy, MemoryJournals, MemoryStates } from './support.ts';

export const payroll: GroupSettings = {
  name: 'payroll',
  production: 'tokyo',
  recovery: 'osaka',
  scope: { include: { ...nothing, names: ['*'] }, exclude: nothing },
  storage: [{ sr: 'sr1', source: pair.source, target: pair.target }],
  rpoSeconds: 900,
  rtoSeconds: 3600,
  networks: [{ production: 'Office', recovery: 'Office DR', drill: null, drillAtProduction: null }],
  plan: { file: null, tiers: [], others: 'by-order', honourStartDelay: false },
  retention: { last: 5, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, maxAgeSeconds: null },
};

/** Tokyo runs the VMs; each in a start order of its own, so that one stops and starts after the other. */
export function movingHouse(names: readonly string[], change: (state: FakeState) => void = () => undefined) {
  const state = twoSites(names);
  const tokyo = state.sites['tokyo'];
  if (tokyo === undefined) throw new Error('there is a site tokyo');
  tokyo.pool.vms = tokyo.pool.vms.map((vm, order) => ({ ...vm, order }));
  // What hosts of Tokyo find on their own array when the SR comes back.
  tokyo.exports = { 'filer-a:/vol1': { sr: 'sr1', disks: names.map((name) => fakeDisk(name)) } };
  change(state);
  const clock = new VirtualClock({ auto: true });
  const states = new MemoryStates();
  const journals = new MemoryJournals();
  const world = Object.assign(new FakeWorld(state, clock, states), { groups: [payroll] });
  const entropy = countingEntropy();
  const ports = { journals, states, clock, entropy, ...handlersOver(world) };
  const common = { by: 'Ada', version: '1' };
  let plans = 0;
  const asItStands = async () => {
    const standing = await states.get('payroll');
    const group = oriented(payroll, standing);
    const observation = await observe(
      {
        clock,
        entropy,
        hypervisor: (site) => world.hypervisor(site),
        array: (name) => world.array(name),
        catalog: () => world.catalog(),
      },
      {
        sites: [group.production, group.recovery],
        pairs: group.storage,
        groups: [group.name],
        pointsPerGroup: 5,
        pointId: null,
        handOver: true,
      },
    );
    plans += 1;
    return {
      group,
      observation,
      state: standing,
      planId: `plan-${plans}`,
      pointId: `payroll/20260101T0000${String(plans).padStart(2, '0')}Z-0001`,
      generation: standing?.generation ?? 0,
      configDigest: 'c1',
    };
  };
  const poolOf = (site: string) => world.state.sites[site]?.pool ?? { vms: [], vdis: [], srs: [] };
  return {
    world,
    state,
    states,
    journals,
    ports,
    asItStands,
    async migrate(operation: 'migrate' | 'failback' = 'migrate', force = false): Promise<Plan> {
      const { state: standing, pointId, ...stands } = await asItStands();
      return planMigrate({
        ...stands,
        operation,
        roles: standing?.roles ?? 'as-configured',
        vms: matchableVms(poolOf(stands.group.production)),
        lastPointId: `${pointId}-last`,
        firstPointId: `${pointId}-first`,
        force,
      });
    },
    async failover(wanted: string | null = null): Promise<Plan> {
      const { pointId: _none, state: _standing, ...stands } = await asItStands();
      return planFailover({ ...stands, pointId: wanted, declaredLost: true });
    },
    async reprotect(
      wishes: {
        readonly discard?: boolean;
        readonly stopOld?: boolean;
        readonly quarantineOnly?: boolean;
      } = {},
    ): Promise<Plan> {
      const { pointId, ...stands } = await asItStands();
      const divergence = new Map<string, Divergence | null>();
      for (const { sr, source } of stands.group.storage)
        divergence.set(sr, await (await world.array(source.array)).divergence(source.volume));
      return planReprotect({
        ...stands,
        vms: matchableVms(poolOf(stands.group.recovery)),
        stale: matchableVms(poolOf(stands.group.production)),
        divergence,
        discard: wishes.discard === true,
        stopOld: wishes.stopOld === true,
        quarantineOnly: wishes.quarantineOnly === true,
        firstPointId: pointId,
      });
    },
    run: (plan: Plan, decisions: { by: string; decision: string; reason: string }[] = []) =>
      execute(ports, { ...common, plan, planDigest: planDigest(plan), decisions }),
    /** By a new process, which remembers nothing. */
    resume: (runId: string, decisions: { by: string; decision: string; reason: string }[] = []) =>
      resume({ ...ports, ...handlersOver(world) }, { ...common, runId, decisions }),
    undo: (runId: string) =>
      undo({ ...ports, ...handlersOver(world) }, { ...common, runId, reason: 'we stay' }),
    standing: async (): Promise<GroupState> => {
      const found = await states.get('payroll');
      if (found === null) throw new Error('the group has a state');
      return found;
    },
    powerStates: (site: string): string[] =>
      [...poolOf(site).vms].map((vm) => `${vm.nameLabel} ${vm.powerState}`).sort(),
    problems: (events: readonly RunEvent[]): string[] =>
      events.flatMap((event) => (event.event === 'StepFailed' ? [event.problem.code] : [])),
  };
}

export type MovingHouse = ReturnType<typeof movingHouse>;
