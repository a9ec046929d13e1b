/** Whether a group could fail over now, with what people have accepted taken into account. */
import { counted } from '../check/context.ts';
import { concerns, counts, isAccepted, type LedgerEntry } from '../domain/drift.ts';
import type { ErrorCode } from '../domain/errors.ts';
import type { Finding } from '../domain/finding.ts';
import type { GroupStatus, Readiness } from '../domain/status.ts';
import type { Instant } from '../domain/time.ts';

export interface ReadinessView {
  readonly group: string;
  readonly readiness: Readiness;
  /** One sentence for each thing that keeps the group from being ready. */
  readonly because: readonly string[];
  /** Codes of those of them that are findings. */
  readonly codes: readonly ErrorCode[];
  /** What to do about the first of them. */
  readonly next: string | null;
}

/** A failover is for the day on which production is gone: that alone does not make it impossible. */
const notAgainst = new Set<ErrorCode>(['DR-SOURCE-UNREACHABLE']);

export function readinessView(
  status: GroupStatus,
  ledger: readonly LedgerEntry[],
  now: Instant,
): ReadinessView {
  const { group } = status;
  const ours = ledger.filter((entry) => entry.goneAt === null && concerns(entry, group));
  const accepted = ours.filter((entry) => isAccepted(entry, now));
  const problems = status.findings.filter(
    (finding) => finding.severity === 'problem' && !notAgainst.has(finding.code),
  );
  const against = problems.filter((finding) => !accepted.some((entry) => explains(entry, finding)));
  const breaking = ours.filter((entry) => counts(entry, now));
  const untold = breaking.filter((entry) => !against.some((finding) => explains(entry, finding)));
  const because = [
    ...against.map((finding) => sinceOf(finding, breaking)),
    ...untold.map(({ what, firstSeenAt }) => `${what} (since ${firstSeenAt})`),
  ];
  const worries = because.length > 0 || status.findings.length > 0 || accepted.length > 0;
  return {
    group,
    readiness:
      status.readiness === 'unknown'
        ? 'unknown'
        : because.length > 0
          ? 'not-ready'
          : worries
            ? 'ready-with-warnings'
            : 'ready',
    because,
    codes: against.map(({ code }) => code),
    next: against[0]?.next ?? untold[0]?.next ?? null,
  };
}

/** A difference and a finding of the checks that tell of the same thing. */
function explains(entry: LedgerEntry, { code, about, name }: Finding): boolean {
  if (!entry.codes.includes(code)) return false;
  return name === entry.object || about === 'pool' || about === 'vm' || about === 'group';
}

function sinceOf(finding: Finding, breaking: readonly LedgerEntry[]): string {
  const entry = breaking.find((each) => explains(each, finding));
  const touched = finding.vms.length === 0 ? '' : `: ${counted(finding.vms.length, 'VM')}`;
  return entry === undefined
    ? `${finding.what}${touched}`
    : `${finding.what}${touched} (difference ${entry.id}, since ${entry.firstSeenAt})`;
}

/** Since when each group is as ready as it is. A group that is not known keeps the time of what it was last. */
export function sinceWhen(
  before: readonly { readonly group: string; readonly readiness: Readiness; readonly since: Instant }[],
  views: readonly ReadinessView[],
  now: Instant,
): { readonly group: string; readonly readiness: Readiness; readonly since: Instant }[] {
  return views.map(({ group, readiness }) => {
    const known = before.find((each) => each.group === group);
    return { group, readiness, since: known?.readiness === readiness ? known.since : now };
  });
}
