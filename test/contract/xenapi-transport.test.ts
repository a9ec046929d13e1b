/** The client against a host that misbehaves on purpose. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { HostLink, readBody } from '../../src/adapters/xenapi/link.ts';
import { PortError } from '../../src/domain/errors.ts';
import { clientOf, handled, pinned, poolUuid, Refused, ScriptedHost } from './xenapi-scripted-host.ts';

type T = typeof t;

async function host(t: Pick<T, 'teardown'>): Promise<ScriptedHost> {
  const made = await new ScriptedHost().listen();
  t.teardown(() => made.stop());
  return made;
}

function client(
  t: Pick<T, 'teardown'>,
  hosts: Parameters<typeof clientOf>[0],
  more: Parameters<typeof clientOf>[1] = {},
): ReturnType<typeof clientOf> {
  const made = clientOf(hosts, more);
  t.teardown(() => made.close());
  return made;
}

async function failure(work: Promise<unknown>): Promise<PortError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof PortError) return error;
    throw error;
  }
  throw new Error('a failure was expected');
}

/** As openssl prints it, and as people copy it. */
const asPrinted = (fingerprint: string): string => fingerprint.toUpperCase().replace(/..(?=.)/g, '$&:');

t.test('the certificate decides before a byte of a request is sent', async (t) => {
  const server = await host(t);
  const wrong = 'ab'.repeat(32);
  const error = await failure(client(t, [{ url: server.url(), fingerprint: wrong }]).serverTime());
  t.equal(error.kind, 'trust');
  t.equal(error.problem.code, 'DR-POOL-CERTIFICATE');
  t.match(error.message, `sites.yaml pins ${asPrinted(wrong)}`);
  t.match(error.message, `the host shows ${asPrinted(server.fingerprint)}`);

  const none = await failure(client(t, [{ url: server.url(), fingerprint: null }]).serverTime());
  t.equal(none.kind, 'trust', 'neither pin nor CA is no trust');
  t.match(none.message, asPrinted(server.fingerprint), 'the fingerprint to write down is shown');
  t.strictSame(server.asked, [], 'the server has seen no request');

  t.equal(await client(t, [pinned(server)]).serverTime(), '2026-01-02T03:04:05.000Z');
  const withColons = asPrinted(server.fingerprint);
  t.ok(
    await client(t, [{ url: server.url(), fingerprint: withColons }]).serverTime(),
    'as openssl prints it',
  );
});

t.test('a CA file stands in for pins', async (t) => {
  const server = await host(t);
  const stranger = await host(t);
  const directory = mkdtempSync(join(tmpdir(), 'lifeboat-ca-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const caFile = join(directory, 'ca.pem');
  writeFileSync(caFile, server.certificate.cert);
  t.ok(await client(t, [{ url: server.url(), fingerprint: null }], { pool: { caFile } }).serverTime());
  const error = await failure(
    client(t, [{ url: stranger.url(), fingerprint: null }], { pool: { caFile } }).serverTime(),
  );
  t.equal(error.kind, 'trust');
  t.match(error.message, /CA file/);
  t.strictSame(stranger.asked, []);
  t.throws(
    () =>
      clientOf([{ url: server.url(), fingerprint: null }], { pool: { caFile: join(directory, 'absent') } }),
    /DR-POOL-CA-FILE/,
  );
});

t.test('a host that refuses, a name that does not exist, an address that is none', async (t) => {
  const server = await host(t);
  const closed = pinned(server);
  await server.stop();
  const dead = client(t, [closed]);
  const error = await failure(dead.serverTime());
  t.equal(error.kind, 'unreachable');
  t.match(error.message, /connection refused/);
  t.match(await dead.contact(), [{ answered: false, detail: /connection refused/ }]);
  t.throws(() => clientOf([{ url: 'http://tokyo', fingerprint: null }]), /DR-CONFIG-ADDRESS/);
});

t.test('whatever takes connections counts as life, even without TLS', async (t) => {
  const plain = net.createServer((socket) => socket.end('SSH-2.0-no-tls-here\r\n'));
  await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
  t.teardown(() => plain.close());
  const { port } = plain.address() as net.AddressInfo;
  const [view] = await client(t, [
    { url: `https://127.0.0.1:${port}`, fingerprint: 'ab'.repeat(32) },
  ]).contact();
  t.equal(view?.answered, true);
});

t.test('a slow answer ends at the deadline: a read is unreachable, a write unknown', async (t) => {
  const server = await host(t);
  server.on('VM.get_all', () => handled).on('VM.add_tags', () => handled);
  const pool = client(t, [pinned(server)]);
  const read = await failure(pool.xapi.call('VM.get_all', [], { timeoutSeconds: 0.05 }));
  t.equal(read.kind, 'unreachable');
  t.equal(read.problem.code, 'DR-POOL-TIMEOUT');
  t.equal(server.asked.filter((m) => m === 'VM.get_all').length, 1, 'not asked again');
  t.match(await pool.contact(), [{ answered: true }], 'another call is answered, on a new connection');
  const write = await failure(pool.xapi.call('VM.add_tags', ['OpaqueRef:vm', 'x'], { timeoutSeconds: 0.05 }));
  t.equal(write.kind, 'outcome-unknown');
});

t.test('a cut connection: reads are sent again, writes never', async (t) => {
  const server = await host(t);
  let cuts = 1;
  server.on('VM.get_all', (_, { socket }) => {
    if (cuts-- > 0) {
      socket.destroy();
      return handled;
    }
    return ['OpaqueRef:vm'];
  });
  server.on('VM.add_tags', (_, { socket }) => {
    socket.destroy();
    return handled;
  });
  const pool = client(t, [pinned(server)]);
  t.strictSame(await pool.xapi.call('VM.get_all'), ['OpaqueRef:vm']);
  const error = await failure(pool.xapi.call('VM.add_tags', ['OpaqueRef:vm', 'x']));
  t.equal(error.kind, 'outcome-unknown');
  t.equal(server.asked.filter((m) => m === 'VM.add_tags').length, 1);
  await pool.xapi.call('VM.get_all');
  await pool.close();
  t.strictSame([...server.sessions], [], 'sessions of broken connections are logged out too');
});

t.test('an answer cut in its middle counts as a cut connection', async (t) => {
  const server = await host(t);
  let cuts = 1;
  server.on('VM.get_all', (_, { response, socket }) => {
    if (cuts-- <= 0) return [];
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '1000' });
    response.write('{"jsonrpc":"2.0","result":[');
    setImmediate(() => socket.destroy());
    return handled;
  });
  t.strictSame(await client(t, [pinned(server)]).xapi.call('VM.get_all'), []);
});

t.test('an abort ends a call at once', async (t) => {
  const server = await host(t);
  const stop = new AbortController();
  server.on('VM.get_all', () => {
    stop.abort();
    return handled;
  });
  const error = await failure(
    client(t, [pinned(server)]).xapi.call('VM.get_all', [], { signal: stop.signal }),
  );
  t.equal(error.kind, 'cancelled');
});

t.test('hosts without JSON-RPC are spoken to in XML-RPC, found out by asking', async (t) => {
  const server = await host(t);
  server.speaks = 'xml only';
  server.on('host.get_servertime', () => '20260102T03:04:05Z');
  const pool = client(t, [pinned(server)]);
  t.equal(await pool.serverTime(), '2026-01-02T03:04:05.000Z');
  t.equal(await pool.xapi.protocol(), 'xmlrpc');
  const [view] = await pool.contact();
  t.match(view, { answered: true, detail: /XML-RPC/ });
  const forced = client(t, [pinned(server)], { pool: { transport: 'jsonrpc' } });
  t.equal((await failure(forced.serverTime())).kind, 'protocol');
});

t.test('an HTML page in place of an answer is shown without markup', async (t) => {
  const server = await host(t);
  server.on('VM.get_all', (_, { response }) => {
    response
      .writeHead(503, { 'Content-Type': 'text/html' })
      .end('<html><h1>Proxy</h1> says &quot;no&quot;</html>');
    return handled;
  });
  const error = await failure(client(t, [pinned(server)]).xapi.call('VM.get_all'));
  t.equal(error.kind, 'protocol');
  t.match(error.message, /HTTP 503, text\/html; Proxy says "no"/);
});

t.test('malformed XML names the key as the cause and JSON-RPC as the way out', async (t) => {
  const server = await host(t);
  server.on('VM.get_other_config', (_, { response }) => {
    response.writeHead(200, { 'Content-Type': 'text/xml' });
    response.end(
      '<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value></member><member><name>Value</name><value><struct><member><name>a<&>b</name><value>v</value></member></struct></value></member></struct></value></param></params></methodResponse>',
    );
    return handled;
  });
  const pool = client(t, [pinned(server)], { pool: { transport: 'xmlrpc' } });
  const error = await failure(pool.xapi.call('VM.get_other_config', ['OpaqueRef:vm']));
  t.equal(error.problem.code, 'DR-POOL-XML');
  t.match(error.problem.next, /jsonrpc/);
});

t.test('an answer beyond the size cap is dropped', async (t) => {
  const server = await host(t);
  server.on('GET /large', (_, { response }) => {
    response.writeHead(200).end('x'.repeat(100_000));
    return handled;
  });
  const link = new HostLink(
    {
      url: server.url(),
      hostname: '127.0.0.1',
      port: server.port,
      fingerprint: server.fingerprint,
      ca: null,
    },
    { site: 'tokyo', oldTls: false, userAgent: 'test' },
  );
  t.teardown(() => link.close());
  const exchange = await link.exchange({
    method: 'GET',
    path: '/large',
    keepAlive: false,
    timeoutSeconds: 5,
  });
  const error = await failure(readBody('tokyo', exchange, 1000, () => undefined));
  t.match(error.message, /larger than Lifeboat takes/);
});

t.test('every header block stays below 1024 bytes, or nothing is sent', async (t) => {
  const server = await host(t);
  server.on('GET /export_metadata', (_, { response }) => {
    response.writeHead(200, { 'Content-Length': '3' }).end('tar');
    return handled;
  });
  const pool = client(t, [pinned(server)]);
  t.equal(Buffer.from(await pool.exportMetadata('v'.repeat(700), { snapshots: true })).toString(), 'tar');
  t.ok(Math.max(...server.headerBytes) < 1024);
  const error = await failure(pool.exportMetadata('v'.repeat(1000), { snapshots: true }));
  t.equal(error.problem.code, 'DR-POOL-HEADER');
  t.equal(server.asked.filter((m) => m === 'GET /export_metadata').length, 1);
  server.on('GET /export_metadata', (_, { response }) => {
    response.writeHead(431).end();
    return handled;
  });
  t.match(await failure(pool.exportMetadata('v', { snapshots: true })), {
    problem: { code: 'DR-POOL-HEADER' },
  });
});

t.test('one login serves many callers, is renewed once, and ends with a logout', async (t) => {
  const server = await host(t);
  server.on('VM.get_all', () => []);
  const pool = client(t, [pinned(server)]);
  await Promise.all(Array.from({ length: 8 }, () => pool.xapi.call('VM.get_all')));
  t.equal(server.logins, 1);
  server.sessions.clear();
  t.strictSame(await pool.xapi.call('VM.get_all'), []);
  t.equal(server.logins, 2);
  server.on('VM.get_all', ([session]) => {
    if (server.logins === 2) server.sessions.clear();
    throw new Refused('SESSION_INVALID', String(session));
  });
  const error = await failure(pool.xapi.call('VM.get_all'));
  t.equal(error.kind, 'auth');
  t.equal(server.logins, 3, 'renewed once, not for ever');
  t.notMatch(error.message, /OpaqueRef:session/, 'a session reference is a key');
  await pool.close();
  t.strictSame([...server.sessions], []);
});

t.test('a wrong password is said so, once, and never shown', async (t) => {
  const server = await host(t);
  const second = await host(t);
  const error = await failure(
    client(t, [pinned(server), pinned(second)], { password: 'hunter2-secret' }).serverTime(),
  );
  t.equal(error.kind, 'auth');
  t.equal(error.problem.code, 'DR-POOL-PASSWORD');
  t.equal(error.problem.where?.object, server.url());
  t.notMatch(JSON.stringify([error.message, error.problem, error.peerParams]), /hunter2/);
  t.strictSame(second.asked, [], 'not tried at every host');
});

t.test('a member sends to its coordinator, which is followed to configured hosts only', async (t) => {
  const member = await host(t);
  const coordinator = await host(t);
  const stranger = await host(t);
  for (const method of ['session.login_with_password', 'pool.get_all'])
    member.on(method, () => {
      throw new Refused('HOST_IS_SLAVE', '10.99.0.1');
    });
  t.ok(await client(t, [pinned(member), pinned(coordinator)]).serverTime());
  const error = await failure(client(t, [pinned(member)]).serverTime());
  t.equal(error.problem.code, 'DR-POOL-NO-COORDINATOR');
  t.match(error.message, /10\.99\.0\.1/);
  member.on('session.login_with_password', () => {
    throw new Refused('HOST_IS_SLAVE', '127.0.0.1');
  });
  await failure(client(t, [pinned(member)]).serverTime());
  t.strictSame(stranger.asked, [], 'no address is contacted that is not configured');
});

t.test('when the host dies the next one is tried, and must be of the same pool', async (t) => {
  const first = await host(t);
  const second = await host(t);
  const pool = client(t, [pinned(first), pinned(second)]);
  await pool.serverTime();
  t.equal(first.logins, 1);
  await first.stop();
  t.ok(await pool.serverTime(), 'a read goes on at the other host');
  t.equal(second.logins, 1);

  const other = await host(t);
  other.on('pool.get_uuid', () => 'bbbbbbbb-0000-4000-8000-000000000002');
  const error = await failure(client(t, [pinned(other)], { pool: { poolUuid } }).serverTime());
  t.equal(error.kind, 'trust');
  t.equal(error.problem.code, 'DR-POOL-IDENTITY');
  t.strictSame([...other.sessions], [], 'logged out there');

  const moved = client(t, [pinned(second), pinned(other)]);
  await moved.serverTime();
  await second.stop();
  t.equal(
    (await failure(moved.serverTime())).problem.code,
    'DR-POOL-IDENTITY',
    'against the first seen pool too',
  );
});

t.test('tasks are awaited by events, decoded and destroyed', async (t) => {
  const server = await host(t);
  server.on('Async.VM.start', () => 'OpaqueRef:task-a');
  server.taskEnds('OpaqueRef:task-a', { status: 'success', result: '<value></value>' });
  const pool = client(t, [pinned(server)]);
  await pool.startVm('11111111-0000-4000-8000-000000000001');
  t.strictSame(
    server.asked.filter((m) => m === 'event.from' || m.startsWith('task.')),
    ['event.from', 'task.destroy'],
  );
  server.taskEnds('OpaqueRef:task-a', {
    status: 'failure',
    error_info: ['VM_BAD_POWER_STATE', 'OpaqueRef:vm', 'halted', 'running'],
  });
  t.match(await failure(pool.startVm('11111111-0000-4000-8000-000000000001')), {
    kind: 'refused',
    problem: {
      code: 'DR-VM-STATE',
      known: [
        'VM.start answered VM_BAD_POWER_STATE',
        'vm: OpaqueRef:vm',
        'expected: halted',
        'actual: running',
      ],
    },
  });
});

t.test('without event.from tasks are polled; a task that vanished is an unknown outcome', async (t) => {
  const server = await host(t);
  let polls = 0;
  server
    .on('Async.VM.start', () => 'OpaqueRef:task-a')
    .on('task.get_record', () => {
      polls += 1;
      if (polls < 3) return { uuid: '', status: 'pending', result: '', error_info: [] };
      return { uuid: '', status: 'success', result: '', error_info: [] };
    });
  const pool = client(t, [pinned(server)]);
  await pool.startVm('11111111-0000-4000-8000-000000000001');
  t.equal(polls, 3);
  server.on('task.get_record', () => {
    throw new Refused('HANDLE_INVALID', 'task', 'OpaqueRef:task-a');
  });
  const error = await failure(pool.startVm('11111111-0000-4000-8000-000000000001'));
  t.equal(error.kind, 'outcome-unknown');
  t.match(error.message, /vanished/);
});

t.test('a deleted task in the events is an unknown outcome too', async (t) => {
  const server = await host(t);
  server
    .on('Async.VM.start', () => 'OpaqueRef:task-a')
    .on('event.from', () => ({
      events: [{ id: 1, timestamp: '0.0', class: 'task', operation: 'del', ref: 'OpaqueRef:task-a' }],
      valid_ref_counts: {},
      token: 'x',
    }));
  t.equal(
    (await failure(client(t, [pinned(server)]).startVm('11111111-0000-4000-8000-000000000001'))).kind,
    'outcome-unknown',
  );
});

t.test('a busy object is waited for, within limits; a blocked one is not', async (t) => {
  const server = await host(t);
  let attempts = 0;
  server.on('VM.add_tags', () => {
    attempts += 1;
    if (attempts < 4) throw new Refused('OTHER_OPERATION_IN_PROGRESS', 'VM', 'OpaqueRef:vm', 'clone', 'op');
    return '';
  });
  const pool = client(t, [pinned(server)]);
  await pool.addVmTag('11111111-0000-4000-8000-000000000001', 'x');
  t.equal(attempts, 4);
  server.on('VM.add_tags', () => {
    attempts += 1;
    throw new Refused('OTHER_OPERATION_IN_PROGRESS', 'VM', 'OpaqueRef:vm', 'clone', 'op');
  });
  t.equal((await failure(pool.addVmTag('11111111-0000-4000-8000-000000000001', 'x'))).kind, 'busy');
  t.ok(attempts > 5 && attempts < 20, `${attempts} attempts`);
  attempts = 0;
  server.on('VM.add_tags', () => {
    attempts += 1;
    throw new Refused('OPERATION_BLOCKED', 'OpaqueRef:vm', 'fenced by drill');
  });
  t.match(await failure(pool.addVmTag('11111111-0000-4000-8000-000000000001', 'x')), {
    problem: {
      code: 'DR-OPERATION-BLOCKED',
      known: [/OPERATION_BLOCKED/, /OpaqueRef:vm/, 'reason: fenced by drill'],
    },
  });
  t.equal(attempts, 1);
});

t.test('an import is judged by its task, never by the socket', async (t) => {
  const server = await host(t);
  const archive = new Uint8Array(3000);
  server.on('VM.get_uuid', () => '22222222-0000-4000-8000-000000000001');
  const success = '<value><array><data><value>OpaqueRef:new</value></data></array></value>';
  server.taskEnds('OpaqueRef:task-1', { status: 'success', result: success });
  server.on('PUT /import_metadata', (_, { response, socket }) => {
    response.writeHead(200, { 'Content-Type': 'application/octet-stream' }).flushHeaders();
    setImmediate(() => socket.destroy());
    return handled;
  });
  const pool = client(t, [pinned(server)]);
  t.strictSame(await pool.importMetadata(archive, { restore: true, dryRun: false }), [
    '22222222-0000-4000-8000-000000000001',
  ]);
  t.strictSame(server.asked.slice(-2), ['task.destroy', 'VM.get_uuid']);

  server.taskEnds('OpaqueRef:task-2', { status: 'failure', error_info: ['DUPLICATE_MAC_SEED', 'seed-1'] });
  t.match(await failure(pool.importMetadata(archive, { restore: true, dryRun: true })), {
    problem: { code: 'DR-IMPORT-TWIN' },
  });

  // Cut before any answer, and the task stays pending: nobody knows.
  server.on('PUT /import_metadata', (_, { socket }) => {
    socket.destroy();
    return handled;
  });
  server.on('event.from', async () => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    return { events: [], valid_ref_counts: {}, token: 'x' };
  });
  server.on('task.get_record', () => ({ uuid: '', status: 'pending', result: '', error_info: [] }));
  t.equal(
    (await failure(pool.importMetadata(archive, { restore: true, dryRun: false }))).kind,
    'outcome-unknown',
  );
});

t.test('an import with a session that has ended is sent once more', async (t) => {
  const server = await host(t);
  let refused = 0;
  server.on('PUT /import_metadata', ([query], { response }) => {
    const session = (query as URLSearchParams).get('session_id') ?? '';
    if (!server.sessions.has(session)) {
      refused += 1;
      response.writeHead(401).end();
      return handled;
    }
    response.writeHead(200).flushHeaders();
    return handled;
  });
  const pool = client(t, [pinned(server)]);
  await pool.serverTime();
  const taskCreate = server.behaviours.get('task.create');
  server.on('task.create', (params, exchange) => {
    const made = taskCreate?.(params, exchange);
    if (refused === 0) server.sessions.clear();
    return made;
  });
  server.taskEnds('OpaqueRef:task-2', {
    status: 'success',
    result: '<value><array><data></data></array></value>',
  });
  t.strictSame(await pool.importMetadata(new Uint8Array(10), { restore: true, dryRun: true }), []);
  t.equal(refused, 1);
});

t.test('a refused export tells the reason that only a task knows', async (t) => {
  const server = await host(t);
  server.on('GET /export_metadata', (_, { response }) => {
    response.writeHead(500, { 'Content-Type': 'text/html' }).end('<html>unexpected error</html>');
    return handled;
  });
  server.on('task.get_record', () => ({
    uuid: '',
    status: 'failure',
    result: '',
    error_info: ['OPERATION_BLOCKED', 'OpaqueRef:vm', 'do not export'],
  }));
  const pool = client(t, [pinned(server)]);
  t.match(await failure(pool.exportMetadata('v', { snapshots: true })), {
    problem: { code: 'DR-OPERATION-BLOCKED' },
    peerParams: ['OpaqueRef:vm', 'do not export'],
  });
  t.equal(server.asked.at(-1), 'task.destroy');
});

t.test('a disk is read and written at the host that has it, if that host is known', async (t) => {
  const coordinator = await host(t);
  const member = await host(t);
  const content = Buffer.alloc(1000, 7);
  for (const server of [coordinator, member]) server.taskEnds('OpaqueRef:task-1', { status: 'success' });
  coordinator.on('VDI.get_virtual_size', () => content.length);
  coordinator.on('GET /export_raw_vdi', (_, { request, response }) => {
    response.writeHead(302, { Location: `${member.url()}${request.url}` }).end();
    return handled;
  });
  member.on('GET /export_raw_vdi', (_, { response }) => {
    response.writeHead(200);
    response.write(content.subarray(0, 300));
    response.end(content.subarray(300));
    return handled;
  });
  const read = async (pool: ReturnType<typeof clientOf>): Promise<Buffer> => {
    const blocks: Uint8Array[] = [];
    for await (const block of await pool.exportRawVdi('d')) blocks.push(block);
    return Buffer.concat(blocks);
  };
  const both = client(t, [pinned(coordinator), pinned(member)]);
  t.ok((await read(both)).equals(content));
  const alone = await failure(read(client(t, [pinned(coordinator)])));
  t.equal(alone.kind, 'trust');
  t.equal(alone.problem.code, 'DR-POOL-REDIRECT');

  coordinator.on('VDI.get_virtual_size', () => 2000);
  t.match(await failure(read(both)), { problem: { code: 'DR-VDI-CUT' } }, 'too few bytes are no success');

  const written: Buffer[] = [];
  coordinator.on('PUT /import_raw_vdi', (_, { request, response }) => {
    response.writeHead(302, { Location: `${member.url()}${request.url}`, Connection: 'close' }).end();
    return handled;
  });
  member.on('PUT /import_raw_vdi', async (_, { request, response }) => {
    response.writeHead(200).flushHeaders();
    for await (const chunk of request as AsyncIterable<Buffer>) written.push(chunk);
    response.end();
    return handled;
  });
  coordinator.taskEnds(`OpaqueRef:task-${coordinator.tasks + 2}`, { status: 'success' });
  async function* blocks(bytes: number): AsyncGenerator<Uint8Array> {
    for (let sent = 0; sent < bytes; sent += 100) yield content.subarray(0, 100);
  }
  await both.importRawVdi('d', blocks(1000), 1000);
  t.ok(Buffer.concat(written).equals(content));
  const short = await failure(both.importRawVdi('d', blocks(500), 1000));
  t.match(short.message, /ended after 500 of 1000 bytes/);
});

t.test('secrets never show, whatever the server says', async (t) => {
  const server = await host(t);
  const secret = 'chap-s3cret';
  server.on('host.get_by_uuid', () => 'OpaqueRef:host');
  server.on('Async.SR.probe', () => 'OpaqueRef:task-p');
  server.taskEnds('OpaqueRef:task-p', {
    status: 'failure',
    error_info: ['SR_BACKEND_FAILURE_68', '', `login with ${secret} failed`, ''],
  });
  const lines: string[] = [];
  const log = { debug: (fields: object, message: string) => lines.push(JSON.stringify([fields, message])) };
  const error = await failure(
    client(t, [pinned(server)], { log }).probe('h', 'lvmoiscsi', { target: 'x', chappassword: secret }, {}),
  );
  t.equal(error.problem.code, 'DR-SR-CHAP');
  t.notMatch(JSON.stringify([error.message, error.problem, error.peerParams]), secret);
  t.ok(
    lines.some((line) => line.includes('Async.SR.probe')),
    'the debug log tells what was called',
  );
  t.notMatch(lines.join('\n'), new RegExp(`${secret}|correct|OpaqueRef:session`), 'and never with what');
});

t.test('a probe on a wrong rung offers the choices of the right one', async (t) => {
  const server = await host(t);
  server.on('host.get_by_uuid', () => 'OpaqueRef:host').on('Async.SR.probe', () => 'OpaqueRef:task-p');
  const pool = client(t, [pinned(server)]);
  const probeWith = (end: Parameters<ScriptedHost['taskEnds']>[1]): Promise<readonly string[]> => {
    server.taskEnds('OpaqueRef:task-p', end);
    return pool.probe('h', 'lvmoiscsi', { target: '10.9.0.5' }, {});
  };
  const text = (xml: string): string =>
    `<value>${xml.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')}</value>`;
  t.match(
    await failure(
      probeWith({
        status: 'failure',
        error_info: [
          'SR_BACKEND_FAILURE_96',
          '',
          'The request is missing or has an incorrect target IQN parameter',
          '<?xml version="1.0" ?>\n<iscsi-target-iqns>\n\t<TGT>\n\t\t<Index>0</Index>\n\t\t<IPAddress>10.9.0.5</IPAddress>\n\t\t<TargetIQN>\n\t\t\tiqn.2020-01.example:dr0\n\t\t</TargetIQN>\n\t</TGT>\n\t<TGT><Index>1</Index><IPAddress>10.9.0.5</IPAddress><TargetIQN>*</TargetIQN></TGT>\n</iscsi-target-iqns>',
        ],
      }),
    ),
    {
      problem: {
        code: 'DR-SR-ISCSI-IQN',
        known: { 2: 'the host sees: target iqn.2020-01.example:dr0 at 10.9.0.5' },
      },
    },
  );
  t.match(
    await failure(
      probeWith({
        status: 'failure',
        error_info: [
          'SR_BACKEND_FAILURE_107',
          '',
          'The SCSIid parameter is missing or incorrect',
          '<iscsi-target><LUN><vendor>ACME</vendor><serial>0001</serial><LUNid>0</LUNid><size>2199023255552</size><SCSIid>36001405abc</SCSIid></LUN></iscsi-target>',
        ],
      }),
    ),
    {
      problem: {
        code: 'DR-SR-LUN',
        known: { 2: 'the host sees: LUN 36001405abc (ACME, serial 0001, 2199023255552 bytes)' },
      },
    },
  );
  t.strictSame(
    await probeWith({ status: 'success', result: text('<?xml version="1.0" ?>\n<SRlist/>\n') }),
    [],
    'a readable device without SR',
  );
  t.strictSame(
    await probeWith({
      status: 'success',
      result: text(
        '<SRlist>\n\t<SR>\n\t\t<UUID>\n\t\t\t0F3C1D1E-0000-4000-8000-000000000000\n\t\t</UUID>\n\t</SR>\n</SRlist>',
      ),
    }),
    ['0f3c1d1e-0000-4000-8000-000000000000'],
  );
  t.strictSame(
    await probeWith({ status: 'success', result: '<value></value>' }),
    [],
    'linstor answers with nothing',
  );
});

t.test('hosts of before 6.2 know no originator', async (t) => {
  const server = await host(t);
  const login = server.behaviours.get('session.login_with_password');
  const asked: number[] = [];
  server.on('session.login_with_password', (params, exchange) => {
    asked.push(params.length);
    if (params.length > 3) throw new Refused('MESSAGE_PARAMETER_COUNT_MISMATCH', 'x', '3', '4');
    return login?.(params, exchange);
  });
  t.ok(await client(t, [pinned(server)]).serverTime());
  t.strictSame(asked, [4, 3]);
});

t.test('a booting host is waited for', async (t) => {
  const server = await host(t);
  const login = server.behaviours.get('session.login_with_password');
  let refusals = 3;
  server.on('session.login_with_password', (params, exchange) => {
    if (refusals-- > 0) throw new Refused('HOST_STILL_BOOTING');
    return login?.(params, exchange);
  });
  server.on('VM.add_tags', () => '');
  await client(t, [pinned(server)]).addVmTag('11111111-0000-4000-8000-000000000001', 'x');
  t.equal(server.logins, 1);
});

t.test('a cancelled import asks the pool to stop, and says that it may have happened', async (t) => {
  const server = await host(t);
  const stop = new AbortController();
  server.on('PUT /import_metadata', (_, { response }) => {
    response.writeHead(200).flushHeaders();
    return handled;
  });
  server.on('event.from', () => {
    stop.abort();
    return handled;
  });
  const error = await failure(
    client(t, [pinned(server)]).importMetadata(
      new Uint8Array(10),
      { restore: true, dryRun: false },
      stop.signal,
    ),
  );
  t.equal(error.kind, 'cancelled');
  t.match(error.problem.next, /Look at the pool/);
  t.strictSame(server.asked.slice(-2), ['task.cancel', 'task.destroy']);
});

t.test('at most four requests at once, however many are wanted; one signal ends them all', async (t) => {
  const warnings: string[] = [];
  const note = (warning: Error): void => {
    warnings.push(warning.message);
  };
  process.on('warning', note);
  t.teardown(() => process.off('warning', note));
  const server = await host(t);
  let now = 0;
  let most = 0;
  server.on('VM.get_all', async () => {
    now += 1;
    most = Math.max(most, now);
    await new Promise((resolve) => setTimeout(resolve, 2));
    now -= 1;
    return [];
  });
  const stop = new AbortController();
  const pool = client(t, [pinned(server)]);
  const ask = (): Promise<unknown> => pool.xapi.call('VM.get_all', [], { signal: stop.signal });
  await Promise.all(Array.from({ length: 30 }, ask));
  t.equal(most, 4);
  server.on('VM.get_all', () => handled);
  const cut = Array.from({ length: 30 }, () => failure(ask()));
  stop.abort();
  t.ok((await Promise.all(cut)).every((error) => error.kind === 'cancelled'));
  t.strictSame(warnings, []);
});

t.test('the hosts of a dead site are waited for at the same time, not one after the other', async (t) => {
  const waiting: net.Socket[] = [];
  let contacts = 0;
  const deaf = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const server = net.createServer((socket) => {
        contacts += 1;
        socket.on('error', () => undefined);
        if (contacts === 1) socket.destroy();
        else waiting.push(socket);
        // None is let go before all of them are being asked.
        if (waiting.length === 3) for (const held of waiting) held.destroy();
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      t.teardown(() => server.close());
      const { port } = server.address() as net.AddressInfo;
      return { url: `https://127.0.0.1:${port}`, fingerprint: 'a'.repeat(64) };
    }),
  );
  const began = performance.now();
  const error = await failure(client(t, deaf).observe());
  t.equal(error.problem.code, 'DR-POOL-UNREACHABLE');
  t.equal(error.problem.known?.length, 4, 'each host is named');
  t.ok(performance.now() - began < 9000, 'one time-out of a connection would take ten seconds');
});
