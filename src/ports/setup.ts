/** What `lifeboat init` asks before there are settings: pools by their addresses, arrays as they are described. */
import type { PoolFacts } from '../domain/pool.ts';
import type { ArraySettings, HostAddress, PoolSettings, SecretRef } from '../domain/settings.ts';
import type { Replication } from './replication.ts';

export interface Setup {
  /** SHA-256 of the certificate that the host shows, 64 hexadecimal digits; nothing is sent to it. Throws `PortError`. */
  certificateAt(url: string): Promise<string>;
  /** Address of the coordinator, when the host is a member of its pool; null for a coordinator. Needs no login. */
  coordinatorOf(site: string, host: HostAddress): Promise<string | null>;
  /** Logs in at the coordinator and looks; every host with the certificate that the pool itself vouches for. */
  survey(site: string, pool: PoolSettings, signal?: AbortSignal): Promise<Surveyed>;
  array(array: ArraySettings): Promise<Replication>;
  /** Puts a typed secret into the encrypted store of the settings that are about to be written. */
  storeSecret(name: string, value: string): Promise<void>;
  /** A new key for the catalog, readable by the owner alone. An existing file is never touched: false then. */
  makeKey(path: string): Promise<boolean>;
  /** The value is fetched to prove that it can be, and kept nowhere. */
  trySecret(ref: SecretRef): Promise<void>;
  /** The text of a file, for the arrays. */
  readText(path: string): string;
  exists(path: string): boolean;
  /** JSON Schema of sites.yaml, for editors. */
  readonly schemaFile: string;
  close(): Promise<void>;
}

export interface Surveyed {
  readonly pool: PoolFacts;
  readonly hosts: readonly SurveyedHost[];
}

export interface SurveyedHost {
  readonly nameLabel: string;
  readonly address: string;
  /** Null where the pool does not tell. */
  readonly fingerprint: string | null;
}
