import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import t from 'tap';
import { openCatalog } from '../../src/adapters/catalog/open.ts';
import { generateKeyFile, readKeyFile } from '../../src/adapters/secrets/key-file.ts';
import { Redactor } from '../../src/adapters/secrets/redactor.ts';
import { SecretResolver } from '../../src/adapters/secrets/resolver.ts';
import { SecretStore, type StoreKey } from '../../src/adapters/secrets/store.ts';
import { type SshAddress, SshConnection } from '../../src/adapters/ssh/connection.ts';
import { documentOf, exportPoint, keyOf, scratch } from './world.ts';

const keyFileKey = async (): Promise<StoreKey> => ({ from: 'key-file', key: keyOf('store') });

/** The words of an error, with everything that hangs on it. */
async function wordsOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : '';
    return `${error instanceof Error ? `${error.message} ${error.stack}` : ''} ${cause} ${JSON.stringify(error)}`;
  }
  throw new Error('no error came');
}

t.test('secrets from environment, file, command and store', async (t) => {
  const directory = scratch(t);
  const store = new SecretStore(join(directory, 'secrets.json'), keyFileKey);
  await store.set('tokyo/root', 'from the store');
  const file = join(directory, 'password');
  writeFileSync(file, 'from a file\n', { mode: 0o600 });
  const redactor = new Redactor();
  const secrets = new SecretResolver({
    environment: { LIFEBOAT_TOKYO: 'from the environment', EMPTY: '' },
    store,
    redactor,
    commandTimeoutSeconds: 0.3,
    directory,
  });
  t.equal(await secrets.resolve({ from: 'env', name: 'LIFEBOAT_TOKYO' }), 'from the environment');
  t.equal(await secrets.resolve({ from: 'file', path: file }), 'from a file');
  t.equal(await secrets.resolve({ from: 'store', name: 'tokyo/root' }), 'from the store');
  const argv = ['printf', '%s\n%s', 'first $HOME; line', 'second'];
  t.equal(await secrets.resolve({ from: 'command', argv }), 'first $HOME; line', 'no shell, first line only');
  const beside = { from: 'command', argv: ['cat', 'password'] } as const;
  t.equal(await secrets.resolve(beside), 'from a file', 'a command runs beside the settings');
  t.equal(
    redactor.redact('login with from a file failed'),
    'login with *** failed',
    'resolved values are known',
  );

  const command = (...words: string[]) => secrets.resolve({ from: 'command', argv: words });
  for (const [ask, words] of [
    [() => secrets.resolve({ from: 'env', name: 'NOWHERE' }), /environment variable NOWHERE.*not set/],
    [() => secrets.resolve({ from: 'env', name: 'EMPTY' }), /EMPTY.*it is empty/],
    [() => secrets.resolve({ from: 'file', path: join(directory, 'none') }), /none.*does not exist/],
    [() => secrets.resolve({ from: 'store', name: 'osaka' }), /secret osaka.*lifeboat secret set osaka/],
    [() => command('no-such-program'), /no-such-program.*no such program/],
    [
      () => command('sh', '-c', 'echo s3cret-out; echo s3cret-err >&2; exit 3', 's3cret-arg'),
      /command sh.*exit code 3/,
    ],
    [() => command('sleep', '30'), /command sleep.*did not end within 0.3 s/],
    [() => command('sh', '-c', 'sleep 30 & sleep 30'), /did not end/],
    [() => command('yes', 's3cret-flood'), /more than 64 KiB/],
  ] as const) {
    const told = await wordsOf(ask());
    t.match(told, words);
    t.notMatch(told, /s3cret/, 'nothing of it is shown');
  }
});

t.test('a secret that others may read is refused', async (t) => {
  const directory = scratch(t);
  const file = join(directory, 'password');
  writeFileSync(file, 's3cret');
  const store = new SecretStore(join(directory, 'secrets.json'), keyFileKey);
  const secrets = new SecretResolver({ environment: {}, store, redactor: new Redactor() });
  for (const mode of [0o644, 0o640, 0o602]) {
    chmodSync(file, mode);
    const told = await wordsOf(secrets.resolve({ from: 'file', path: file }));
    t.match(told, new RegExp(`other users may read or write it \\(mode 0${mode.toString(8)}\\).*chmod 600`));
    t.notMatch(told, /s3cret/);
  }
  const key = join(directory, 'keys', 'catalog.key');
  await generateKeyFile(key);
  t.equal(statSync(key).mode & 0o777, 0o600);
  t.equal((await readKeyFile(key)).length, 32);
  await t.rejects(generateKeyFile(key), /exists already.*never overwritten/, 'a key is never overwritten');
  chmodSync(key, 0o644);
  await t.rejects(readKeyFile(key), /other users may read/);
  writeFileSync(file, 'password123', { mode: 0o600 });
  chmodSync(file, 0o600);
  const told = await wordsOf(readKeyFile(file));
  t.match(told, /not a key file/);
  t.notMatch(told, /password123/);
});

t.test('the encrypted store: set, list, get, remove; nothing in clear; every change whole', async (t) => {
  const directory = scratch(t);
  const path = join(directory, 'state', 'secrets.json');
  const store = new SecretStore(path, keyFileKey);
  t.same(await store.list(), []);
  t.equal(await store.remove('none'), false);
  await Promise.all(['c', 'a', 'b'].map((name) => store.set(name, `value-of-${name}`)));
  await store.set('b', 'another value');
  t.same(await store.list(), ['a', 'b', 'c'], 'changes at the same time wait for each other');
  t.equal(await store.get('b'), 'another value');
  t.equal(await store.remove('a'), true);
  t.same(await new SecretStore(path, keyFileKey).list(), ['b', 'c'], 'another process sees them');
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.notMatch(readFileSync(path, 'latin1'), /value/);
  t.same(readdirSync(join(directory, 'state')), ['secrets.json'], 'nothing is left beside it');
  await t.rejects(store.set('a b', 'x'), /cannot be the name of a secret/);
  await t.rejects(store.set('empty', ''), /is empty/);

  const other = new SecretStore(path, async () => ({ from: 'key-file', key: keyOf('other') }));
  await t.rejects(other.list(), /Cannot open the secret store/);
  await t.rejects(other.set('x', 'y'), /Cannot open the secret store/, 'and a wrong key destroys nothing');
  t.equal(await store.get('c'), 'value-of-c');
  const phrased = new SecretStore(path, async () => ({ from: 'passphrase', passphrase: 'p' }));
  await t.rejects(phrased.list(), /made with a key file, and a passphrase was given/);

  const text = readFileSync(path);
  for (let at = 0; at < text.length - 1; at += 7) {
    const damaged = Buffer.from(text);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    writeFileSync(path, damaged);
    await t.rejects(store.get('c'), /secret store/, `byte ${at}`);
  }
  writeFileSync(path, text);
  chmodSync(path, 0o640);
  await t.rejects(store.get('c'), /other users may read/);
});

t.test('a store with a passphrase', async (t) => {
  const path = join(scratch(t), 'secrets.json');
  const phrase = (passphrase: string) =>
    new SecretStore(path, async () => ({ from: 'passphrase', passphrase }));
  await phrase('blue café').set('a', 'b');
  t.equal(await phrase('blue cafe\u0301').get('a'), 'b', 'however the accent was typed');
  await t.rejects(phrase('red').get('a'), /the passphrase does not open it/);
});

t.test('the redactor knows the usual disguises', (t) => {
  const redactor = new Redactor();
  redactor.add('p&"s\\w/d');
  redactor.add('p&"s');
  redactor.add('ab');
  const disguises = [
    'p&"s\\w/d',
    JSON.stringify('p&"s\\w/d'),
    encodeURIComponent('p&"s\\w/d'),
    'p&amp;&quot;s\\w/d',
  ];
  for (const text of [...disguises, Buffer.from('p&"s\\w/d').toString('base64')])
    t.notMatch(redactor.redact(`x ${text} y`), /[sw]/, text);
  t.equal(redactor.redact('a table'), 'a table', 'two letters are in every text');
  t.end();
});

t.test('SSH: the host key is always checked, and each refusal says why', async (t) => {
  const { private: hostKey } = ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 });
  const stranger = ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 });
  const sha256 = (key: string): Promise<string> => {
    const parsed = ssh2.utils.parseKey(key);
    if (parsed instanceof Error) throw parsed;
    const bytes = (Array.isArray(parsed) ? parsed[0] : parsed)?.getPublicSSH() ?? Buffer.alloc(0);
    return import('node:crypto').then(({ createHash }) =>
      createHash('sha256').update(bytes).digest('base64'),
    );
  };
  let logins = 0;
  const server = new ssh2.Server({ hostKeys: [hostKey] }, (client) => {
    client.on('error', () => client.end());
    client.on('authentication', (context) => {
      logins += 1;
      if (context.method === 'password' && context.username === 'u' && context.password === 'right')
        context.accept();
      else context.reject(['password']);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const address: SshAddress = { host: '127.0.0.1', port, username: 'u', hostKey: await sha256(hostKey) };
  const password = (text: string) => ({ privateKey: null, password: text });

  const connection = await SshConnection.connect(address, password('right'));
  await t.rejects(connection.sftp(), 'a channel that the server refuses');
  connection.close();
  await t.rejects(connection.sftp(), /connection was lost/);

  const before = logins;
  const told = await wordsOf(
    SshConnection.connect({ ...address, hostKey: await sha256(stranger.private) }, password('s3cret')),
  );
  t.match(told, /another host key than the pinned one.*nothing was sent.*ssh-keygen -lf/);
  t.equal(logins, before, 'no password went to a stranger');
  t.notMatch(told, /s3cret/);
  const refused = await wordsOf(SshConnection.connect(address, password('s3cret')));
  t.match(refused, /refuses the login.*DR-SSH-LOGIN/);
  t.notMatch(refused, /s3cret/);
  t.match(refused, /private_key_file of 127\.0\.0\.1 in sites\.yaml/, 'where nobody said who asks');
  const guest = {
    place: 'the command check of VM web-01 in its recovery plan',
    keyField: 'key_file',
    knownHostsFile: '/etc/guests',
  };
  const refusedGuest = await wordsOf(
    SshConnection.connect({ ...address, writtenIn: guest }, password('s3cret')),
  );
  t.match(refusedGuest, /or key_file of the command check of VM web-01 in its recovery plan/);
  t.notMatch(refusedGuest, /sites\.yaml/);
  const otherKey = await wordsOf(
    SshConnection.connect(
      { ...address, hostKey: await sha256(stranger.private), writtenIn: guest },
      password('right'),
    ),
  );
  t.match(otherKey, /put that key in the place of the old one in \/etc\/guests/);
  t.notMatch(otherKey, /sites\.yaml/);
  await t.rejects(
    SshConnection.connect({ ...address, hostKey: '' }, password('right')),
    /not a SHA-256 fingerprint/,
  );
  await t.rejects(
    SshConnection.connect(address, { privateKey: 'rubbish', password: null }),
    /Cannot use the private key/,
  );

  const silent = createServer((socket) => socket.on('error', () => socket.destroy()).resume());
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const mute = { ...address, port: (silent.address() as AddressInfo).port };
  const times = { connectSeconds: 0.2, keepaliveSeconds: 1 };
  await t.rejects(
    SshConnection.connect(mute, password('right'), times),
    /does not answer.*DR-SSH-UNREACHABLE/,
  );
  await new Promise((resolve) => silent.close(resolve));
  await t.rejects(SshConnection.connect(mute, password('right')), /no SSH server listens there/);
});

t.test('from settings to a catalog: nobody is asked before the first call', async (t) => {
  const directory = scratch(t);
  let asked = 0;
  const catalog = openCatalog(
    {
      targets: [
        { type: 'directory', name: 'here', path: join(directory, 'here') },
        {
          type: 'sftp',
          name: 'far',
          host: '127.0.0.1',
          port: 1,
          username: 'u',
          path: '/catalog',
          hostKey: 'A'.repeat(43),
          privateKeyFile: null,
          password: { from: 'env', name: 'FAR' },
        },
      ],
      encryption: { passphrase: { from: 'env', name: 'PHRASE' } },
    },
    {
      secrets: {
        resolve: async () => {
          asked += 1;
          return 'some words';
        },
      },
      clock: { now: () => '2026-03-01T12:00:00.000Z' },
    },
  );
  t.equal(asked, 0);
  await t.rejects(
    exportPoint(catalog, 'payroll', 1, { a: documentOf('a') }),
    /target far.*DR-SSH-UNREACHABLE/,
  );
  t.match((await catalog.list('payroll')).points, [{ good: true, targets: ['here'] }]);
  t.ok(asked > 0);
  await catalog.close();
});
