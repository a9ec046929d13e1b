/** What people did to groups beside the runs, as a list, newest first. */
import type { Instant } from '../domain/time.ts';
import { clean, type Paper, page, table } from './paper.ts';
import { formatInstant } from './words.ts';

export interface AuditLine {
  readonly at: Instant;
  readonly group: string;
  readonly did: string;
  readonly by: string;
  readonly reason: string;
  readonly detail: string;
}

export function auditText(entries: readonly AuditLine[], paper: Paper): string {
  if (entries.length === 0) return 'Nothing was frozen or accepted, and no lock was broken.\n';
  return page(
    table(
      paper,
      ['WHEN', 'WHAT', 'GROUP', 'BY', 'WHY'],
      entries.map(({ at, group, did, by, reason, detail }) => [
        formatInstant(at),
        did,
        clean(group),
        clean(by),
        `${clean(reason)}${detail === '' ? '' : `; ${clean(detail)}`}`,
      ]),
    ),
  );
}
