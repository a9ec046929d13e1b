/** Whether this machine can run the clusters, and where their disks lie. */
import { closeSync, constants, existsSync, openSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const memory = '/dev/shm';
/** What two clusters never fill. */
const roomBytes = 4 * 1024 ** 3;

/** Why the clusters cannot run here; null when they can. */
export function whyNoCeph(): string | null {
  if (process.getuid?.() !== 0) return 'two Ceph clusters need root for their name spaces';
  const missing = ['ceph-mon', 'ceph-mgr', 'ceph-osd', 'rbd', 'rbd-mirror', 'ip', 'tc', 'nsenter'].filter(
    (program) => !['/usr/bin', '/usr/sbin', '/sbin', '/bin'].some((path) => existsSync(join(path, program))),
  );
  return missing.length === 0 ? null : `not installed: ${missing.join(', ')}`;
}

/** Memory where there is enough of it: a cluster waits for the disk at all that it does. */
export function placeOfClusters(): string {
  if (!existsSync(memory)) return tmpdir();
  const { bavail, bsize } = statfsSync(memory);
  return bavail * bsize > roomBytes && takesDirectWrites(memory) ? memory : tmpdir();
}

/** An OSD opens its disk past the cache, which memory allows since kernel 6.6. */
function takesDirectWrites(directory: string): boolean {
  const probe = join(directory, `lifeboat-probe-${process.pid}`);
  try {
    closeSync(openSync(probe, constants.O_CREAT | constants.O_RDWR | constants.O_DIRECT, 0o600));
    return true;
  } catch {
    return false;
  } finally {
    rmSync(probe, { force: true });
  }
}
