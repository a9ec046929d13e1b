/** The process behind `lab up`: runs a lab until it is told to stop. */
import { join } from 'node:path';
import type { Lab } from '../core/lab.ts';
import { startLab } from '../lab.ts';
import { serveControl } from './control.ts';
import { type Announcement, directoryOf, forget, socketOf, writeState } from './runtime.ts';

export interface ServeOptions {
  readonly name: string;
  readonly world: string;
  readonly port: number;
  readonly storage: string | null;
  readonly costs: boolean;
}

/** What clients need to know of a lab. */
export function announce(lab: Lab): Announcement {
  const pools: Announcement['pools'] = {};
  for (const pool of lab.pools.values())
    pools[pool.name] = {
      url: lab.url(pool.master),
      ...lab.credentials,
      fingerprint: pool.master.certificate.sha256,
    };
  const member = [...lab.pools.values()].at(-1)?.hosts[1];
  return {
    pools,
    ...(member === undefined ? {} : { member: { url: lab.url(member) } }),
    storage: lab.storage,
    hosts: [...lab.pools.values()].flatMap((pool) =>
      pool.hosts.map((host) => ({
        name: host.name,
        pool: pool.name,
        site: pool.site,
        url: lab.url(host),
        fingerprint: host.certificate.sha256,
      })),
    ),
  };
}

/** Resolves when the lab has stopped. */
export async function serve(options: ServeOptions): Promise<void> {
  const lab = await startLab({
    world: options.world,
    port: options.port,
    storage: options.storage ?? join(directoryOf(options.name), 'storage'),
    costs: options.costs,
  });
  const stopped = Promise.withResolvers<void>();
  const stop = (): void => stopped.resolve();
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  const control = await serveControl(lab, socketOf(options.name), stop);
  writeState({
    name: options.name,
    world: options.world,
    pid: process.pid,
    startedAt: new Date().toISOString(),
    announcement: announce(lab),
  });
  await stopped.promise;
  control.close();
  await lab.stop();
  forget(options.name);
}
