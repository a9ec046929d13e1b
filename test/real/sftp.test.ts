/**
 * SFTP targets against the real sshd of OpenSSH, started here on a loopback port with keys of its own. Skipped only where
 * sshd is not installed and LIFEBOAT_REAL is not set.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { TargetsCatalog } from '../../src/adapters/catalog/catalog.ts';
import { LocalStore } from '../../src/adapters/catalog/local-store.ts';
import { SftpStore } from '../../src/adapters/catalog/sftp-store.ts';
import { generateKeyFile, readKeyFile } from '../../src/adapters/secrets/key-file.ts';
import { storeContract } from '../catalog/store-contract.ts';
import { documentOf, exportPoint, noise, putPoint, scratch } from '../catalog/world.ts';

const sshd = ['/usr/sbin/sshd', '/usr/local/sbin/sshd'].find(installed);
const skip =
  sshd === undefined && process.env['LIFEBOAT_REAL'] === undefined ? 'sshd is not installed' : false;

function installed(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch {
    return false;
  }
}

interface Server {
  readonly port: number;
  readonly hostKey: string;
  readonly privateKey: string;
  readonly root: string;
  readonly process: ChildProcess;
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function startServer(t: Test, root = scratch(t)): Promise<Server> {
  if (sshd === undefined) throw new Error('LIFEBOAT_REAL is set and sshd is not installed');
  const port = await freePort();
  chmodSync(root, 0o755);
  for (const name of ['host', 'user']) {
    if (!existsSync(join(root, name)))
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(root, name)]);
  }
  const authorized = join(root, 'authorized_keys');
  writeFileSync(authorized, readFileSync(join(root, 'user.pub')), { mode: 0o600 });
  const config = join(root, 'sshd_config');
  writeFileSync(
    config,
    `ListenAddress 127.0.0.1
Port ${port}
HostKey ${join(root, 'host')}
PidFile none
AuthorizedKeysFile ${authorized}
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
Subsystem sftp internal-sftp
`,
  );
  // The privilege separation directory of Debian's package; made at boot by its service, which does not run here.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const child = spawn(sshd, ['-D', '-e', '-f', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (piece: Buffer) => {
    log += piece.toString();
  });
  t.teardown(() => child.kill('SIGTERM'));
  for (let tries = 0; !(await answers(port)); tries += 1) {
    if (child.exitCode !== null || tries > 400) throw new Error(`sshd did not start: ${log}`);
    await pause(25);
  }
  const [, printed] = execFileSync('ssh-keygen', ['-lf', join(root, 'host.pub')], { encoding: 'utf8' }).split(
    ' ',
  );
  return {
    port,
    hostKey: (printed ?? '').replace('SHA256:', ''),
    privateKey: readFileSync(join(root, 'user'), 'utf8'),
    root,
    process: child,
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('data', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function storeOn(
  server: Server,
  directory: string,
  more: { hostKey?: string; privateKey?: string } = {},
): SftpStore {
  return new SftpStore({
    name: 'offsite',
    address: {
      host: '127.0.0.1',
      port: server.port,
      username: userInfo().username,
      hostKey: more.hostKey ?? server.hostKey,
    },
    path: join(server.root, directory),
    credentials: async () => ({ privateKey: more.privateKey ?? server.privateKey, password: null }),
    times: { connectSeconds: 5, keepaliveSeconds: 1 },
  });
}

t.test('a target on a real sshd does what every target must do', { skip }, async (t) => {
  const server = await startServer(t);
  const store = storeOn(server, 'contract/deep');
  t.teardown(() => store.close());
  await storeContract(t, store);
  t.equal(statSync(join(server.root, 'contract/deep')).mode & 0o777, 0o700, 'directories are ours alone');
  t.equal(statSync(join(server.root, 'contract/deep/a/b/file')).mode & 0o777, 0o600, 'files are ours alone');
});

t.test('a catalog lives on SFTP beside a directory, and each survives the other', { skip }, async (t) => {
  const server = await startServer(t);
  const directory = scratch(t);
  const keyFile = join(directory, 'key');
  await generateKeyFile(keyFile);
  const open = (): TargetsCatalog =>
    new TargetsCatalog({
      targets: [new LocalStore('here', join(directory, 'here')), storeOn(server, 'catalog')],
      key: async () => ({ from: 'key-file', key: await readKeyFile(keyFile) }),
      now: () => '2026-03-01T12:00:00.000Z',
      graceSeconds: 0,
    });
  const catalog = open();
  t.teardown(() => catalog.close());
  const documents = Object.fromEntries(
    Array.from({ length: 50 }, (_, n) => [`vm${n}`, documentOf(`vm${n}`)]),
  );
  const dump = noise(9 * 1024 * 1024);
  const database = await catalog.putStream(
    (async function* () {
      for (let at = 0; at < dump.length; at += 100_000) yield dump.subarray(at, at + 100_000);
    })(),
  );
  const first = await exportPoint(catalog, 'payroll', 1, documents, { database });
  await exportPoint(catalog, 'payroll', 2, { ...documents, vm1: documentOf('changed') });
  const proof = await catalog.verify({ deep: true });
  t.same(proof.damage, []);
  t.same(
    proof.targets.map(({ ok }) => ok),
    [true, true],
  );

  rmSync(join(directory, 'here'), { recursive: true });
  const later = open();
  t.teardown(() => later.close());
  const read = await later.read(first.id);
  t.equal(read.vms.length, 50);
  t.ok(
    Buffer.from(await later.get(read.database ?? { sha256: '', bytes: 0 })).equals(dump),
    'nine megabytes come back',
  );

  const rules = { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, maxAgeSeconds: null };
  const pruned = await later.prune('payroll', rules, { dryRun: false });
  t.ok(pruned.bytesFreed > dump.length, 'the dump of the first point is freed');
  t.same(
    (await later.verify({})).damage.filter(({ target }) => target === 'offsite'),
    [],
  );
});

t.test('an SFTP target that is not what it should be says so', { skip }, async (t) => {
  const server = await startServer(t);
  const stranger = storeOn(server, 'x', { hostKey: 'A'.repeat(43) });
  await t.rejects(stranger.open({ create: true }), /another host key.*nothing was sent.*DR-SSH-HOSTKEY/);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(server.root, 'other')]);
  const refused = storeOn(server, 'x', { privateKey: readFileSync(join(server.root, 'other'), 'utf8') });
  await t.rejects(refused.open({ create: true }), /refuses the login.*DR-SSH-LOGIN/);
  t.notOk(existsSync(join(server.root, 'x')), 'nothing was written');
});

t.test(
  'the server dies in the middle of an export: loud there, whole here, and made good later',
  { skip },
  async (t) => {
    const server = await startServer(t);
    const directory = scratch(t);
    const key = noise(32);
    const far = storeOn(server, 'catalog');
    const catalog = new TargetsCatalog({
      targets: [new LocalStore('here', join(directory, 'here')), far],
      key: async () => ({ from: 'key-file', key }),
      now: () => '2026-03-01T12:00:00.000Z',
    });
    t.teardown(() => catalog.close());
    await exportPoint(catalog, 'payroll', 1, { a: documentOf('a') });
    const point = await putPoint(catalog, 'payroll', 2, { a: documentOf('a'), b: documentOf('b') });
    // The session has its own process, which outlives the listener: the whole family goes.
    const family = execFileSync('ps', ['-o', 'pid=', '--ppid', String(server.process.pid)], {
      encoding: 'utf8',
    });
    for (const pid of family.split('\n').map((line) => Number(line.trim()))) {
      if (pid > 0) process.kill(pid, 'SIGKILL');
    }
    server.process.kill('SIGKILL');
    const outcomes = await catalog.seal(point);
    t.match(outcomes, [
      { target: 'here', ok: true },
      { target: 'offsite', ok: false },
    ]);
    t.match(outcomes[1]?.problem?.code, /^DR-SSH-(LOST|UNREACHABLE)$/);
    t.equal((await catalog.list('payroll')).points.length, 2, 'the other target has both points');

    const again = await startServer(t, server.root);
    const repaired = new TargetsCatalog({
      targets: [new LocalStore('here', join(directory, 'here')), storeOn(again, 'catalog')],
      key: async () => ({ from: 'key-file', key }),
      now: () => '2026-03-01T12:00:00.000Z',
    });
    t.teardown(() => repaired.close());
    t.match(
      await repaired.seal(point),
      [{ ok: true }, { ok: true }],
      'sealing again completes the target that lacked it',
    );
    t.same((await repaired.verify({ pointId: point.id })).damage, []);
  },
);
