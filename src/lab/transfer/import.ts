/**
 * `PUT /import_metadata` (xapi.md 3.4, 4): 200 before the body is read, then the archive, the gates, and every object
 * class by class, each prechecked just before it is handled. Only the task tells how it ended.
 */
import { xmlText } from '../core/encode.ts';
import { failureOf, XenFailure } from '../core/failure.ts';
import type { HttpExchange } from '../core/registry.ts';
import { EndOfFile, openArchive } from './archive.ts';
import { bodyOf } from './body.ts';
import { type FileDocument, type FileObject, readDocument } from './document.ts';
import { importHost, importNetwork, importSr, importVbd, importVdi, importVif } from './importdevices.ts';
import { importGpuGroup, importPvsProxy, importVgpu, importVgpuType, importVtpm } from './importextras.ts';
import { assertSeedsFree, importMetrics, importVm, linkSnapshots } from './importvm.ts';
import { type ImportOptions, ImportSession } from './session.ts';
import { noteSize } from './stats.ts';
import { assertCompatible } from './version.ts';

type Handler = (session: ImportSession, object: FileObject) => void | Promise<void>;

/** The order of work. PVS sites are looked at through their proxies only. */
const handlers: readonly (readonly [cls: string, handler: Handler])[] = [
  ['host', importHost],
  ['SR', importSr],
  ['VDI', importVdi],
  ['VM_guest_metrics', importMetrics],
  ['VM_metrics', importMetrics],
  ['VM', importVm],
  ['network', importNetwork],
  ['GPU_group', importGpuGroup],
  ['VBD', importVbd],
  ['VIF', importVif],
  ['VGPU_type', importVgpuType],
  ['VGPU', importVgpu],
  ['PVS_proxy', importPvsProxy],
  ['VTPM', importVtpm],
];

/** Flags count only when the text is exactly `true`. */
export function optionsOf(query: URLSearchParams): ImportOptions {
  const flag = (name: string): boolean => query.get(name) === 'true';
  const vdiMap = new Map<string, string>();
  for (const [name, value] of query) {
    if (name.startsWith('vdi') && name.length > 4 && !vdiMap.has(name.slice(4)))
      vdiMap.set(name.slice(4), value);
  }
  return { restore: flag('restore'), force: flag('force'), dryRun: flag('dry_run'), vdiMap };
}

export async function importMetadata(exchange: HttpExchange): Promise<string> {
  exchange.start(200, { 'Content-Type': 'application/octet-stream' });
  try {
    const { document, drain } = await readBody(exchange);
    const vms = await importDocument(exchange, document, optionsOf(exchange.query));
    await drain();
    return xmlText(vms);
  } catch (error) {
    // The answer was complete with its headers: what fails now is for the task alone to tell.
    exchange.end();
    throw error;
  }
}

/** The document of a request's body; whatever is no archive is `INTERNAL_ERROR [End_of_file]`. */
export async function readBody(
  exchange: HttpExchange,
): Promise<{ readonly document: FileDocument; readonly drain: () => Promise<void> }> {
  const { xml, drain } = await openArchive(bodyOf(exchange), lengthOf(exchange)).catch((error: unknown) => {
    throw error instanceof EndOfFile ? new XenFailure('INTERNAL_ERROR', ['End_of_file']) : error;
  });
  return { document: readDocument(xml), drain };
}

/** The gates, then the work. Refs of the VMs for the result. */
export async function importDocument(
  exchange: Pick<HttpExchange, 'pool' | 'host' | 'task'>,
  document: FileDocument,
  options: ImportOptions,
): Promise<string[]> {
  const { pool, host, task } = exchange;
  const count = (cls: string): number => document.objects.filter((o) => o.cls === cls).length;
  noteSize(task, { vms: count('VM'), vdis: count('VDI') });
  assertCompatible(pool, document.version);
  if (options.restore) assertSeedsFree(pool, document);
  return work(new ImportSession({ pool, host, task, options, document }), document);
}

function lengthOf(exchange: HttpExchange): number | null {
  const text = exchange.headers['content-length'];
  return text === undefined ? null : Number(text);
}

async function work(session: ImportSession, document: FileDocument): Promise<string[]> {
  try {
    for (const [cls, handler] of handlers) {
      for (const object of document.objects) if (object.cls === cls) await handler(session, object);
    }
    if (!session.options.dryRun) linkSnapshots(session);
  } catch (error) {
    if (!session.options.force) await session.cleanUp();
    throw generic(error);
  }
  return complete(session);
}

/** What has a code of its own keeps it; any other exception becomes the text of an IMPORT_ERROR. */
function generic(error: unknown): XenFailure {
  const failure = failureOf(error);
  if (failure.code !== 'INTERNAL_ERROR') return failure;
  return new XenFailure('IMPORT_ERROR', [`${failure.code}: [ ${failure.params.join('; ')} ]`]);
}

/** Takes the lock off. Snapshots are part of the result only when nothing else was imported. */
function complete(session: ImportSession): string[] {
  const { db } = session.pool;
  const refs = [...new Set(session.vms)].filter((ref) => db.find('VM', ref) !== undefined);
  for (const ref of refs) db.find('VM', ref)?.drop('current_operations', session.task.ref);
  const machines = refs.filter((ref) => db.find('VM', ref)?.bool('is_a_snapshot') !== true);
  return machines.length > 0 ? machines : refs;
}
