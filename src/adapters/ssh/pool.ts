/**
 * One server, one connection, several programs at once. A login costs more than most commands, so the connection is kept
 * and made anew when it has broken; sshd allows ten channels to a connection (MaxSessions), of which some are left free.
 */
import { PortError } from '../../domain/errors.ts';
import {
  describeSsh,
  type SshAddress,
  SshConnection,
  type SshCredentials,
  type SshTimes,
} from './connection.ts';
import {
  notStarted,
  openRemote,
  type ProgramOptions,
  type RemoteOptions,
  type RemoteProgram,
  type RemoteResult,
  startRemote,
  wasNeverSent,
} from './remote.ts';

export interface SshServer {
  readonly address: SshAddress;
  /** Asked at each login, so that a renewed key or password is used without a restart. */
  readonly credentials: () => Promise<SshCredentials>;
  readonly times?: SshTimes;
}

const mostChannels = 8;

/** A connection and how many programs run over it: one that is given up closes when the last of them has ended. */
interface Link {
  readonly connection: SshConnection;
  users: number;
  retired: boolean;
}

export class SshRemote {
  readonly server: SshServer;
  #link: Promise<Link> | null = null;
  #free = mostChannels;
  readonly #waiting: (() => void)[] = [];
  #commands = 0;

  constructor(server: SshServer) {
    this.server = server;
  }

  /** How many programs were asked for so far: what a constant number of round trips is counted by. */
  get commands(): number {
    return this.#commands;
  }

  /** Runs a program to its end (`runRemote`), after connecting if need be. */
  async run(argv: readonly string[], options: RemoteOptions): Promise<RemoteResult> {
    this.#mustBegin(argv, options);
    const { value, link } = await this.#start((connection) => startRemote(connection, argv, options));
    try {
      return await value.result;
    } finally {
      this.#ended(link);
    }
  }

  /** Starts a program with open streams (`openRemote`); its channel is free again when it is done. */
  async open(argv: readonly string[], options: ProgramOptions): Promise<RemoteProgram> {
    this.#mustBegin(argv, options);
    const { value, link } = await this.#start((connection) => openRemote(connection, argv, options));
    value.done.catch(() => undefined).finally(() => this.#ended(link));
    return value;
  }

  async close(): Promise<void> {
    const link = this.#link;
    this.#link = null;
    if (link === null) return;
    try {
      (await link).connection.close();
    } catch {
      // A connection that never came about has nothing to close.
    }
  }

  #mustBegin(argv: readonly string[], options: ProgramOptions): void {
    if (options.signal?.aborted === true) throw notStarted(this.server.address, argv, options);
  }

  /** A command that never left is sent once more over a new connection; any other error stands. */
  async #start<T>(
    begin: (connection: SshConnection) => Promise<T>,
  ): Promise<{ readonly value: T; readonly link: Link }> {
    await this.#takeChannel();
    this.#commands += 1;
    try {
      return await this.#begin(begin);
    } catch (error) {
      this.#giveChannel();
      throw wasNeverSent(error) ? noChannel(this.server.address, error) : error;
    }
  }

  async #begin<T>(
    begin: (connection: SshConnection) => Promise<T>,
  ): Promise<{ readonly value: T; readonly link: Link }> {
    const first = await this.#connected();
    try {
      return { value: await use(first, begin), link: first };
    } catch (error) {
      if (!wasNeverSent(error)) throw error;
    }
    this.#link = null;
    retire(first);
    const second = await this.#connected();
    return { value: await use(second, begin), link: second };
  }

  #ended(link: Link): void {
    release(link);
    this.#giveChannel();
  }

  async #connected(): Promise<Link> {
    for (;;) {
      this.#link ??= this.#connect();
      const connecting = this.#link;
      const link = await connecting;
      if (link.connection.lost === null) return link;
      if (this.#link === connecting) this.#link = null;
    }
  }

  #connect(): Promise<Link> {
    const { address, credentials, times } = this.server;
    const connecting = credentials()
      .then((given) => SshConnection.connect(address, given, times))
      .then((connection): Link => ({ connection, users: 0, retired: false }));
    connecting.catch(() => {
      if (this.#link === connecting) this.#link = null;
    });
    return connecting;
  }

  async #takeChannel(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #giveChannel(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}

async function use<T>(link: Link, begin: (connection: SshConnection) => Promise<T>): Promise<T> {
  link.users += 1;
  try {
    return await begin(link.connection);
  } catch (error) {
    release(link);
    throw error;
  }
}

function retire(link: Link): void {
  link.retired = true;
  if (link.users === 0) link.connection.close();
}

function release(link: Link): void {
  link.users -= 1;
  if (link.retired && link.users === 0) link.connection.close();
}

function noChannel(address: SshAddress, cause: unknown): PortError {
  return new PortError(
    'unreachable',
    {
      code: 'DR-SSH-CHANNEL',
      what: 'The SSH server opens no session',
      where: { object: describeSsh(address) },
      known: [cause instanceof Error ? cause.message : '', 'nothing was sent'],
      next: 'Look at MaxSessions and the log of the SSH server, and whether this user may run commands',
    },
    { cause },
  );
}
