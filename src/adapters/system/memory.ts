/**
 * Memory that is not needed any more, given back to the system at once. The engine collects when it needs room, and not
 * when nothing happens: a daemon that rests between two looks would hold for minutes what one look has taken.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: NodeJS.GCFunction | null = null;

export function giveMemoryBack(): void {
  if (collect === null) {
    // The only way to it from within: the flag lets every new context have the function.
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as NodeJS.GCFunction;
  }
  // Any other collection keeps the emptied pages for the next allocations: half of what the process holds.
  collect({ type: 'major', flavor: 'last-resort', execution: 'sync' });
}
