/**
 * The main job, before your eyes: two sites come up on loopback, 24 VMs are protected, data is written into their disks,
 * the production site dies, and the group comes up at the recovery site. Every claim is checked, the last ones through a
 * XenAPI client that is not ours; exit code 0 means that all of it held.
 *
 *     make demo
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const root = join(import.meta.dirname, '../..');
const lifeboat = join(root, 'bin/lifeboat');
const colour = process.stdout.isTTY === true && !process.env['NO_COLOR'];
const paint = (code: number, text: string): string => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);

const started = performance.now();
const checks: { readonly what: string; readonly ok: boolean; readonly seen: string }[] = [];

function tell(title: string, text: string): void {
  console.log(`\n${paint(1, `— ${title} —`)}\n${text}\n`);
}

function check(what: string, ok: boolean, seen = ''): void {
  checks.push({ what, ok, seen });
  console.log(`  ${ok ? paint(32, '✓') : paint(31, '✗')} ${what}${!ok && seen ? `: ${seen}` : ''}`);
}

interface World {
  readonly directory: string;
  readonly lab: string;
  readonly port: number;
  readonly env: NodeJS.ProcessEnv;
}

/** A copy of the sample configuration beside its state, on a port of our own: the demo leaves nothing behind. */
async function setUp(): Promise<World> {
  const directory = mkdtempSync(join(tmpdir(), 'lifeboat-demo-'));
  const port = await freePort();
  const sample = readFileSync(join(root, 'sites.yaml'), 'utf8');
  writeFileSync(join(directory, 'sites.yaml'), sample.replaceAll(':8443', `:${port}`));
  cpSync(join(root, 'runbooks'), join(directory, 'runbooks'), { recursive: true });
  return {
    directory,
    port,
    lab: `demo-${process.pid}`,
    env: { ...process.env, LIFEBOAT_LAB_DIR: join(directory, 'lab') },
  };
}

/** A port that is free on the addresses of the lab; the hosts differ by address. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.1.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

interface Result {
  readonly code: number;
  readonly out: string;
}

/** Runs the program as a person would; shows the command and what it prints, unless `quiet`. */
async function run(
  world: World,
  words: readonly string[],
  options: { quiet?: boolean; show?: string } = {},
): Promise<Result> {
  if (options.quiet !== true)
    console.log(paint(36, `$ lifeboat ${options.show ?? words.map(quoted).join(' ')}`));
  const live = options.quiet !== true;
  const child = spawn(lifeboat, words, {
    cwd: world.directory,
    env: world.env,
    // On a terminal the live view of a run is drawn there; it needs the terminal itself.
    stdio: ['ignore', live && process.stdout.isTTY ? 'inherit' : 'pipe', live ? 'inherit' : 'pipe'],
  });
  let out = '';
  child.stdout?.on('data', (piece: Buffer) => {
    out += piece.toString();
    if (live) process.stdout.write(piece);
  });
  child.stderr?.on('data', (piece: Buffer) => {
    out += piece.toString();
  });
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve(status ?? 1));
  });
  return { code, out };
}

const quoted = (word: string): string => (/^[\w./:=-]+$/.test(word) ? word : `"${word}"`);

interface StatusJson {
  readonly groups: readonly {
    readonly phase: string;
    readonly activeSite: string;
    readonly point: { readonly takenAt: string } | null;
    readonly replicas: readonly { readonly point: { readonly takenAt: string } | null }[];
  }[];
}

async function statusOf(world: World): Promise<StatusJson> {
  const { out } = await run(world, ['--json', 'status', 'shop'], { quiet: true });
  return JSON.parse(out.slice(out.indexOf('{'))) as StatusJson;
}

interface ForeignClient {
  connect(): Promise<void>;
  call(method: string, ...params: readonly unknown[]): Promise<unknown>;
  disconnect(): Promise<void>;
}

/** xen-api brings no types. */
async function foreignClient(options: object): Promise<ForeignClient> {
  const name: string = 'xen-api';
  const { createClient } = (await import(name)) as { createClient(options: object): ForeignClient };
  return createClient(options);
}

type Records = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** What a client that is not ours sees in the recovery pool. */
async function look(
  port: number,
): Promise<{ vms: Records; vifs: Records; networks: Records; metrics: Records }> {
  const client = await foreignClient({
    url: `https://127.0.2.1:${port}`,
    auth: { user: 'root', password: 'lifeboat-lab' },
    allowUnauthorized: true,
    watchEvents: false,
  });
  await client.connect();
  try {
    const all = async (cls: string): Promise<Records> =>
      (await client.call(`${cls}.get_all_records`)) as Records;
    const [vms, vifs, networks, metrics] = [
      await all('VM'),
      await all('VIF'),
      await all('network'),
      await all('VM_metrics'),
    ];
    return { vms, vifs, networks, metrics };
  } finally {
    await client.disconnect();
  }
}

const names = [
  ...['01', '02', '03', '04'].map((n) => `db-${n}`),
  ...Array.from({ length: 8 }, (_, i) => `app-${String(i + 1).padStart(2, '0')}`),
  ...Array.from({ length: 12 }, (_, i) => `web-${String(i + 1).padStart(2, '0')}`),
];
const networkOf: Readonly<Record<string, string>> = {
  db: 'Recovery Database',
  app: 'Recovery LAN',
  web: 'Recovery DMZ',
};
const roleOf = (name: string): string => name.split('-')[0] ?? '';

async function story(world: World): Promise<void> {
  const lab = ['--name', world.lab];

  tell(
    '1. Two sites',
    'Each with three hosts and an array, simulated on loopback. 24 VMs run at production, on two SRs.',
  );
  const up = await run(world, ['lab', 'up', ...lab, '--port', String(world.port)]);
  if (up.code !== 0) throw new Error('the lab did not start');

  tell(
    '2. Protected',
    'An export saves the metadata of the group into the encrypted catalog and reads it back.',
  );
  const saved = await run(world, ['export', 'shop']);
  check('the export is done', saved.code === 0, `exit code ${saved.code}`);

  tell(
    '3. Work goes on',
    'Every guest writes something to its disk, and the array replicates it on its own schedule.',
  );
  const written = new Date().toISOString();
  const text = (name: string): string => `order book of ${name}, written at ${written}`;
  for (const name of names) {
    const show = name === names[0];
    await run(world, ['lab', 'write', 'production', name, text(name), ...lab], { quiet: !show });
  }
  console.log(`  … and 23 more`);
  const lastWrite = Date.now();
  let replicated = false;
  for (let tries = 0; tries < 60 && !replicated; tries += 1) {
    const [group] = (await statusOf(world)).groups;
    const points = group?.replicas.map((replica) => Date.parse(replica.point?.takenAt ?? '')) ?? [];
    replicated = points.length > 0 && points.every((takenAt) => takenAt > lastWrite);
    if (!replicated) await sleep(500);
  }
  check('the replica holds a point that is newer than the data', replicated);
  await run(world, ['status', 'shop']);

  tell('4. The disaster', 'All of production goes dark: hosts, array, network.');
  await run(world, ['lab', 'kill', 'site', 'production', ...lab]);

  tell(
    '5. The failover',
    'One command. A person would type the name of the site; a script says it with --yes.',
  );
  const moved = await run(world, ['failover', 'shop', '--yes', 'recovery']);
  check('the failover is done', moved.code === 0, `exit code ${moved.code}`);

  tell('6. Is it true?', 'Looked at through another XenAPI client, and through the eyes of the guests.');
  const { vms, vifs, networks, metrics } = await look(world.port);
  const here = Object.values(vms).filter((vm) => names.includes(String(vm['name_label'])));
  const running = here.filter((vm) => vm['power_state'] === 'Running').map((vm) => String(vm['name_label']));
  check(
    'all 24 VMs run at the recovery site, each once',
    running.length === 24 && new Set(running).size === 24,
    running.join(' '),
  );
  const astray = Object.values(vifs).filter((vif) => {
    const name = String(vms[String(vif['VM'])]?.['name_label']);
    return (
      names.includes(name) && networks[String(vif['network'])]?.['name_label'] !== networkOf[roleOf(name)]
    );
  });
  check('every network card is on the mapped network', astray.length === 0 && Object.keys(vifs).length >= 24);
  const startOf = (role: string): number[] =>
    here
      .filter((vm) => roleOf(String(vm['name_label'])) === role)
      .map((vm) => Date.parse(isoOf(String(metrics[String(vm['metrics'])]?.['start_time']))));
  const inOrder = (earlier: string, later: string): boolean =>
    Math.max(...startOf(earlier)) <= Math.min(...startOf(later));
  check(
    'databases started before applications, applications before web servers',
    inOrder('db', 'app') && inOrder('app', 'web'),
  );
  let same = 0;
  for (const name of names) {
    const { out } = await run(world, ['--json', 'lab', 'read', 'recovery', name, '--bytes', '200', ...lab], {
      quiet: true,
    });
    if ((JSON.parse(out) as { text: string }).text === text(name)) same += 1;
  }
  check(
    'the data that was written at production is read back by all 24 guests',
    same === 24,
    `${same} of 24`,
  );
  const { out: violations } = await run(world, ['--json', 'lab', 'violations', ...lab], { quiet: true });
  check('no disk ever had writers at both sites', violations.trim() === '[]', violations.trim());
  const [group] = (await statusOf(world)).groups;
  check(
    'the group knows that it runs at the recovery site',
    group?.phase === 'failed-over' && group.activeSite === 'recovery',
  );

  tell('7. The report', 'What an auditor gets; also as HTML, with `lifeboat run report latest FILE`.');
  const report = await run(world, ['run', 'show', 'latest']);
  check('the report is there', report.code === 0, `exit code ${report.code}`);
}

/** XenAPI writes dates without hyphens: `20260131T02:30:05Z`. */
const isoOf = (text: string): string => text.replace(/^(\d{4})(\d\d)(\d\d)T/, '$1-$2-$3T');

const world = await setUp();
let failure: unknown = null;
try {
  await story(world);
} catch (error) {
  failure = error;
} finally {
  const down = await run(world, ['lab', 'down', '--name', world.lab], { quiet: true });
  rmSync(world.directory, { recursive: true, force: true });
  check('everything is taken down', down.code === 0, down.out.trim());
}

const failed = checks.filter((c) => !c.ok);
const seconds = Math.round((performance.now() - started) / 1000);
if (failure !== null)
  console.error(`\nThe demo broke off: ${failure instanceof Error ? failure.message : String(failure)}`);
console.log(`\n${checks.length - failed.length} of ${checks.length} checks held, in ${seconds} s.`);
for (const { what, seen } of failed) console.log(`  did not hold: ${what}${seen ? ` (${seen})` : ''}`);
process.exitCode = failure === null && failed.length === 0 ? 0 : 1;
