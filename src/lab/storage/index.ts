/** What this folder adds to a lab; called once for every lab, before its pools are made. */
import type { Lab } from '../core/lab.ts';
import { watchStorage } from './allowed.ts';
import { startCollector } from './collector.ts';
import { Fabric, setFabric } from './fabric.ts';
import { addStorageManagers } from './managers.ts';
import { forgetAttachments, installPbds, plugAll } from './pbd.ts';
import { installRawDisks } from './raw-disks.ts';
import { installSrs } from './sr.ts';
import { installVdis } from './vdi.ts';

export { collect, scanDirty } from './collector.ts';
export type { Access, FibreChannel, IscsiTarget, Lun, Share } from './fabric.ts';
export { Fabric, fabricOf, setFabric } from './fabric.ts';
export { addStorageManager, removeStorageManager } from './managers.ts';
export { pretendFull, storageState } from './state.ts';

export function installStorage(lab: Lab): void {
  installSrs(lab.registry);
  installPbds(lab.registry);
  installVdis(lab.registry);
  installRawDisks(lab.registry);
  const fabric = new Fabric(lab.directory('local-disks'));
  lab.onPool.push((pool) => {
    setFabric(pool, fabric);
    watchStorage(pool);
    addStorageManagers(pool);
    lab.onStop.push(startCollector(pool));
  });
  lab.onPower.push((host, up) => {
    if (up) {
      forgetAttachments(host.pool, host.row.ref);
      plugAll(host.pool, host.row.ref);
    }
  });
  lab.installed.add('storage');
}
