/** The core of the lab: what any XenAPI client meets, and what tests can do to a world. */
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import { DrivenClock, type LabClock } from '../../src/lab/core/clock.ts';
import type { LabHost } from '../../src/lab/core/pool.ts';
import { populate } from '../../src/lab/core/populate.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import type { Json, Seen } from '../replay/match.ts';
import { Refused, rpc } from '../replay/rpc.ts';
import { exchange, type HttpAnswer } from '../replay/wire.ts';

async function aLab(t: Test, clock?: LabClock): Promise<Lab> {
  const storage = mkdtempSync(join(tmpdir(), 'lifeboat-lab-test-'));
  const lab = await startLab({ world: 'recordings', storage, ...(clock === undefined ? {} : { clock }) });
  t.teardown(async () => {
    await lab.stop();
    rmSync(storage, { recursive: true, force: true });
  });
  return lab;
}

class Client {
  readonly url: URL;
  session = '';
  constructor(lab: Lab, host: LabHost) {
    this.url = new URL(lab.url(host));
  }
  login(lab: Lab, originator = 'test'): Promise<Seen> {
    const { username, password } = lab.credentials;
    return rpc(this.url, 'jsonrpc', 'session.login_with_password', [username, password, '1.0', originator]);
  }
  call(method: string, ...params: Json[]): Promise<Seen> {
    return rpc(this.url, 'jsonrpc', method, [this.session, ...params]);
  }
  /** The code and parameters that a call is refused with. */
  async refusal(method: string, ...params: Json[]): Promise<string[]> {
    try {
      await this.call(method, ...params);
    } catch (error) {
      if (error instanceof Refused) return error.description;
      throw error;
    }
    return [];
  }
  get(target: string, headers: Record<string, string> = {}): Promise<HttpAnswer> {
    return exchange({
      url: this.url,
      method: 'GET',
      target,
      headers,
      body: null,
      timeoutSeconds: 10,
      halfClose: false,
    });
  }
}

async function loggedIn(lab: Lab, host = lab.pool('prod').master): Promise<Client> {
  const client = new Client(lab, host);
  client.session = String(await client.login(lab));
  return client;
}

void t.test('a host shows the certificate that the pool has on record', async (t) => {
  const lab = await aLab(t);
  const host = lab.host('dr2');
  const shown = await new Promise<X509Certificate | undefined>((resolve, reject) => {
    const socket = connect({ host: host.address, port: host.port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerX509Certificate());
      socket.destroy();
    });
    socket.on('error', reject);
  });
  t.equal(shown?.fingerprint256, host.certificate.sha256);
  t.equal(shown?.subject, 'CN=dr2');
  t.equal(shown?.checkIP('127.0.0.4'), '127.0.0.4');
  t.ok(shown?.verify(shown.publicKey), 'it is signed by its own key');
  const client = await loggedIn(lab, lab.pool('dr').master);
  const pem = await client.call('host.get_server_certificate', host.row.ref);
  t.equal(new X509Certificate(String(pem)).fingerprint256, host.certificate.sha256);
  const records = (await client.call('Certificate.get_all_records')) as Record<
    string,
    Record<string, string>
  >;
  const ofHost = Object.values(records).find((r) => r['host'] === host.row.ref && r['type'] === 'host');
  t.equal(ofHost?.['fingerprint_sha256'], host.certificate.sha256);
});

void t.test('a lab that is started again has the same fingerprints', async (t) => {
  const [one, two] = [await aLab(t), await aLab(t)];
  t.equal(one.host('prod').certificate.sha256, two.host('prod').certificate.sha256);
  t.not(one.host('prod').certificate.sha256, one.host('dr').certificate.sha256);
});

void t.test('a wrong password is refused late, on the clock of the lab', async (t) => {
  const clock = new DrivenClock(Date.UTC(2026, 0, 1), { autoAdvance: true });
  const lab = await aLab(t, clock);
  const client = new Client(lab, lab.host('prod'));
  const before = clock.now();
  await t.rejects(
    rpc(client.url, 'xmlrpc', 'session.login_with_password', ['root', 'wrong']),
    new Refused(['SESSION_AUTHENTICATION_FAILED', 'root', 'Authentication failure']),
  );
  t.ok(clock.now() - before >= 2000, 'it took two seconds');
});

void t.test(
  'above the cap the session that was idle longest goes, other originators keep theirs',
  async (t) => {
    const lab = await aLab(t);
    const client = await loggedIn(lab);
    const first = String(await client.login(lab, 'crowd'));
    const rest = await Promise.all(Array.from({ length: 500 }, () => client.login(lab, 'crowd')));
    const crowd = lab
      .pool('prod')
      .db.all('session')
      .filter((s) => s.get('originator') === 'crowd');
    t.equal(crowd.length, 500);
    t.notOk(
      crowd.some((s) => s.ref === first),
      'the first is gone',
    );
    t.ok(
      crowd.some((s) => s.ref === rest.at(-1)),
      'the last is there',
    );
    t.ok(await client.call('pool.get_all'));
  },
);

void t.test('a dead host refuses; when it is back, its sessions, tasks and guests are gone', async (t) => {
  const lab = await aLab(t);
  const pool = lab.pool('prod');
  const client = await loggedIn(lab);
  const task = await client.call('task.create', 'lost', '');
  const [vm] = populate(pool, { vms: 1, running: true });
  await lab.killSite('prod');
  await t.rejects(client.call('pool.get_all'), { code: 'ECONNREFUSED' });
  t.equal(vm?.text('power_state'), 'Running', 'nobody has noticed yet');
  await lab.reviveSite('prod');
  t.equal(vm?.text('power_state'), 'Halted');
  t.same(await client.refusal('pool.get_all'), ['SESSION_INVALID', client.session]);
  client.session = String(await client.login(lab));
  t.same(await client.refusal('task.get_status', String(task)), ['HANDLE_INVALID', 'task', String(task)]);
});

void t.test('after a change of master the old one names the new one', async (t) => {
  const lab = await aLab(t);
  const pool = lab.pool('dr');
  const client = await loggedIn(lab, lab.host('dr'));
  await client.call('pool.designate_new_master', lab.host('dr2').row.ref);
  await pool.until(() => pool.master === lab.host('dr2'), 5);
  t.same(await client.refusal('pool.get_all'), ['HOST_IS_SLAVE', '127.0.0.4']);
  const other = await loggedIn(lab, lab.host('dr2'));
  const [ref] = (await other.call('pool.get_all')) as string[];
  t.equal(await other.call('pool.get_master', String(ref)), lab.host('dr2').row.ref);
});

void t.test('a member that refuses a login tells the certificate of its master to who asks', async (t) => {
  const lab = await aLab(t);
  const answer = await exchange({
    url: new URL(lab.url(lab.host('dr2'))),
    method: 'POST',
    target: '/jsonrpc',
    headers: { 'x-xenapi-request-host-certificate-thumbprint': 'sha-256:master' },
    body: Buffer.from(
      '{"jsonrpc":"2.0","id":1,"method":"session.login_with_password","params":["root","x"]}',
    ),
    timeoutSeconds: 10,
    halfClose: false,
  });
  t.match(answer.body.toString(), /"HOST_IS_SLAVE","data":\["127\.0\.0\.3"\]/);
  t.equal(answer.headers['x-xenapi-response-host-certificate-thumbprint'], lab.host('dr').certificate.sha256);
});

void t.test('event.from waits for a change and brings one event with the newest record', async (t) => {
  const lab = await aLab(t);
  const client = await loggedIn(lab);
  const first = (await client.call('event.from', ['network'], '', { $float: 1 })) as { token: string };
  const waiting = client.call('event.from', ['network'], first.token, { $float: 30 });
  const [network] = lab.pool('prod').db.all('network');
  await lab.pool('prod').clock.sleep(0.05);
  network?.set({ name_label: 'a' });
  network?.set({ name_label: 'b' });
  const { events } = (await waiting) as unknown as {
    events: { operation: string; snapshot: { name_label: string } }[];
  };
  t.match(events, [{ operation: 'mod', snapshot: { name_label: 'b' } }]);
  t.equal(events.length, 1);
});

void t.test('completed tasks vanish after 65 minutes, stalled ones after a day', async (t) => {
  const clock = new DrivenClock();
  const lab = await aLab(t, clock);
  const client = await loggedIn(lab);
  const pool = lab.pool('prod');
  const done = pool.newTask('done', '', null, pool.master);
  const stalled = pool.newTask('stalled', '', null, pool.master);
  pool.finishTask(done, { result: '' });
  await clock.advance(64 * 60);
  t.equal(await client.call('task.get_status', done.ref), 'success');
  await clock.advance(120);
  t.same(await client.refusal('task.get_status', done.ref), ['HANDLE_INVALID', 'task', done.ref]);
  t.equal(await client.call('task.get_status', stalled.ref), 'pending');
  await clock.advance(23 * 3600);
  client.session = String(await client.login(lab));
  t.same(await client.refusal('task.get_status', stalled.ref), ['HANDLE_INVALID', 'task', stalled.ref]);
});

void t.test('handlers take HTTP Basic, and a header block of 1024 bytes but not one more', async (t) => {
  const lab = await aLab(t, new DrivenClock(0, { autoAdvance: true }));
  const client = new Client(lab, lab.host('prod'));
  const basic = (password: string): Record<string, string> => ({
    Authorization: `Basic ${Buffer.from(`root:${password}`).toString('base64')}`,
  });
  t.equal((await client.get('/pool/xmldbdump', basic('lifeboat-lab'))).status, 200);
  t.equal((await client.get('/pool/xmldbdump', basic('wrong'))).status, 401);
  t.equal(lab.pool('prod').db.count('session'), 0, 'the session of the request is closed again');
  const fixed =
    `GET /pool/xmldbdump?p= HTTP/1.1\r\nHost: ${client.url.host}\r\nAccept-Encoding: identity\r\n\r\n`.length;
  t.equal((await client.get(`/pool/xmldbdump?p=${'x'.repeat(1024 - fixed)}`)).status, 401);
  t.equal((await client.get(`/pool/xmldbdump?p=${'x'.repeat(1025 - fixed)}`)).status, 431);
});

void t.test('a call of more than 300 KiB is not read', async (t) => {
  const lab = await aLab(t);
  const client = await loggedIn(lab);
  const [network] = lab.pool('prod').db.all('network');
  const set = (size: number): Promise<string[]> =>
    client.refusal('network.set_name_description', network?.ref ?? '', 'x'.repeat(size));
  t.same(await set(290 * 1024), []);
  t.same(await set(310 * 1024), ['HTTP 500']);
});

void t.test('both ends of a reference agree, also after a move and a death', async (t) => {
  const lab = await aLab(t);
  const { db } = lab.pool('prod');
  const [a, b] = populate(lab.pool('prod'), { vms: 2 });
  if (a === undefined || b === undefined) return t.fail('no VMs');
  const [disk] = a.rows('VBDs', 'VBD');
  disk?.set({ VM: b.ref });
  t.same([a.texts('VBDs').length, b.texts('VBDs').length], [0, 2]);
  disk?.destroy();
  t.equal(b.texts('VBDs').length, 1);
  t.equal(db.row('VDI', disk?.text('VDI') ?? '').texts('VBDs').length, 0);
});

void t.test('get_all_records_where takes fields, and, or, not and brackets', async (t) => {
  const lab = await aLab(t);
  const client = await loggedIn(lab);
  populate(lab.pool('prod'), { vms: 9 });
  const names = async (expression: string): Promise<string[]> => {
    const records = (await client.call('VM.get_all_records_where', expression)) as Record<
      string,
      { name_label: string }
    >;
    return Object.values(records)
      .map((r) => r.name_label)
      .sort();
  };
  t.same(await names('field "name__label" = "vm-3"'), ['vm-3']);
  t.same(
    await names(
      'not (field "is_control_domain" = "true") and (field "name__label" = "vm-1" or field "name__label" = "vm-2")',
    ),
    ['vm-1', 'vm-2'],
  );
});

void t.test('system.listMethods answers without an envelope', async (t) => {
  const lab = await aLab(t);
  const answer = await exchange({
    url: new URL(lab.url(lab.host('prod'))),
    method: 'POST',
    target: '/RPC2',
    headers: { 'Content-Type': 'text/xml' },
    body: Buffer.from('<methodCall><methodName>system.listMethods</methodName><params/></methodCall>'),
    timeoutSeconds: 10,
    halfClose: false,
  });
  t.match(
    answer.body.toString(),
    /^<\?xml version="1.0"\?><methodResponse><params><param><value><array><data>/,
  );
  t.match(answer.body.toString(), /<value>VM\.start<\/value>/);
});

void t.test('five thousand VMs are there in seconds, and their records are not made twice', async (t) => {
  const lab = await aLab(t);
  const pool = lab.pool('prod');
  populate(pool, { vms: 5000 });
  const client = await loggedIn(lab);
  const raw = (): Promise<HttpAnswer> =>
    exchange({
      url: client.url,
      method: 'POST',
      target: '/',
      headers: { 'Content-Type': 'text/xml' },
      body: Buffer.from(
        `<methodCall><methodName>VM.get_all_records</methodName><params><param><value>${client.session}</value></param></params></methodCall>`,
      ),
      timeoutSeconds: 60,
      halfClose: false,
    });
  const kept = (): number => pool.db.all('VM').filter((vm) => vm.encoded.xml !== null).length;
  t.equal(kept(), 0);
  const first = await raw();
  t.equal(kept(), 5001);
  const [one] = pool.db.byName('VM', 'vm-0001');
  one?.set({ name_description: 'changed' });
  t.equal(kept(), 5000, 'only what changed is made anew');
  const second = await raw();
  t.equal(second.body.length, first.body.length + 'changed'.length);
});
