/** Clients that nobody wrote for the lab log in and work: xen-api, xmlrpc and Python's xmlrpc.client. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { labCommand } from '../../src/lab/commands/index.ts';
import { populate } from '../../src/lab/core/populate.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';

async function aLab(t: Test): Promise<Lab> {
  const storage = mkdtempSync(join(tmpdir(), 'lifeboat-lab-clients-'));
  const lab = await startLab({ world: 'recordings', storage });
  t.teardown(async () => {
    await lab.stop();
    rmSync(storage, { recursive: true, force: true });
  });
  return lab;
}

/** xen-api and xmlrpc bring no types. */
interface XenApi {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  call(method: string, ...params: unknown[]): Promise<unknown>;
  callAsync(method: string, ...params: unknown[]): Promise<unknown>;
  watchEvents(): void;
  readonly objects: {
    readonly all: Record<string, { readonly $type: string; readonly name_label?: string }>;
  };
  readonly objectsFetched: Promise<void>;
  readonly pool: { readonly name_label: string };
  /** Resolves when all changes up to now have been seen. */
  barrier(ref: string): Promise<{ name_label: string }>;
}

async function xenApi(options: object): Promise<XenApi> {
  const name: string = 'xen-api';
  const { createClient } = (await import(name)) as { createClient(options: object): XenApi };
  return createClient(options);
}

void t.test('xen-api connects over both transports, keeps its objects fresh, and awaits tasks', async (t) => {
  const lab = await aLab(t);
  const [vm] = populate(lab.pool('prod'), { vms: 3, prefix: 'guest-' });
  for (const transport of ['json-rpc', 'xml-rpc', 'auto']) {
    const { username: user, password } = lab.credentials;
    const xapi = await xenApi({
      url: lab.url(lab.host('prod')),
      auth: { user, password },
      allowUnauthorized: true,
      transport,
      watchEvents: true,
    });
    await xapi.connect();
    try {
      await xapi.objectsFetched;
      t.equal(xapi.pool.name_label, 'prod-pool', transport);
      const guests = Object.values(xapi.objects.all).filter(
        (o) => o.name_label?.startsWith('guest-') === true,
      );
      t.equal(guests.filter((o) => o.$type === 'VM').length, 3, `${transport}: all guests are seen`);
      const renamed = `guest-${transport}`;
      await xapi.call('VM.set_name_label', vm?.ref, renamed);
      t.equal(
        (await xapi.barrier(vm?.ref ?? '')).name_label,
        renamed,
        `${transport}: the change arrives by event`,
      );
      const made = await xapi.callAsync('network.create', {
        name_label: transport,
        name_description: '',
        MTU: 1500,
        other_config: {},
        tags: [],
      });
      t.equal(lab.pool('prod').db.find('network', String(made))?.text('name_label'), transport);
    } finally {
      await xapi.disconnect();
    }
  }
  const pool = lab.pool('prod');
  // disconnect() does not wait for the answer to its logout.
  t.ok(await pool.until(() => pool.db.count('session') === 0, 5), 'nothing stays logged in');
});

interface XmlRpcClient {
  methodCall(
    method: string,
    params: unknown[],
    done: (
      error: Error | null,
      value: { Status: string; Value: unknown; ErrorDescription?: string[] },
    ) => void,
  ): void;
}

void t.test('a plain XML-RPC client logs in and works', async (t) => {
  const lab = await aLab(t);
  const name: string = 'xmlrpc';
  const { default: xmlrpc } = (await import(name)) as {
    default: { createSecureClient(options: object): XmlRpcClient };
  };
  const { hostname: host, port } = new URL(lab.url(lab.host('prod')));
  const client = xmlrpc.createSecureClient({
    host,
    port: Number(port),
    path: '/',
    rejectUnauthorized: false,
  });
  const call = (method: string, ...params: unknown[]): Promise<{ Status: string; Value: unknown }> =>
    new Promise((resolve, reject) => {
      client.methodCall(method, params, (error, value) => (error === null ? resolve(value) : reject(error)));
    });
  const { username, password } = lab.credentials;
  const { Value: session } = await call('session.login_with_password', username, password, '1.0', 'plain');
  const { Value: records } = await call('pool.get_all_records', session);
  t.match(Object.values(records as object), [
    { name_label: 'prod-pool', ha_enabled: false, master: /^OpaqueRef:/ },
  ]);
  t.match(await call('VM.start', session, 'OpaqueRef:NULL', false, false), {
    Status: 'Failure',
    ErrorDescription: ['HANDLE_INVALID', 'VM', 'OpaqueRef:NULL'],
  });
  t.match(await call('session.logout', session), { Status: 'Success' });
});

const script = `
import ssl, sys, xmlrpc.client
url, user, password = sys.argv[1:]
server = xmlrpc.client.ServerProxy(url, context=ssl._create_unverified_context())
session = server.session.login_with_password(user, password, '1.0', 'python')['Value']
names = [r['name_label'] for r in server.pool.get_all_records(session)['Value'].values()]
time = server.host.get_servertime(session, server.host.get_all(session)['Value'][0])['Value']
server.session.logout(session)
print(names[0], type(time).__name__)
`;

/** What a Python program prints; null without Python. */
function pythonSays(program: string, ...words: string[]): Promise<string | null> {
  const python = spawn('python3', ['-c', program, ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise((resolve) => {
    let text = '';
    python.on('error', () => resolve(null));
    python.stdout.on('data', (piece: Buffer) => {
      text += piece.toString();
    });
    python.on('close', () => resolve(text.trim()));
  });
}

void t.test("Python's xmlrpc.client logs in and works", async (t) => {
  const lab = await aLab(t);
  const { username, password } = lab.credentials;
  const said = await pythonSays(script, lab.url(lab.host('prod')), username, password);
  if (said === null) return t.pass('no python3 on this machine', { skip: true });
  t.equal(said, 'prod-pool DateTime');
});

const halfClosing = `
import http.client, ssl, sys, urllib.parse, xmlrpc.client
url, user, password = sys.argv[1:]
context = ssl._create_unverified_context()
session = xmlrpc.client.ServerProxy(url, context=context).session.login_with_password(user, password)['Value']
where = urllib.parse.urlparse(url)
for body in (b'', b'no archive', b'x' * 100000):
    c = http.client.HTTPSConnection(where.hostname, where.port, context=context, timeout=20)
    c.request('PUT', '/import_metadata?session_id=' + session, body)
    c.sock.shutdown(1)
    r = c.getresponse()
    print(r.status, r.getheader('task-id')[:10], r.read())
`;

void t.test('a client that ends TCP without ending TLS reads its answer in clear text', async (t) => {
  const lab = await aLab(t);
  const { username, password } = lab.credentials;
  const said = await pythonSays(halfClosing, lab.url(lab.host('prod')), username, password);
  if (said === null) return t.pass('no python3 on this machine', { skip: true });
  t.same(said.split('\n'), Array(3).fill("200 OpaqueRef: b''"));
});

void t.test('labs run in the background, side by side, until they are told to stop', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'lifeboat-lab-root-'));
  process.env['LIFEBOAT_LAB_DIR'] = root;
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const lab = async (...words: string[]): Promise<{ code: number; out: string; err: string }> => {
    const told = { out: '', err: '' };
    const code = await labCommand(words, {
      json: false,
      out: (text) => {
        told.out += text;
      },
      err: (text) => {
        told.err += text;
      },
    });
    return { code, ...told };
  };
  t.teardown(async () => {
    for (const name of ['one', 'two']) await lab('down', '--name', name);
  });
  const up = await lab('up', '--world', 'recordings', '--name', 'one', '--json');
  t.equal(up.code, 0, up.err);
  const told = JSON.parse(up.out) as {
    pools: Record<string, Record<string, string>>;
    member: { url: string };
    storage: string;
  };
  t.match(told.pools, {
    prod: {
      url: /^https:\/\/127\.0\.0\.2:\d+$/,
      username: 'root',
      fingerprint: /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/,
    },
    dr: { url: /^https:\/\/127\.0\.0\.3:\d+$/ },
  });
  t.ok(existsSync(join(told.storage, 'prod1')) && existsSync(join(told.storage, 'dr1')));
  t.match(told.member.url, /127\.0\.0\.4/);
  t.match(await lab('up', '--world', 'recordings', '--name', 'one'), {
    code: 1,
    err: /a lab called one is running.*\nNext: /,
  });
  t.equal((await lab('up', '--world', 'recordings', '--name', 'two')).code, 0);
  t.match((await lab('list')).out, /^one .*\ntwo /m);
  t.equal((await lab('kill', 'site', 'prod', '--name', 'two')).code, 0);
  t.match((await lab('status', '--name', 'two')).out, /prod +127\.0\.0\.2 +dead, master/);
  t.match((await lab('status', '--name', 'one')).out, /prod +127\.0\.0\.2 +up, master/);
  t.equal((await lab('down', '--name', 'one')).code, 0);
  t.match(await lab('status', '--name', 'one'), {
    code: 1,
    err: /no lab called one is running\nNext: running: two/,
  });
  t.equal((await lab('down', '--name', 'two')).code, 0);
  t.notOk(existsSync(told.storage), 'nothing is left behind');
  t.match(await lab('fly'), { code: 2, err: /there is no verb fly/ });
});
