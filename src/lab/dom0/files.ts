/** The few files of a host's control domain that tell its role and its schedule (xapi.md 5.1, 5.7). */
import type { LabHost } from '../core/pool.ts';

export const cronJob = '/opt/xensource/libexec/backup-metadata-cron';
export type Period = 'daily' | 'weekly' | 'monthly';

export interface HostFiles {
  /** Links by their path: a schedule is nothing else. */
  readonly links: Map<string, string>;
}

const made = new WeakMap<LabHost, HostFiles>();

export function filesOf(host: LabHost): HostFiles {
  const known = made.get(host) ?? { links: new Map<string, string>() };
  made.set(host, known);
  return known;
}

/** As the console's menu does it: the job runs on whichever host has the link, if that is the master (xapi.md 5.7). */
export function scheduleBackup(host: LabHost, period: Period): void {
  filesOf(host).links.set(`/etc/cron.${period}/backup-metadata`, cronJob);
}

/** Content of a file; null when there is none of this name. */
export function textOf(host: LabHost, path: string): string | null {
  const master = host.pool.master;
  switch (path) {
    case '/etc/xensource-inventory':
      return `PRODUCT_BRAND='XCP-ng'\nINSTALLATION_UUID='${host.row.uuid}'\nCONTROL_DOMAIN_UUID='${host.row.row('control_domain', 'VM')?.uuid ?? ''}'\n`;
    case '/etc/xensource/pool.conf':
      return host === master ? 'master' : `slave:${master.address}`;
    default:
      return null;
  }
}

const folders = ['/etc/cron.daily', '/etc/cron.weekly', '/etc/cron.monthly'];

/** Names in a folder; null when there is no such folder. */
export function namesIn(host: LabHost, folder: string): string[] | null {
  if (!folders.includes(folder)) return null;
  return [...filesOf(host).links.keys()]
    .filter((path) => path.startsWith(`${folder}/`))
    .map((path) => path.slice(folder.length + 1))
    .sort();
}
