/** Graphics, PVS proxies and virtual TPMs of an import (xapi.md 4.9). */
import { randomUUID } from 'node:crypto';
import { newRef } from '../core/database.ts';
import { fail, quoted } from '../core/failure.ts';
import { sameValue, struct } from '../core/values.ts';
import { type FileObject, findInFile } from './document.ts';
import type { ImportSession } from './session.ts';
import { setVtpmContents } from './vtpm.ts';

/** A group with the very same list of types has to be here; force does not help. */
export function importGpuGroup(session: ImportSession, object: FileObject): void {
  const types = object.record.texts('GPU_types');
  const group = session.pool.db
    .all('GPU_group')
    .find((row) => sameValue([...row.texts('GPU_types')], [...types]));
  if (group === undefined) {
    const problem = `Unable to find GPU group with matching GPU_types = '[${types.join(',')}]'`;
    fail('IMPORT_ERROR', `INTERNAL_ERROR: [ Importexport.Failure(${quoted(problem)}) ]`);
  }
  session.enter('GPU_group', object.id, group.ref);
}

/** By identifier, else by vendor and model, else a new record. */
export function importVgpuType(session: ImportSession, object: FileObject): void {
  const { record } = object;
  const rows = session.pool.db.all('VGPU_type');
  const known =
    rows.find((row) => row.text('identifier') === record.text('identifier')) ??
    rows.find(
      (row) =>
        row.text('vendor_name') === record.text('vendor_name') &&
        row.text('model_name') === record.text('model_name'),
    );
  if (known !== undefined || session.options.dryRun) {
    session.enter('VGPU_type', object.id, known?.ref ?? newRef());
    return;
  }
  const fields = [
    'vendor_name',
    'model_name',
    'framebuffer_size',
    'max_heads',
    'max_resolution_x',
    'max_resolution_y',
    'implementation',
    'identifier',
    'experimental',
  ];
  const made = session.pool.db.create(
    'VGPU_type',
    Object.fromEntries(fields.map((name) => [name, record.get(name)])),
  );
  session.undo(async () => made.destroy());
  session.enter('VGPU_type', object.id, made.ref);
}

export function importVgpu(session: ImportSession, object: FileObject): void {
  const { pool, options } = session;
  const { record } = object;
  const existing = options.restore ? pool.db.findByUuid('VGPU', record.text('uuid')) : undefined;
  if (existing !== undefined) {
    session.enter('VGPU', object.id, existing.ref);
    return;
  }
  const vm = session.lookup(record.text('VM'));
  const { maps_to: chosen, ...otherConfig } = record.map('other_config');
  const group = chosen ?? session.lookup(record.text('GPU_group'));
  const type = session.lookup(record.text('type'));
  if (options.dryRun) {
    session.enter('VGPU', object.id, newRef());
    return;
  }
  const halted = pool.db.find('VM', vm)?.text('power_state') === 'Halted';
  const made = pool.db.create('VGPU', {
    uuid: options.restore ? record.text('uuid') : randomUUID(),
    VM: vm,
    GPU_group: group,
    type,
    device: record.get('device'),
    other_config: struct(otherConfig),
    currently_attached: !halted && record.bool('currently_attached'),
  });
  session.undo(async () => made.destroy());
  session.enter('VGPU', object.id, made.ref);
}

/** A proxy needs a site of the same PVS uuid here, else it is dropped without a word. Sites are never made. */
export function importPvsProxy(session: ImportSession, object: FileObject): void {
  const { record } = object;
  const uuid = findInFile(session.document, record.text('site')).record.text('PVS_uuid');
  const site = session.pool.db.all('PVS_site').find((row) => row.text('PVS_uuid') === uuid);
  if (site === undefined) return;
  const vif = session.lookup(record.text('VIF'));
  if (session.options.dryRun) {
    session.enter('PVS_proxy', object.id, newRef());
    return;
  }
  const made = session.pool.db.create('PVS_proxy', { site: site.ref, VIF: vif });
  session.undo(async () => made.destroy());
  session.enter('PVS_proxy', object.id, made.ref);
}

/** Always made on the imported VM, with the state of the file. */
export function importVtpm(session: ImportSession, object: FileObject): void {
  const { pool, options } = session;
  const field = (name: string): string => {
    const value = object.raw[`vTPM'_${name}`];
    return typeof value === 'string' ? value : '';
  };
  const uuid = field('uuid');
  if (options.restore && pool.db.findByUuid('VTPM', uuid) !== undefined)
    fail('IMPORT_ERROR', `A VTPM with UUID ${uuid} already exists`);
  if (options.dryRun) {
    session.enter('VTPM', object.id, newRef());
    return;
  }
  const vm = session.lookup(field('VM'));
  const others = pool.db.row('VM', vm).texts('VTPMs').length;
  if (others > 0) fail('VTPM_MAX_AMOUNT_REACHED', String(others));
  const made = pool.db.create('VTPM', {
    uuid: options.restore ? uuid : randomUUID(),
    VM: vm,
    persistence_backend: 'xapi',
    is_unique: object.raw["vTPM'_is_unique"] === true,
    is_protected: object.raw["vTPM'_is_protected"] === true,
  });
  setVtpmContents(made, field('content'));
}
