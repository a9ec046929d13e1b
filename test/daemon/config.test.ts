/** The configuration of a daemon that runs: which application is in force, and when one of earlier settings is closed. */
import t from 'tap';
import type { App } from '../../src/app/app.ts';
import { OperatorError } from '../../src/domain/errors.ts';
import type { Settings } from '../../src/domain/settings.ts';
import { Config } from '../../src/faces/daemon/config.ts';
import type { Machine } from '../../src/faces/daemon/machine.ts';
import { settings } from '../scripts/fake.ts';

class Reloads {
  readonly open = new Set<string>();
  readonly told: string[] = [];
  #written: Settings | OperatorError = { ...settings, digest: 'first' };
  #opened = 0;

  /** What the file says from now on. */
  write(next: Partial<Settings> | OperatorError): void {
    this.#written = next instanceof OperatorError ? next : { ...settings, ...next };
  }

  get opened(): number {
    return this.#opened;
  }

  config(): Promise<Config> {
    const machine = {
      sleep: async () => undefined,
      tell: async (variables: readonly string[]) => void this.told.push(...variables),
      watchFiles: () => () => undefined,
      log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    } as unknown as Machine;
    return Config.open({ machine, programme: { open: async () => this.#app() }, file: 'sites.yaml' });
  }

  #app(): App {
    if (this.#written instanceof OperatorError) throw this.#written;
    this.#opened += 1;
    const name = `${this.#opened} ${this.#written.digest}`;
    this.open.add(name);
    const close = async (): Promise<void> => void this.open.delete(name);
    return { settings: this.#written, close } as unknown as App;
  }
}

t.test('every application is closed, whatever becomes of its settings', async (t) => {
  const reloads = new Reloads();
  const config = await reloads.config();
  await config.reload();
  t.strictSame([...reloads.open], ['1 first'], 'the same settings again');

  reloads.write({ digest: 'moved', stateDirectory: '/elsewhere' });
  await config.reload();
  t.match(config.problems, [{ code: 'DR-DAEMON-STATE-MOVED' }]);
  t.strictSame([...reloads.open], ['1 first'], 'settings that are refused');

  reloads.write(new OperatorError({ code: 'DR-CONFIG-VALUE', what: 'wrong', next: 'correct it' }));
  await config.reload();
  t.match(config.problems, [{ code: 'DR-CONFIG-VALUE' }]);
  t.equal(config.app.settings.digest, 'first', 'the old ones stay in force');

  reloads.write({ digest: 'second' });
  await config.reload();
  t.strictSame([...reloads.open], ['4 second'], 'the ones before these');
  t.same(config.problems, []);
  t.equal(reloads.told.at(-1), 'READY=1');

  await config.close();
  t.strictSame([...reloads.open], [], 'the last ones');
  reloads.write({ digest: 'third' });
  await config.reload();
  t.equal(reloads.opened, 4, 'a daemon that ends opens no others');
});

t.test('work ends with the settings that it began with', async (t) => {
  const reloads = new Reloads();
  const config = await reloads.config();
  let end = (): void => undefined;
  const work = config.use(async (app) => {
    await new Promise<void>((resolve) => {
      end = resolve;
    });
    return app.settings.digest;
  });
  reloads.write({ digest: 'second' });
  await config.reload();
  t.strictSame([...reloads.open], ['1 first', '2 second'], 'still open');
  end();
  t.equal(await work, 'first');
  t.strictSame([...reloads.open], ['2 second'], 'closed by the last of its users');
  await config.close();
});
