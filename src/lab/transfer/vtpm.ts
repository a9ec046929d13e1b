/** The state that a virtual TPM keeps. It is no field of class VTPM: xapi stores it as a secret (xapi.md 3.3). */
import type { Row } from '../core/database.ts';

const contents = new WeakMap<Row, string>();

/** Base64 text; empty for a TPM that was never written. */
export function vtpmContents(vtpm: Row): string {
  return contents.get(vtpm) ?? '';
}

export function setVtpmContents(vtpm: Row, base64: string): void {
  contents.set(vtpm, base64);
}
