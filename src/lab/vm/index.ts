/** What this folder adds to a lab; called once for every lab, before its pools are made. */
import type { Lab } from '../core/lab.ts';
import { watchVms } from './allowed.ts';
import { installAppliances } from './appliance.ts';
import { installClones } from './clone.ts';
import { installCreate } from './create.ts';
import { installDevices } from './devices.ts';
import { ledgerOf } from './guest.ts';
import { autoPowerOn, installHa, watchHa } from './ha.ts';
import { installPower } from './power.ts';
import { installSettings } from './settings.ts';

export { agentKey } from './agent.ts';
export { GuestFailure, guestRead, guestWrite, ledgerOf, type Violation } from './guest.ts';
export { restartProtected } from './ha.ts';
export { freeMemory } from './placement.ts';
export { vmState } from './state.ts';

export function installVm(lab: Lab): void {
  installCreate(lab.registry);
  installPower(lab.registry);
  installClones(lab.registry);
  installDevices(lab.registry);
  installAppliances(lab.registry);
  installSettings(lab.registry);
  installHa(lab.registry);
  lab.onPool.push((pool) => {
    watchVms(pool);
    lab.onStop.push(watchHa(pool));
    pool.db.onChange((row, change, fields) => {
      if (
        change === 'mod' &&
        row.cls === 'VM' &&
        fields.includes('resident_on') &&
        row.text('power_state') === 'Running'
      )
        ledgerOf(lab).checkVm(pool, row);
    });
  });
  lab.onPower.push((host, up) => {
    if (up) void autoPowerOn(host);
  });
  lab.installed.add('vm');
}
