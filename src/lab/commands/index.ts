/** `lifeboat lab ...`: parsed words in, text out, an exit code back. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { extname } from 'node:path';
import { parseArgs } from 'node:util';
import { worlds } from '../world.ts';
import { ask } from './control.ts';
import {
  alive,
  directoryOf,
  forget,
  LabError,
  logOf,
  needState,
  readState,
  runningLabs,
  socketOf,
} from './runtime.ts';
import { serve } from './serve.ts';

export interface LabIo {
  readonly json: boolean;
  out(text: string): void;
  err(text: string): void;
}

const help = `lifeboat lab: a simulated two-site world that speaks XenAPI over TLS on loopback

  lab up [--world demo|recordings] [--name NAME] [--port N] [--storage DIR] [--costs]
                                   start one in the background
  lab down [--name NAME]           stop it
  lab list                         what runs
  lab status [--name NAME]         hosts and VMs of a lab
  lab kill|revive site|host NAME   cut the power, or give it back
  lab kill|revive link ARRAY       cut the replication links of an array, or mend them
  lab write SITE VM TEXT [--disk 0] [--offset 0]
  lab read SITE VM [--bytes 64] [--disk 0] [--offset 0]
                                   what a guest writes to its disk, and reads from it
  lab fault JSON                   make calls fail, e.g. '{"method":"VM.start","nth":3,"effect":{"kind":"lose-answer"}}'
                                   or verbs of an array: '{"array":"array-recovery","verb":"promote","effect":{"kind":"die-halfway"}}'
  lab faults [--clear | --remove ID]
  lab violations                   disks that guests of both sites have written to at once: must be none
  lab calls [--forget]             how often each call was made

Several labs run side by side under different names and ports. --json prints one JSON value.
`;

/** Port of the demo world, which the sample sites.yaml names. */
export const demoPort = 8443;

const options = {
  name: { type: 'string' },
  world: { type: 'string' },
  port: { type: 'string' },
  storage: { type: 'string' },
  costs: { type: 'boolean' },
  json: { type: 'boolean' },
  disk: { type: 'string' },
  offset: { type: 'string' },
  bytes: { type: 'string' },
  clear: { type: 'boolean' },
  remove: { type: 'string' },
  forget: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

type Given = ReturnType<typeof parse>['values'];

function parse(words: readonly string[]) {
  return parseArgs({ args: [...words], options, allowPositionals: true });
}

/** Performs one command; 0 done, 1 failed, 2 wrong usage. */
export async function labCommand(words: readonly string[], io: LabIo): Promise<number> {
  let given: ReturnType<typeof parse>;
  try {
    given = parse(words);
  } catch (error) {
    io.err(`lab: ${error instanceof Error ? error.message : String(error)}\nNext: lifeboat lab --help`);
    return 2;
  }
  const [verb, ...rest] = given.positionals;
  if (verb === undefined || given.values.help === true) {
    io.out(help);
    return given.values.help === true ? 0 : 2;
  }
  try {
    const json = io.json || given.values.json === true;
    return await run(verb, rest, given.values, { ...io, json, out: (t) => io.out(t), err: (t) => io.err(t) });
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    io.err(`lab: ${text}${error instanceof LabError ? `\nNext: ${error.next}` : ''}`);
    return error instanceof LabError ? error.exitCode : 1;
  }
}

async function run(verb: string, rest: readonly string[], given: Given, io: LabIo): Promise<number> {
  const name = given.name ?? 'lab';
  const say = (value: unknown, text: string): number => {
    io.out(io.json ? `${JSON.stringify(value)}\n` : text);
    return 0;
  };
  const control = (request: Parameters<typeof ask>[1]): Promise<unknown> => {
    needState(name);
    return ask(socketOf(name), request);
  };
  const usage = (text: string): number => {
    io.err(`lab: ${text}\nNext: lifeboat lab --help`);
    return 2;
  };
  switch (verb) {
    case 'up':
      return up(name, given, io);
    case 'serve':
      await serve(serveOptions(name, given));
      return 0;
    case 'down':
      return down(name, io);
    case 'list': {
      const labs = runningLabs();
      const lines = labs.map((lab) => `${lab.name}  ${lab.world}  since ${lab.startedAt}  pid ${lab.pid}\n`);
      return say(
        labs.map(({ name, world, pid, startedAt, announcement }) => ({
          name,
          world,
          pid,
          startedAt,
          ...announcement,
        })),
        lines.join('') || 'no lab is running\n',
      );
    }
    case 'status': {
      const status = await control({ verb: 'status' });
      return say(status, statusText(status as PoolStatus[]));
    }
    case 'kill':
    case 'revive': {
      const [what, target] = rest;
      if ((what !== 'site' && what !== 'host' && what !== 'link') || target === undefined)
        return usage(`${verb} needs "site NAME", "host NAME" or "link ARRAY"`);
      await control({ verb, what, name: target });
      return say(
        { [verb]: what, name: target },
        `${what} ${target} ${verb === 'kill' ? 'is dead' : 'is back'}\n`,
      );
    }
    case 'write': {
      const [site, vm, text] = rest;
      if (site === undefined || vm === undefined || text === undefined)
        return usage('write needs SITE VM TEXT');
      const data = Buffer.from(text).toString('base64');
      const bytes = await control({ verb: 'write', site, vm, data, ...place(given) });
      return say({ written: bytes }, `${String(bytes)} bytes written to ${vm} at ${site}\n`);
    }
    case 'read': {
      const [site, vm] = rest;
      if (site === undefined || vm === undefined) return usage('read needs SITE VM');
      const length = Number(given.bytes ?? 64);
      const data = Buffer.from(
        String(await control({ verb: 'read', site, vm, length, ...place(given) })),
        'base64',
      );
      const text = data.toString().replace(/\0+$/, '');
      return say({ text, base64: data.toString('base64') }, `${text}\n`);
    }
    case 'fault': {
      const [rule] = rest;
      if (rule === undefined) return usage('fault needs a rule in JSON');
      const id = await control({ verb: 'fault', rule: JSON.parse(rule) as unknown });
      return say({ id }, `fault ${String(id)} is in force\n`);
    }
    case 'faults': {
      if (given.clear === true) await control({ verb: 'clear-faults' });
      if (given.remove !== undefined && (await control({ verb: 'remove-fault', id: given.remove })) !== true)
        throw new LabError(`no fault has the id ${given.remove}`, 'see `lifeboat lab faults`');
      const faults = await control({ verb: 'faults' });
      const lines = (faults as unknown[]).map((fault) => `${JSON.stringify(fault)}\n`);
      return say(faults, lines.join('') || 'no fault is in force\n');
    }
    case 'violations': {
      const violations = (await control({ verb: 'violations' })) as { vdi: string; writers: string[] }[];
      const lines = violations.map(({ vdi, writers }) => `${vdi}: ${writers.join(', ')}\n`);
      return say(violations, lines.join('') || 'no disk has two writers\n');
    }
    case 'calls': {
      if (given.forget === true) await control({ verb: 'forget-calls' });
      const calls = (await control({ verb: 'calls' })) as Record<string, number>;
      const lines = Object.entries(calls).map(([call, count]) => `${String(count).padStart(7)}  ${call}\n`);
      return say(calls, lines.join(''));
    }
    default:
      return usage(`there is no verb ${verb}`);
  }
}

const place = (given: Given): { disk: string; offset: number } => ({
  disk: given.disk ?? '0',
  offset: Number(given.offset ?? 0),
});

function serveOptions(name: string, given: Given): Parameters<typeof serve>[0] {
  const world = given.world ?? 'demo';
  if (!Object.hasOwn(worlds, world))
    throw new LabError(`there is no world ${world}`, `choose one of ${Object.keys(worlds).join(', ')}`, 2);
  const port = Number(given.port ?? (world === 'demo' ? demoPort : 0));
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new LabError(`${String(given.port)} is no port`, 'give a number from 1 to 65535', 2);
  return { name, world, port, storage: given.storage ?? null, costs: given.costs === true };
}

/** How long the background process may take until it listens. */
const startSeconds = 60;

async function up(name: string, given: Given, io: LabIo): Promise<number> {
  const asked = serveOptions(name, given);
  const running = readState(name);
  if (running !== null)
    throw new LabError(
      `a lab called ${name} is running (pid ${running.pid})`,
      'stop it with `lifeboat lab down`, or choose another --name',
    );
  forget(name);
  mkdirSync(directoryOf(name), { recursive: true, mode: 0o700 });
  const log = openSync(logOf(name), 'a', 0o600);
  const main = new URL(`../main${extname(import.meta.url)}`, import.meta.url).pathname;
  const words = ['serve', '--name', name, '--world', asked.world, '--port', String(asked.port)];
  if (asked.storage !== null) words.push('--storage', asked.storage);
  if (asked.costs) words.push('--costs');
  const child = spawn(process.execPath, [main, ...words], { detached: true, stdio: ['ignore', log, log] });
  let exited = false;
  child.once('exit', () => {
    exited = true;
  });
  const deadline = Date.now() + startSeconds * 1000;
  for (;;) {
    const state = readState(name);
    if (state !== null) {
      child.unref();
      io.out(io.json ? `${JSON.stringify(state.announcement)}\n` : upText(name, state.announcement));
      return 0;
    }
    if (exited || Date.now() > deadline) {
      const text = existsSync(logOf(name)) ? readFileSync(logOf(name), 'utf8').trim() : '';
      if (!exited) child.kill();
      rmSync(directoryOf(name), { recursive: true, force: true });
      throw new LabError(
        `the lab did not start: ${text.split('\n').at(0) ?? 'no reason given'}`,
        /EADDRINUSE/.test(text)
          ? `something else listens on port ${asked.port}: choose another with --port`
          : 'run `lifeboat lab serve` in the foreground to see why',
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function upText(
  name: string,
  lab: {
    hosts: readonly { name: string; pool: string; url: string; fingerprint: string }[];
    storage: string;
    pools: Readonly<Record<string, { username: string; password: string }>>;
  },
): string {
  const lines = [`lab ${name} is up`];
  for (const host of lab.hosts)
    lines.push(`  ${host.pool.padEnd(11)} ${host.name.padEnd(8)} ${host.url}  SHA-256 ${host.fingerprint}`);
  const [first] = Object.values(lab.pools);
  if (first !== undefined) lines.push(`  user ${first.username}, password ${first.password}`);
  lines.push(`  storage ${lab.storage}`);
  return `${lines.join('\n')}\n`;
}

async function down(name: string, io: LabIo): Promise<number> {
  const state = needState(name);
  await ask(socketOf(name), { verb: 'stop' });
  const deadline = Date.now() + 10_000;
  while (alive(state.pid) && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
  if (alive(state.pid))
    throw new LabError(`lab ${name} does not stop (pid ${state.pid})`, `kill ${state.pid}`);
  forget(name);
  io.out(io.json ? `${JSON.stringify({ down: name })}\n` : `lab ${name} is down\n`);
  return 0;
}

interface PoolStatus {
  readonly pool: string;
  readonly site: string;
  readonly hosts: readonly { name: string; address: string; up: boolean; master: boolean }[];
  readonly vms: Readonly<Record<string, number>>;
}

function statusText(pools: readonly PoolStatus[]): string {
  const lines: string[] = [];
  for (const pool of pools) {
    const vms = Object.entries(pool.vms).map(([state, count]) => `${count} ${state}`);
    lines.push(`pool ${pool.pool} at site ${pool.site}: ${vms.join(', ') || 'no VM'}`);
    for (const host of pool.hosts)
      lines.push(
        `  ${host.name.padEnd(8)} ${host.address.padEnd(12)} ${host.up ? 'up' : 'dead'}${host.master ? ', master' : ''}`,
      );
  }
  return `${lines.join('\n')}\n`;
}
