/** What the volumes of sites.yaml say of consistency groups must fit together: on both sides, and within one group. */
import type { ErrorCode } from '../domain/errors.ts';
import { type Block, block, list } from './blocks.ts';
import type { Path } from './document.ts';

type Report = (path: Path, code: ErrorCode, what: string, next: string) => void;

interface Named {
  readonly path: Path;
  readonly group: string;
  /** `consistency group NAME of array NAME`; null where the volume names none. */
  readonly source: string | null;
  readonly target: string | null;
}

const code = 'DR-CONFIG-CONSISTENCY-GROUP';

export function checkConsistencyGroups(groups: Block, report: Report): void {
  const entries = Object.entries(groups).flatMap(([group, value]) =>
    list(block(value)['storage']).map((entry, index): Named => {
      const path: Path = ['groups', group, 'storage', index];
      const { source, target } = block(entry);
      return { path, group, source: nameOf(block(source)), target: nameOf(block(target)) };
    }),
  );
  for (const { path, source, target } of entries) {
    if ((source === null) === (target === null)) continue;
    const side = source === null ? 'source' : 'target';
    report(
      [...path, side],
      code,
      `the ${side} names no consistency group, and the other side does`,
      'write consistency_group on both sides, or on none: the direction of a pair is turned round',
    );
  }
  mustStayTogether(entries, 'source', report);
  mustStayTogether(entries, 'target', report);
}

/** Whoever shares a consistency group on one side shares one on the other side, and belongs to one group of ours. */
function mustStayTogether(entries: readonly Named[], side: 'source' | 'target', report: Report): void {
  const other = side === 'source' ? 'target' : 'source';
  const first = new Map<string, Named>();
  for (const entry of entries) {
    const name = entry[side];
    if (name === null) continue;
    const before = first.get(name);
    if (before === undefined || before[other] === null) first.set(name, entry);
    if (before === undefined) continue;
    const at = [...entry.path, side, 'consistency_group'];
    if (before.group !== entry.group)
      report(
        at,
        code,
        `${name} belongs to group ${before.group} already`,
        'put all SRs of a consistency group into one group: it is promoted as a whole',
      );
    else if (before[other] !== null && entry[other] !== null && before[other] !== entry[other])
      report(
        at,
        code,
        `${name} is paired with ${before[other]}, and here with ${entry[other]}`,
        'pair the volumes of one consistency group with those of one other',
      );
  }
}

function nameOf(volume: Block): string | null {
  const { array, consistency_group: name } = volume;
  return typeof array === 'string' && typeof name === 'string'
    ? `consistency group ${name} of array ${array}`
    : null;
}
