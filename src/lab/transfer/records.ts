/**
 * Records as they stand in `ova.xml`: references become ids, and what means nothing elsewhere is emptied
 * (xapi.md 3.3). Other references stay as they are and dangle in the file.
 */
import type { Row } from '../core/database.ts';
import { epoch, nullRef, type Struct, struct, type Value } from '../core/values.ts';
import type { Selection } from './selection.ts';
import { vtpmContents } from './vtpm.ts';

/** Classes in the order of the file. */
export const exportedClasses = [
  'host',
  'VM',
  'VM_metrics',
  'VM_guest_metrics',
  'VBD',
  'VIF',
  'network',
  'VDI',
  'SR',
  'VGPU_type',
  'VGPU',
  'GPU_group',
  'PVS_proxy',
  'PVS_site',
  'VTPM',
] as const;
export type ExportedClass = (typeof exportedClasses)[number];

type Change = (row: Row, selection: Selection, snapshots: boolean) => Record<string, Value>;

const noOperations = { current_operations: struct(), allowed_operations: [] };

const changes: Readonly<Record<ExportedClass, Change>> = {
  host: (row, selection) => ({
    PIFs: [],
    PBDs: [],
    PGPUs: [],
    PCIs: [],
    host_CPUs: [],
    license_params: struct(),
    blobs: struct(),
    external_auth_type: '',
    external_auth_service_name: '',
    external_auth_configuration: struct(),
    metrics: nullRef,
    patches: [],
    crashdumps: [],
    logging: struct(),
    supported_bootloaders: [],
    cpu_configuration: struct(),
    other_config: struct(),
    capabilities: [],
    software_version: struct(),
    sched_policy: '',
    ha_statefiles: [],
    ha_network_peers: [],
    tags: [],
    crash_dump_sr: selection.id(row.text('crash_dump_sr')),
    suspend_image_sr: selection.id(row.text('suspend_image_sr')),
    resident_VMs: selection.known(row.texts('resident_VMs')),
  }),
  VM: (row, selection, snapshots) => ({
    ...noOperations,
    suspend_VDI: selection.id(row.text('suspend_VDI')),
    is_a_snapshot: snapshots && row.bool('is_a_snapshot'),
    snapshot_of: snapshots ? selection.id(row.text('snapshot_of')) : nullRef,
    snapshots: snapshots ? row.get('snapshots') : [],
    snapshot_time: snapshots ? row.get('snapshot_time') : epoch,
    transportable_snapshot_id: snapshots ? row.get('transportable_snapshot_id') : '',
    parent: snapshots ? selection.id(row.text('parent')) : nullRef,
    VIFs: selection.known(row.texts('VIFs')),
    VBDs: selection.known(row.texts('VBDs')),
    VGPUs: selection.known(row.texts('VGPUs')),
    VTPMs: selection.known(row.texts('VTPMs')),
    crash_dumps: [],
    resident_on: selection.id(row.text('resident_on')),
    affinity: selection.id(row.text('affinity')),
    consoles: [],
    metrics: selection.id(row.text('metrics')),
    guest_metrics: selection.id(row.text('guest_metrics')),
    protection_policy: nullRef,
    blobs: struct(),
  }),
  VM_metrics: () => ({}),
  VM_guest_metrics: () => ({}),
  VBD: (row, selection) => ({
    ...noOperations,
    VDI: selection.id(row.text('VDI')),
    VM: selection.id(row.text('VM')),
    metrics: nullRef,
  }),
  VIF: (row, selection) => ({
    ...noOperations,
    network: selection.id(row.text('network')),
    VM: selection.id(row.text('VM')),
    metrics: nullRef,
  }),
  network: (row, selection) => ({ ...noOperations, VIFs: selection.known(row.texts('VIFs')), PIFs: [] }),
  VDI: (row, selection) => ({
    ...noOperations,
    VBDs: selection.known(row.texts('VBDs')),
    crash_dumps: [],
    SR: selection.id(row.text('SR')),
  }),
  SR: (row, selection) => ({ ...noOperations, VDIs: selection.known(row.texts('VDIs')), PBDs: [] }),
  VGPU_type: () => ({}),
  VGPU: (row, selection) => ({
    GPU_group: selection.id(row.text('GPU_group')),
    type: selection.id(row.text('type')),
    VM: selection.id(row.text('VM')),
  }),
  GPU_group: (row, selection) => ({ VGPUs: selection.known(row.texts('VGPUs')), PGPUs: [] }),
  PVS_proxy: (row, selection) => ({
    site: selection.id(row.text('site')),
    VIF: selection.id(row.text('VIF')),
    currently_attached: false,
  }),
  PVS_site: (row, selection) => ({
    cache_storage: [],
    servers: [],
    proxies: selection.known(row.texts('proxies')),
  }),
  VTPM: () => ({}),
};

/** One object of the file. `snapshots` tells whether the export keeps the snapshot fields of VMs. */
export function exportedObject(
  cls: ExportedClass,
  row: Row,
  selection: Selection,
  snapshots: boolean,
): Struct {
  const snapshot =
    cls === 'VTPM'
      ? vtpmRecord(row, selection)
      : selection.shown(cls, struct({ ...row.fields, ...changes[cls](row, selection, snapshots) }));
  return struct({ class: cls, id: selection.id(row.ref), snapshot });
}

/** A record of its own kind, because the API's type leaves the state out: the state is a secret, in clear. */
function vtpmRecord(row: Row, selection: Selection): Struct {
  return struct({
    "vTPM'_VM": selection.id(row.text('VM')),
    "vTPM'_uuid": row.uuid,
    "vTPM'_is_unique": row.bool('is_unique'),
    "vTPM'_is_protected": row.bool('is_protected'),
    "vTPM'_content": vtpmContents(row),
  });
}
