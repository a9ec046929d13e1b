/** What this folder adds to a lab; called once for every lab, before its pools are made. */
import type { Lab } from '../core/lab.ts';

export function installFaults(lab: Lab): void {
  lab.installed.add('faults');
  for (const wrap of lab.faults.wraps()) lab.registry.wrap(wrap);
  lab.observe = ({ host, call }) => {
    lab.costs.noteActivity();
    const began = lab.clock.now();
    const record = lab.faults.ledger.begin({ at: began, pool: host.pool.name, host: host.name, call });
    return (outcome) => {
      record.outcome = outcome;
      record.seconds = (lab.clock.now() - began) / 1000;
      lab.costs.noteActivity();
    };
  };
}
