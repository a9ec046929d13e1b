/**
 * A world to break: the demo lab in this process on a free port, a configuration of its own in a temporary directory,
 * and the real program as a child process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { JournalFiles } from '../../src/adapters/journal/journal-files.ts';
import { foldRun, type Run } from '../../src/domain/run.ts';
import { demoOf } from '../../src/lab/demo.ts';
import type { FaultInput } from '../../src/lab/faults/rule.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Words of their own, so that they can be looked for in everything that is printed or kept. */
const poolSecret = 'hush-pool';
const arraySecret = `${poolSecret}-array`;

export interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** Both streams, with line breaks and indents folded: sentences are looked for in it. */
  readonly said: string;
}

export class World {
  readonly lab: Lab;
  readonly directory: string;
  readonly #t: Test;
  readonly #sample: string;
  readonly #begun: Running[] = [];

  private constructor(t: Test, lab: Lab, directory: string, sample: string) {
    this.#t = t;
    this.lab = lab;
    this.directory = directory;
    this.#sample = sample;
  }

  static async start(
    t: Test,
    options: {
      readonly saved?: boolean;
      readonly guests?: Readonly<Record<string, number>>;
      readonly storage?: Parameters<typeof demoOf>[2];
      readonly products?: Parameters<typeof demoOf>[3];
    } = {},
  ): Promise<World> {
    const directory = mkdtempSync(join(tmpdir(), 'lifeboat-trouble-'));
    const lab = await startLab({
      world: (made) => demoOf(made, options.guests ?? {}, options.storage, options.products),
      storage: join(directory, 'lab'),
      port: await freePort(),
      credentials: { username: 'root', password: poolSecret },
    });
    t.teardown(async () => {
      world.#leaveNothing();
      await lab.stop();
      rmSync(directory, { recursive: true, force: true });
    });
    const sample = readFileSync(join(root, 'sites.yaml'), 'utf8')
      .replaceAll(':8443', `:${lab.port}`)
      .replaceAll('[printf, lifeboat-lab]', `[printf, ${poolSecret}]`)
      .replaceAll('[printf, lifeboat-lab-array]', `[printf, ${arraySecret}]`);
    const world = new World(t, lab, directory, sample);
    cpSync(join(root, 'runbooks', 'shop.yaml'), join(directory, 'runbooks', 'shop.yaml'), {
      recursive: true,
    });
    world.configure();
    if (options.saved !== false) {
      const saved = await world.run('export', 'shop');
      if (saved.code !== 0) throw new Error(saved.said);
    }
    return world;
  }

  /** Writes sites.yaml: the sample of the repository, changed or as it is. Every change must find its text. */
  configure(...changes: readonly (readonly [from: string | RegExp, to: string])[]): void {
    let text = this.#sample;
    for (const [from, to] of changes) {
      const changed = text.replace(from, to);
      if (changed === text) throw new Error(`sites.yaml holds no ${String(from)}`);
      text = changed;
    }
    writeFileSync(join(this.directory, 'sites.yaml'), text);
  }

  /** Changes the recovery plan of the group. */
  plan(from: string | RegExp, to: string): void {
    const file = join(this.directory, 'runbooks', 'shop.yaml');
    writeFileSync(file, readFileSync(file, 'utf8').replace(from, to));
  }

  /** The whole program, to its end. What every answer must keep to is checked here. */
  async run(...words: readonly string[]): Promise<Result> {
    return this.begin(...words).ended;
  }

  begin(...words: readonly string[]): Running {
    const child = spawn(
      join(root, 'bin', 'lifeboat'),
      ['--config', join(this.directory, 'sites.yaml'), ...words],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        // A cache of compiled code: this world starts the program dozens of times.
        env: {
          ...process.env,
          NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? join(this.directory, 'compiled'),
        },
      },
    );
    const running = new Running(child, (result) => this.#keepsTo(words, result));
    this.#begun.push(running);
    return running;
  }

  /** A test that failed half way leaves no daemon behind; of those that have ended nothing is killed. */
  #leaveNothing(): void {
    for (const running of this.#begun) running.kill('SIGKILL');
  }

  #keepsTo(words: readonly string[], { out, err, said }: Result): void {
    const what = `lifeboat ${words.join(' ')}`;
    const traces = [...out.split('\n'), ...err.split('\n')].filter((line) =>
      /^\s+at .+:\d+:\d+\)?$/.test(line),
    );
    if (traces.length > 0) this.#t.fail(`${what}: shows a stack trace`, { said });
    if (said.includes(poolSecret)) this.#t.fail(`${what}: shows a secret`, { said });
  }

  fault(fault: FaultInput): Promise<string> {
    return this.lab.faults.add(fault);
  }

  killProduction(): Promise<void> | void {
    return this.lab.killSite('production');
  }

  /** VMs of a pool by name with their power states. */
  powerStates(pool: 'production' | 'recovery'): Map<string, string> {
    return new Map(
      this.lab
        .pool(pool)
        .db.all('VM')
        .filter(
          (vm) => !vm.bool('is_a_template') && !vm.bool('is_control_domain') && !vm.bool('is_a_snapshot'),
        )
        .map((vm) => [vm.text('name_label'), vm.text('power_state')]),
    );
  }

  running(pool: 'production' | 'recovery'): string[] {
    return [...this.powerStates(pool)]
      .filter(([, state]) => state === 'Running')
      .map(([name]) => name)
      .sort();
  }

  /** Every run as its journal tells it, oldest first; reading checks the chain of hashes. */
  async runs(): Promise<Run[]> {
    const journals = new JournalFiles(join(this.directory, '.lifeboat', 'runs'));
    const found: Run[] = [];
    for (const id of [...(await journals.list())].sort()) {
      const events = await journals.read(id);
      if (JSON.stringify(events).includes(poolSecret)) this.#t.fail(`the journal of ${id} holds a secret`);
      found.push(foldRun(events));
    }
    return found;
  }
}

export class Running {
  readonly ended: Promise<Result>;
  readonly #child: ChildProcess;
  #out = '';
  #err = '';
  #listeners: (() => void)[] = [];

  constructor(child: ChildProcess, judge: (result: Result) => void) {
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#out += text;
      for (const listener of this.#listeners) listener();
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#err += text;
    });
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => {
        const result = {
          code: code ?? -1,
          out: this.#out,
          err: this.#err,
          said: `${this.#out}\n${this.#err}`.replace(/\s+/g, ' '),
        };
        judge(result);
        resolve(result);
        for (const listener of this.#listeners) listener();
      });
    });
  }

  /** Resolves when the program has printed this; rejects when it ends without. */
  async says(pattern: RegExp): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (pattern.test(this.#out)) resolve();
        else if (this.#child.exitCode !== null)
          reject(new Error(`never said ${String(pattern)}: ${this.#out}${this.#err}`));
      };
      this.#listeners = [...this.#listeners, look];
      look();
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

/** A port that is free on the addresses of the lab; its hosts differ by address. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.1.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** What the on-call engineer types. */
export const failover = ['failover', 'shop', '--yes', 'recovery'] as const;

export function ends(t: Test, what: string, result: Result, code: number, ...words: readonly RegExp[]): void {
  t.equal(result.code, code, `${what}: exit code`, result.code === code ? {} : { said: result.said });
  for (const pattern of words) t.match(result.said, pattern, `${what}: ${pattern.source}`);
}
