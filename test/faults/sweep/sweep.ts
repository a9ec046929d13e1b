/**
 * `make sweep`: every crash point of a failover, drill, migration, reprotection and failback of 24 VMs; every call of each
 * spoilt in every way; new masters, restarts and rivals at every call; thousands of seeds. The last line counts what was tried, and the exit code is
 * 0 only when all of it was tried and nothing was violated.
 *
 *     node sweep.ts [SEEDS] [VMS] [only crashes|calls|pools|rivals|seeds]
 */
import { nothingTried, shakePools, spoilCalls, type Tally } from './calls.ts';
import { crashEverywhere } from './crashes.ts';
import { simulate } from './months.ts';
import { letRivalsLoose } from './rivals.ts';
import { stories } from './stories.ts';

const [seedsText = '10000', vmsText = '24', only = 'all'] = process.argv.slice(2);
const seeds = Number(seedsText);
const vms = Number(vmsText);
/** Calls repeat themselves from VM to VM: one of each tier, and a second database, meet every kind of them. */
const vmsForCalls = 4;
const wants = (part: string): boolean => only === 'all' || only === part;

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

function report(what: string, tally: Tally, more = ''): void {
  say(
    `${what}: ${tally.tried} tried${more}, ${tally.resumed} resumed, ${tally.stuck} stuck, ${tally.violations.length} violations`,
  );
  for (const violation of tally.violations) say(`  ${violation}`);
}

/** What fell short of its number: a sweep that tried nothing proves nothing. */
const missed: string[] = [];
const total = { crashes: nothingTried(), faults: nothingTried(), seeds: nothingTried() };

function add(to: Tally, tally: Tally): void {
  to.tried += tally.tried;
  to.stuck += tally.stuck;
  to.resumed += tally.resumed;
  to.violations.push(...tally.violations);
}

for (const story of wants('crashes') ? stories : []) {
  const tally = await crashEverywhere(story, vms, { every: 1, lanes: 2 });
  report(`crashes in a ${story.name} of ${vms} VMs`, tally, ` of ${tally.points}`);
  if (tally.tried !== tally.points || tally.points < 50)
    missed.push(`${story.name}: ${tally.tried} crash points of ${tally.points}`);
  add(total.crashes, tally);
}
for (const story of wants('calls') ? stories : []) {
  const tally = await spoilCalls(story, vmsForCalls, 1);
  report(`spoilt calls in a ${story.name}`, tally);
  if (tally.tried < 300) missed.push(`${story.name}: only ${tally.tried} spoilt calls`);
  add(total.faults, tally);
}
for (const story of wants('pools') ? stories : []) {
  const tally = await shakePools(story, vmsForCalls, 1);
  report(`new masters and restarts in a ${story.name}`, tally);
  if (tally.tried < 100) missed.push(`${story.name}: only ${tally.tried} new masters and restarts`);
  add(total.faults, tally);
}
for (const story of wants('rivals') ? stories : []) {
  const tally = await letRivalsLoose(story, vmsForCalls, 1);
  report(`rivals in a ${story.name}`, tally);
  if (tally.tried < 100) missed.push(`${story.name}: only ${tally.tried} rivals`);
  add(total.faults, tally);
}
let lost = 0;
for (let seed = 1; wants('seeds') && seed <= seeds; seed += 1) {
  const tally = await simulate(seed);
  lost += tally.crashes;
  add(total.seeds, tally);
  for (const violation of tally.violations) say(`  ${violation}`);
  if (seed % 500 === 0)
    say(`seeds 1 to ${seed}: the machine died ${lost} times, ${total.seeds.violations.length} violations`);
}
if (wants('seeds') && (total.seeds.tried !== seeds || lost === 0))
  missed.push(`${total.seeds.tried} seeds of ${seeds}`);

for (const each of missed) say(`not enough was tried: ${each}`);
const all = Object.values(total);
const violations = all.reduce((sum, { violations }) => sum + violations.length, 0);
const stuck = all.reduce((sum, tally) => sum + tally.stuck, 0);
say(
  `crash points ${total.crashes.tried}, faults ${total.faults.tried}, seeds ${total.seeds.tried}, stuck ${stuck}, ${violations} violations`,
);
process.exitCode = violations === 0 && missed.length === 0 ? 0 : 1;
