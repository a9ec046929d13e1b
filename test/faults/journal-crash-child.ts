/**
 * A real process that carries out a failover and kills itself (SIGKILL) at a given point: after the n-th journal line,
 * or after the n-th deed, when the effect is in the world and its outcome is not in the journal.
 *
 *     node journal-crash-child.ts DIRECTORY line|deed N
 */
import { declareLost } from '../../src/execute/decisions.ts';
import { execute, planDigest } from '../../src/execute/executor.ts';
import { failoverOf } from '../execute/plans.ts';
import { openHouse, runId, vmNames } from './journal-crash-house.ts';

const [directory = '', kind = 'line', count = '1'] = process.argv.slice(2);
let left = Number(count);
const tick = (what: string): void => {
  if (what !== kind) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, 'SIGKILL');
};
const house = openHouse(directory, () => tick('deed'));
const plan = failoverOf(vmNames);
await execute(house.ports, {
  plan,
  planDigest: planDigest(plan),
  by: 'Ada',
  version: '1',
  runId,
  decisions: [{ by: 'Ada', decision: declareLost, reason: 'the building burns' }],
  onEvent: () => tick('line'),
});
