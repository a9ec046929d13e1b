/**
 * The VMs of a database as metadata documents: what `/export_metadata?all=true` of that pool would have written at the
 * moment of the dump (xapi.md 3.3), so that everything that reads documents reads a database too.
 */

import { importOrder } from '../canonical.ts';
import { MetadataDocument, type MetadataObject } from '../document.ts';
import { nullRef, renameReferences } from '../references.ts';
import { emptyStruct, type XmlStruct, type XmlValue } from '../xmlvalue.ts';
import type { DatabaseRecords } from './records.ts';

const noOperations = { current_operations: emptyStruct(), allowed_operations: [] };

/** What the exporter empties, since it means nothing elsewhere or is nobody's business. */
const emptied: Readonly<Record<string, Readonly<Record<string, XmlValue>>>> = {
  host: {
    ...noOperations,
    ...Object.fromEntries(
      [
        'PIFs',
        'PBDs',
        'PGPUs',
        'PCIs',
        'PUSBs',
        'host_CPUs',
        'patches',
        'updates',
        'crashdumps',
        'supported_bootloaders',
        'capabilities',
        'ha_statefiles',
        'ha_network_peers',
        'tags',
        'certificates',
        'resident_VMs',
      ].map((field) => [field, []]),
    ),
    ...Object.fromEntries(
      [
        'license_params',
        'license_server',
        'blobs',
        'external_auth_configuration',
        'logging',
        'cpu_configuration',
        'other_config',
        'software_version',
        'power_on_config',
        'guest_VCPUs_params',
      ].map((field) => [field, emptyStruct()]),
    ),
    ...Object.fromEntries(
      ['external_auth_type', 'external_auth_service_name', 'sched_policy', 'uefi_certificates'].map(
        (field) => [field, ''],
      ),
    ),
    metrics: nullRef,
  },
  VM: {
    ...noOperations,
    crash_dumps: [],
    consoles: [],
    attached_PCIs: [],
    protection_policy: nullRef,
    blobs: emptyStruct(),
  },
  VBD: { ...noOperations, metrics: nullRef },
  VIF: { ...noOperations, metrics: nullRef },
  network: { ...noOperations, PIFs: [], blobs: emptyStruct() },
  VDI: { ...noOperations, crash_dumps: [] },
  SR: { ...noOperations, PBDs: [], blobs: emptyStruct() },
  GPU_group: { PGPUs: [] },
  PVS_proxy: { currently_attached: false },
  PVS_site: { cache_storage: [], servers: [] },
};

/** One document with all VMs, custom templates and snapshots of the database; default templates stay out. */
export function documentOfDatabase(records: DatabaseRecords): MetadataDocument {
  const objects = importOrder
    .flatMap((name) => records.ofClass(name))
    .filter((object) => !isDefaultTemplate(object))
    .map((object) => (object.class === 'VTPM' ? vtpmObject(object, records) : object));
  const ids = new Map(objects.map((object, index) => [object.id, `Ref:${index}`]));
  const known = (id: string): boolean => ids.has(id);
  return new MetadataDocument(
    versionOf(records),
    objects.map((object) => {
      const fields = changed(object.fields, emptied[object.class] ?? {});
      return {
        ...object,
        id: ids.get(object.id) ?? object.id,
        fields: renameReferences(object.class, fields, known, (id) => ids.get(id) ?? id),
      };
    }),
  );
}

/** Only fields that the database has: a field of a newer data model stays absent, and takes its default. */
function changed(fields: XmlStruct, changes: Readonly<Record<string, XmlValue>>): XmlStruct {
  const made = Object.assign(emptyStruct(), fields);
  for (const [field, value] of Object.entries(changes)) if (field in made) made[field] = value;
  return made;
}

function isDefaultTemplate({ class: name, fields }: MetadataObject): boolean {
  if (name !== 'VM' || fields['is_a_template'] !== true) return false;
  const config = fields['other_config'] as XmlStruct | undefined;
  return fields['is_default_template'] === true || config?.['default_template'] === 'true';
}

/** The exporter writes vTPMs with names of its own, their state among them (xapi.md 3.3). */
function vtpmObject(object: MetadataObject, records: DatabaseRecords): MetadataObject {
  const { fields } = object;
  return {
    ...object,
    fields: Object.assign(emptyStruct(), {
      "vTPM'_VM": fields['VM'] ?? nullRef,
      "vTPM'_uuid": fields['uuid'] ?? '',
      "vTPM'_is_unique": fields['is_unique'] ?? false,
      "vTPM'_is_protected": fields['is_protected'] ?? false,
      "vTPM'_content": records.vtpmState(object.id) ?? '',
    }),
  };
}

/** As the coordinator of the pool would have signed it: the version gate compares the two numbers (xapi.md 3.8). */
function versionOf(records: DatabaseRecords): XmlStruct {
  const [pool] = records.ofClass('pool');
  const master = records.find('host', String(pool?.fields['master'] ?? ''));
  const software = (master?.fields['software_version'] ?? emptyStruct()) as Record<string, string>;
  const build = software['xapi_build'] ?? software['xapi'] ?? '';
  const [major = '1', minor = '0'] = /^\d+\.\d+/.exec(build)?.[0].split('.') ?? [];
  return Object.assign(emptyStruct(), {
    hostname: software['hostname'] ?? '',
    date: software['date'] ?? '',
    product_version: software['product_version'] ?? '',
    product_brand: software['product_brand'] ?? '',
    build_number: software['build_number'] ?? '',
    xapi_major: major,
    xapi_minor: minor,
    export_vsn: '2',
  });
}
