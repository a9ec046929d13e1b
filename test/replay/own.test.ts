/**
 * Conversations of our own, in the form of the recordings: what the reference says and no visible recording shows. Each
 * runs against the lab over both transports.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { fastClock } from '../../src/lab/core/clock.ts';
import { startLab } from '../../src/lab/lab.ts';
import type { Transport } from './rpc.ts';
import { replay, type Scenario } from './runner.ts';

const folder = new URL('./own/', import.meta.url).pathname;
/** `SCENARIO=vm-copies node test/replay/own.test.ts` replays one. */
const only = process.env['SCENARIO'] ?? '';
/** The lab's clock runs this much faster than the wall's. */
const haste = 10;

t.jobs = 4;
for (const transport of ['xmlrpc', 'jsonrpc'] satisfies Transport[])
  for (const file of readdirSync(folder)
    .filter((name) => name.startsWith(only))
    .sort())
    void t.test(`${file} over ${transport}`, { buffered: true }, async (t) => {
      const scenario = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Scenario;
      const storage = mkdtempSync(join(tmpdir(), 'lifeboat-own-'));
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
        exports: folder,
        clock,
        transport,
      });
      t.equal(reason, null, scenario.name);
    });
