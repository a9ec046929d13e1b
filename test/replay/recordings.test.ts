/**
 * Every recorded conversation with a real xapi, replayed against the lab over both transports. The recordings lie
 * beside the repository; where they are absent this test says so and skips.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { fastClock } from '../../src/lab/core/clock.ts';
import { startLab } from '../../src/lab/lab.ts';
import type { Transport } from './rpc.ts';
import { replay, type Scenario } from './runner.ts';

const folder = new URL('../../../shared/recordings/', import.meta.url).pathname;
/** `SCENARIO=54 node test/replay/recordings.test.ts` replays one. */
const only = process.env['SCENARIO'] ?? '';
/** The lab's clock runs this much faster than the wall's. */
const haste = 10;

if (!existsSync(folder)) t.pass('no recordings beside this repository: nothing to replay', { skip: true });
else {
  const files = readdirSync(join(folder, 'scenarios')).filter((file) => file.startsWith(only));
  t.jobs = 4;
  for (const transport of ['xmlrpc', 'jsonrpc'] satisfies Transport[])
    for (const file of files.sort())
      void t.test(`${file} over ${transport}`, { buffered: true }, async (t) => {
        const scenario = JSON.parse(readFileSync(join(folder, 'scenarios', file), 'utf8')) as Scenario;
        const storage = mkdtempSync(join(tmpdir(), 'lifeboat-replay-'));
        const clock = fastClock(haste);
        const lab = await startLab({ world: 'recordings', storage, clock });
        t.teardown(async () => {
          await lab.stop();
          rmSync(storage, { recursive: true, force: true });
        });
        const url = (host: string): URL => new URL(lab.url(lab.host(host)));
        const reason = await replay(scenario, {
          urls: { prod: url('prod'), dr: url('dr'), member: url('dr2') },
          ...lab.credentials,
          storage,
          exports: join(folder, 'exports'),
          clock,
          transport,
        });
        t.equal(reason, null, scenario.name);
      });
}
