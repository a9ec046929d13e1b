/** The runs that are broken off in every way, each with the world in which it begins. */
import type { PlanRequest } from '../../../src/app/app.ts';
import type { House } from './house.ts';

export interface Story {
  readonly name: string;
  /** Brings a fresh world to the moment before the run. */
  readonly begin: (house: House) => Promise<void>;
  readonly request: PlanRequest;
}

const shop = 'shop';
const exportOne: PlanRequest = { operation: 'export', group: shop };
const moveAway: PlanRequest = { operation: 'migrate', group: shop, decisions: [] };
const takeOver: PlanRequest = { operation: 'failover', group: shop, pointId: null, decisions: [] };
const turnRound: PlanRequest = {
  ...{ operation: 'reprotect', group: shop, quarantineOnly: false },
  decisions: [{ decision: 'discard-changes', by: 'Ada', reason: 'the lost minutes are told' }],
};

/** A story begins only where everything before it has gone well. */
async function well(house: House, request: PlanRequest): Promise<void> {
  const { outcome, summary } = await house.act(request);
  if (outcome !== 'done')
    throw new Error(`the ${request.operation} before the story ends ${outcome}: ${summary}`);
}

/** The VMs have worked, their replicas have arrived, and a recovery point is sealed. */
async function protect(house: House): Promise<void> {
  house.world.write();
  house.world.replicate();
  await well(house, exportOne);
  house.world.write();
  house.world.replicate();
  house.world.write();
}

async function lose(house: House): Promise<void> {
  await protect(house);
  house.world.kill('osaka');
}

export const stories: readonly Story[] = [
  { name: 'failover', begin: lose, request: takeOver },
  {
    name: 'drill',
    begin: protect,
    request: { operation: 'drill', group: shop, pointId: null, vms: [], keep: false, decisions: [] },
  },
  { name: 'migrate', begin: protect, request: moveAway },
  {
    name: 'reprotect',
    begin: async (house) => {
      await lose(house);
      await well(house, takeOver);
      house.world.write();
      house.world.revive('osaka');
    },
    request: turnRound,
  },
  {
    name: 'failback',
    begin: async (house) => {
      await protect(house);
      await well(house, moveAway);
      house.world.write();
    },
    request: { operation: 'failback', group: shop, decisions: [] },
  },
];
