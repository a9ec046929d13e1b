/**
 * Two real filers for tests: `filer.sh` starts each in name spaces of its own, and this keeps hold of them. They end
 * with this process at the latest, however it ends.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const script = join(import.meta.dirname, 'filer.sh');
const programs = {
  zfs: ['zfs-fuse', 'zfs', 'zpool'],
  btrfs: ['mkfs.btrfs', 'btrfs'],
  both: ['sshd', 'ssh', 'ip', 'unshare', 'nsenter', 'flock', 'pgrep'],
} as const;

export type FileSystem = 'zfs' | 'btrfs';

/** Why real filers cannot run here, as a reason to skip; false when they can. Where LIFEBOAT_REAL is set they must. */
export function whyNoFilers(system: FileSystem): string | false {
  if (process.getuid?.() !== 0) return lacking('real filers need root');
  const device = system === 'zfs' ? '/dev/fuse' : '/dev/loop-control';
  if (!usable(device, constants.R_OK)) return lacking(`there is no ${device}`);
  const missing = [...programs[system], ...programs.both].filter((name) => !installed(name));
  return missing.length === 0 ? false : lacking(`not installed: ${missing.join(', ')}`);
}

/** A machine without root or devices cannot be helped; one that only lacks programs has not been set up. */
function lacking(reason: string): string {
  if (process.env['LIFEBOAT_REAL'] !== undefined && reason.startsWith('not installed'))
    throw new Error(`LIFEBOAT_REAL is set and ${reason}`);
  return reason;
}

function usable(path: string, how: number): boolean {
  try {
    accessSync(path, how);
    return true;
  } catch {
    return false;
  }
}

function installed(name: string): boolean {
  return ['/usr/sbin', '/usr/bin', '/sbin', '/bin'].some((place) =>
    usable(join(place, name), constants.X_OK),
  );
}

export interface FilerRig {
  readonly directory: string;
  readonly filers: readonly [RealFiler, RealFiler];
  /** Powers both on and mends every link: the state in which a case begins. */
  ready(): Promise<void>;
  cutLink(): Promise<void>;
  mendLink(): Promise<void>;
  /** Bytes that the replication link has carried, in both directions, since it was last joined. */
  linkBytes(): Promise<number>;
  stop(): Promise<void>;
  /** Processes and logs, for a case that is stuck. */
  report(): string;
}

/** `octet` and `octet + 1` choose networks and interface names; no two rigs on a machine may share them. */
export async function startFilers(system: FileSystem, octet: number): Promise<FilerRig> {
  const directory = mkdtempSync(join(tmpdir(), `filers-${system}-`));
  for (const key of ['operator', 'link', 'stranger'])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', join(directory, key)]);
  const a = new RealFiler(directory, `${system[0]}a${octet}`, octet, system);
  const b = new RealFiler(directory, `${system[0]}b${octet}`, octet + 1, system);
  const rig = new Rig(directory, [a, b]);
  // Also where the runner gives the file up: nothing of it may stay behind.
  process.once('exit', () => rig.stopNow());
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(1));
  try {
    await rig.ready();
  } catch (error) {
    const report = rig.report();
    await rig.stop();
    throw new Error(`the filers did not start\n${report}`, { cause: error });
  }
  return rig;
}

export class RealFiler {
  readonly name: string;
  readonly address: string;
  readonly directory: string;
  readonly #rig: string;
  readonly #octet: number;
  readonly #system: FileSystem;
  #process: ChildProcess | null = null;

  constructor(rig: string, name: string, octet: number, system: FileSystem) {
    this.name = name;
    this.address = `10.77.${octet}.2`;
    this.directory = join(rig, name);
    this.#rig = rig;
    this.#octet = octet;
    this.#system = system;
  }

  get isOn(): boolean {
    return this.#process !== null;
  }

  /** SHA-256 of the host key, as sites.yaml has it. */
  get hostKey(): string {
    const said = execFileSync('ssh-keygen', ['-lf', join(this.directory, 'hostkey.pub')], {
      encoding: 'utf8',
    });
    return said.split(' ')[1]?.replace('SHA256:', '') ?? '';
  }

  /** Where its pool is mounted, as the filer itself sees it. */
  get pool(): string {
    return join(this.directory, 'mnt');
  }

  /** The filer's own file tree, as seen from here: for reading and writing what its hosts would. */
  path(inside: string): string {
    return `/proc/${readFileSync(join(this.directory, 'first'), 'utf8').trim()}/root${inside}`;
  }

  async powerOn(): Promise<void> {
    if (this.#process !== null) return;
    const child = spawn(script, ['up', this.name, String(this.#octet), this.#system], {
      env: { ...process.env, RIG: this.#rig },
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    });
    this.#process = child;
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('exit', () => reject(new Error(`filer ${this.name} did not start`)));
    });
    await this.#answers();
  }

  /** Everything inside dies at once; what was not synced is lost. */
  async powerOff(): Promise<void> {
    const child = this.#process;
    if (child === null) return;
    this.#process = null;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    if (child.exitCode !== null || child.signalCode !== null) return;
    const first = readFileSync(join(this.directory, 'pid'), 'utf8').trim();
    process.kill(Number(first), 'SIGKILL');
    await gone;
    child.stdin?.destroy();
  }

  /** As `powerOff`, for a process that ends: waits for nothing. */
  powerOffNow(): void {
    if (this.#process === null) return;
    this.#process = null;
    process.kill(Number(readFileSync(join(this.directory, 'pid'), 'utf8').trim()), 'SIGKILL');
  }

  async link(state: 'up' | 'down'): Promise<void> {
    await this.#script('link', this.name, state);
  }

  async replicationLink(state: 'up' | 'down'): Promise<void> {
    await this.#script('repl', this.name, state);
  }

  async join(other: RealFiler): Promise<void> {
    await this.#script('join', this.name, other.name);
  }

  /** Runs a program inside; rejects when it fails. */
  async exec(...program: readonly string[]): Promise<string> {
    return this.#script('exec', this.name, ...program);
  }

  log(name: string): string {
    try {
      return readFileSync(join(this.directory, name), 'utf8');
    } catch {
      return '';
    }
  }

  /** Settings that are read by the programs inside through files, such as what the next command shall do wrong. */
  put(name: string, text: string): void {
    writeFileSync(join(this.directory, name), text);
  }

  take(name: string): void {
    rmSync(join(this.directory, name), { force: true });
  }

  async #script(...words: readonly string[]): Promise<string> {
    const { stdout } = await run(script, words, {
      env: { ...process.env, RIG: this.#rig },
      maxBuffer: 64 * 1024 * 1024,
    });
    return stdout;
  }

  async #answers(): Promise<void> {
    await this.#script('answers', this.name, String(this.#octet));
  }
}

class Rig implements FilerRig {
  readonly directory: string;
  readonly filers: readonly [RealFiler, RealFiler];

  constructor(directory: string, filers: readonly [RealFiler, RealFiler]) {
    this.directory = directory;
    this.filers = filers;
  }

  async ready(): Promise<void> {
    const [a, b] = this.filers;
    const wereOn = a.isOn && b.isOn;
    await Promise.all([a.powerOn(), b.powerOn()]);
    await Promise.all([a.link('up'), b.link('up')]);
    if (wereOn) await this.mendLink();
    else await a.join(b);
  }

  async cutLink(): Promise<void> {
    await this.filers[1].replicationLink('down');
  }

  async mendLink(): Promise<void> {
    await Promise.all(this.filers.map((filer) => filer.replicationLink('up')));
  }

  async linkBytes(): Promise<number> {
    const said = await this.filers[0].exec('ip', '-s', '-j', 'link', 'show', 'repl0');
    const [{ stats64 }] = JSON.parse(said) as [{ stats64: { rx: { bytes: number }; tx: { bytes: number } } }];
    return stats64.rx.bytes + stats64.tx.bytes;
  }

  async stop(): Promise<void> {
    await Promise.all(this.filers.map((filer) => filer.powerOff()));
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  stopNow(): void {
    for (const filer of this.filers) filer.powerOffNow();
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  report(): string {
    const processes = execFileSync('ps', ['axfo', 'pid,ppid,stat,etimes,args'], { encoding: 'utf8' });
    const logs = this.filers.flatMap((filer) =>
      ['init.log', 'sshd.log', 'zfs-fuse.log'].map(
        (file) => `== ${filer.name} ${file}\n${tail(filer.log(file))}`,
      ),
    );
    return [processes, ...logs].join('\n');
  }
}

function tail(text: string): string {
  return text.split('\n').slice(-30).join('\n');
}
