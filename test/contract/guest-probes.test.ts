/** How guests and local programs are asked, against real sockets and processes on loopback. */
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import t from 'tap';
import { runInGuest } from '../../src/adapters/ssh/guest.ts';
import { hostKeysOf } from '../../src/adapters/ssh/known-hosts.ts';
import { probeHttp } from '../../src/adapters/system/http.ts';
import { programRunner } from '../../src/adapters/system/programs.ts';
import { selfSigned } from '../../src/lab/server/certificate.ts';
import type { GuestCommand, HttpProbe } from '../../src/ports/guests.ts';

const node = process.execPath;

t.test(
  'a program sees its arguments, its facts and little else; its last words come without secrets',
  async (t) => {
    const directory = t.testdir();
    const run = programRunner({
      directory,
      environment: { PATH: '/usr/bin:/bin', HOME: '/home/of-lifeboat', DATABASE_PASSWORD: 'hunter22' },
      redact: (text) => text.replaceAll('hunter22', '***'),
    });
    const script = `
    const { LIFEBOAT_GROUP, HOME, DATABASE_PASSWORD } = process.env;
    const env = { LIFEBOAT_GROUP, HOME, DATABASE_PASSWORD };
    console.log(JSON.stringify({ args: process.argv.slice(1), cwd: process.cwd(), env }));
    console.error('x'.repeat(10000) + ' password hunter22');
    process.exitCode = 3;`;
    const end = await run({
      argv: [node, '-e', script, '--', "it's; $(x)", '*'],
      env: { LIFEBOAT_GROUP: 'shop' },
      timeoutSeconds: 60,
    });
    t.match(end, { code: 3, signal: null, timedOut: false });
    const said = JSON.parse(end.stdout) as { args: string[]; cwd: string; env: Record<string, string> };
    t.same(said.args, ["it's; $(x)", '*'], 'no shell took them apart');
    t.match(said.env, { LIFEBOAT_GROUP: 'shop', HOME: '/home/of-lifeboat' });
    t.notOk('DATABASE_PASSWORD' in said.env, 'our environment may hold passwords');
    t.ok(said.cwd.endsWith(directory.split('/').at(-1) ?? ''));
    t.equal(end.stderr.length, 4096);
    t.match(end.stderr, /password \*\*\*/);
  },
);

t.test('a program that hangs is killed with everything that it started', async (t) => {
  const directory = t.testdir();
  const run = programRunner({ directory, environment: process.env, redact: (text) => text });
  const pidFile = join(directory, 'pid');
  const script = `
    const { spawn } = require('node:child_process');
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
    require('node:fs').writeFileSync(${JSON.stringify(pidFile)}, String(child.pid));
    setInterval(() => {}, 1000);`;
  const stop = new AbortController();
  const running = run({ argv: [node, '-e', script], env: {}, timeoutSeconds: 600 }, stop.signal);
  running.catch(() => undefined);
  await until(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8') !== '');
  stop.abort();
  t.match(await refusalOf(running), { kind: 'cancelled', problem: { code: 'DR-CALLOUT-STOPPED' } });
  const child = Number(readFileSync(pidFile, 'utf8'));
  await until(() => !isAlive(child));

  const late = await run({ argv: [node, '-e', 'setInterval(() => {}, 1000)'], env: {}, timeoutSeconds: 0.5 });
  t.match(late, { code: null, timedOut: true });
  t.match(await refusalOf(run({ argv: ['./not-there'], env: {}, timeoutSeconds: 5 })), {
    kind: 'refused',
    problem: { code: 'DR-CALLOUT-PROGRAM', known: ['there is no such program'] },
  });
});

/** What a promise is rejected with; null when it is not. */
function refusalOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => null,
    (error: unknown) => error,
  );
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A process that has ended and that nobody has waited for still has a number.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}

const answer: RequestListener = (request, response) => {
  response.statusCode = request.url === '/health' ? 200 : 404;
  response.end(`${request.headers.host} is up`);
};

t.test('a page answers with its status and text; redirects and large bodies are no trouble', async (t) => {
  const server = createServer((request, response) => {
    if (request.url === '/moved') response.writeHead(302, { location: '/health' }).end();
    else if (request.url === '/large') response.end('y'.repeat(1_000_000));
    else answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const probe = (path: string, values: Partial<HttpProbe> = {}) =>
    probeHttp({
      address: '127.0.0.1',
      port,
      path,
      tls: false,
      host: null,
      verify: true,
      caFile: null,
      ...values,
    });
  t.same(await probe('/health'), { answered: true, status: 200, text: `127.0.0.1:${port} is up` });
  t.match(await probe('/health', { host: 'shop.example' }), { text: `shop.example:${port} is up` });
  t.match(await probe('/else'), { status: 404 });
  t.match(await probe('/moved'), { status: 302 });
  const large = await probe('/large');
  t.ok(large.answered && large.text.length === 64 * 1024);
  t.match(await probe('/health', { tls: true }), { answered: false });
  const stop = AbortSignal.abort();
  t.match(
    await probeHttp(
      { address: '127.0.0.1', port, path: '/', tls: false, host: null, verify: true, caFile: null },
      stop,
    ),
    { answered: false },
  );
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  t.same(await probe('/health'), { answered: false, because: 'the connection was refused' });
});

t.test('a certificate is looked at, unless the plan says that it is not', async (t) => {
  const directory = t.testdir();
  const certificate = selfSigned('guest.example', ['guest.example'], 'a seed of the test');
  const server = createTlsServer({ key: certificate.key, cert: certificate.cert }, answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const caFile = join(directory, 'ca.pem');
  writeFileSync(caFile, certificate.cert);
  const probe = (values: Partial<HttpProbe>) =>
    probeHttp({
      address: '127.0.0.1',
      port,
      path: '/health',
      tls: true,
      host: null,
      verify: true,
      caFile: null,
      ...values,
    });
  t.match(await probe({}), { answered: false, because: /certificate/ });
  t.match(await probe({ verify: false }), { answered: true, status: 200 });
  t.match(await probe({ caFile, host: 'guest.example' }), { answered: true, status: 200 });
  t.match(await probe({ caFile, host: 'other.example' }), { because: 'its certificate is for another name' });
  t.match(await probe({ caFile: join(directory, 'none.pem') }), {
    because: 'the file of its CA cannot be read',
  });
});

t.test('known_hosts: plain and hashed names, ports, comments; nothing for a stranger', (t) => {
  const key = Buffer.from('a public key').toString('base64');
  const other = Buffer.from('another one').toString('base64');
  const print = (text: string) => createHash('sha256').update(text).digest('base64').replace(/=+$/, '');
  const salt = Buffer.from('some salt').toString('base64');
  const hash = createHmac('sha1', Buffer.from(salt, 'base64')).update('db-02').digest('base64');
  const file = [
    '# guests',
    `DB-01,10.0.0.1 ssh-ed25519 ${key} comment`,
    `|1|${salt}|${hash} ssh-ed25519 ${other}`,
    `[db-03]:2222 ssh-rsa ${key}`,
    `@revoked db-04 ssh-rsa ${key}`,
    '',
  ].join('\n');
  t.same(hostKeysOf(file, ['db-01', '10.9.9.9'], 22), [print('a public key')]);
  t.same(hostKeysOf(file, ['x', '10.0.0.1'], 22), [print('a public key')]);
  t.same(hostKeysOf(file, ['db-02'], 22), [print('another one')]);
  t.same(hostKeysOf(file, ['db-03'], 2222), [print('a public key')]);
  t.same(hostKeysOf(file, ['db-03'], 22), []);
  t.same(hostKeysOf(file, ['db-04'], 22), []);
  t.end();
});

t.test(
  'a program inside a guest: the right key logs in, its exit code counts, strangers get nothing',
  async (t) => {
    const { private: hostKey } = ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 });
    const user = ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 });
    const publicKey = parsed(user.public).getPublicSSH();
    const commands: string[] = [];
    const server = new ssh2.Server({ hostKeys: [hostKey] }, (client) => {
      client.on('error', () => client.end());
      client.on('authentication', (context) => {
        if (context.method === 'publickey' && context.key.data.equals(publicKey)) context.accept();
        else context.reject(['publickey']);
      });
      client.on('session', (accept) =>
        accept().on('exec', (acceptCommand, _reject, { command }) => {
          commands.push(command);
          const channel = acceptCommand();
          channel.write('accepting connections\n');
          channel.exit(command.includes("'5432'") ? 0 : 2);
          channel.end();
        }),
      );
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.teardown(() => server.close());
    const { port } = server.address() as AddressInfo;
    const hostPublic = parsed(hostKey).getPublicSSH();
    const directory = t.testdir({
      key: user.private,
      wrong: ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 }).private,
      known_hosts: `[db-01]:${port} ecdsa-sha2-nistp256 ${hostPublic.toString('base64')}\n`,
    });
    const knownHostsFile = join(directory, 'known_hosts');
    const ask = (values: Partial<GuestCommand>) =>
      runInGuest({
        address: '127.0.0.1',
        port,
        nameLabel: 'db-01',
        user: 'probe',
        keyFile: join(directory, 'key'),
        hostKey: { knownHostsFile },
        argv: ['pg_isready', '-p', '5432', "it's"],
        timeoutSeconds: 30,
        ...values,
      });
    t.match(await ask({}), { code: 0, stdout: 'accepting connections\n' });
    t.same(commands, [`'pg_isready' '-p' '5432' 'it'\\''s'`]);
    t.match(await ask({ argv: ['false'] }), { code: 2 });
    const pinned = createHash('sha256').update(hostPublic).digest('base64').replace(/=+$/, '');
    t.match(await ask({ hostKey: { pinned } }), { code: 0 });
    const asked = commands.length;
    t.match(await refusalOf(ask({ hostKey: { pinned: 'A'.repeat(43) } })), { kind: 'trust' });
    t.match(await refusalOf(ask({ nameLabel: 'db-99' })), {
      kind: 'trust',
      problem: { code: 'DR-SSH-GUEST-UNKNOWN' },
    });
    t.match(await refusalOf(ask({ keyFile: join(directory, 'wrong') })), { kind: 'auth' });
    t.match(await refusalOf(ask({ keyFile: join(directory, 'none') })), {
      problem: { code: 'DR-SSH-GUEST-FILE' },
    });
    t.equal(commands.length, asked, 'nothing was sent');
  },
);

function parsed(key: string): ssh2.ParsedKey {
  const read = ssh2.utils.parseKey(key);
  if (read instanceof Error) throw read;
  const [first] = Array.isArray(read) ? read : [read];
  if (first === undefined) throw new Error('no key');
  return first;
}
