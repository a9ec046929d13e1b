/**
 * One SHA-256 per VM over everything of the pool's records that its metadata document consists of and that matters for
 * a recovery: while it stays the same, the document of an earlier recovery point still tells the truth, and the VM
 * need not be exported again (performance.md 2). Computed from decoded values, so that both transports give the same.
 *
 * What counts is what counts for `fingerprint` (src/metadata/canonical.ts), field by field of the data model. Left out,
 * each because it changes while a recovery would come out the same:
 * - `allowed_operations`, `current_operations`: every export itself changes them (performance.md 2).
 * - `domid`, `resident_on`, `scheduled_to_be_resident_on`, `memory_target`, consoles, devices, status, locks, metrics,
 *   boot records, CPU flags, guidances: where and how the VM happens to run; it is imported halted (xapi.md 4.5), and a
 *   suspended VM cannot change them without waking up, which its power state tells.
 * - guest metrics and VM metrics: the guest's agent writes them at any time, and the first start deletes what an import
 *   brought along (xapi.md 4.10); the domain type that metrics tell changes only together with the power state.
 * - snapshots, children, parents: documents are saved without snapshots (xapi.md 4.11).
 * - sizes in use of disks and SRs, and lists that lead back (`SR.VDIs`, `network.VIFs`, `VDI.VBDs`): they change with
 *   every other VM of the pool.
 * - keys `host_OpaqueRef:…` in `VDI.sm_config`: marks of a host that has the disk open (xapi.md 7.10).
 * Fields that this data model does not know yet are not seen. For that blind spot no document is kept for longer than
 * about a day (src/plan/changes.ts).
 */
import { createHash, hash } from 'node:crypto';
import { meaningfulFields, volatileFields } from '../../metadata/canonical.ts';
import { classes } from '../../metadata/datamodel/index.ts';
import type { XapiRecord, XapiValue } from './values.ts';

/** Goes into every digest: digests of another rule never match. */
const rule = 'lifeboat vm digest 1';

/** Lists that are followed by object or lead back, and references that are followed by object. */
const followed: Readonly<Record<string, readonly string[]>> = {
  VM: [
    'VBDs',
    'VIFs',
    'VGPUs',
    'VTPMs',
    'crash_dumps',
    'metrics',
    'guest_metrics',
    'suspend_VDI',
    'affinity',
  ],
  VBD: ['VM', 'VDI'],
  VIF: ['VM', 'network'],
  VDI: ['SR', 'VBDs', 'crash_dumps'],
  network: ['VIFs'],
  VGPU: ['VM', 'GPU_group', 'type'],
};

const digested = ['VM', 'VBD', 'VIF', 'VDI', 'SR', 'network', 'VGPU', 'VGPU_type', 'GPU_group'] as const;
export type DigestedClass = (typeof digested)[number];

/** The fields of a class that count by their own value, sorted. */
export const digestFields: Readonly<Record<DigestedClass, readonly string[]>> = {
  ...(Object.fromEntries(digested.map((name) => [name, countingFields(name)])) as Record<
    DigestedClass,
    readonly string[]
  >),
  // Of GPUs the importer compares these (xapi.md 4.9); all else of them is the hardware's.
  VGPU_type: ['identifier', 'model_name', 'uuid', 'vendor_name'],
  GPU_group: ['GPU_types', 'name_label', 'uuid'],
};

function countingFields(className: DigestedClass): readonly string[] {
  const only = meaningfulFields[className];
  const not = new Set([
    'allowed_operations',
    'current_operations',
    ...(volatileFields[className] ?? []),
    ...(followed[className] ?? []),
  ]);
  return [...(classes.get(className)?.fields.keys() ?? [])]
    .filter((field) => (only === undefined ? !not.has(field) : only.includes(field)))
    .sort();
}

/** What one record says by itself, as a short text, by reference. */
export type Marks = ReadonlyMap<string, string>;
export type AllMarks = Readonly<Record<DigestedClass, Marks>>;

export function isDigested(className: string): className is DigestedClass {
  return (digested as readonly string[]).includes(className);
}

/** The marks of a class. Done as soon as its records are there, so that large fields need not be kept. */
export function marksOf(className: DigestedClass, records: XapiRecord): Marks {
  const fields = digestFields[className];
  const marks = new Map<string, string>();
  for (const [ref, value] of Object.entries(records)) {
    const record = value as XapiRecord;
    // Snapshots have no document of their own.
    if (className === 'VM' && (record['is_a_snapshot'] === true || record['is_control_domain'] === true))
      continue;
    const values = fields.map((field) => plain(record[field], isMarked(className, field)));
    marks.set(ref, hash('sha256', JSON.stringify(values), 'base64'));
  }
  return marks;
}

function isMarked(className: DigestedClass, field: string): boolean {
  return className === 'VDI' && field === 'sm_config';
}

type Plain = string | boolean | null | readonly Plain[];

/** Numbers as text; sets and maps sorted; one kind of line ending, since XML knows only one (xapi.md 1.3). */
function plain(value: XapiValue | undefined, withoutHostMarks: boolean): Plain {
  if (value === undefined || value === null || typeof value === 'boolean') return value ?? null;
  if (typeof value === 'string') return value.includes('\r') ? value.replace(/\r\n?/g, '\n') : value;
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) {
    if (value.length === 0) return [];
    return value.map((item) => JSON.stringify(plain(item, false))).sort();
  }
  const keys = Object.keys(value).sort();
  return keys.flatMap((key) =>
    withoutHostMarks && key.startsWith('host_OpaqueRef:') ? [] : [[key, plain(value[key], false)]],
  );
}

/** Records of the classes that tell which objects belong together; null refs are null. */
export type Relations = Readonly<
  Record<'VM' | 'VBD' | 'VIF' | 'VDI' | 'VGPU' | 'PVS_proxy' | 'host', XapiRecord>
>;

/** Digests of VMs, by reference. */
export class VmDigests {
  readonly #records: Relations;
  readonly #marks: AllMarks;
  /** VIFs behind a PVS proxy. */
  readonly #proxied: ReadonlySet<string>;

  constructor(records: Relations, marks: AllMarks) {
    this.#records = records;
    this.#marks = marks;
    this.#proxied = new Set(
      Object.keys(records.PVS_proxy).flatMap((ref) => refOf(field(records.PVS_proxy, ref, 'VIF')) ?? []),
    );
  }

  /**
   * In hexadecimal digits; null when it cannot be known: something that the VM consists of was not seen (the pool went
   * on living while it was read), or is not in the records. The state of a virtual TPM is in the document and changes
   * unseen; of PVS proxies the site is not read.
   */
  of(vm: string): string | null {
    const { VM, VBD, VIF, VGPU, host } = this.#records;
    if (refsOf(field(VM, vm, 'VTPMs')).length > 0) return null;
    const vifs = refsOf(field(VM, vm, 'VIFs'));
    if (vifs.some((vif) => this.#proxied.has(vif))) return null;
    const affinity = refOf(field(VM, vm, 'affinity'));
    const suspended = refOf(field(VM, vm, 'suspend_VDI'));
    const parts = [
      this.#marks.VM.get(vm),
      // A host that is gone and none at all mean the same to an import.
      String(affinity === null ? '' : (field(host, affinity, 'uuid') ?? '')),
      suspended === null ? '' : this.#disk(suspended),
      this.#each(refsOf(field(VM, vm, 'VBDs')), (vbd) => {
        const vdi = refOf(field(VBD, vbd, 'VDI'));
        return together(this.#marks.VBD.get(vbd), vdi === null ? '' : this.#disk(vdi));
      }),
      this.#each(vifs, (vif) =>
        together(this.#marks.VIF.get(vif), this.#via('network', field(VIF, vif, 'network'))),
      ),
      this.#each(refsOf(field(VM, vm, 'VGPUs')), (vgpu) =>
        together(
          this.#marks.VGPU.get(vgpu),
          this.#via('GPU_group', field(VGPU, vgpu, 'GPU_group')),
          this.#via('VGPU_type', field(VGPU, vgpu, 'type')),
        ),
      ),
    ];
    const whole = together(rule, ...parts);
    return whole === undefined ? null : createHash('sha256').update(whole).digest('hex');
  }

  #disk(vdi: string): string | undefined {
    return together(this.#marks.VDI.get(vdi), this.#via('SR', field(this.#records.VDI, vdi, 'SR')));
  }

  #via(className: DigestedClass, value: XapiValue | undefined): string | undefined {
    const ref = refOf(value);
    return ref === null ? '' : this.#marks[className].get(ref);
  }

  /** In an order of their own: the pool lists what belongs to a VM in any order. */
  #each(refs: readonly string[], part: (ref: string) => string | undefined): string | undefined {
    const parts = refs.map(part);
    const known = parts.filter((text) => text !== undefined);
    return known.length < parts.length ? undefined : known.sort().join('\n');
  }
}

function together(...parts: readonly (string | undefined)[]): string | undefined {
  return parts.includes(undefined) ? undefined : JSON.stringify(parts);
}

function field(records: XapiRecord, ref: string, name: string): XapiValue | undefined {
  return (records[ref] as XapiRecord | undefined)?.[name];
}

function refOf(value: XapiValue | undefined): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function refsOf(value: XapiValue | undefined): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}
