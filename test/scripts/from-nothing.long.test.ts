/**
 * From nothing, by the real program: init asks two pools, a person reviews what it wrote, the daemon saves the first recovery
 * point, and its first drill on the clock proves it. Facts are asserted, not screens; nothing depends on how long it takes.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { JournalFiles } from '../../src/adapters/journal/journal-files.ts';
import { SqliteSchedule } from '../../src/adapters/state/sqlite-schedule.ts';
import { loadSettings } from '../../src/config/load.ts';
import type { Operation } from '../../src/domain/plan.ts';
import { foldRun, type Run } from '../../src/domain/run.ts';
import type { Settings } from '../../src/domain/settings.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { calendarKey } from '../../src/schedule/due.ts';
import { readExposition } from '../support/exposition.ts';
import { ends, type Running, World } from './trouble.ts';

// The real program is started a dozen times, on whatever machine this is.
t.setTimeout(600_000);

const secret = 'hush-pool';

/** Two pools, two arrays, and a directory without a configuration. */
class Newcomer {
  readonly world: World;
  readonly file: string;

  private constructor(world: World) {
    this.world = world;
    this.file = join(world.directory, 'mine.yaml');
  }

  static async start(t: Test): Promise<Newcomer> {
    const world = await World.start(t, { guests: { db: 1, app: 0, web: 0 }, saved: false });
    const sample = readFileSync(join(world.directory, 'sites.yaml'), 'utf8');
    const arrays = sample.slice(sample.indexOf('\narrays:'), sample.indexOf('\ngroups:'));
    writeFileSync(join(world.directory, 'arrays.yaml'), arrays);
    return new Newcomer(world);
  }

  run(...words: readonly string[]) {
    return this.world.run('--config', this.file, ...words);
  }

  /** Ends with the test, whatever becomes of it. */
  begin(t: Test, ...words: readonly string[]): Running {
    const running = this.world.begin('--config', this.file, ...words);
    t.teardown(() => running.kill('SIGKILL'));
    return running;
  }

  /** What init must be told where nobody can be asked. */
  given(): string[] {
    return (['production', 'recovery'] as const).flatMap((site) => {
      const { master } = this.world.lab.pool(site);
      return [
        ...[`--${site}`, this.world.lab.url(master)],
        ...[`--${site}-fingerprint`, master.certificate.sha256],
        ...[`--${site}-password`, `command:printf ${secret}`],
      ];
    });
  }

  /** The first run of this kind that has ended, as its journal tells it; a journal may have been begun a moment ago. */
  async ended(operation: Operation): Promise<Run | null> {
    const journals = new JournalFiles(join(this.settings().stateDirectory, 'runs'));
    for (const id of await journals.list()) {
      if (!id.includes(`-${operation}-`)) continue;
      const events = await journals.read(id);
      if (events.at(-1)?.event === 'RunEnded') return foldRun(events);
    }
    return null;
  }

  settings(): Settings {
    return loadSettings(this.file, (path) => readFileSync(path, 'utf8'));
  }

  edit(...changes: readonly (readonly [from: string, to: string])[]): void {
    let text = readFileSync(this.file, 'utf8');
    for (const [from, to] of changes) {
      if (!text.includes(from)) throw new Error(`the file holds no ${from}`);
      text = text.replace(from, to);
    }
    writeFileSync(this.file, text);
  }
}

/** Looks again and again; a daemon that ended is not waited for. */
async function until<T>(daemon: Running, look: () => Promise<T | null>): Promise<T> {
  let over: string | null = null;
  void daemon.ended.then(({ code, said }) => {
    over = `the daemon ended with ${code}: ${said}`;
  });
  for (;;) {
    const seen = await look();
    if (seen !== null) return seen;
    if (over !== null) throw new Error(over);
    await pause(200);
  }
}

function page(url: string): Promise<{ status: number; body: string } | null> {
  return new Promise((resolve) => {
    get(url, { agent: false }, (answer) => {
      let body = '';
      answer.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body }));
    }).on('error', () => resolve(null));
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

t.test('init, review, check, daemon, first recovery point, first drill on the clock', async (t) => {
  const newcomer = await Newcomer.start(t);
  const { world } = newcomer;

  const made = await newcomer.run(
    'init',
    ...newcomer.given(),
    '--arrays',
    join(world.directory, 'arrays.yaml'),
  );
  ends(
    t,
    'init',
    made,
    0,
    /Review it: guesses and promises are marked CHECK/,
    /Next: lifeboat validate, lifeboat doctor/,
  );
  t.equal(statSync(newcomer.file).mode & 0o777, 0o600, 'read by its owner alone');
  const again = await newcomer.run('init', ...newcomer.given());
  ends(t, 'init once more', again, 2, /DR-INIT-EXISTS/);

  const [group] = newcomer.settings().groups;
  if (group === undefined) throw new Error('init proposed no group');
  t.match(
    newcomer.settings().sites.map(({ pool }) => pool.hosts.length),
    [3, 3],
    'every host, from one address',
  );
  t.match(group.storage, [{ sr: 'gold storage', source: { volume: 'gold' }, target: { volume: 'gold' } }]);
  t.match(group.networks, [
    { production: 'Database', recovery: 'Recovery Database', drill: 'Drill Database' },
  ]);

  // The review: what only a person knows.
  const port = await freePort();
  newcomer.edit(
    ['rto: 1h # CHECK', 'rto: 2h # promised'],
    ['      type: directory\n', '      type: directory\n      site: recovery\n'],
    ['  # drill: monthly', '  drill: monthly'],
    ['schedules:\n', `daemon:\n  listen: 127.0.0.1:${port}\n  spread: 1s\n\nschedules:\n`],
  );
  ends(t, 'validate', await newcomer.run('validate'), 0, /mine\.yaml is right/);
  ends(t, 'check before any point', await newcomer.run('check'), 10, /DR-POINT-NONE/);

  let daemon = newcomer.begin(t, 'daemon');
  const point = await until(daemon, () => newcomer.ended('export'));
  t.match(
    { outcome: point.outcome, by: point.by },
    { outcome: 'done', by: 'schedule' },
    'the first point is saved at once',
  );
  const shown = await until(daemon, async () => {
    const answer = await page(`http://127.0.0.1:${port}/metrics`);
    const metrics = answer?.status === 200 ? readExposition(answer.body) : null;
    return metrics?.value('lifeboat_group_rpo_promised_seconds', { group: group.name }) == null
      ? null
      : metrics;
  });
  t.equal(shown.value('lifeboat_group_rto_promised_seconds', { group: group.name }), 7200);
  t.ok(
    (shown.value('lifeboat_job_interval_seconds', { work: 'drill', group: group.name }) ?? 0) > 20 * 86_400,
  );
  t.match(await page(`http://127.0.0.1:${port}/readyz`), { status: 200 });
  daemon.kill('SIGTERM');
  ends(t, 'the daemon, told to end', await daemon.ended, 0);

  // The machine was off over the day of the drill.
  missDrill(newcomer, group.name);
  const before = world.powerStates('production');
  daemon = newcomer.begin(t, 'daemon');
  const drill = await until(daemon, () => newcomer.ended('drill'));
  t.match({ outcome: drill.outcome, by: drill.by }, { outcome: 'done', by: 'schedule' }, drill.summary ?? '');
  daemon.kill('SIGTERM');
  ends(t, 'the daemon, told to end', await daemon.ended, 0);
  t.strictSame(world.powerStates('production'), before, 'production never noticed');
  t.strictSame([...world.powerStates('recovery')], [], 'nothing of the drill is left');

  // How much room this machine has is not what this test is about: a warning is as good.
  const doctor = await newcomer.run('doctor');
  t.ok([0, 3].includes(doctor.code), 'doctor', { said: doctor.said });
  t.match(doctor.said, /database of the pool .*trials passed/);
  const able = await newcomer.run('rehearse');
  t.ok([0, 3].includes(able.code), 'rehearse', { said: able.said });
  t.match(able.said, /Lifeboat could carry out every failover now/);
});

/** The calendar of the drill was answered last two months ago, as after a long sleep. */
function missDrill(newcomer: Newcomer, group: string): void {
  const { daemon, stateDirectory } = newcomer.settings();
  const job = daemon?.jobs.find((each) => each.job === 'drill' && each.group === group);
  if (job === undefined) throw new Error('no drill is scheduled');
  const ledger = new SqliteSchedule(join(stateDirectory, 'state.sqlite'));
  const until = addSeconds(new Date().toISOString(), -62 * 86_400);
  void ledger.anchor({ job: 'drill', group }, { calendar: calendarKey(job.calendar), until });
  ledger.close();
}
