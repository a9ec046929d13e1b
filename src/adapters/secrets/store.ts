/**
 * The encrypted store of `lifeboat secret`: one file (mode 0600) with a header in clear and all secrets in one
 * AES-256-GCM box (docs/secrets.md). Each change writes a new file beside the old one and renames it.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes, scrypt } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { canonicalJson } from '../../domain/canonical.ts';
import { OperatorError } from '../../domain/errors.ts';
import { codeOf, readPrivateFile } from './key-file.ts';

export type StoreKey =
  | { readonly from: 'key-file'; readonly key: Uint8Array }
  | { readonly from: 'passphrase'; readonly passphrase: string };

const format = 'lifeboat-secrets/1';
const cost = { N: 65_536, r: 8, p: 1 } as const;

interface StoreFile {
  readonly format: typeof format;
  readonly key: 'key-file' | 'passphrase';
  readonly salt: string;
  readonly cost: { readonly N: number; readonly r: number; readonly p: number } | null;
  /** Nonce (12 bytes), box, tag (16), in hexadecimal. The other members are authenticated with it. */
  readonly box: string;
}

export class SecretStore {
  readonly #path: string;
  readonly #key: () => Promise<StoreKey>;
  #turn: Promise<unknown> = Promise.resolve();

  /** `key` is asked when a secret is read or written, never earlier. */
  constructor(path: string, key: () => Promise<StoreKey>) {
    this.#path = path;
    this.#key = key;
  }

  /** Names, sorted. */
  async list(): Promise<readonly string[]> {
    return [...(await this.#read()).keys()].sort();
  }

  async get(name: string): Promise<string | null> {
    return (await this.#read()).get(name) ?? null;
  }

  async set(name: string, value: string): Promise<void> {
    if (!/^[A-Za-z0-9][A-Za-z0-9_./-]{0,127}$/.test(name)) {
      throw new OperatorError(
        {
          code: 'DR-SECRET-NAME',
          what: `${JSON.stringify(name)} cannot be the name of a secret`,
          next: 'Use letters, digits, - _ . and /, at most 128 characters',
        },
        { exitCode: 2 },
      );
    }
    if (value === '') {
      throw new OperatorError(
        {
          code: 'DR-SECRET-EMPTY',
          what: `The value for secret ${name} is empty`,
          next: 'Give a value that is not empty',
        },
        { exitCode: 2 },
      );
    }
    await this.#change((secrets) => secrets.set(name, value));
  }

  /** False when there was no such secret. */
  async remove(name: string): Promise<boolean> {
    let was = false;
    await this.#change((secrets) => {
      was = secrets.delete(name);
    });
    return was;
  }

  #change(action: (secrets: Map<string, string>) => void): Promise<void> {
    const turn = this.#turn.then(async () => {
      const lock = `${this.#path}.lock`;
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      const held = await this.#lock(lock);
      try {
        const secrets = await this.#read();
        action(secrets);
        await this.#write(secrets);
      } finally {
        await held.close();
        await rm(lock, { force: true });
      }
    });
    this.#turn = turn.catch(() => null);
    return turn;
  }

  async #lock(path: string): Promise<{ close(): Promise<void> }> {
    try {
      return await open(path, 'wx', 0o600);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw this.#cannot('change', codeOf(error), error);
      throw new OperatorError(
        {
          code: 'DR-SECRET-LOCKED',
          what: 'The secret store is being changed by another process',
          where: { object: this.#path },
          known: [`the lock ${path} exists`],
          next: `Repeat in a moment; when no other Lifeboat runs, remove ${path}`,
        },
        { exitCode: 11, cause: error },
      );
    }
  }

  async #read(): Promise<Map<string, string>> {
    let text: string;
    try {
      text = await readPrivateFile(this.#path, 'the secret store');
    } catch (error) {
      if (error instanceof OperatorError && codeOf(error.cause) === 'ENOENT') return new Map();
      throw error;
    }
    let file: StoreFile;
    try {
      file = JSON.parse(text) as StoreFile;
      if (file.format !== format || typeof file.box !== 'string') throw new Error('another format');
    } catch {
      throw this.#cannot('read', 'it is not a secret store, or it is damaged', null);
    }
    const key = await this.#key();
    if (key.from !== file.key) {
      throw this.#wrongKey(
        `it was made with a ${file.key.replace('-', ' ')}, and a ${key.from.replace('-', ' ')} was given`,
      );
    }
    const { box, ...clear } = file;
    const sealed = Buffer.from(box, 'hex');
    try {
      const decipher = createDecipheriv('aes-256-gcm', await boxKey(key, clear), sealed.subarray(0, 12), {
        authTagLength: 16,
      });
      decipher.setAAD(Buffer.from(canonicalJson(clear)));
      decipher.setAuthTag(sealed.subarray(-16));
      const opened = Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
      return new Map(Object.entries(JSON.parse(opened.toString('utf8')) as Record<string, string>));
    } catch {
      throw this.#wrongKey(`the ${key.from.replace('-', ' ')} does not open it, or it is damaged`);
    }
  }

  async #write(secrets: ReadonlyMap<string, string>): Promise<void> {
    const key = await this.#key();
    const clear = {
      format,
      key: key.from,
      salt: randomBytes(32).toString('hex'),
      cost: key.from === 'passphrase' ? cost : null,
    } as const;
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', await boxKey(key, clear), nonce);
    cipher.setAAD(Buffer.from(canonicalJson(clear)));
    const text = canonicalJson(Object.fromEntries([...secrets].sort(([a], [b]) => (a < b ? -1 : 1))));
    const box = Buffer.concat([
      nonce,
      cipher.update(text, 'utf8'),
      cipher.final(),
      cipher.getAuthTag(),
    ]).toString('hex');
    const temporary = `${this.#path}.${randomBytes(6).toString('hex')}.tmp`;
    try {
      const file = await open(temporary, 'wx', 0o600);
      try {
        // Unlike `write`, this writes all of it or fails: a disk may be full.
        await file.writeFile(`${canonicalJson({ ...clear, box })}\n`);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, this.#path);
      const directory = await open(dirname(this.#path), 'r');
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    } catch (error) {
      await rm(temporary, { force: true });
      throw this.#cannot('write', codeOf(error), error);
    }
  }

  #cannot(doing: string, known: string, cause: unknown): OperatorError {
    return new OperatorError(
      {
        code: 'DR-SECRET-STORE',
        what: `Cannot ${doing} the secret store`,
        where: { object: this.#path },
        known: [known === 'ENOSPC' ? 'the disk is full' : known || 'the system does not say why'],
        next: 'Remove the cause and repeat; what was stored before is still there',
      },
      { cause },
    );
  }

  #wrongKey(known: string): OperatorError {
    return new OperatorError({
      code: 'DR-SECRET-KEY',
      what: 'Cannot open the secret store',
      where: { object: this.#path },
      known: [known],
      next: 'Give the key file or passphrase with which it was made',
    });
  }
}

async function boxKey(key: StoreKey, file: Omit<StoreFile, 'box'>): Promise<Buffer> {
  const salt = Buffer.from(file.salt, 'hex');
  if (key.from === 'key-file')
    return Buffer.from(hkdfSync('sha256', key.key, salt, 'lifeboat/1 secrets', 32));
  const { N, r, p } = file.cost ?? cost;
  if (!(N * r <= 8 * 1024 * 1024 && p <= 16)) throw new Error('scrypt parameters beyond all measure');
  return new Promise((resolve, reject) =>
    scrypt(key.passphrase.normalize('NFC'), salt, 32, { N, r, p, maxmem: 256 * N * r }, (error, derived) =>
      error === null ? resolve(derived) : reject(error),
    ),
  );
}
