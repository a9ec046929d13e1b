/**
 * A site that burns with everything that Lifeboat had saved of it, after the host's own script has written a metadata
 * backup onto a replicated SR.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { ArrayRefusal, arrayOf } from '../../src/lab/arrays/index.ts';
import { demoVolumes } from '../../src/lab/demo.ts';
import { mishapsOf, runCommand } from '../../src/lab/dom0/index.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { World } from './trouble.ts';

const guests = { db: 1, app: 1, web: 2 };
export const vms = ['app-01', 'db-01', 'web-01', 'web-02'];

const recoveryPlan = `
tiers:
  - { name: all, vms: { names: ['*'] }, ready: [running], timeout: 10min, on_timeout: stop }
`;

/** What the host's job does at night: its script, on the master, onto the default SR or the one that is named. */
export async function hostBackup(lab: Lab, sr: string, ...options: readonly string[]): Promise<string> {
  const pool = lab.pool('production');
  const said: string[] = [];
  const line = ['/opt/xensource/bin/xe-backup-metadata', '-c', '-u', sr, ...options].join(' ');
  const code = await runCommand(pool.master, line, {
    out: (text) => said.push(text),
    err: (text) => said.push(text),
    input: async () => '',
  });
  if (code !== 0) throw new Error(said.join(''));
  return said.join('');
}

export async function replicate(lab: Lab): Promise<void> {
  const source = arrayOf(lab, 'array-production');
  for (const volume of demoVolumes)
    for (let sent = false; !sent; ) {
      try {
        await source.sync(volume, null).done;
        sent = true;
      } catch (error) {
        if (!(error instanceof ArrayRefusal) || error.code !== 'busy') throw error;
        await lab.clock.sleep(0.1);
      }
    }
}

/** The site with its pool, its array and everything that Lifeboat had saved of it. */
export async function burn(world: World): Promise<void> {
  arrayOf(world.lab, 'array-production').setLink(arrayOf(world.lab, 'array-recovery'), false);
  await world.killProduction();
  for (const directory of ['catalog', 'catalog-2', '.lifeboat'])
    rmSync(join(world.directory, directory), { recursive: true, force: true });
}

export async function prepared(t: Test): Promise<{ readonly world: World; readonly sr: string }> {
  const world = await World.start(t, { guests, saved: false });
  world.plan(/^.*$/s, recoveryPlan);
  const pool = world.lab.pool('production');
  mishapsOf(pool).diskBytes = 64n * 1024n * 1024n;
  return { world, sr: pool.db.byName('SR', 'gold storage')[0]?.uuid ?? '' };
}
