/** The ledger of differences: both sites looked at, compared, and what a person says about one of them. */
import type { Acceptance, DriftReport, LedgerEntry } from '../domain/drift.ts';
import { concerns } from '../domain/drift.ts';
import { exitCodes, OperatorError } from '../domain/errors.ts';
import { nearest } from '../domain/nearest.ts';
import type { Observation } from '../domain/observation.ts';
import { pointVmsOf } from '../domain/recovery-point.ts';
import { judgeScope, matchableVms } from '../domain/scope.ts';
import type { GroupSettings, Settings } from '../domain/settings.ts';
import { addSeconds, type Instant } from '../domain/time.ts';
import { observe } from '../observe/observe.ts';
import type { AuditEntry, AuditedBy } from '../ports/system.ts';
import { differencesOf, type PairedGroup } from '../watch/differences.ts';
import { foldLedger, type LedgerLook, type Sites, withAcceptance } from '../watch/ledger.ts';
import type { Context } from './app.ts';
import { asTheyStand, groupsNamed } from './groups.ts';
import { poolOf } from './planning/common.ts';
import type { AppPorts } from './ports.ts';

/** Looks at both sites of every group now, remembers what it finds, and tells what concerns these groups. */
export async function drift(
  ports: AppPorts,
  request: { readonly groups: readonly string[] },
  context: Context = {},
): Promise<DriftReport> {
  const asked = groupsNamed(ports.settings, request.groups).map(({ name }) => name);
  const standing = await asTheyStand(await ports.states(), ports.settings.groups);
  const groups = standing.map(({ group }) => group);
  context.onProgress?.('Looking at the sites');
  const sites = [...new Set(groups.flatMap(({ production, recovery }) => [production, recovery]))];
  const observation = await observe(
    ports,
    { sites, pairs: [], groups: [], pointsPerGroup: 0, pointId: null },
    context.signal,
  );
  const now = ports.clock.now();
  const look = lookAt(ports.settings, groups, observation, now);
  const store = await ports.watching.store();
  const { ledger } = await store.change((memory) => ({
    ...memory,
    ledger: foldLedger(memory.ledger, look),
    notices: [],
  }));
  return {
    takenAt: now,
    entries: inOrder(ledger.filter((entry) => asked.some((group) => concerns(entry, group)))),
    unseen: look.configured.filter((pair) => !look.compared.includes(pair)),
  };
}

/** What breaks something first. */
function inOrder(entries: readonly LedgerEntry[]): LedgerEntry[] {
  const rank = ({ breaks, firstSeenAt, id }: LedgerEntry): string => `${breaks ? 0 : 1} ${firstSeenAt} ${id}`;
  return [...entries].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
}

/** Every pair of sites between which a group is protected, compared where both were seen. */
export function lookAt(
  settings: Settings,
  groups: readonly GroupSettings[],
  observation: Observation,
  at: Instant,
): LedgerLook {
  const pairs = Map.groupBy(groups, ({ production, recovery }) => `${production}\u0000${recovery}`);
  const pins = pinsOf(settings);
  const configured: Sites[] = [];
  const compared: Sites[] = [];
  const differences = [...pairs.values()].flatMap((members) => {
    const [first] = members;
    if (first === undefined) return [];
    const { production, recovery } = first;
    const sites: Sites = [production, recovery];
    configured.push(sites);
    const [home, away] = [poolOf(observation, production), poolOf(observation, recovery)];
    if (home === null || away === null) return [];
    compared.push(sites);
    // Once for the pool, however many groups it holds.
    const known = new Map(pointVmsOf(home.vms, home).map((vm) => [vm.uuid, vm]));
    const matchable = matchableVms(home);
    const paired = members.map(
      (group): PairedGroup => ({
        group,
        vms: judgeScope(matchable, home.srs, group.scope).flatMap(({ vm, included }) =>
          included ? (known.get(vm.uuid) ?? []) : [],
        ),
      }),
    );
    return differencesOf({ production, recovery, home, away, groups: paired, pins }, at);
  });
  return { at, differences, compared, configured };
}

/** Fingerprints that the settings pin, by site; none where a CA is trusted instead. */
export function pinsOf(settings: Settings): ReadonlyMap<string, readonly string[]> {
  return new Map(
    settings.sites.map(({ name, pool }) => [
      name,
      pool.caFile === null
        ? pool.hosts.flatMap(({ fingerprint }) => fingerprint?.replaceAll(':', '').toLowerCase() ?? [])
        : [],
    ]),
  );
}

export interface AcceptRequest extends AuditedBy {
  readonly id: string;
  /** A day (`2027-01-31`: until its end, UTC) or an instant. */
  readonly until: string;
}

/** `by` is a role that answers for it. Throws `DR-DRIFT-UNKNOWN` and `DR-DRIFT-UNTIL` (exit code 2). */
export async function acceptDifference(ports: AppPorts, request: AcceptRequest): Promise<LedgerEntry> {
  const now = ports.clock.now();
  const { id, by, reason } = request;
  const accepted: Acceptance = { at: now, by, reason, until: untilOf(request.until, now) };
  return change(ports, id, accepted, { by, reason });
}

/** What was said about it no longer holds. */
export async function revokeAcceptance(ports: AppPorts, id: string, by: AuditedBy): Promise<LedgerEntry> {
  return change(ports, id, null, by);
}

async function change(
  ports: AppPorts,
  id: string,
  accepted: Acceptance | null,
  by: AuditedBy,
): Promise<LedgerEntry> {
  const store = await ports.watching.store();
  const { ledger } = await store.change((memory) => {
    const changed = withAcceptance(memory.ledger, id, accepted);
    if (changed === null) throw unknownDifference(id, memory.ledger);
    const audit = changed
      .filter((entry) => entry.id === id)
      .flatMap((entry) => said(entry, by, ports.clock.now()));
    return { ...memory, ledger: changed, notices: [], audit };
  });
  const entry = ledger.find((each) => each.id === id);
  if (entry === undefined) throw new Error(`difference ${id} was written a moment ago`);
  return entry;
}

/** For the audit of each group that it concerns. */
function said(
  { id, what, vms, accepted }: LedgerEntry,
  { by, reason }: AuditedBy,
  at: Instant,
): AuditEntry[] {
  return vms.map(({ group }) => ({
    at,
    group,
    did: accepted === null ? 'revoke-acceptance' : 'accept-difference',
    by,
    reason,
    detail: `${id}: ${what}${accepted === null ? '' : `, until ${accepted.until}`}`,
  }));
}

function unknownDifference(id: string, ledger: readonly LedgerEntry[]): OperatorError {
  const known = ledger.filter(({ goneAt }) => goneAt === null).map((entry) => entry.id);
  const close = nearest(id, known);
  return new OperatorError(
    {
      code: 'DR-DRIFT-UNKNOWN',
      what: `There is no difference ${id} now`,
      known: known.length === 0 ? ['the sites fit together'] : [`there are ${known.join(', ')}`],
      next: close === null ? 'See which there are: lifeboat drift' : `Did you mean ${close}?`,
    },
    { exitCode: exitCodes.usage },
  );
}

const longestSeconds = 400 * 86_400;

/** Nothing is accepted for ever: whoever comes after must be asked again. */
function untilOf(written: string, now: Instant): Instant {
  const day = /^\d{4}-\d{2}-\d{2}$/.test(written);
  const time = Date.parse(day ? `${written}T00:00:00Z` : written);
  const wrong = (what: string): OperatorError =>
    new OperatorError(
      { code: 'DR-DRIFT-UNTIL', what, next: 'Write a day to come, as 2027-01-31; a year ahead at the most' },
      { exitCode: exitCodes.usage },
    );
  if (Number.isNaN(time)) throw wrong(`${JSON.stringify(written)} is not a day`);
  const start = new Date(time).toISOString();
  const until = day ? addSeconds(start, 86_400) : start;
  if (until <= now) throw wrong(`${written} is over`);
  if (until > addSeconds(now, longestSeconds)) throw wrong(`${written} is too far ahead`);
  return until;
}
