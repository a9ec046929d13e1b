/** What `init` has learned of two sites, and is about to propose as sites.yaml. */
import type { PoolFacts } from './pool.ts';
import type { FoundPair } from './replication.ts';
import type { SecretRef } from './settings.ts';

export interface ProposedSite {
  readonly name: string;
  readonly pool: PoolFacts;
  /** Every host with the port that the first one was given with; the coordinator first. */
  readonly hosts: readonly {
    readonly url: string;
    readonly fingerprint: string | null;
    readonly nameLabel: string;
  }[];
  readonly username: string;
  readonly password: SecretRef;
}

export interface ProposedArray {
  readonly name: string;
  readonly site: string;
  /** Its lines under `arrays:` as they were written, indented by two. */
  readonly lines: readonly string[];
  /** Null when it did not answer. */
  readonly pairs: readonly FoundPair[] | null;
}

export interface ProposalFacts {
  readonly production: ProposedSite;
  readonly recovery: ProposedSite;
  readonly arrays: readonly ProposedArray[];
  /** Path of the JSON Schema, as the editor will read it. */
  readonly schema: string;
  readonly keyFile: string;
}

export interface Proposal {
  readonly text: string;
  /** Sentences for the person who reviews: what is a guess, and what is missing. */
  readonly review: readonly string[];
  /** There are groups, and all of them can be used as they stand. */
  readonly complete: boolean;
}
