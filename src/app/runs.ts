/** Runs, as people ask for them: by id, or by `latest`; followed while somebody carries them out. */
import { exitCodes, OperatorError } from '../domain/errors.ts';
import { foldRun, type Run, type RunEvent } from '../domain/run.ts';
import type { AppPorts } from './ports.ts';

/** A journal grows by a line per event; a person does not see the difference between this and at once. */
const followEverySeconds = 0.2;

export async function runIdOf(ports: AppPorts, name: string): Promise<string> {
  const ids = await ports.journals.list();
  const [latest] = ids;
  if (name === 'latest' && latest !== undefined) return latest;
  if (ids.includes(name)) return name;
  const alike = ids.filter((id) => id.startsWith(name));
  const [only] = alike;
  if (only !== undefined && alike.length === 1) return only;
  throw new OperatorError(
    {
      code: 'DR-RUN-UNKNOWN',
      what: name === 'latest' ? 'There is no run yet' : `There is no run ${name}`,
      known: alike.length > 1 ? [`it could be one of ${alike.join(', ')}`] : [],
      next: 'See which there are: lifeboat run list',
    },
    { exitCode: exitCodes.usage },
  );
}

export async function readRun(ports: AppPorts, name: string): Promise<Run> {
  const id = await runIdOf(ports, name);
  return foldJournal(ports, id, await ports.journals.read(id));
}

/** A run whose very first line did not fit on the disk has left an empty journal: it never began. */
function foldJournal(ports: AppPorts, id: string, events: readonly RunEvent[]): Run {
  if (events.length > 0) return foldRun(events);
  throw new OperatorError({
    code: 'DR-RUN-EMPTY',
    what: `Run ${id} never began: its journal is empty, and nothing was done`,
    where: { file: ports.journals.pathOf(id) },
    next: 'Make a new plan and run that.',
  });
}

/** Every event so far and each new one, until the run has ended or nobody carries it out any more. */
export async function followRun(
  ports: AppPorts,
  name: string,
  options: { readonly onEvent: (event: RunEvent) => void; readonly signal?: AbortSignal },
): Promise<Run> {
  const id = await runIdOf(ports, name);
  const states = await ports.states();
  let told = 0;
  for (;;) {
    // Asked before the journal is read: a run that ends in between is then seen whole.
    const carriedOut = await states.isCarriedOut(id);
    const events = await ports.journals.read(id);
    for (const event of events.slice(told)) options.onEvent(event);
    told = events.length;
    const run = foldJournal(ports, id, events);
    if (run.endedAt !== null || !carriedOut) return run;
    await ports.clock.sleep(followEverySeconds, options.signal);
  }
}
