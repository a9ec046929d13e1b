/** What becomes of programs that do not keep to docs/command-adapter.md, and what they are given to know. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openCommandArray } from '../../../src/adapters/replication/command/command-array.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import { OperatorError } from '../../../src/domain/errors.ts';
import { promotionConfirmation } from '../../../src/domain/replication.ts';
import type { Replication } from '../../../src/ports/replication.ts';
import { failureOf } from './failure.ts';

const secret = 'correct-horse';

interface Given {
  readonly peers?: Parameters<typeof openCommandArray>[1]['peers'];
  readonly arguments?: readonly string[];
  readonly readSeconds?: number;
  readonly writeSeconds?: number;
}

function arrayOf(test: Test, body: string, given: Given = {}): { array: Replication; directory: string } {
  const directory = test.testdir({});
  const program = join(directory, 'array.sh');
  writeFileSync(program, `#!/usr/bin/env bash\n${body}\n`);
  chmodSync(program, 0o755);
  const array = openCommandArray(
    {
      name: 'filer',
      site: 'tokyo',
      type: 'command',
      options: {
        program_file: program,
        arguments: [...(given.arguments ?? [directory])],
        read_seconds: given.readSeconds ?? 60,
        write_seconds: given.writeSeconds ?? 60,
      },
      secret: { from: 'env', name: 'ARRAY_SECRET' },
    },
    {
      secrets: { resolve: () => Promise.resolve(secret) },
      clock: systemClock,
      peers: given.peers ?? new Map(),
    },
  );
  test.teardown(() => array.close());
  return { array, directory };
}

const capable = `request=$(cat)
if [[ $request == *'"verb":"capabilities"'* ]]; then echo '{"fence":true}'; exit 0; fi`;

t.test('the secret is on stdin alone, and our environment stays ours', async (t) => {
  process.env['LIFEBOAT_TEST_PASSWORD'] = secret;
  t.teardown(() => delete process.env['LIFEBOAT_TEST_PASSWORD']);
  const { array, directory } = arrayOf(
    t,
    `cat >"$1/stdin"; env >"$1/env"; tr '\\0' ' ' <"/proc/$$/cmdline" >"$1/argv"
     echo '{"vendor":"v","model":"m","serial":"s","clock":"2026-01-31T03:00:00+01:00"}'`,
  );
  t.match(await array.identify(), { serial: 's', clock: '2026-01-31T02:00:00.000Z' });
  const request = JSON.parse(readFileSync(join(directory, 'stdin'), 'utf8')) as Record<string, unknown>;
  t.match(request, { contract: 1, verb: 'identify', array: 'filer', timeoutSeconds: 60, secret });
  for (const file of ['env', 'argv']) t.notMatch(readFileSync(join(directory, file), 'utf8'), secret);
});

t.test('each exit code has its meaning, and the words of the array stand beside ours', async (t) => {
  const kinds = [
    [20, 'busy', 'busy'],
    [30, 'refused', 'wrong-state'],
    [40, 'refused', 'refused'],
    [44, 'refused', 'not-found'],
    [45, 'auth', 'auth'],
    [46, 'trust', 'trust'],
    [50, 'refused', 'unsupported'],
    [60, 'unreachable', 'unreachable'],
  ] as const;
  for (const [code, kind, peerCode] of kinds) {
    const { array } = arrayOf(t, `${capable}\necho "pool is ${secret}" >&2; exit ${code}`);
    const error = await failureOf(array.fence('tank'));
    t.same([error.kind, error.peerCode, error.peerParams], [kind, peerCode, ['pool is ***']], `exit ${code}`);
  }
  const { array } = arrayOf(t, `${capable}\nexit 10`);
  await array.fence('tank');
});

t.test('a program that breaks off leaves a write unknown, and a read without an answer', async (t) => {
  for (const end of ['exit 1', 'kill -9 $$', 'echo "not json"; exit 0']) {
    const { array } = arrayOf(t, `${capable}\n${end}`);
    t.match(await failureOf(array.observe('tank')), { kind: 'protocol' }, `reading: ${end}`);
    t.match(await failureOf(array.fence('tank')), { kind: 'outcome-unknown' }, `writing: ${end}`);
  }
});

t.test('a program that hangs is killed with all that it started', async (t) => {
  const hangs = `${capable}\nsleep 600 & echo $! >"$1/child"; wait`;
  const { array, directory } = arrayOf(t, hangs, { writeSeconds: 3, readSeconds: 60 });
  const error = await failureOf(array.fence('tank'));
  t.match(error, { kind: 'outcome-unknown', problem: { code: 'DR-ARRAY-OUTCOME-UNKNOWN' } });
  t.match(error.problem.known?.[0], /killed after 3 s/);
  if (existsSync(join(directory, 'child')))
    t.ok(await isGone(Number(readFileSync(join(directory, 'child'), 'utf8'))), 'its child is gone');
});

async function isGone(pid: number): Promise<boolean> {
  for (let looks = 0; looks < 400; looks += 1) {
    // A process that nobody waits for stays as a zombie: it does nothing any more.
    const stat = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : ') Z';
    if (/\) [ZX]/.test(stat)) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}

t.test('a program that never stops talking is ended', async (t) => {
  const { array } = arrayOf(t, 'yes');
  t.match(await failureOf(array.identify()), { kind: 'protocol', problem: { known: [/too long/] } });
});

t.test('a program that is not there, or not to be executed, is told by its name', async (t) => {
  const { array, directory } = arrayOf(t, 'exit 0');
  chmodSync(join(directory, 'array.sh'), 0o644);
  const error = await failureOf(array.identify());
  t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-PROGRAM', known: [/not executable/] } });
  t.match(error.message, /array\.sh/);
});

t.test('arguments reach the program as they are written', async (t) => {
  const odd = '$(touch hacked); `id` "quoted"';
  const { array } = arrayOf(t, `cat >/dev/null; printf '%s' "$1" >"$2/argument"\necho '{"pairs":[]}'`, {
    arguments: [odd, t.testdirName],
  });
  t.same(await array.discover(), []);
  t.equal(readFileSync(join(t.testdirName, 'argument'), 'utf8'), odd);
});

t.test('what a program does not say is unknown, never healthy', async (t) => {
  const { array } = arrayOf(t, `cat >/dev/null; echo '{"volumes":{"tank":{"role":"target"}}}'`);
  t.match(await array.observe('tank'), {
    health: { level: 'unknown' },
    link: 'unknown',
    writable: 'unknown',
    newestComplete: null,
    reportedLagSeconds: null,
  });
});

t.test('what is not among the capabilities is not sent', async (t) => {
  const { array, directory } = arrayOf(t, `${capable}\ntouch "$1/asked"; echo '{}'`);
  const point = 'p1';
  for (const work of [
    () => array.syncNow('tank', 'lb-1'),
    () => array.prepare('tank', 'lb-1'),
    () => array.drillStart('tank', { drill: 'd', point, access: { addresses: [], iqns: [] } }),
    () => array.expose('tank', { addresses: [], iqns: [] }),
  ])
    t.match(await failureOf(work()), { kind: 'refused', peerCode: 'unsupported' });
  const wrong = { mode: 'unplanned' as const, point, confirm: promotionConfirmation('other', point) };
  t.match(await failureOf(array.promote('tank', wrong)), { problem: { code: 'DR-ARRAY-CONFIRM' } });
  t.notOk(existsSync(join(directory, 'asked')));
});

t.test('options that do not fit are told before anything is called', async (t) => {
  const settings = { name: 'filer', site: 'tokyo', type: 'command', secret: null };
  const around = {
    secrets: { resolve: () => Promise.resolve('') },
    clock: systemClock,
    peers: new Map(),
  };
  t.throws(() => openCommandArray({ ...settings, options: { program: 'x' } }, around), OperatorError);
});

t.test('a program is told which volumes are to be of one moment', async (t) => {
  const other = {
    name: 'filer-osaka',
    site: 'osaka',
    type: 'command',
    options: { program_file: '/bin/false' },
    secret: null,
  };
  const pair = (volume: string) => ({
    array: other,
    volume,
    consistencyGroup: { here: 'shop-copy', there: 'shop' },
  });
  const peers: NonNullable<Given['peers']> = new Map<
    string,
    ReturnType<typeof pair> | { array: typeof other; volume: string }
  >([
    ['log-copy', pair('log')],
    ['data-copy', pair('data')],
    ['alone-copy', { array: other, volume: 'alone' }],
  ]);
  const body = `cat >"$1/stdin"; echo '{"points":[]}'`;
  const { array, directory } = arrayOf(t, body, { peers });
  const asked = async (volume: string): Promise<Record<string, unknown>> => {
    await array.points(volume);
    return JSON.parse(readFileSync(join(directory, 'stdin'), 'utf8')) as Record<string, unknown>;
  };
  t.match(await asked('data-copy'), {
    volume: 'data-copy',
    consistencyGroup: 'shop-copy',
    groupVolumes: ['log-copy', 'data-copy'],
  });
  t.notOk('consistencyGroup' in (await asked('alone-copy')));
});
