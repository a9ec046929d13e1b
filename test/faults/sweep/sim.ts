/** `make sim SEED=n`: one seed, told day by day; or `make sim SEED=first-last`. Ends with 1 when something was violated. */
import { simulate } from './months.ts';

const match = /^(\d+)(?:-(\d+))?$/.exec(process.argv[2] ?? '1');
if (match === null) {
  process.stderr.write('sim: name a seed, such as SEED=7 or SEED=1-100\n');
  process.exit(2);
}
const first = Number(match[1]);
const last = Number(match[2] ?? first);
const tell = first === last ? (sentence: string) => process.stdout.write(`${sentence}\n`) : undefined;
let violations = 0;
let runs = 0;
for (let seed = first; seed <= last; seed += 1) {
  const tally = await simulate(seed, tell);
  runs += tally.runs;
  violations += tally.violations.length;
  for (const violation of tally.violations) process.stdout.write(`${violation}\n`);
}
process.stdout.write(`seeds ${last - first + 1}, runs ${runs}, ${violations} violations\n`);
process.exitCode = violations === 0 ? 0 : 1;
