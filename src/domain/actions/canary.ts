/**
 * The canary: a small marked disk that is written at the source, awaited at the replica and read back from a clone there,
 * which measures the lag that no array's figure can hide.
 */
import type { PairAction } from '../plan.ts';
import type { Uuid } from '../pool.ts';

/** Key of the disk's `other_config`: the canary that it was made for. Given in the very call that makes it. */
export const canaryMark = 'lifeboat:canary';
/** Large enough for every SR type, which round up; small enough for every replication. */
export const canaryBytes = 4 * 1024 * 1024;

export type CanaryAction =
  /** A disk with our mark and known content, on the replicated SR of the running site. */
  | {
      readonly do: 'write-canary';
      readonly site: string;
      readonly srUuid: Uuid;
      readonly sr: string;
      readonly canary: string;
    }
  /** A point that was cut after the disk was written has arrived whole: on request, or by the array's own schedule. */
  | {
      readonly do: 'await-canary';
      readonly pair: PairAction;
      readonly tag: string;
      readonly onRequest: boolean;
      readonly writtenBy: string;
    }
  /** A clone of that point, as in a drill. */
  | {
      readonly do: 'clone-canary';
      readonly site: string;
      readonly drill: string;
      readonly sr: string;
      readonly target: { readonly array: string; readonly volume: string };
      readonly arrivedBy: string;
    }
  /** The disk is looked for on the attached clone, and its content compared byte for byte. */
  | {
      readonly do: 'find-canary';
      readonly site: string;
      readonly srUuid: Uuid;
      readonly sr: string;
      readonly canary: string;
      readonly writtenBy: string;
      readonly arrivedBy: string;
    }
  /** Removes the canaries of this group from the SR, those of earlier runs as well; nothing without the mark. */
  | { readonly do: 'remove-canary'; readonly site: string; readonly srUuid: Uuid; readonly group: string };
