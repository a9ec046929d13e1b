/**
 * `GET /export` and `PUT /import` (xapi.md 3.5): the checks that come before any disk is read, and VMs without disks.
 * Disk data does not travel this way in the lab; such a transfer ends as NOT_IMPLEMENTED (DIFFERENCES.md).
 */
import { xmlText } from '../core/encode.ts';
import { fail, failureOf, XenFailure } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import type { HttpExchange } from '../core/registry.ts';
import { withOperation } from '../vm/operations.ts';
import { metadataArchive } from './export.ts';
import { importDocument, readBody } from './import.ts';

/** Says a failed look-up the way xapi disguises it: as a missing right. */
export function disguised(permission: string, look: () => unknown): void {
  try {
    look();
  } catch (error) {
    const { code, params } = failureOf(error);
    throw new XenFailure('RBAC_PERMISSION_DENIED', [
      `http/${permission}`,
      `${code}: [ ${params.join('; ')} ]`,
    ]);
  }
}

export function vmOf(pool: LabPool, query: URLSearchParams) {
  const ref = query.get('ref');
  return ref === null ? pool.db.byUuid('VM', query.get('uuid') ?? '') : pool.db.row('VM', ref);
}

export async function exportVm(exchange: HttpExchange): Promise<string> {
  const { pool, query, task } = exchange;
  const vm = vmOf(pool, query);
  await withOperation(pool, vm, 'export', task.ref, async () => {
    const disks = vm.rows('VBDs', 'VBD').filter((vbd) => vbd.text('type') === 'Disk');
    if (disks.length > 0) fail('NOT_IMPLEMENTED', 'http/get_export');
    const archive = metadataArchive(pool, {
      vms: [vm.ref],
      snapshots: false,
      vhdParents: false,
      excluded: new Set(),
    });
    exchange.start(200, {
      'Content-Type': 'application/octet-stream',
      'Content-Disposition': 'attachment; filename="export.xva"',
    });
    await exchange.write(archive);
  });
  return '';
}

export async function importVmArchive(exchange: HttpExchange): Promise<string> {
  const { pool, query, headers } = exchange;
  const sr = targetSr(pool, query);
  if (sr.text('content_type') === 'iso') {
    exchange.start(400, { 'Content-Length': '0' });
    exchange.end();
    fail('SR_OPERATION_NOT_SUPPORTED');
  }
  if (headers['transfer-encoding'] !== undefined) {
    exchange.start(403, { 'Content-Length': '0' });
    exchange.end();
    fail('IMPORT_ERROR_CANNOT_HANDLE_CHUNKED');
  }
  exchange.start(200, { 'Content-Type': 'application/octet-stream' });
  const { document, drain } = await readBody(exchange);
  if (document.objects.some((object) => object.cls === 'VDI')) fail('NOT_IMPLEMENTED', 'http/put_import');
  const flag = (name: string): boolean => query.get(name) === 'true';
  const options = { restore: flag('restore'), force: flag('force'), dryRun: false, vdiMap: new Map() };
  const vms = await importDocument(exchange, document, options);
  await drain();
  return xmlText(vms);
}

function targetSr(pool: LabPool, query: URLSearchParams) {
  const [ref, uuid] = [query.get('sr_id'), query.get('sr_uuid')];
  if (ref !== null) return pool.db.row('SR', ref);
  if (uuid !== null) return pool.db.byUuid('SR', uuid);
  const chosen = pool.row.text('default_SR');
  return pool.db.find('SR', chosen) ?? fail('DEFAULT_SR_NOT_FOUND', chosen);
}
