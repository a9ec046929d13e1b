/** The daemon as a process, on the lab: ready, reloaded, refused a second time, killed in mid-export, gone on, stopped. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { SqliteSchedule } from '../../src/adapters/state/sqlite-schedule.ts';
import { exitCodes } from '../../src/domain/errors.ts';
import type { LedgerTurn } from '../../src/domain/jobs.ts';
import { ends, type Result, type Running, World } from '../scripts/trouble.ts';

interface Line {
  readonly level: string;
  readonly msg: string;
  readonly run: string | null;
  readonly [field: string]: unknown;
}

function linesOf({ out }: Result): Line[] {
  return out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}

/** Told by every daemon: `systemd-notify` as it is called, one call a line. */
function serviceManager(directory: string): () => string[] {
  const bin = join(directory, 'bin');
  const told = join(directory, 'told');
  mkdirSync(bin);
  writeFileSync(
    join(bin, 'systemd-notify'),
    '#!/bin/sh\nprintf "%s|" "$@" >> "$NOTIFY_SOCKET"\necho >> "$NOTIFY_SOCKET"\n',
  );
  chmodSync(join(bin, 'systemd-notify'), 0o755);
  writeFileSync(told, '');
  process.env['PATH'] = `${bin}:${process.env['PATH'] ?? ''}`;
  process.env['NOTIFY_SOCKET'] = told;
  return () => readFileSync(told, 'utf8').split('\n');
}

async function turnsIn(directory: string): Promise<LedgerTurn[]> {
  const ledger = new SqliteSchedule(join(directory, '.lifeboat', 'state.sqlite'));
  try {
    return [...(await ledger.turns({ group: 'shop', limit: 100 }))].reverse();
  } finally {
    ledger.close();
  }
}

const schedules: readonly [RegExp, string] = [
  /^catalog:$/m,
  // Only what is begun at the first sight is done while we watch.
  'schedules: { verify: never, catalog_check: never, report: never, rehearsal: never }\ncatalog:',
];

// A child process per command: tens of seconds on a busy machine.
t.setTimeout(240_000);

t.test('a daemon, from its first export to its last word', async (t) => {
  t.setTimeout(240_000);
  const world = await World.start(t, { saved: false, guests: { db: 1, app: 1, web: 1 } });
  const told = serviceManager(world.directory);
  world.configure(schedules);
  const start = (): Running => world.begin('daemon');

  // Held in the middle of its export, so that it is killed there however fast the machine is.
  const slow = await world.fault({
    pool: 'production',
    path: '/export_metadata',
    times: 'always',
    effect: { kind: 'delay', seconds: 10 },
  });
  const first = start();
  await first.says(/is under way/);
  first.kill('SIGKILL');
  await first.ended;
  const [broken] = await turnsIn(world.directory);
  t.match(
    broken,
    { job: 'export', endedAt: null, run: /-export-shop-/ },
    'the ledger knows what was under way',
  );

  world.lab.faults.remove(slow);
  const second = start();
  await second.says(/export shop: done/);
  ends(t, 'a second daemon', await world.run('daemon'), exitCodes.locked, /DR-DAEMON-RUNNING/);
  const [resumed, ...more] = await turnsIn(world.directory);
  t.match(
    resumed,
    { outcome: 'done', run: broken?.run },
    'the same run, and the same turn, went on to their end',
  );
  t.same(more, [], 'and no other one was begun');

  world.configure(schedules, [/rpo: 15min/, 'rpo: 15mi']);
  await second.says(/is refused; the old one stays in force/);
  world.configure(
    schedules,
    [/rpo: 15min/, 'rpo: 20min'],
    [/^catalog:$/m, 'daemon: { watch_every: 1h }\ncatalog:'],
  );
  await second.says(/the new configuration is in force/);
  world.configure(schedules, [/^state: .*$/m, 'state: elsewhere']);
  second.kill('SIGHUP');
  await second.says(/DR-DAEMON-STATE-MOVED/);

  second.kill('SIGTERM');
  const end = await second.ended;
  t.equal(end.code, 0, 'it ends well when it is told to');
  const lines = linesOf(end);
  t.ok(
    lines.every((line) => 'run' in line),
    'the run stands in every line',
  );
  const ofRun = lines.filter((line) => line.run === broken?.run);
  t.ok(
    ofRun.some(({ msg }) => /broken off; it goes on/.test(msg)) &&
      ofRun.some(({ msg }) => /export shop: done/.test(msg)),
    'what was broken off is told with its run, and so is its end',
  );
  t.match(
    lines.find(({ msg }) => /is refused/.test(msg)),
    {
      level: 'error',
      problems: [{ code: 'DR-CONFIG-VALUE', where: { line: Number } }],
    },
  );
  t.match(lines.at(-1), { msg: 'the daemon has ended' });
  const words = told();
  t.ok(words.filter((line) => line.startsWith('READY=1|STATUS=')).length >= 2, 'ready, both times');
  for (const word of ['WATCHDOG=1|', 'RELOADING=1|', 'STOPPING=1|'])
    t.ok(
      words.some((line) => line.startsWith(word)),
      word,
    );
  world.configure(schedules);
  ends(t, 'the turns', await world.run('schedule', 'shop', '--turns'), 0, /export of shop: done \(run /);
});
