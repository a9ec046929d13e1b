/**
 * A real process that carries out a run over the model and kills itself (SIGKILL) behind the n-th journal line, or behind
 * the n-th change of the world, when the effect is there and its outcome is not in the journal.
 *
 *     node child.ts DIRECTORY STORY line|deed N
 *
 * The world is no part of the process: it is written down as it was at the moment of the death.
 */
import { houseIn, writeWorld } from './house.ts';
import { stories } from './stories.ts';

const [directory = '', name = '', kind = 'line', count = '0'] = process.argv.slice(2);
const story = stories.find((each) => each.name === name);
if (story === undefined) throw new Error(`no story ${name}`);
const { house, close } = houseIn(directory, 'c');
let left = Number(count);
const tick = (what: string): void => {
  if (what !== kind) return;
  left -= 1;
  if (left !== 0) return;
  writeWorld(directory, house.world.state);
  process.kill(process.pid, 'SIGKILL');
};
const planned = await house.plan(story.request);
house.world.onChange = () => tick('deed');
await house.app.run(planned, { by: 'Ada', onEvent: () => tick('line') });
writeWorld(directory, house.world.state);
close();
