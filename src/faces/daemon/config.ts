/** The configuration that is in force: read anew when it changes, refused when it is wrong, and then the old one stays. */
import { dirname, isAbsolute, join } from 'node:path';
import type { App, Programme } from '../../app/app.ts';
import { canonicalJson } from '../../domain/canonical.ts';
import { exitCodes, OperatorError, type Problem } from '../../domain/errors.ts';
import type { Settings } from '../../domain/settings.ts';
import { fieldsOf, problemsOf } from './errors.ts';
import type { Machine } from './machine.ts';

export interface ConfigOptions {
  readonly machine: Machine;
  readonly programme: Pick<Programme, 'open'>;
  readonly file: string;
}

/** An editor writes in several strokes. */
const settleSeconds = 0.5;

export class Config {
  readonly #options: ConfigOptions;
  /** How many are at work with an application; one of earlier settings is closed by the last of them. */
  readonly #users = new Map<App, number>();
  #app: App;
  #problems: readonly Problem[] = [];
  #unwatch: () => void = () => undefined;
  /** One path a line. */
  #watched = '';
  #onChange: (app: App) => Promise<void> = async () => undefined;
  #reloading: Promise<void> = Promise.resolve();
  #waiting = false;
  #closed = false;

  private constructor(options: ConfigOptions, app: App) {
    this.#options = options;
    this.#app = app;
  }

  /** Throws `OperatorError` (exit code 2) when the configuration is wrong: a daemon does not start with that. */
  static async open(options: ConfigOptions): Promise<Config> {
    return new Config(options, await options.programme.open(options.file));
  }

  get app(): App {
    return this.#app;
  }

  /** The application with the settings that are in force now stays open for the work, whatever is reloaded meanwhile. */
  async use<T>(work: (app: App) => Promise<T>): Promise<T> {
    const app = this.#app;
    this.#users.set(app, (this.#users.get(app) ?? 0) + 1);
    try {
      return await work(app);
    } finally {
      this.#users.set(app, (this.#users.get(app) ?? 1) - 1);
      await this.#closeUnused(app);
    }
  }

  get problems(): readonly Problem[] {
    return this.#problems;
  }

  /** Reads the files again when they change, until `close`; `onChange` is told of new settings that are in force. */
  watch(onChange: (app: App) => Promise<void>): void {
    this.#onChange = onChange;
    this.#watchFiles();
  }

  /**
   * A watch that stands is left alone: one that begins anew does not see what changed a moment before. Tells whether it
   * began.
   */
  #watchFiles(): boolean {
    const files = filesOf(this.#app.settings);
    if (files.join('\n') === this.#watched) return false;
    this.#unwatch();
    this.#unwatch = this.#options.machine.watchFiles(files, () => void this.reload());
    this.#watched = files.join('\n');
    return true;
  }

  /** Resolves when the newest configuration is in force or refused. Several calls in a row are one. Never throws. */
  reload(): Promise<void> {
    if (this.#waiting) return this.#reloading;
    this.#waiting = true;
    this.#reloading = this.#reloading.then(async () => {
      await this.#options.machine.sleep(settleSeconds);
      this.#waiting = false;
      await this.#reload();
    });
    return this.#reloading;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#unwatch();
    await this.#reloading;
    await this.#app.close();
  }

  async #closeUnused(app: App): Promise<void> {
    if (app === this.#app || (this.#users.get(app) ?? 0) > 0) return;
    this.#users.delete(app);
    await app.close();
  }

  async #reload(): Promise<void> {
    if (this.#closed) return;
    const { machine, file } = this.#options;
    await machine.tell(['RELOADING=1', 'STATUS=Reading the configuration']);
    try {
      await this.#takeOver();
    } catch (error) {
      this.#problems = problemsOf(error);
      machine.log.error(
        { file, ...fieldsOf(error) },
        'the new configuration is refused; the old one stays in force',
      );
    }
    // Other files are watched from now on, and may have changed since they were read.
    if (!this.#closed && this.#watchFiles()) void this.reload();
    await machine.tell(['READY=1']);
  }

  /** Throws when the newest configuration is refused. */
  async #takeOver(): Promise<void> {
    const { machine, programme, file } = this.#options;
    const before = this.#app;
    const next = await programme.open(file);
    const saysTheSame = canonicalJson(next.settings) === canonicalJson(before.settings);
    if (saysTheSame || next.settings.stateDirectory !== before.settings.stateDirectory) await next.close();
    assertSamePlace(before.settings, next.settings);
    this.#problems = [];
    if (saysTheSame) {
      machine.log.info({ file }, 'the configuration was read again, and says what it said');
      return;
    }
    this.#app = next;
    await this.#closeUnused(before);
    machine.log.info({ file, digest: next.settings.digest }, 'the new configuration is in force');
    await this.#onChange(next);
  }
}

/** Everything that is remembered lies there; a daemon that moved away would forget what it is doing. */
function assertSamePlace(before: Settings, now: Settings): void {
  if (before.stateDirectory === now.stateDirectory) return;
  throw new OperatorError(
    {
      code: 'DR-DAEMON-STATE-MOVED',
      what: '`state` names another directory than the one that this daemon works on',
      where: { file: now.file },
      known: [`it works on ${before.stateDirectory}, and the file names ${now.stateDirectory}`],
      next: 'Stop the daemon, move the directory, and start it again: `systemctl restart lifeboat`',
    },
    { exitCode: exitCodes.usage },
  );
}

function filesOf({ file, groups }: Settings): string[] {
  const plans = groups.flatMap(({ plan }) => (plan.file === null ? [] : [plan.file]));
  return [file, ...new Set(plans.map((plan) => (isAbsolute(plan) ? plan : join(dirname(file), plan))))];
}
