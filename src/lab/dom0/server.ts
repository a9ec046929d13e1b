/** SSH on the hosts of a lab, each on its own address: login as root with the password of the lab, one command per channel. */
import { createHash } from 'node:crypto';
import ssh2, { type Connection, type Server, type ServerChannel } from 'ssh2';
import type { Lab } from '../core/lab.ts';
import type { LabHost } from '../core/pool.ts';
import { runCommand } from './commands.ts';

export interface Dom0 {
  readonly port: number;
  /** Base64 SHA-256 of a host's key, as `ssh-keygen -lf` prints it, without `SHA256:`. */
  hostKey(host: LabHost): string;
  /** Command lines in the order in which they came, each with the name of its host. */
  readonly commands: readonly { readonly host: string; readonly line: string }[];
  /** Hosts whose SSH is switched off, as recent builds may do by themselves (xapi.md 5.7). */
  readonly closed: Set<LabHost>;
}

/** Opens SSH on every host, all on one port; closed with the lab, and with the power of a host. 0 takes a free port. */
export async function openDom0(lab: Lab, options: { readonly port?: number } = {}): Promise<Dom0> {
  const hosts = [...lab.pools.values()].flatMap((pool) => pool.hosts);
  const keys = new Map(hosts.map((host) => [host, hostKeyPair()]));
  const commands: { host: string; line: string }[] = [];
  const closed = new Set<LabHost>();
  const connections = new Map<LabHost, Set<Connection>>();
  const servers: Server[] = [];
  let port = options.port ?? 0;
  for (const host of hosts) {
    const own = new Set<Connection>();
    connections.set(host, own);
    const server = new ssh2.Server({ hostKeys: [keys.get(host)?.private ?? ''] }, (client) => {
      client.on('error', () => client.end());
      if (!host.up || closed.has(host)) {
        client.end();
        return;
      }
      own.add(client);
      client.on('close', () => own.delete(client));
      serve(lab, host, client, (line) => commands.push({ host: host.name, line }));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host.address, () => {
        server.off('error', reject);
        resolve();
      });
    });
    const bound = server.address();
    if (bound !== null && typeof bound === 'object') port = bound.port;
    servers.push(server);
  }
  const cut = (host: LabHost): void => {
    for (const client of connections.get(host) ?? []) client.end();
  };
  lab.onPower.push((host, up) => {
    if (!up) cut(host);
  });
  lab.onStop.push(() => {
    for (const host of hosts) cut(host);
    for (const server of servers) server.close();
  });
  return { port, hostKey: (host) => keys.get(host)?.fingerprint ?? '', commands, closed };
}

function hostKeyPair(): { readonly private: string; readonly fingerprint: string } {
  const { private: key } = ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 });
  const parsed = ssh2.utils.parseKey(key);
  if (parsed instanceof Error) throw parsed;
  const bytes = (Array.isArray(parsed) ? parsed[0] : parsed)?.getPublicSSH() ?? Buffer.alloc(0);
  return {
    private: key,
    fingerprint: createHash('sha256').update(bytes).digest('base64').replace(/=+$/, ''),
  };
}

function serve(lab: Lab, host: LabHost, client: Connection, note: (line: string) => void): void {
  client.on('authentication', (context) => {
    const { username, password } = lab.credentials;
    if (context.method === 'password' && context.username === username && context.password === password)
      context.accept();
    else context.reject(['password']);
  });
  client.on('session', (accept) => {
    accept().on('exec', (acceptCommand, _reject, { command }) => {
      note(command);
      void answer(host, command, acceptCommand());
    });
  });
}

async function answer(host: LabHost, command: string, channel: ServerChannel): Promise<void> {
  const input: Buffer[] = [];
  let end: (text: string) => void = () => undefined;
  const typed = new Promise<string>((resolve) => {
    end = resolve;
  });
  channel.on('data', (piece: Buffer) => input.push(piece));
  const settle = (): void => end(Buffer.concat(input).toString());
  channel.on('end', settle);
  channel.on('close', settle);
  const code = await runCommand(host, command, {
    out: (text) => void channel.write(text),
    err: (text) => void channel.stderr.write(text),
    input: () => typed,
  });
  channel.exit(code);
  channel.end();
}
