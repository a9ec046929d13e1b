/** An SSH server on loopback whose commands a test answers itself: the double of everything that is driven by SSH. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import ssh2, { type Connection, type ServerChannel } from 'ssh2';
import type { Test } from 'tap';
import type { SshServer } from '../../src/adapters/ssh/pool.ts';

export interface TestSshServer {
  readonly port: number;
  /** SHA-256 of the host key, as sites.yaml has it. */
  readonly hostKey: string;
  readonly username: 'operator';
  readonly password: 'right';
  readonly logins: () => number;
  /** Command lines in the order in which they came. */
  readonly commands: string[];
  /** Breaks every connection, as a power cut does. */
  cut(): void;
  /** What `SshRemote` takes. */
  server(changes?: { readonly password?: string; readonly hostKey?: string }): SshServer;
}

export interface TestSshAnswers {
  /** Answers one command: write to the channel, then `exit` and `end`. A thrown error is exit code 70. */
  readonly command: (command: string, channel: ServerChannel) => void | Promise<void>;
  /** Refuses the opening of a channel. */
  readonly refuseChannel?: () => boolean;
}

export async function startSshServer(t: Test, answers: TestSshAnswers): Promise<TestSshServer> {
  const { private: key } = ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 });
  const connections = new Set<Connection>();
  const commands: string[] = [];
  let logins = 0;
  const server = new ssh2.Server({ hostKeys: [key] }, (client) => {
    connections.add(client);
    // Small messages that wait for each other: without this each answer costs 40 ms.
    if ('setNoDelay' in client && typeof client.setNoDelay === 'function') client.setNoDelay(true);
    client.on('error', () => client.end());
    client.on('close', () => connections.delete(client));
    client.on('authentication', (context) => {
      if (context.method !== 'password' || context.password !== 'right') {
        context.reject(['password']);
        return;
      }
      logins += 1;
      context.accept();
    });
    client.on('session', (accept, reject) => {
      if (answers.refuseChannel?.() === true) reject();
      else
        accept().on('exec', (acceptCommand, _reject, { command }) => {
          commands.push(command);
          void answer(answers.command, command, acceptCommand());
        });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = (): void => {
    for (const connection of connections) destroy(connection);
  };
  t.teardown(() => {
    cut();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const hostKey = fingerprintOf(key);
  return {
    port,
    hostKey,
    username: 'operator',
    password: 'right',
    logins: () => logins,
    commands,
    cut,
    server: (changes = {}) => ({
      address: { host: '127.0.0.1', port, username: 'operator', hostKey: changes.hostKey ?? hostKey },
      credentials: async () => ({ privateKey: null, password: changes.password ?? 'right' }),
    }),
  };
}

async function answer(
  command: TestSshAnswers['command'],
  line: string,
  channel: ServerChannel,
): Promise<void> {
  try {
    await command(line, channel);
  } catch (error) {
    channel.stderr.write(String(error));
    channel.exit(70);
    channel.end();
  }
}

/** ssh2 has no public way to drop a connection without a word. */
function destroy(connection: Connection): void {
  const { _sock: socket } = connection as unknown as { _sock?: { destroy(): void } };
  if (socket === undefined) connection.end();
  else socket.destroy();
}

function fingerprintOf(key: string): string {
  const parsed = ssh2.utils.parseKey(key);
  if (parsed instanceof Error) throw parsed;
  const bytes = (Array.isArray(parsed) ? parsed[0] : parsed)?.getPublicSSH() ?? Buffer.alloc(0);
  return createHash('sha256').update(bytes).digest('base64').replace(/=+$/, '');
}
