/** `bundle DIRECTORY`: what a rescue needs when nothing is left but a stick: for a safe place, made anew every week. */
import { createHash } from 'node:crypto';
import { basename, dirname, relative, resolve } from 'node:path';
import type { App } from '../../app/app.ts';
import { type ExitCode, exitCodes } from '../../domain/errors.ts';
import type { RecoveryPoint } from '../../domain/recovery-point.ts';
import { type BundleContents, bundleReadme } from '../../report/bundle.ts';
import { pointText } from '../../report/catalog.ts';
import { plainPaper } from '../../report/paper.ts';
import { runbookHtml, runbookText } from '../../report/runbook.ts';
import { fileName, knownGroup, newestPoint, withoutSecrets } from './catalog.ts';
import { readIn, writeOut } from './files.ts';
import { examples } from './help.ts';
import { runbookOf, type VerbPlace } from './runbook.ts';
import type { Session } from './session.ts';

export function addBundle({ program, helpGroup, act }: VerbPlace): void {
  program
    .command('bundle')
    .helpGroup(helpGroup)
    .argument('<directory>', 'where the files go; existing ones are never overwritten')
    .argument('[group...]', 'only these groups')
    .description('the rescue bundle: settings, newest documents, runbooks, and how to do without Lifeboat')
    .addHelpText('after', `\n${examples('bundle')}`)
    .action(
      act((session, values) =>
        bundleVerb(session, String(values[0]), Array.isArray(values[1]) ? values[1].map(String) : []),
      ),
    );
}

async function bundleVerb(session: Session, directory: string, wanted: readonly string[]): Promise<ExitCode> {
  const app = await session.app();
  const groups = wanted.length === 0 ? app.settings.groups : wanted.map((name) => knownGroup(app, name));
  const bundle = new Bundle(session, app, directory);
  await bundle.settings(groups.flatMap(({ plan }) => plan.file ?? []));
  await bundle.procedures();
  for (const { name } of groups) await bundle.group(name);
  const contents = await bundle.close();
  session.show(
    () =>
      [
        `Rescue bundle in ${directory}: ${contents.files} files.`,
        ...contents.missing.map((what) => `  ! ${what}`),
        'It holds metadata of VMs, and perhaps secrets of theirs: keep it where only those go who may see them.',
        '',
      ].join('\n'),
    { directory, ...contents },
  );
  return contents.missing.length === 0 ? exitCodes.done : exitCodes.warnings;
}

class Bundle {
  readonly #session: Session;
  readonly #app: App;
  readonly #directory: string;
  readonly #sums: string[] = [];
  readonly #missing: string[] = [];
  readonly #groups: BundleContents['groups'][number][] = [];

  constructor(session: Session, app: App, directory: string) {
    this.#session = session;
    this.#app = app;
    this.#directory = directory;
  }

  /** As written: settings say where secrets come from, and hold none. */
  async settings(planFiles: readonly string[]): Promise<void> {
    const { file } = this.#app.settings;
    const next = 'correct --config, and make the bundle anew';
    await this.#write('settings/sites.yaml', await readIn(this.#session, file, next));
    for (const plan of new Set(planFiles))
      await this.#write(`settings/${placeOf(plan, file)}`, await readIn(this.#session, plan, next));
  }

  async procedures(): Promise<void> {
    for (const { file, text } of (await this.#session.programme.procedures?.()) ?? [])
      await this.#write(`runbooks/${file}`, text);
  }

  async group(name: string): Promise<void> {
    const runbook = await runbookOf(this.#session, this.#app, name);
    await this.#write(`${name}/runbook.txt`, runbookText(runbook, plainPaper));
    await this.#write(`${name}/runbook.html`, runbookHtml(runbook));
    for (const { operation } of runbook.chapters.filter(({ planned }) => planned === null))
      this.#missing.push(`group ${name}: no plan of a ${operation} could be made; its runbook says why`);
    const point = await newestPoint(this.#session, name);
    if (point === null) {
      this.#missing.push(`group ${name} has no recovery point: lifeboat export ${name}`);
      return;
    }
    await this.#documents(name, point);
    this.#groups.push({ name, pointId: point.id, takenAt: point.takenAt, vms: point.vms.length });
  }

  async #documents(name: string, point: RecoveryPoint): Promise<void> {
    await this.#write(`${name}/point.json`, `${JSON.stringify(withoutSecrets(point), null, 2)}\n`);
    await this.#write(`${name}/point.txt`, pointText(point, plainPaper));
    for (const vm of point.vms)
      await this.#write(
        `${name}/documents/${fileName(vm.nameLabel)}-${vm.uuid}.xva`,
        await this.#app.catalog.get(vm.document, this.#session.signal),
      );
  }

  async close(): Promise<{ readonly files: number; readonly missing: readonly string[] }> {
    const { terminal, programme } = this.#session;
    const readme = bundleReadme({
      at: terminal.now(),
      version: programme.version,
      groups: this.#groups,
      missing: this.#missing,
      catalogs: this.#app.settings.catalog.targets.map((target) =>
        target.type === 'directory'
          ? `${target.name}: directory ${target.path}`
          : `${target.name}: sftp ${target.username}@${target.host}:${target.path}`,
      ),
    });
    await this.#write('README.txt', readme);
    const files = this.#sums.length + 1;
    await this.#put('SHA256SUMS', `${this.#sums.sort().join('\n')}\n`);
    return { files, missing: this.#missing };
  }

  async #write(path: string, content: string | Uint8Array): Promise<void> {
    await this.#put(path, content);
    this.#sums.push(`${createHash('sha256').update(content).digest('hex')}  ${path}`);
  }

  async #put(path: string, content: string | Uint8Array): Promise<void> {
    const file = `${this.#directory}/${path}`;
    await this.#session.terminal.makeDirectory(file.slice(0, file.lastIndexOf('/')));
    await writeOut(this.#session, file, content, { replace: false });
  }
}

/** Where sites.yaml looks for it, seen from there; beside it when that lies elsewhere. */
function placeOf(plan: string, settings: string): string {
  const path = relative(dirname(resolve(settings)), resolve(dirname(settings), plan));
  return path.startsWith('..') ? basename(path) : path;
}
