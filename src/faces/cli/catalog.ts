/** catalog list, show, verify, diff, import, extract, prune. */
import type { App } from '../../app/app.ts';
import { type ExitCode, exitCodes, OperatorError } from '../../domain/errors.ts';
import { nearest } from '../../domain/nearest.ts';
import { diffPoints } from '../../domain/point-diff.ts';
import type { PointVm, RecoveryPoint } from '../../domain/recovery-point.ts';
import { catalogText, diffText, pointText, pruneText, verifyText } from '../../report/catalog.ts';
import { foreignText, xeFilesText } from '../../report/foreign.ts';
import { writeOut } from './files.ts';
import type { Session } from './session.ts';

export async function catalogList(session: Session, group: string | undefined): Promise<ExitCode> {
  const app = await session.app();
  if (group !== undefined) knownGroup(app, group);
  const listing = await app.catalog.list(group ?? null, session.signal);
  session.show(() => catalogText(listing, session.paper), listing);
  const whole = listing.damaged.length === 0 && listing.targets.every((target) => target.ok);
  return whole ? exitCodes.done : exitCodes.warnings;
}

export async function catalogShow(session: Session, pointId: string): Promise<ExitCode> {
  const point = await readPoint(session, pointId);
  session.show(() => pointText(point, session.paper), withoutSecrets(point));
  return exitCodes.done;
}

export async function catalogVerify(
  session: Session,
  group: string | undefined,
  pointId: string | undefined,
): Promise<ExitCode> {
  const app = await session.app();
  if (group !== undefined) knownGroup(app, group);
  const context = session.context();
  const result = await app.catalog.verify(
    {
      ...(group === undefined ? {} : { group }),
      ...(pointId === undefined ? {} : { pointId }),
      onProgress: (done, total) => context.onProgress?.(`Reading object ${done} of ${total}`),
    },
    session.signal,
  );
  session.show(() => verifyText(result, session.paper), result);
  const whole = result.damage.length === 0 && result.targets.every((target) => target.ok);
  return whole ? exitCodes.done : exitCodes.failed;
}

export async function catalogDiff(session: Session, from: string, to: string): Promise<ExitCode> {
  const diff = diffPoints(await readPoint(session, from), await readPoint(session, to));
  session.show(() => diffText(diff, session.paper), diff);
  return exitCodes.done;
}

export async function catalogExtract(
  session: Session,
  pointId: string,
  wanted: readonly string[],
  flags: {
    readonly to: string;
    readonly database?: boolean;
    readonly format?: 'xva' | 'xe';
    readonly script?: boolean;
  },
): Promise<ExitCode> {
  const app = await session.app();
  const point = await readPoint(session, pointId);
  const vms = wanted.length === 0 ? point.vms : wanted.map((word) => vmNamed(point, word));
  if (flags.format === 'xe' || flags.script === true) return extractForXe(session, point, vms, flags);
  const files: string[] = [];
  for (const vm of vms) {
    const file = `${flags.to}/${fileName(vm.nameLabel)}-${vm.uuid}.xva`;
    await writeOut(session, file, await app.catalog.get(vm.document, session.signal), { replace: false });
    files.push(file);
  }
  if (flags.database === true) files.push(await writeDatabase(session, point, flags.to));
  session.show(
    () =>
      `${files.join('\n')}\n\nEach .xva is what \`xe vm-import metadata=true filename=FILE\` takes. They may hold secrets.\n`,
    { point: point.id, files },
  );
  return exitCodes.done;
}

/** The database of the pool beside the files; throws DR-EXTRACT-DATABASE when the point holds none. */
async function writeDatabase(session: Session, point: RecoveryPoint, to: string): Promise<string> {
  if (point.database === null)
    throw new OperatorError({
      code: 'DR-EXTRACT-DATABASE',
      what: `recovery point ${point.id} holds no database of the pool`,
      next: 'leave out --database, or extract from another point; the user of the pool must be a pool-admin to save it',
    });
  const app = await session.app();
  const file = `${to}/${fileName(point.poolName)}-database.xml`;
  await writeOut(session, file, await app.catalog.get(point.database, session.signal), { replace: false });
  return file;
}

/** The numbered files of `xe vm-export --multiple`; with the script, prepared for the recovery site. */
async function extractForXe(
  session: Session,
  point: RecoveryPoint,
  vms: readonly PointVm[],
  { to, script = false, database = false }: Parameters<typeof catalogExtract>[3],
): Promise<ExitCode> {
  const app = await session.app();
  const made = await app.foreign.forXe({ point, vms, script }, session.signal);
  await session.terminal.makeDirectory(to);
  const files: string[] = [];
  for (const { name, bytes } of made.files) {
    await writeOut(session, `${to}/${name}`, bytes, { replace: false });
    files.push(`${to}/${name}`);
  }
  if (database) files.push(await writeDatabase(session, point, to));
  session.show(() => xeFilesText(files, made.notes, script, session.paper), {
    point: point.id,
    files,
    notes: made.notes,
  });
  return exitCodes.done;
}

export async function catalogImport(
  session: Session,
  group: string,
  paths: readonly string[],
  flags: { readonly at?: string; readonly dryRun?: boolean },
): Promise<ExitCode> {
  const app = await session.app();
  knownGroup(app, group);
  const made = await app.foreign.import(
    {
      group,
      paths,
      at: flags.at === undefined ? null : instantOf(flags.at),
      dryRun: flags.dryRun === true,
    },
    session.context(),
  );
  session.show(() => foreignText(made, session.paper), made);
  const whole = made.failures.length === 0 && made.open.length === 0;
  return whole && (made.targets ?? []).every((target) => target.ok) ? exitCodes.done : exitCodes.warnings;
}

/** A moment with its zone: without one, a local time of somewhere would be taken for one of here. */
function instantOf(text: string): string {
  const match = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)$/.exec(text.trim());
  const millis = match === null ? Number.NaN : Date.parse(text.trim().replace(' ', 'T'));
  if (!Number.isNaN(millis)) return new Date(millis).toISOString();
  throw new OperatorError(
    {
      code: 'DR-FOREIGN-TIME',
      what: `${JSON.stringify(text)} is not a moment`,
      next: 'Write it with its zone, such as 2026-01-31T02:30:00Z or 2026-01-31T02:30:00+09:00',
    },
    { exitCode: exitCodes.usage },
  );
}

export async function catalogPrune(
  session: Session,
  group: string | undefined,
  dryRun: boolean,
): Promise<ExitCode> {
  const app = await session.app();
  const groups = group === undefined ? app.settings.groups : [knownGroup(app, group)];
  for (const { name, retention } of groups) {
    const result = await app.catalog.prune(name, retention, { dryRun }, session.signal);
    session.show(() => pruneText(name, result, dryRun, session.paper), { group: name, dryRun, ...result });
  }
  return exitCodes.done;
}

/** A point by its id; `latest GROUP` is written `GROUP/latest`. */
async function readPoint(session: Session, pointId: string): Promise<RecoveryPoint> {
  const app = await session.app();
  const group = pointId.endsWith('/latest') ? pointId.slice(0, -'/latest'.length) : null;
  if (group === null) return app.catalog.read(pointId, session.signal);
  knownGroup(app, group);
  const newest = await newestPoint(session, group);
  if (newest === null) {
    throw new OperatorError(
      {
        code: 'DR-POINT-NONE',
        what: `the catalog holds no recovery point of group ${group}`,
        next: `make one: lifeboat export ${group}`,
      },
      { exitCode: exitCodes.usage },
    );
  }
  return newest;
}

/** The newest good point of a group, else the newest; null when there is none. */
export async function newestPoint(session: Session, group: string): Promise<RecoveryPoint | null> {
  const app = await session.app();
  const { points } = await app.catalog.list(group, session.signal);
  const newest = points.find((point) => point.good) ?? points[0];
  return newest === undefined ? null : app.catalog.read(newest.id, session.signal);
}

export function knownGroup(app: App, name: string): App['settings']['groups'][number] {
  const found = app.settings.groups.find((group) => group.name === name);
  if (found !== undefined) return found;
  const names = app.settings.groups.map((group) => group.name);
  const meant = nearest(name, names);
  throw new OperatorError(
    {
      code: 'DR-GROUP-UNKNOWN',
      what: `there is no group ${name}${meant === null ? '' : `; did you mean ${meant}?`}`,
      known: names.length === 0 ? ['no group is configured'] : [`groups are ${names.join(', ')}`],
      next: 'name one of them, or describe the group in sites.yaml',
    },
    { exitCode: exitCodes.usage },
  );
}

function vmNamed(point: RecoveryPoint, word: string): PointVm {
  const found = point.vms.filter((vm) => vm.uuid === word.toLowerCase() || vm.nameLabel === word);
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const meant = nearest(
    word,
    point.vms.map((vm) => vm.nameLabel),
  );
  throw new OperatorError(
    {
      code: 'DR-VM-UNKNOWN',
      what:
        found.length > 1
          ? `${found.length} VMs of recovery point ${point.id} are named ${word}`
          : `recovery point ${point.id} holds no VM ${word}${meant === null ? '' : `; did you mean ${meant}?`}`,
      known: found.length > 1 ? found.map((vm) => vm.uuid) : [],
      next: `see its VMs with lifeboat catalog show ${point.id}${found.length > 1 ? ', and name the uuid' : ''}`,
    },
    { exitCode: exitCodes.usage },
  );
}

/** A name label may hold anything; a file name may not. */
export function fileName(label: string): string {
  return label.replaceAll(/[^A-Za-z0-9_.-]+/g, '_').replace(/^\.+/, '') || 'vm';
}

/** The catalog gives the secrets of SRs in clear text to those who hold its key; a listing does not repeat them. */
export function withoutSecrets(point: RecoveryPoint): RecoveryPoint {
  return {
    ...point,
    srs: point.srs.map((sr) => ({
      ...sr,
      secretDeviceConfig: Object.fromEntries(
        Object.keys(sr.secretDeviceConfig).map((key) => [key, '(secret)']),
      ),
    })),
  };
}
