/**
 * Typed views of the objects of a document. Names follow the XenAPI fields in camel case. A field that is absent reads
 * as the data model's default (empty text, 0, false, null), as the importer fills it (xapi.md 3.3).
 */
import type { TextMap } from '../domain/pool.ts';
import type { MetadataDocument, MetadataObject } from './document.ts';
import { isStruct, type XmlStruct } from './xmlvalue.ts';

const noEntries: TextMap = Object.freeze(Object.create(null) as Record<string, string>);

export class TypedObject {
  readonly document: MetadataDocument;
  readonly object: MetadataObject;

  constructor(document: MetadataDocument, object: MetadataObject) {
    this.document = document;
    this.object = object;
  }

  get id(): string {
    return this.object.id;
  }
  get fields(): XmlStruct {
    return this.object.fields;
  }
  get uuid(): string {
    return this.text('uuid');
  }
  get nameLabel(): string {
    return this.text('name_label');
  }
  get nameDescription(): string {
    return this.text('name_description');
  }
  get otherConfig(): TextMap {
    return this.map('other_config');
  }

  text(field: string): string {
    const value = this.object.fields[field];
    return typeof value === 'string' ? value : '';
  }
  /** A 64-bit integer that is a size, a count or an order here; all of them stay below 2^53. */
  int(field: string): number {
    const number = Number(this.text(field) || '0');
    return Number.isFinite(number) ? number : 0;
  }
  flag(field: string): boolean {
    return this.object.fields[field] === true;
  }
  has(field: string): boolean {
    return this.object.fields[field] !== undefined;
  }
  texts(field: string): readonly string[] {
    const value = this.object.fields[field];
    return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
  }
  map(field: string): TextMap {
    const value = this.object.fields[field];
    if (!isStruct(value)) return noEntries;
    return value as TextMap;
  }
  /** The object that a field refers to; null for the null reference and for an id without object. */
  ref(field: string): MetadataObject | null {
    const id = this.text(field);
    return id === '' ? null : this.document.object(id);
  }
  protected one<T extends TypedObject>(
    field: string,
    kind: new (document: MetadataDocument, object: MetadataObject) => T,
  ): T | null {
    const object = this.ref(field);
    if (object === null) return null;
    const view = this.document.typed(object);
    return view instanceof kind ? view : null;
  }
  /** Objects of a class whose field refers to this one: what the importer goes by, whatever our own lists say. */
  protected referring<T extends TypedObject>(
    className: string,
    field: string,
    kind: new (document: MetadataDocument, object: MetadataObject) => T,
  ): readonly T[] {
    const found: T[] = [];
    for (const object of this.document.referring(className, field, this.object.id)) {
      const view = this.document.typed(object);
      if (view instanceof kind) found.push(view);
    }
    return found;
  }
}

export class HostObject extends TypedObject {}

export class SrObject extends TypedObject {
  get type(): string {
    return this.text('type');
  }
  get contentType(): string {
    return this.text('content_type');
  }
  get isIso(): boolean {
    return this.contentType === 'iso';
  }
}

export class VdiObject extends TypedObject {
  get location(): string {
    return this.text('location');
  }
  get type(): string {
    return this.text('type');
  }
  get virtualSize(): number {
    return this.int('virtual_size');
  }
  get smConfig(): TextMap {
    return this.map('sm_config');
  }
  /** LUN-per-VDI SRs match by it instead of by location (xapi.md 4.4). */
  get scsiId(): string | null {
    return this.smConfig['SCSIid'] || null;
  }
  get sr(): SrObject | null {
    return this.one('SR', SrObject);
  }
}

export class NetworkObject extends TypedObject {
  get bridge(): string {
    return this.text('bridge');
  }
}

export class VbdObject extends TypedObject {
  get vm(): VmObject | null {
    return this.one('VM', VmObject);
  }
  get vdi(): VdiObject | null {
    return this.one('VDI', VdiObject);
  }
  get userdevice(): string {
    return this.text('userdevice');
  }
  get type(): 'Disk' | 'CD' | 'Floppy' {
    const type = this.text('type');
    return type === 'CD' || type === 'Floppy' ? type : 'Disk';
  }
  get mode(): 'RW' | 'RO' {
    return this.text('mode') === 'RO' ? 'RO' : 'RW';
  }
  get empty(): boolean {
    return this.flag('empty');
  }
  get currentlyAttached(): boolean {
    return this.flag('currently_attached');
  }
}

export class VifObject extends TypedObject {
  get vm(): VmObject | null {
    return this.one('VM', VmObject);
  }
  get network(): NetworkObject | null {
    return this.one('network', NetworkObject);
  }
  get device(): string {
    return this.text('device');
  }
  get mac(): string {
    return this.text('MAC');
  }
  get currentlyAttached(): boolean {
    return this.flag('currently_attached');
  }
}

export class GpuGroupObject extends TypedObject {
  get gpuTypes(): readonly string[] {
    return this.texts('GPU_types');
  }
}

export class VgpuTypeObject extends TypedObject {
  get identifier(): string {
    return this.text('identifier');
  }
  get modelName(): string {
    return this.text('model_name');
  }
}

export class VgpuObject extends TypedObject {
  get vm(): VmObject | null {
    return this.one('VM', VmObject);
  }
  get gpuGroup(): GpuGroupObject | null {
    return this.one('GPU_group', GpuGroupObject);
  }
  get type(): VgpuTypeObject | null {
    return this.one('type', VgpuTypeObject);
  }
}

export class PvsSiteObject extends TypedObject {
  get pvsUuid(): string {
    return this.text('PVS_uuid');
  }
}

export class PvsProxyObject extends TypedObject {
  get site(): PvsSiteObject | null {
    return this.one('site', PvsSiteObject);
  }
  get vif(): VifObject | null {
    return this.one('VIF', VifObject);
  }
}

/** The exporter's own record of a vTPM. Its content is the TPM's state, a secret: no accessor hands it out. */
export class VtpmObject extends TypedObject {
  override get uuid(): string {
    return this.text("vTPM'_uuid") || this.text('uuid');
  }
  get vm(): VmObject | null {
    return this.one("vTPM'_VM", VmObject) ?? this.one('VM', VmObject);
  }
}

export class VmMetricsObject extends TypedObject {
  get currentDomainType(): string {
    return this.text('current_domain_type');
  }
}

export class VmGuestMetricsObject extends TypedObject {
  get networks(): TextMap {
    return this.map('networks');
  }
}

export class VmObject extends TypedObject {
  get powerState(): string {
    return this.text('power_state');
  }
  get isATemplate(): boolean {
    return this.flag('is_a_template');
  }
  get isASnapshot(): boolean {
    return this.flag('is_a_snapshot');
  }
  get isControlDomain(): boolean {
    return this.flag('is_control_domain');
  }
  /** As the importer tells it (xapi.md 4.5 rule 1). */
  get isDefaultTemplate(): boolean {
    return (
      this.flag('is_default_template') ||
      (this.isATemplate && this.otherConfig['default_template'] === 'true')
    );
  }
  get snapshotOf(): VmObject | null {
    return this.one('snapshot_of', VmObject);
  }
  get macSeed(): string | null {
    return this.otherConfig['mac_seed'] ?? null;
  }
  get version(): number {
    return this.int('version');
  }
  get haAlwaysRun(): boolean {
    return this.flag('ha_always_run');
  }
  get haRestartPriority(): string {
    return this.text('ha_restart_priority');
  }
  get tags(): readonly string[] {
    return this.texts('tags');
  }
  get domainType(): string {
    return this.text('domain_type');
  }
  /** HVM as the importer decides it: the domain type, or in old documents the boot policy. */
  get isHvm(): boolean {
    const type = this.domainType;
    if (type === '' || type === 'unspecified') return this.text('HVM_boot_policy') !== '';
    return type === 'hvm';
  }
  get suspendVdi(): VdiObject | null {
    return this.one('suspend_VDI', VdiObject);
  }
  get affinity(): HostObject | null {
    return this.one('affinity', HostObject);
  }
  get metrics(): VmMetricsObject | null {
    return this.one('metrics', VmMetricsObject);
  }
  get guestMetrics(): VmGuestMetricsObject | null {
    return this.one('guest_metrics', VmGuestMetricsObject);
  }
  get vbds(): readonly VbdObject[] {
    return this.referring('VBD', 'VM', VbdObject);
  }
  get vifs(): readonly VifObject[] {
    return this.referring('VIF', 'VM', VifObject);
  }
  get vgpus(): readonly VgpuObject[] {
    return this.referring('VGPU', 'VM', VgpuObject);
  }
  get vtpms(): readonly VtpmObject[] {
    return [...this.referring('VTPM', "vTPM'_VM", VtpmObject), ...this.referring('VTPM', 'VM', VtpmObject)];
  }
}

const kinds: ReadonlyMap<string, new (document: MetadataDocument, object: MetadataObject) => TypedObject> =
  new Map<string, new (document: MetadataDocument, object: MetadataObject) => TypedObject>([
    ['host', HostObject],
    ['SR', SrObject],
    ['VDI', VdiObject],
    ['network', NetworkObject],
    ['VBD', VbdObject],
    ['VIF', VifObject],
    ['GPU_group', GpuGroupObject],
    ['VGPU_type', VgpuTypeObject],
    ['VGPU', VgpuObject],
    ['PVS_site', PvsSiteObject],
    ['PVS_proxy', PvsProxyObject],
    ['VTPM', VtpmObject],
    ['VM_metrics', VmMetricsObject],
    ['VM_guest_metrics', VmGuestMetricsObject],
    ['VM', VmObject],
  ]);

export function typedObject(document: MetadataDocument, object: MetadataObject): TypedObject {
  return new (kinds.get(object.class) ?? TypedObject)(document, object);
}
