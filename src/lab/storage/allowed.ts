/** allowed_operations of SRs and VDIs, kept in step with every change (as recorded from xapi 26.17). */
import type { Row } from '../core/database.ts';
import type { LabPool } from '../core/pool.ts';
import { drivers } from './drivers.ts';

const always = ['unplug', 'plug', 'pbd_create', 'pbd_destroy', 'scan'];

const bySrCapability: readonly (readonly [capability: string, operations: readonly string[]])[] = [
  ['VDI_CONFIG_CBT', ['vdi_enable_cbt', 'vdi_list_changed_blocks', 'vdi_disable_cbt', 'vdi_data_destroy']],
  ['SR_UPDATE', ['update']],
  ['VDI_RESIZE', ['vdi_resize']],
  ['VDI_CLONE', ['vdi_clone']],
  ['VDI_SNAPSHOT', ['vdi_snapshot']],
  ['VDI_MIRROR', ['vdi_mirror']],
  ['VDI_CREATE', ['vdi_create']],
  ['VDI_DELETE', ['vdi_destroy']],
  ['VDI_RESET_ON_BOOT', ['vdi_set_on_boot']],
  ['VDI_INTRODUCE', ['vdi_introduce']],
];

const capabilitiesOf = (type: string): ReadonlySet<string> => new Set(drivers.get(type)?.capabilities ?? []);

function srOperations(sr: Row): string[] {
  const capabilities = capabilitiesOf(sr.text('type'));
  const able = bySrCapability
    .filter(([name]) => capabilities.has(name))
    .flatMap(([, operations]) => operations);
  const pbds = sr.rows('PBDs', 'PBD');
  const plugged = pbds.some((pbd) => pbd.bool('currently_attached'));
  return [
    ...always,
    ...able,
    ...(plugged ? [] : ['forget']),
    ...(plugged || pbds.length === 0 ? [] : ['destroy']),
  ];
}

function vdiOperations(vdi: Row): string[] {
  const sr = vdi.row('SR', 'SR');
  const capabilities = capabilitiesOf(sr?.text('type') ?? '');
  const has = (capability: string, ...operations: string[]): string[] =>
    capabilities.has(capability) ? operations : [];
  const copying = [...has('VDI_CLONE', 'clone'), ...has('VDI_SNAPSHOT', 'snapshot')];
  if (vdi.rows('VBDs', 'VBD').some((vbd) => vbd.bool('currently_attached'))) return copying;
  return [
    'copy',
    ...has('VDI_GENERATE_CONFIG', 'generate_config'),
    ...copying,
    'forget',
    ...has('VDI_UPDATE', 'update'),
    ...has('VDI_DELETE', 'destroy'),
  ];
}

/** Writes a set only when it changed. */
export function keepAllowed(row: Row, operations: readonly string[]): void {
  const old = row.texts('allowed_operations');
  if (old.length !== operations.length || old.some((name, i) => name !== operations[i]))
    row.set({ allowed_operations: [...operations] });
}

export function watchStorage(pool: LabPool): void {
  const ofSr = (ref: string): void => {
    const sr = pool.db.find('SR', ref);
    if (sr !== undefined) keepAllowed(sr, srOperations(sr));
  };
  const ofVdi = (ref: string): void => {
    const vdi = pool.db.find('VDI', ref);
    if (vdi !== undefined) keepAllowed(vdi, vdiOperations(vdi));
  };
  pool.db.onChange((row, change, fields) => {
    const moved = change !== 'mod';
    switch (row.cls) {
      case 'SR':
        if (change === 'add' || fields.includes('type')) ofSr(row.ref);
        break;
      case 'PBD':
        if (moved || fields.includes('currently_attached')) ofSr(row.text('SR'));
        break;
      case 'VDI':
        if (change === 'add') ofVdi(row.ref);
        break;
      case 'VBD':
        if (moved || fields.includes('currently_attached') || fields.includes('VDI')) ofVdi(row.text('VDI'));
        break;
      default:
    }
  });
}
