/**
 * Jobs of cron on the hosts that run the script by themselves: on the pool's default SR, with twelve dates, whatever
 * Lifeboat was told to keep. At the recovery site such a job prunes production's history once the SR is attached there and
 * the default (xapi.md 5.7, 5.8).
 */
import type { HostFacts, PoolFacts } from '../../domain/pool.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { dom0Of } from './backup-script.ts';
import { listed, sentenceOf, type World } from './world.ts';

/** What the job keeps: it gives the script no number. */
const datesOfJob = 12;

type Wanted = ActionOf<'look-at-backup-jobs'>;

interface FoundJob {
  readonly host: string;
  readonly path: string;
}

export async function lookAtBackupJobs(
  world: World,
  action: Wanted,
  { signal }: StepContext,
): Promise<ActResult> {
  const hypervisor = await world.hypervisor(action.site);
  const pool = await hypervisor.observe(signal);
  const found: FoundJob[] = [];
  const unseen: string[] = [];
  for (const host of pool.hosts) {
    try {
      const jobs = await dom0Of(world).backupJobs(action.site, host, signal);
      found.push(...jobs.map(({ path }) => ({ host: host.nameLabel, path })));
    } catch (error) {
      signal.throwIfAborted();
      unseen.push(`${host.nameLabel} (${sentenceOf(error)})`);
    }
  }
  const defaultSr = await hypervisor.defaultSr(signal);
  const hit = action.srs.find(({ uuid }) => uuid === defaultSr);
  return {
    output: { site: action.site, jobs: found.map((job) => ({ ...job })), defaultSr },
    warnings: [
      ...(hit === undefined || found.length === 0 ? [] : [pruning(action, pool, hit.nameLabel, found)]),
      ...(unseen.length === 0
        ? []
        : [`nobody looked for backup jobs on ${listed(unseen)}: one of them may prune the history`]),
    ],
  };
}

function pruning(
  { site, history }: Wanted,
  { hosts, masterUuid }: PoolFacts,
  sr: string,
  found: readonly FoundJob[],
): string {
  const master = hosts.find(({ uuid }: HostFacts) => uuid === masterUuid)?.nameLabel;
  const runs = found.some(({ host }) => host === master)
    ? 'runs there now'
    : 'runs as soon as its host becomes master';
  const jobs = found.map(({ host, path }) => `${path} on ${host}`);
  return `a job of site ${site} (${listed(jobs)}) ${runs}: it writes to the metadata backup on SR ${sr}, the default SR, and keeps ${datesOfJob} dates of whatever pool, where ${history} are to stay. Next: remove it with ${listed(found.map(({ host, path }) => `\`ssh root@${host} rm ${path}\``))}, or choose another default SR`;
}
