/** Arrays of a lab: made by a world, each with a control API of its own. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab } from '../core/lab.ts';
import type { LabPool } from '../core/pool.ts';
import { fabricOf } from '../storage/fabric.ts';
import { type ArraySpec, LabArray } from './array.ts';
import { ArrayLuns, type LunSpec } from './lun.ts';
import { type ArrayLogin, ArrayServer } from './server.ts';
import type { Volume } from './volume.ts';

export { LabArray, pairVolumes } from './array.ts';
export type { ArrayFaultInput } from './faults.ts';
export type { LunSpec } from './lun.ts';
export { ArrayServer } from './server.ts';
export { ArrayRefusal, type Volume } from './volume.ts';

const arrays = new WeakMap<Lab, Map<string, ArrayServer>>();

/** The arrays of a lab by name. */
export function arraysOf(lab: Lab): ReadonlyMap<string, ArrayServer> {
  return arrays.get(lab) ?? new Map();
}

export function arrayOf(lab: Lab, name: string): LabArray {
  const found = arraysOf(lab).get(name);
  if (found === undefined) throw new Error(`the lab has no array ${name}`);
  return found.array;
}

/** Adds an array that listens at once; it loses its power with its site and stops with the lab. */
export async function addArray(
  lab: Lab,
  spec: ArraySpec & {
    readonly login?: ArrayLogin;
    /** 0 takes a free port. */
    readonly port?: number;
  },
): Promise<LabArray> {
  const array = new LabArray(spec, lab.directory('arrays', spec.name), lab.clock);
  const login = spec.login ?? { username: 'admin', password: `${lab.credentials.password}-array` };
  const server = new ArrayServer(array, login, spec.port ?? 0);
  arrays.set(lab, new Map([...arraysOf(lab), [spec.name, server]]));
  await server.listen();
  lab.onSite.push((site, up) => (site === spec.site ? setPower(server, up) : undefined));
  lab.onStop.push(async () => {
    array.stop();
    await server.close();
  });
  return array;
}

async function setPower(server: ArrayServer, up: boolean): Promise<void> {
  server.array.setPower(up);
  if (up) await server.listen();
  else await server.close();
}

/** A volume that the hosts of these pools can mount; the same hosts see the copies that drills make of it. */
export function addVolume(array: LabArray, name: string, pools: readonly LabPool[]): Volume {
  const fabrics = new Set(pools.map((pool) => fabricOf(pool)));
  return array.addVolume(name, (share) => {
    for (const { shares } of fabrics) shares.push(share);
    return () => {
      for (const { shares } of fabrics) shares.splice(shares.indexOf(share), 1);
    };
  });
}

/** A volume that hosts reach as a LUN (lun.ts); each copy for a drill is a LUN of its own with another SCSIid. */
export function addLun(array: LabArray, name: string, pools: readonly LabPool[], spec: LunSpec): Volume {
  const luns = new ArrayLuns(array, name, new Set(pools.map((pool) => fabricOf(pool))), spec);
  const volume = array.addVolume(name, luns.present, luns.offer);
  // Unlike an export, a LUN that everybody sees is in the way of its copies.
  volume.admitted = [...spec.admitted];
  return volume;
}

/** Writes `<directory>/<array>.json` for each array: what the adapter's option `directory` reads. Holds the password. */
export function writeArrayAccess(lab: Lab, directory: string): void {
  for (const [name, server] of arraysOf(lab)) {
    const access = { url: server.url, fingerprint: server.certificate.sha256, ...server.login };
    writeFileSync(join(directory, `${name}.json`), `${JSON.stringify(access, null, 2)}\n`, { mode: 0o600 });
  }
}
