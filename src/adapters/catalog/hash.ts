/** SHA-256 as lower-case hexadecimal: the one hash of the catalog. */
import { createHash, type Hash } from 'node:crypto';

export class Sha256 {
  readonly #hash: Hash = createHash('sha256');

  update(bytes: Uint8Array): this {
    this.#hash.update(bytes);
    return this;
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}
