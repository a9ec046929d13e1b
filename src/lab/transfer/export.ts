/** `GET /export_metadata` (xapi.md 3.2): choose, lock, write the document in memory, answer. */
import type { Row } from '../core/database.ts';
import { xmlText } from '../core/encode.ts';
import { internal, quoted } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import type { HttpExchange } from '../core/registry.ts';
import { takeOperation } from '../vm/operations.ts';
import { packArchive } from './archive.ts';
import { exportedClasses, exportedObject } from './records.ts';
import { type DeviceType, Selection } from './selection.ts';
import { noteSize } from './stats.ts';
import { versionOf } from './version.ts';

/** An export waits so long for an operation on a VM to end (xapi.md 3.2, verified: 500 after 120 s). */
const patienceSeconds = 120;

interface Wanted {
  readonly snapshots: boolean;
  readonly vhdParents: boolean;
  readonly excluded: ReadonlySet<DeviceType>;
  readonly vms: readonly string[];
}

/** Classes that became part of the file with builds of 2022 and later (xapi.md 3.3, 11.2). */
const recentClasses: ReadonlySet<string> = new Set(['VM_metrics', 'VTPM']);

/** The archive of some VMs. No locks: a consistent view of one VM, none of the pool. */
export function metadataArchive(pool: LabPool, wanted: Wanted): Buffer {
  const selection = new Selection(pool, wanted);
  for (const vm of wanted.vms) selection.addVm(vm);
  const pieces: Buffer[] = [];
  const add = (text: string): unknown => pieces.push(Buffer.from(text));
  add(`<value><struct><member><name>version</name>${xmlText(versionOf(pool))}</member>`);
  add('<member><name>objects</name><value><array><data>');
  for (const cls of exportedClasses) {
    if (recentClasses.has(cls) && !pool.product.has('')) continue;
    for (const row of selection.rows(cls))
      add(xmlText(exportedObject(cls, row, selection, wanted.snapshots)));
  }
  add('</data></array></value></member></struct></value>');
  return packArchive(pieces, pool.clock.now());
}

export async function exportMetadata(exchange: HttpExchange): Promise<string> {
  const { pool, task } = exchange;
  const wanted = wantedBy(exchange);
  if (wanted.vms.length === 0) internal('Failure("need to specify at least one VM")');
  const locked: Row[] = [];
  let archive: Buffer;
  try {
    for (const ref of wanted.vms) {
      const vm = pool.db.row('VM', ref);
      await takeOperation(pool, vm, 'metadata_export', task.ref, patienceSeconds);
      locked.push(vm);
    }
    archive = metadataArchive(pool, wanted);
    noteSize(task, { vms: wanted.vms.length, vdis: 0 });
  } finally {
    for (const vm of locked) if (vm.alive) vm.drop('current_operations', task.ref);
  }
  exchange.start(200, {
    'Content-Type': 'application/octet-stream',
    'Content-Length': String(archive.length),
    'Content-Disposition': 'attachment; filename="export.xva"',
  });
  await exchange.write(archive);
  return '';
}

function wantedBy(exchange: HttpExchange): Wanted {
  const { pool, query } = exchange;
  const vhdParents = boolOf(query, 'include_vhd_parents', false);
  const all = boolOf(query, 'all', false);
  const snapshots = boolOf(query, 'export_snapshots', true);
  const { includeDom0, excludedDeviceTypes } = pool.product.transfers;
  const dom0 = includeDom0 && boolOf(query, 'include_dom0', true);
  const excluded = deviceTypes(excludedDeviceTypes ? (query.get('excluded_device_types') ?? '') : '');
  return { vhdParents, snapshots, excluded, vms: all ? everyVm(pool, dom0) : [oneVm(pool, query)] };
}

/** OCaml's `bool_of_string`: `true` and `false` and nothing else. */
function boolOf(query: URLSearchParams, name: string, fallback: boolean): boolean {
  const text = query.get(name);
  if (text === null) return fallback;
  if (text !== 'true' && text !== 'false') internal('Invalid argument: bool_of_string');
  return text === 'true';
}

const knownDeviceTypes: readonly DeviceType[] = ['vif', 'vbd', 'vgpu', 'vtpm'];

function deviceTypes(text: string): ReadonlySet<DeviceType> {
  const found = new Set<DeviceType>();
  for (const word of text === '' ? [] : text.split(',')) {
    const type = knownDeviceTypes.find((t) => t === word.toLowerCase());
    if (type === undefined) {
      const problem = `Importexport.Devicetype.of_string: Type '${word.toLowerCase()}' not one of [${knownDeviceTypes.join('; ')}]`;
      internal(`Failure(${quoted(problem)})`);
    }
    found.add(type);
  }
  return found;
}

function everyVm(pool: LabPool, dom0: boolean): string[] {
  return pool.db
    .all('VM')
    .filter((vm) => !isDefaultTemplate(vm) && (dom0 || !isDomainZero(pool, vm)))
    .map((vm) => vm.ref);
}

function oneVm(pool: LabPool, query: URLSearchParams): string {
  const ref = query.get('ref');
  if (ref !== null) return pool.db.row('VM', ref).ref;
  const uuid = query.get('uuid');
  if (uuid === null) internal('Not_found');
  return pool.db.byUuid('VM', uuid).ref;
}

export function isDefaultTemplate(vm: Row): boolean {
  return (
    vm.bool('is_default_template') ||
    (vm.bool('is_a_template') && vm.map('other_config')['default_template'] === 'true')
  );
}

function isDomainZero(pool: LabPool, vm: Row): boolean {
  if (!vm.bool('is_control_domain')) return false;
  return pool.db.all('host').some((host) => host.text('control_domain') === vm.ref);
}
