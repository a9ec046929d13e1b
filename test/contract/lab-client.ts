/** A bare client for tests of the lab: JSON-RPC and the HTTP handlers, without the manners of the real client. */
import { request } from 'node:https';
import { setTimeout as pause } from 'node:timers/promises';
import type { Row } from '../../src/lab/core/database.ts';
import type { LabPool } from '../../src/lab/core/pool.ts';
import type { Value } from '../../src/lab/core/values.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { classes, enums, modelType } from '../../src/metadata/datamodel/index.ts';
import { packOva, unpackOva } from '../../src/metadata/tar.ts';
import { formatXmlValue, parseXmlValue, type XmlStruct, type XmlValue } from '../../src/metadata/xmlvalue.ts';

export class CallFailed extends Error {
  readonly description: readonly string[];
  constructor(description: readonly string[]) {
    super(description.join(' '));
    this.name = 'CallFailed';
    this.description = description;
  }
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  /** True when the connection broke before the answer was complete. */
  readonly broken: boolean;
}

export interface TaskEnd {
  readonly status: string;
  readonly result: string;
  readonly error: readonly string[];
}

export class LabClient {
  readonly pool: LabPool;
  readonly #lab: Lab;
  readonly #host: string;
  session = '';

  constructor(lab: Lab, pool: string, host?: string) {
    this.#lab = lab;
    this.pool = lab.pool(pool);
    this.#host = host ?? this.pool.master.name;
  }

  static async open(lab: Lab, pool: string): Promise<LabClient> {
    const client = new LabClient(lab, pool);
    await client.login();
    return client;
  }

  async login(): Promise<void> {
    const { username, password } = this.#lab.credentials;
    this.session = (await this.bare('session.login_with_password', username, password)) as string;
  }

  /** A call with the session in front. */
  call(method: string, ...params: unknown[]): Promise<unknown> {
    return this.bare(method, this.session, ...params);
  }

  async bare(method: string, ...params: unknown[]): Promise<unknown> {
    const text = JSON.stringify({ jsonrpc: '2.0', method, params, id: 1 });
    const answer = await this.send('POST', '/jsonrpc', {}, Buffer.from(text));
    if (answer.broken) throw new Error('connection broken');
    const { result, error } = JSON.parse(answer.body.toString()) as {
      result?: unknown;
      error?: { message: string; data?: string[] };
    };
    if (error !== undefined && error !== null) throw new CallFailed([error.message, ...(error.data ?? [])]);
    return result;
  }

  send(
    method: string,
    path: string,
    query: Readonly<Record<string, string>> = {},
    body: Buffer | null = null,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<HttpAnswer> {
    const host = this.#lab.host(this.#host);
    const search = new URLSearchParams(query).toString();
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          host: host.address,
          port: host.port,
          method,
          path: search === '' ? path : `${path}?${search}`,
          headers: { ...headers, ...(body === null ? {} : { 'Content-Length': String(body.length) }) },
          rejectUnauthorized: false,
          agent: false,
        },
        (response) => {
          const pieces: Buffer[] = [];
          const end = (broken: boolean): void =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(pieces),
              broken,
            });
          response.on('data', (piece: Buffer) => pieces.push(piece));
          response.on('end', () => end(!response.complete));
          response.on('error', () => end(true));
        },
      );
      sent.on('error', reject);
      sent.end(body ?? undefined);
    });
  }

  task(): Promise<string> {
    return this.call('task.create', 'test', '') as Promise<string>;
  }

  /** `/export_metadata`; throws what the task says when it is refused. */
  async export(query: Readonly<Record<string, string>>): Promise<Buffer> {
    const task = await this.task();
    const answer = await this.send('GET', '/export_metadata', {
      session_id: this.session,
      task_id: task,
      ...query,
    });
    if (answer.status !== 200) throw new CallFailed((await this.ended(task)).error);
    return answer.body;
  }

  /** `/import_metadata`, judged by the task. */
  async import(
    archive: Uint8Array,
    query: Readonly<Record<string, string>> = {},
    headers: Readonly<Record<string, string>> = {},
  ): Promise<TaskEnd> {
    const task = await this.task();
    const answer = await this.send(
      'PUT',
      '/import_metadata',
      { session_id: this.session, task_id: task, ...query },
      Buffer.from(archive),
      headers,
    );
    if (answer.status !== 200) throw new Error(`import answered ${answer.status}`);
    return this.ended(task);
  }

  /** The error of an import that has to fail. */
  async refused(
    archive: Uint8Array,
    query: Readonly<Record<string, string>> = {},
  ): Promise<readonly string[]> {
    const end = await this.import(archive, query);
    return end.status === 'failure' ? end.error : [end.status, end.result];
  }

  /** Waits until the task is final, by events. */
  async ended(task: string): Promise<TaskEnd> {
    for (;;) {
      const row = this.pool.db.find('task', task);
      if (row === undefined) return { status: 'vanished', result: '', error: [] };
      if (row.text('status') !== 'pending' && row.text('status') !== 'cancelling')
        return { status: row.text('status'), result: row.text('result'), error: row.texts('error_info') };
      await this.pool.nextChange();
    }
  }
}

/** Lets sockets and promises settle until something holds. */
export async function eventually(holds: () => boolean): Promise<void> {
  while (!holds()) await pause(1);
}

/** Refs in a task's result. */
export function refsOf(result: string): string[] {
  return [...result.matchAll(/<value>(OpaqueRef:[^<]+)<\/value>/g)].map((m) => m[1] ?? '');
}

export interface Thing {
  class: string;
  id: string;
  snapshot: XmlStruct;
}

/** The objects of an archive, to be looked at or changed. */
export function objectsOf(archive: Uint8Array): Thing[] {
  return rootOf(archive)['objects'] as XmlValue[] as unknown as Thing[];
}

function rootOf(archive: Uint8Array): XmlStruct {
  return parseXmlValue(new TextDecoder().decode(unpackOva(archive))) as XmlStruct;
}

/** The archive with other content. */
export function edited(
  archive: Uint8Array,
  change: (objects: Thing[], version: XmlStruct) => Thing[] | undefined,
): Uint8Array {
  const root = rootOf(archive);
  const objects = root['objects'] as unknown as Thing[];
  const changed = change(objects, root['version'] as XmlStruct) ?? objects;
  return packOva(formatXmlValue({ ...root, objects: changed as unknown as XmlValue[] }));
}

/** An object in the database; enums that the data model gives no default take their first value. */
export function add(pool: LabPool, cls: string, fields: Readonly<Record<string, Value>> = {}): Row {
  const given: Record<string, Value> = {};
  for (const field of classes.get(cls)?.fields.values() ?? []) {
    const type = modelType(field.type);
    if (type.kind === 'enum' && field.default === null) given[field.name] = enums.get(type.name)?.[0] ?? '';
  }
  if (cls === 'VDI') given['managed'] = true;
  return pool.db.create(cls, { ...given, ...fields });
}

/** A VM in the database, Halted, with metrics. Fields are as in the data model. */
export function addVm(pool: LabPool, name: string, fields: Readonly<Record<string, Value>> = {}): Row {
  return add(pool, 'VM', {
    name_label: name,
    power_state: 'Halted',
    domain_type: 'hvm',
    HVM_boot_policy: 'BIOS order',
    generation_id: '0:0',
    domid: -1n,
    other_config: { mac_seed: `seed of ${name}` },
    metrics: add(pool, 'VM_metrics').ref,
    ...fields,
  });
}

export function addSr(pool: LabPool, name: string, fields: Readonly<Record<string, Value>> = {}): Row {
  return add(pool, 'SR', { name_label: name, type: 'nfs', content_type: 'user', shared: true, ...fields });
}

/** The same SR, by uuid, in another pool, with the same disks by location. */
export function mirrorSr(sr: Row, from: LabPool, to: LabPool): Row {
  const copy = addSr(to, sr.text('name_label'), {
    uuid: sr.uuid,
    type: sr.text('type'),
    content_type: sr.text('content_type'),
  });
  for (const vdi of from.db.all('VDI').filter((v) => v.text('SR') === sr.ref))
    add(to, 'VDI', { uuid: vdi.uuid, location: vdi.text('location'), SR: copy.ref, type: 'user' });
  return copy;
}

export function addDisk(
  pool: LabPool,
  sr: Row,
  vm: Row,
  device: string,
  fields: Readonly<Record<string, Value>> = {},
): Row {
  const vdi = add(pool, 'VDI', {
    SR: sr.ref,
    type: 'user',
    name_label: `${vm.text('name_label')} ${device}`,
  });
  vdi.set({ location: vdi.uuid });
  add(pool, 'VBD', {
    VM: vm.ref,
    VDI: vdi.ref,
    userdevice: device,
    type: 'Disk',
    mode: 'RW',
    unpluggable: true,
    ...fields,
  });
  return vdi;
}

export function addNic(pool: LabPool, vm: Row, network: Row, device: string, mac: string): Row {
  return add(pool, 'VIF', {
    VM: vm.ref,
    network: network.ref,
    device,
    MAC: mac,
    MTU: 1500n,
    locking_mode: 'network_default',
  });
}
