/** Starting a lab: `startLab({ world: 'recordings', storage })`. */
import { installEvents } from './core/events.ts';
import { installFacts } from './core/facts.ts';
import { Lab, type LabOptions } from './core/lab.ts';
import { installSessions } from './core/sessions.ts';
import { installTasks } from './core/tasks.ts';
import { installCost } from './cost/index.ts';
import { installFaults } from './faults/index.ts';
import { installDump } from './server/xmldbdump.ts';
import { installStorage } from './storage/index.ts';
import { installTransfer } from './transfer/index.ts';
import { installVm } from './vm/index.ts';
import { worlds } from './world.ts';

export type { LabOptions } from './core/lab.ts';
export { Lab } from './core/lab.ts';

/** Builds a world and lets it listen. Stop it with `lab.stop()`. */
export async function startLab(
  options: LabOptions & { readonly world: string | ((lab: Lab) => void | Promise<void>) },
): Promise<Lab> {
  const lab = new Lab(options);
  installSessions(lab.registry);
  installTasks(lab.registry);
  installEvents(lab.registry);
  installFacts(lab);
  installDump(lab);
  installStorage(lab);
  installVm(lab);
  installTransfer(lab);
  installFaults(lab);
  installCost(lab);
  const build = typeof options.world === 'string' ? worlds[options.world] : options.world;
  if (build === undefined) throw new Error(`no world is called ${options.world}`);
  await build(lab);
  await lab.listen();
  return lab;
}
