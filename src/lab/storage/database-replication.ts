/** Database replication of the product's own disaster recovery, as far as the disk goes (xapi.md 6.2). */
import type { Row } from '../core/database.ts';
import { fail } from '../core/failure.ts';
import type { Call, Registry } from '../core/registry.ts';
import { struct } from '../core/values.ts';
import { driverOf } from './state.ts';
import { createVdi, destroyVdi } from './vdi.ts';

const diskBytes = 3_988_783_104n;
const mostSrs = 8;

export function installDatabaseReplication(registry: Registry): void {
  registry.on('SR.assert_supports_database_replication', (call) => {
    assertSupported(call);
    return '';
  });
  registry.on('SR.enable_database_replication', (call) => {
    const sr = assertSupported(call);
    if (disksOn(sr).length > 0) return '';
    const others = call.pool.db.all('SR').filter((each) => disksOn(each).length > 0);
    if (others.length >= mostSrs) fail('NO_MORE_REDO_LOGS_ALLOWED');
    const vdi = createVdi(
      call.pool,
      sr,
      diskBytes,
      {},
      struct({ name_label: 'Metadata for DR', type: 'metadata' }),
    );
    vdi.set({ metadata_of_pool: call.pool.row.ref });
    return '';
  });
  registry.on('SR.disable_database_replication', (call) => {
    for (const vdi of disksOn(call.row('SR'))) destroyVdi(call.pool, vdi);
    return '';
  });
}

function assertSupported(call: Call): Row {
  const sr = call.row('SR');
  const pbds = sr.rows('PBDs', 'PBD');
  const hosts = new Set(pbds.map((pbd) => pbd.text('host')));
  if (hosts.size < call.pool.hosts.length || pbds.some((pbd) => !pbd.bool('currently_attached')))
    fail('SR_HAS_NO_PBDS', sr.ref);
  if (!driverOf(call.pool, sr.text('type')).capabilities.includes('SR_METADATA'))
    fail('SR_OPERATION_NOT_SUPPORTED', sr.ref);
  return sr;
}

function disksOn(sr: Row): Row[] {
  return sr.rows('VDIs', 'VDI').filter((vdi) => vdi.text('type') === 'metadata');
}
