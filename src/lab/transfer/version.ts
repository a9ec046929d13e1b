/** The version struct of an archive, and the gate that it has to pass (xapi.md 3.3, 3.8). */
import { fail, internal, quoted } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import { isStruct, type Struct, struct, type Value } from '../core/values.ts';

const exportVersion = '2';

/** First two parts of the xapi build, such as 26 and 17. */
export function buildOf(pool: LabPool): readonly [major: number, minor: number] {
  const software = pool.master.row.map('software_version');
  const text = software['xapi_build'] ?? software['xapi'] ?? '';
  const [major = 0, minor = 0] = text.split(/[.-]/).map(Number);
  return [Number.isNaN(major) ? 0 : major, Number.isNaN(minor) ? 0 : minor];
}

/** What this pool writes: `hostname` and `date` are those of the build, not of the host. */
export function versionOf(pool: LabPool): Struct {
  const software = pool.master.row.map('software_version');
  const [major, minor] = buildOf(pool);
  return struct({
    hostname: 'localhost',
    date: software['date'] ?? '',
    product_version: software['product_version'] ?? '',
    product_brand: software['product_brand'] ?? '',
    build_number: software['build_number'] ?? '',
    xapi_major: String(major),
    xapi_minor: String(minor),
    export_vsn: exportVersion,
  });
}

const members = [
  'hostname',
  'date',
  'product_version',
  'product_brand',
  'build_number',
  'xapi_major',
  'xapi_minor',
] as const;

/** An archive of a newer build is refused; force does not help. */
export function assertCompatible(pool: LabPool, version: Value | undefined): void {
  if (!isStruct(version)) internal('Failure("version_of_rpc: malformed RPC")');
  for (const name of members) {
    if (!(name in version))
      internal(`Importexport.Failure(${quoted(`Failed to find key '${name}' in version data`)})`);
  }
  const number = (name: string): number => {
    const value = Number(version[name]);
    return Number.isInteger(value) ? value : internal('Failure("int_of_string")');
  };
  const [major, minor] = buildOf(pool);
  const theirs = [number('xapi_major'), number('xapi_minor')] as const;
  if (pool.product.transfers.equalMajor && major !== theirs[0]) fail('IMPORT_INCOMPATIBLE_VERSION');
  if (major < theirs[0] || (major === theirs[0] && minor < theirs[1])) fail('IMPORT_INCOMPATIBLE_VERSION');
}
