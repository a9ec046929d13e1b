/**
 * The rival: a client with nothing around it. It speaks JSON-RPC over a kept TLS connection, checks the fingerprint, and
 * writes what it gets to plain files, synced, without looking at it: no encryption, no hashes, no history, no reading
 * back, no check whether a recovery would work.
 */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { Agent, type RequestOptions, request } from 'node:https';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { observedClasses } from '../../src/adapters/xenapi/facts.ts';
import type { PoolAddress } from './lab.ts';

export class BareClient {
  readonly #pool: PoolAddress;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 4, maxCachedSessions: 0 });
  #session = '';
  #id = 0;

  constructor(pool: PoolAddress) {
    this.#pool = pool;
  }

  async login(username: string, password: string): Promise<void> {
    this.#session = String(
      await this.#rpc('session.login_with_password', [username, password, '1.0', 'bare']),
    );
  }

  async logout(): Promise<void> {
    await this.#rpc('session.logout', [this.#session]);
    this.#agent.destroy();
  }

  call(method: string, ...params: readonly unknown[]): Promise<unknown> {
    return this.#rpc(method, [this.#session, ...params]);
  }

  /** The best known way to save a pool: bulk reads of the same classes as Lifeboat, one export of all, the database. */
  async saveAll(directory: string): Promise<void> {
    mkdirSync(directory, { recursive: true });
    await this.#saveRecords(directory);
    await Promise.all([
      this.#get(
        '/export_metadata',
        { all: 'true', include_dom0: 'false', export_snapshots: 'true' },
        join(directory, 'all.xva'),
      ),
      this.#get('/pool/xmldbdump', {}, join(directory, 'database.xml')),
    ]);
  }

  /** The same with one export per VM. */
  async saveSingly(directory: string, vms: readonly string[], atOnce: number): Promise<void> {
    mkdirSync(directory, { recursive: true });
    await this.#saveRecords(directory);
    await this.#get('/pool/xmldbdump', {}, join(directory, 'database.xml'));
    const queue = vms.values();
    const lane = async (): Promise<void> => {
      for (const uuid of queue)
        await this.#get(
          '/export_metadata',
          { uuid, export_snapshots: 'false' },
          join(directory, `${uuid}.xva`),
        );
    };
    await Promise.all(Array.from({ length: atOnce }, lane));
  }

  async #saveRecords(directory: string): Promise<void> {
    const records = await Promise.all(
      observedClasses.map(async (name) => [name, await this.call(`${name}.get_all_records`)] as const),
    );
    const hosts = Object.keys(Object.fromEntries(records)['host'] as object);
    for (const host of hosts) await this.call('host.compute_free_memory', host);
    await synced(join(directory, 'records.json'), async (file) => {
      await file.writeFile(JSON.stringify(Object.fromEntries(records)));
    });
  }

  async #get(path: string, query: Readonly<Record<string, string>>, file: string): Promise<void> {
    const words = new URLSearchParams({ session_id: this.#session, ...query });
    // These handlers always close the connection afterwards.
    const response = await this.#send({ method: 'GET', path: `${path}?${words}`, agent: false }, null);
    if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode}`);
    await synced(file, async (handle) => {
      for await (const block of response) await handle.write(block as Buffer);
    });
  }

  async #rpc(method: string, params: readonly unknown[]): Promise<unknown> {
    this.#id += 1;
    const body = JSON.stringify({ jsonrpc: '2.0', id: this.#id, method, params });
    const response = await this.#send({ method: 'POST', path: '/jsonrpc', agent: this.#agent }, body);
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part as Buffer);
    const answer = JSON.parse(Buffer.concat(parts).toString()) as { result?: unknown; error?: unknown };
    if (answer.error !== undefined && answer.error !== null)
      throw new Error(`${method}: ${JSON.stringify(answer.error)}`);
    return answer.result;
  }

  #send(options: RequestOptions, body: string | null): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const sent = request(new URL(this.#pool.url), {
        ...options,
        rejectUnauthorized: false,
        headers:
          body === null
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      });
      sent.on('error', reject);
      sent.on('response', (response) => {
        const raw = (response.socket as TLSSocket).getPeerCertificate().raw;
        const shown = createHash('sha256').update(raw).digest('hex');
        if (shown === this.#pool.fingerprint.replaceAll(':', '').toLowerCase()) resolve(response);
        else reject(new Error(`another certificate: ${shown}`));
      });
      sent.end(body ?? undefined);
    });
  }
}

async function synced(
  file: string,
  write: (handle: Awaited<ReturnType<typeof open>>) => Promise<void>,
): Promise<void> {
  const handle = await open(file, 'w', 0o600);
  try {
    await write(handle);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
