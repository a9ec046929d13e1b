/**
 * One dead site is one alarm, and not one for each group: what only follows from it is told in its words, and becomes an
 * alarm of its own when the site is back and it still holds.
 */
import type { Condition } from '../domain/alarm.ts';
import type { ErrorCode } from '../domain/errors.ts';
import type { WatchedGroup, WatchFacts } from './facts.ts';

export interface Covered {
  /** Root causes with what follows from them among their evidence. */
  readonly conditions: readonly Condition[];
  readonly covered: ReadonlySet<string>;
}

/** Ages only grow while a site or an array is away; that is no news about the group. */
const onlyAge = new Set<ErrorCode>([
  'DR-REPLICA-OLD',
  'DR-REPLICA-UNSEEN',
  'DR-POINT-OLD',
  'DR-POINT-NONE',
  'DR-RECOVERY-UNREACHABLE',
  'DR-CATALOG-TARGET-LOST',
]);

export function cover(conditions: readonly Condition[], facts: WatchFacts): Covered {
  const roots = conditions.filter((condition) => isRoot(condition));
  const rootOf = new Map<string, Condition>();
  for (const condition of conditions) {
    const root = roots.find((candidate) => candidate !== condition && follows(condition, candidate, facts));
    if (root !== undefined) rootOf.set(condition.key, root);
  }
  return {
    conditions: conditions.map((condition) => {
      const consequences = conditions.filter(({ key }) => rootOf.get(key) === condition);
      return consequences.length === 0
        ? condition
        : {
            ...condition,
            evidence: [...condition.evidence, ...consequences.map(({ what }) => `from it follows: ${what}`)],
          };
    }),
    covered: new Set(rootOf.keys()),
  };
}

const rootKey = /^(site|array):(.*)$/;

const isRoot = ({ key }: Condition): boolean => rootKey.test(key) || key === 'catalog';

function follows(condition: Condition, root: Condition, facts: WatchFacts): boolean {
  const [, place, name = ''] = rootKey.exec(root.key) ?? [];
  // The array of a site that is gone is gone with it.
  if (condition.key.startsWith('array:'))
    return place === 'site' && facts.arrays.get(condition.key.slice('array:'.length)) === name;
  if (isRoot(condition)) return false;
  const [family = '', group = ''] = splitKey(condition.key);
  const watched = facts.groups.find((each) => each.group.name === group);
  if (watched === undefined || !root.groups.includes(group)) return false;
  switch (family) {
    case 'readiness':
      return (
        watched.view.codes.length > 0 &&
        watched.view.codes.every((code) => onlyAge.has(code)) &&
        !hasBreakingDifference(watched)
      );
    case 'export':
      return place !== 'array' && (place !== 'site' || name === watched.group.production);
    case 'rpo':
    case 'skew':
      return true;
    case 'drill':
      return false;
    default:
      return condition.kind === 'job';
  }
}

/** `job:verify:shop` speaks of the group behind its last colon. */
function splitKey(key: string): [family: string, group: string] {
  const parts = key.split(':');
  return [parts[0] ?? '', parts.at(-1) ?? ''];
}

const hasBreakingDifference = ({ view }: WatchedGroup): boolean => view.because.length > view.codes.length;
