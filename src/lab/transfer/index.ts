/** What this folder adds to a lab; called once for every lab, before its pools are made. */
import type { Lab } from '../core/lab.ts';
import { exportMetadata } from './export.ts';
import { importMetadata } from './import.ts';
import { disguised, exportVm, importVmArchive, vmOf } from './xva.ts';

export function installTransfer(lab: Lab): void {
  lab.installed.add('transfer');
  lab.registry.route({
    method: 'GET',
    path: '/export_metadata',
    realm: 'get_export_metadata',
    label: 'VM.export_metadata',
    handler: exportMetadata,
  });
  lab.registry.route({
    method: 'PUT',
    path: '/import_metadata',
    realm: 'put_import_metadata',
    label: 'VM.metadata_import',
    handler: importMetadata,
  });
  lab.registry.route({
    method: 'GET',
    path: '/export',
    realm: 'get_export',
    label: 'VM.export',
    permit: (query, pool) => disguised('get_export', () => vmOf(pool, query)),
    handler: exportVm,
  });
  lab.registry.route({
    method: 'PUT',
    path: '/import',
    realm: 'put_import',
    label: 'VM.import',
    handler: importVmArchive,
  });
}
