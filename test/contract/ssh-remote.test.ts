/** Programs over SSH: how they end, and what is known when no answer came. */
import t from 'tap';
import { openSshRemote } from '../../src/adapters/ssh/options.ts';
import { SshRemote } from '../../src/adapters/ssh/pool.ts';
import { OperatorError, PortError } from '../../src/domain/errors.ts';
import { startSshServer } from '../support/ssh-server.ts';

const read = { effect: 'read', timeoutSeconds: 60 } as const;
const write = { effect: 'write', timeoutSeconds: 60 } as const;

async function failureOf(work: Promise<unknown>): Promise<PortError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof PortError) return error;
    throw error;
  }
  throw new Error('it succeeded');
}

t.test('output, error output, input, exit code and signal come back', async (t) => {
  const ssh = await startSshServer(t, {
    command: async (command, channel) => {
      const pieces: Buffer[] = [];
      for await (const piece of channel) pieces.push(piece as Buffer);
      channel.write(`${command}<${Buffer.concat(pieces).toString()}>`);
      channel.stderr.write('warned');
      if (command.includes('killed')) channel.exit('KILL');
      else channel.exit(command.includes('fail') ? 3 : 0);
      channel.end();
    },
  });
  const remote = new SshRemote(ssh.server());
  t.teardown(() => remote.close());
  t.same(await remote.run(['zfs', "it's"], { ...read, stdin: 'ünput' }), {
    code: 0,
    signal: null,
    stdout: "'zfs' 'it'\\''s'<ünput>",
    stderr: 'warned',
  });
  t.match(await remote.run(['fail'], read), { code: 3, signal: null });
  t.match(await remote.run(['killed'], read), { code: null, signal: 'KILL' });
  t.equal(ssh.logins(), 1, 'one connection is kept');
  t.equal(remote.commands, 3);
});

t.test('a connection that breaks: unknown for what writes, unreachable for what reads', async (t) => {
  const ssh = await startSshServer(t, {
    command: (command, channel) => {
      if (command.includes('hang')) setImmediate(() => ssh.cut());
      else {
        channel.exit(0);
        channel.end();
      }
    },
  });
  const remote = new SshRemote(ssh.server());
  t.teardown(() => remote.close());
  const written = await failureOf(remote.run(['hang'], write));
  t.match(written, { kind: 'outcome-unknown', problem: { code: 'DR-SSH-LOST' } });
  t.match(written.message, /may still be running/);
  t.match(await failureOf(remote.run(['hang'], read)), {
    kind: 'unreachable',
    problem: { code: 'DR-SSH-LOST' },
  });
  t.match(await remote.run(['fine'], read), { code: 0 }, 'the next one connects again');
  t.equal(ssh.commands.length, 3, 'what was sent is never sent again');
});

t.test('no answer in time, too much of an answer, and being told to stop', async (t) => {
  const ssh = await startSshServer(t, {
    command: (command, channel) => {
      if (command.includes('much')) channel.write(Buffer.alloc(4096));
    },
  });
  const remote = new SshRemote(ssh.server());
  t.teardown(() => remote.close());
  t.match(await failureOf(remote.run(['quiet'], { ...write, timeoutSeconds: 0.05 })), {
    kind: 'outcome-unknown',
    problem: { code: 'DR-SSH-TIMEOUT' },
  });
  t.match(await failureOf(remote.run(['quiet'], { ...read, timeoutSeconds: 0.05 })), {
    kind: 'unreachable',
    problem: { code: 'DR-SSH-TIMEOUT' },
  });
  t.match(await failureOf(remote.run(['much'], { ...read, maxOutputBytes: 1024 })), {
    kind: 'protocol',
    problem: { code: 'DR-SSH-OUTPUT' },
  });
  const stop = new AbortController();
  const stopped = failureOf(remote.run(['quiet'], { ...read, signal: stop.signal }));
  stop.abort();
  t.match(await stopped, { kind: 'cancelled' });
  const before = ssh.commands.length;
  t.match(await failureOf(remote.run(['quiet'], { ...write, signal: AbortSignal.abort() })), {
    kind: 'cancelled',
    problem: { known: ['nothing was sent'] },
  });
  t.equal(ssh.commands.length, before);
});

t.test('a command that never left is sent over a new connection, once', async (t) => {
  let refusals = 1;
  const ssh = await startSshServer(t, {
    command: (_command, channel) => {
      channel.exit(0);
      channel.end();
    },
    refuseChannel: () => {
      refusals -= 1;
      return refusals >= 0;
    },
  });
  const remote = new SshRemote(ssh.server());
  t.teardown(() => remote.close());
  t.match(await remote.run(['once'], write), { code: 0 });
  t.equal(ssh.logins(), 2);
  refusals = 2;
  t.match(await failureOf(remote.run(['twice'], write)), {
    kind: 'unreachable',
    problem: { code: 'DR-SSH-CHANNEL' },
  });
  t.equal(ssh.commands.length, 1);
});

t.test('no more channels at once than a server allows', async (t) => {
  let open = 0;
  let most = 0;
  const ssh = await startSshServer(t, {
    command: (_command, channel) => {
      open += 1;
      most = Math.max(most, open);
      setImmediate(() => {
        open -= 1;
        channel.exit(0);
        channel.end();
      });
    },
  });
  const remote = new SshRemote(ssh.server());
  t.teardown(() => remote.close());
  await Promise.all(Array.from({ length: 40 }, () => remote.run(['true'], read)));
  t.ok(most <= 8, `${most} at once`);
  t.equal(ssh.commands.length, 40);
  t.equal(ssh.logins(), 1);
});

t.test('a wrong password and a wrong host key have their kinds, and show no secret', async (t) => {
  const ssh = await startSshServer(t, { command: () => undefined });
  const thief = await failureOf(new SshRemote(ssh.server({ password: 'wrong-secret' })).run(['zfs'], read));
  t.match(thief, { kind: 'auth', problem: { code: 'DR-SSH-LOGIN' } });
  t.notMatch(thief.message, /wrong-secret/);
  const stranger = await failureOf(new SshRemote(ssh.server({ hostKey: 'A'.repeat(43) })).run(['zfs'], read));
  t.match(stranger, { kind: 'trust', problem: { code: 'DR-SSH-HOSTKEY' } });
  t.equal(ssh.commands.length, 0);
});

t.test('an array without a key and without a secret cannot log in anywhere', async (t) => {
  const options = { host: 'filer', port: 22, username: 'root', host_key: 'A'.repeat(43) };
  const array = { name: 'filer', site: 'osaka', type: 'zfs', options, secret: null };
  const secrets = { resolve: () => Promise.resolve('') };
  t.throws(() => openSshRemote(array, options, secrets), OperatorError);
  t.throws(
    () => openSshRemote(array, options, secrets),
    /neither private_key_file nor secret.*DR-ARRAY-OPTIONS/,
  );
});
