/**
 * An SSH connection with a pinned host key. `ssh2` accepts any host when no verifier is given, and takes the promise of
 * an asynchronous verifier for a yes (libraries.md 4): the verifier here is synchronous and there is always one.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import ssh2, { type Client, type ClientChannel, type ConnectConfig, type SFTPWrapper } from 'ssh2';
import { type FailureKind, PortError, type Problem } from '../../domain/errors.ts';

export interface SshAddress {
  readonly host: string;
  readonly port: number;
  readonly username: string;
  /** Base64 SHA-256 of the host key, as `ssh-keygen -lf` prints it; `SHA256:` and `=` are tolerated. */
  readonly hostKey: string;
  /** Where a person corrects these settings; sites.yaml in general when absent. */
  readonly writtenIn?: SshWritten;
}

/** For the advice that ends an error: an array, a catalog target and a guest are set up in different places. */
export interface SshWritten {
  /** Such as `array filer-osaka in sites.yaml`. */
  readonly place: string;
  /** What the private key's file is called there. */
  readonly keyField: string;
  /** The file of known hosts that the key was taken from; absent where it is written as `host_key`. */
  readonly knownHostsFile?: string;
}

export interface SshCredentials {
  /** Text of an OpenSSH or PEM private key; PKCS#8 Ed25519 keys are not read by ssh2. */
  readonly privateKey: string | null;
  /** Passphrase of the private key when there is one, else the user's password. */
  readonly password: string | null;
}

export interface SshTimes {
  readonly connectSeconds: number;
  /** A peer that does not answer three of these is given up. */
  readonly keepaliveSeconds: number;
}

export const usualTimes: SshTimes = { connectSeconds: 20, keepaliveSeconds: 10 };

export class SshConnection {
  readonly address: SshAddress;
  readonly #client: Client;
  #lost: PortError | null = null;
  readonly #onLost = new Set<(error: PortError) => void>();

  private constructor(address: SshAddress, client: Client) {
    this.address = address;
    this.#client = client;
    client.on('error', (error) => this.#lose(explain(address, error, null)));
    client.on('close', () => this.#lose(lostConnection(address)));
  }

  static connect(
    address: SshAddress,
    credentials: SshCredentials,
    times: SshTimes = usualTimes,
  ): Promise<SshConnection> {
    const pinned = fingerprintBytes(address);
    if (pinned instanceof PortError) return Promise.reject(pinned);
    return new Promise((resolve, reject) => {
      const client = new ssh2.Client();
      let offered: string | null = null;
      let settled = false;
      const fail = (error: PortError): void => {
        if (settled) return;
        settled = true;
        client.destroy();
        reject(error);
      };
      client.on('error', (error) => fail(explain(address, error, offered)));
      client.on('close', () => fail(lostConnection(address)));
      client.on('ready', () => {
        settled = true;
        // Small messages that wait for each other: without this each round trip costs 40 ms.
        client.setNoDelay(true);
        client.removeAllListeners('error');
        client.removeAllListeners('close');
        resolve(new SshConnection(address, client));
      });
      const config: ConnectConfig = {
        host: address.host,
        port: address.port,
        username: address.username,
        readyTimeout: times.connectSeconds * 1000,
        keepaliveInterval: times.keepaliveSeconds * 1000,
        keepaliveCountMax: 3,
        hostVerifier: (key: Buffer): boolean => {
          const digest = createHash('sha256').update(key).digest();
          const same = timingSafeEqual(digest, pinned);
          if (!same) offered = digest.toString('base64').replace(/=+$/, '');
          return same;
        },
        ...(credentials.privateKey !== null
          ? {
              privateKey: credentials.privateKey,
              ...(credentials.password === null ? {} : { passphrase: credentials.password }),
            }
          : { password: credentials.password ?? '' }),
      };
      try {
        client.connect(config);
      } catch (error) {
        fail(badKey(address, error));
      }
    });
  }

  /** Why the connection is gone; null while it stands. */
  get lost(): PortError | null {
    return this.#lost;
  }

  /** An SFTP channel. */
  sftp(): Promise<SFTPWrapper> {
    return this.guard<SFTPWrapper>((done) => this.#client.sftp((error, sftp) => done(error, sftp)));
  }

  /** A channel that runs a command line; `remote.ts` makes it from arguments and says how it ended. */
  exec(command: string): Promise<ClientChannel> {
    return this.guard<ClientChannel>((done) =>
      this.#client.exec(command, (error, channel) => done(error, channel)),
    );
  }

  /** Runs a call with a callback; rejects when the connection breaks first, which ssh2 leaves unsaid. */
  guard<T>(call: (done: (error: Error | null | undefined, value: T) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== null) {
        reject(this.#lost);
        return;
      }
      this.#onLost.add(reject);
      const done = (error: Error | null | undefined, value: T): void => {
        this.#onLost.delete(reject);
        if (error) reject(error);
        else resolve(value);
      };
      try {
        call(done);
      } catch (error) {
        this.#onLost.delete(reject);
        reject(this.#lost ?? error);
      }
    });
  }

  close(): void {
    this.#lost ??= lostConnection(this.address);
    this.#client.end();
    this.#client.destroy();
  }

  #lose(error: PortError): void {
    this.#lost ??= error;
    for (const reject of this.#onLost) reject(this.#lost);
    this.#onLost.clear();
  }
}

export function describeSsh(address: SshAddress): string {
  return `${address.username}@${address.host}:${address.port}`;
}

function fingerprintBytes(address: SshAddress): Buffer | PortError {
  const text = address.hostKey.replace(/^SHA256:/, '').replace(/=+$/, '');
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length === 32 && bytes.toString('base64').replace(/=+$/, '') === text) return bytes;
  return new PortError('trust', {
    code: 'DR-SSH-HOSTKEY',
    what: 'The pinned host key is not a SHA-256 fingerprint',
    where: { object: describeSsh(address) },
    known: ['it must be the 43 characters behind "SHA256:"'],
    next: fingerprintAdvice(address),
  });
}

function fingerprintAdvice(address: SshAddress): string {
  const { place, knownHostsFile } = writtenIn(address);
  return knownHostsFile === undefined
    ? `On the server itself run: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub, and write what it prints as host_key of ${place}`
    : `On the server itself run: cat /etc/ssh/ssh_host_ed25519_key.pub, and put that key in the place of the old one in ${knownHostsFile}`;
}

function writtenIn(address: SshAddress): SshWritten {
  return address.writtenIn ?? { place: `${address.host} in sites.yaml`, keyField: 'private_key_file' };
}

function loginAdvice(address: SshAddress): string {
  const { place, keyField } = writtenIn(address);
  return `Correct user, password or ${keyField} of ${place}, or add the public key to authorized_keys of that user`;
}

function lostConnection(address: SshAddress): PortError {
  return failure(
    address,
    'unreachable',
    'DR-SSH-LOST',
    'The SSH connection was lost',
    [],
    'Look whether the server and the network are up, then repeat',
  );
}

function explain(address: SshAddress, error: Error & { level?: string }, offered: string | null): PortError {
  if (offered !== null) {
    return failure(
      address,
      'trust',
      'DR-SSH-HOSTKEY',
      'The SSH server shows another host key than the pinned one',
      [
        `pinned SHA256:${address.hostKey.replace(/^SHA256:/, '')}`,
        `shown SHA256:${offered}`,
        'nothing was sent to it',
      ],
      `Ask whoever runs the server whether its key was changed. ${fingerprintAdvice(address)}`,
      error,
    );
  }
  if (error.level === 'client-authentication') {
    return failure(
      address,
      'auth',
      'DR-SSH-LOGIN',
      'The SSH server refuses the login',
      ['wrong user, password or key'],
      loginAdvice(address),
      error,
    );
  }
  if (error.level === 'client-timeout') {
    return failure(
      address,
      'unreachable',
      'DR-SSH-UNREACHABLE',
      'The SSH server does not answer',
      [error.message],
      'Look whether the server and the network are up',
      error,
    );
  }
  const code = 'code' in error ? String(error.code) : '';
  const words: Record<string, string> = {
    ECONNREFUSED: 'the connection was refused: no SSH server listens there',
    ENOTFOUND: 'the name is not known',
    EAI_AGAIN: 'the name server does not answer',
    EHOSTUNREACH: 'there is no way to that host',
    ENETUNREACH: 'there is no way to that network',
    ETIMEDOUT: 'the connection timed out',
    ECONNRESET: 'the server closed the connection',
  };
  return failure(
    address,
    'unreachable',
    'DR-SSH-UNREACHABLE',
    'Cannot reach the SSH server',
    [words[code] ?? error.message],
    `Look whether the server is up, and whether host and port of ${writtenIn(address).place} are right`,
    error,
  );
}

function badKey(address: SshAddress, error: unknown): PortError {
  const message = error instanceof Error ? error.message : '';
  const known = /passphrase|decrypt/i.test(message)
    ? 'it is encrypted, and the passphrase is missing or wrong'
    : 'it is not in a form that can be read: OpenSSH or PEM (RSA, ECDSA)';
  return failure(
    address,
    'auth',
    'DR-SSH-KEY',
    'Cannot use the private key',
    [known],
    'Give a key in the OpenSSH form: ssh-keygen -p -f KEYFILE rewrites it',
  );
}

function failure(
  address: SshAddress,
  kind: FailureKind,
  code: Problem['code'],
  what: string,
  known: readonly string[],
  next: string,
  cause?: unknown,
): PortError {
  return new PortError(
    kind,
    { code, what, where: { object: describeSsh(address) }, known, next },
    cause === undefined ? {} : { cause },
  );
}
