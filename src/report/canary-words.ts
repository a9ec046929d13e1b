/** The acts of a canary in an operator's words. */
import type { CanaryAction } from '../domain/actions/canary.ts';
import { unreachable } from '../domain/errors.ts';
import { clean } from './paper.ts';

export function canaryChapter(action: CanaryAction): string {
  switch (action.do) {
    case 'write-canary':
    case 'await-canary':
      return 'The replication';
    case 'clone-canary':
    case 'find-canary':
      return 'Attach the storage';
    case 'remove-canary':
      return 'Clean up';
    default:
      return unreachable(action);
  }
}

export function describeCanary(action: CanaryAction): string {
  switch (action.do) {
    case 'write-canary':
      return `Write a small marked disk to SR ${clean(action.sr)} at site ${action.site}`;
    case 'await-canary':
      return `Wait until it has arrived whole on array ${action.pair.target.array}`;
    case 'clone-canary':
      return `Clone volume ${clean(action.target.volume)} on array ${action.target.array}, with the disk in it`;
    case 'find-canary':
      return `Find the disk on the clone of SR ${clean(action.sr)}, and compare every byte`;
    case 'remove-canary':
      return `Remove the marked disk at site ${action.site}`;
    default:
      return unreachable(action);
  }
}
