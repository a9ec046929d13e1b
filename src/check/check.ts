/**
 * Which rules belong to which operation. All of them always run, in an emergency too; the developers of an operation
 * compose its list from the ones here and put special rules beside them.
 */
import { type Finding, sortFindings } from '../domain/finding.ts';
import type { CheckContext, Rule } from './context.ts';
import { gpusAreThere, memoryFits, vcpusFit } from './rules/capacity.ts';
import {
  catalogTargetsAnswer,
  catalogWasVerified,
  metadataIsYoung,
  pointKnowsEveryVm,
} from './rules/catalog.ts';
import { buildsFit, cpusFit } from './rules/compatibility.ts';
import { consistencyGroupsHold, disksAreOfOneMoment } from './rules/consistency.ts';
import { databaseReplicationIsKnown } from './rules/database-replication.ts';
import { groupMayMove } from './rules/group-state.ts';
import {
  clocksAgree,
  factsAreFresh,
  pointIsOfThisPool,
  sitesAreTwoPools,
  tlsIsOfThisAge,
} from './rules/identity.ts';
import { drillsAreCleanedUp, twinsAreNotThere } from './rules/leftovers.ts';
import { networksAreThere, networksOnTheWayBack } from './rules/networks.ts';
import { recoveryPoolIsReady } from './rules/recovery-pool.ts';
import { disksAreReplicated, metadataFitsReplica, replicaIsThere } from './rules/replica.ts';
import { sourceIsDead } from './rules/source.ts';
import {
  driversAreThere,
  originalIsNotVisible,
  othersOnOurStorage,
  srsAreEverywhere,
  srsDoNotClash,
  storageOfOneGroup,
} from './rules/storage.ts';
import { haIsSound, nothingStartsAtProduction } from './rules/traps.ts';

/** Are these the pools that are meant, seen just now, by clocks that agree? */
export const identityRules: readonly Rule[] = [
  sitesAreTwoPools,
  pointIsOfThisPool,
  factsAreFresh,
  clocksAgree,
  tlsIsOfThisAge,
];

/** Would the recovery site take the VMs, whichever operation brings them there? */
export const recoveryRules: readonly Rule[] = [
  recoveryPoolIsReady,
  memoryFits,
  vcpusFit,
  gpusAreThere,
  cpusFit,
  buildsFit,
  networksAreThere,
  networksOnTheWayBack,
  driversAreThere,
  srsDoNotClash,
  originalIsNotVisible,
  srsAreEverywhere,
  haIsSound,
  drillsAreCleanedUp,
];

/** Is there a replica, and metadata that fits it? */
export const replicaRules: readonly Rule[] = [
  replicaIsThere,
  metadataFitsReplica,
  metadataIsYoung,
  pointKnowsEveryVm,
  disksAreReplicated,
  consistencyGroupsHold,
  databaseReplicationIsKnown,
  storageOfOneGroup,
  othersOnOurStorage,
];

export const catalogRules: readonly Rule[] = [catalogTargetsAnswer, catalogWasVerified];

/** Everything that holds for any move of a group to its recovery site. */
export const moveRules: readonly Rule[] = [
  groupMayMove,
  ...identityRules,
  ...recoveryRules,
  ...replicaRules,
  ...catalogRules,
];

export const failoverRules: readonly Rule[] = [
  sourceIsDead,
  nothingStartsAtProduction,
  twinsAreNotThere,
  disksAreOfOneMoment,
  ...moveRules,
];

/** What a rule tells in clearer words than the rehearsal of the import, which finds the same once more. */
const toldTwice: ReadonlyMap<string, string> = new Map([['DR-BUILD-GATE', 'DR-IMPORT-VERSION']]);

/** The findings of these rules and of the rehearsal, each once, in the order in which they are printed. */
export function runRules(
  rules: readonly Rule[],
  context: CheckContext,
  rehearsal: readonly Finding[] = [],
): Finding[] {
  const own = rules.flatMap((rule) => rule(context));
  const told = new Set(own.flatMap((finding) => toldTwice.get(finding.code) ?? []));
  return sortFindings([...own, ...rehearsal.filter((finding) => !told.has(finding.code))]);
}
