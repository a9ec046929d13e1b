/** The unit of the daemon against systemd's own check, and its words against systemd-notify itself. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { serviceManager } from '../../src/adapters/system/service-manager.ts';

const installed = (program: string): boolean =>
  (process.env['PATH'] ?? '').split(':').some((directory) => existsSync(join(directory, program)));
const skip = (program: string): string | false =>
  installed(program) || process.env['LIFEBOAT_REAL'] !== undefined ? false : `${program} is not installed`;

t.test('systemd takes the unit', { skip: skip('systemd-analyze') }, async (t) => {
  const unit = readFileSync(new URL('../../packaging/lifeboat.service', import.meta.url), 'utf8');
  // The check looks whether the program is there: it is not, where Lifeboat is not installed.
  const file = join(t.testdir(), 'lifeboat.service');
  const there = unit.replace(/^ExecStart=\S+/m, 'ExecStart=/bin/true');
  writeFileSync(file, there);
  execFileSync('systemd-analyze', ['verify', '--man=no', file], { stdio: 'pipe' });
  execFileSync('systemd-analyze', ['security', '--offline=yes', '--threshold=25', file], { stdio: 'pipe' });
  writeFileSync(file, there.replace('Type=notify', 'Typ=notify').replace('ExecStart=', 'ExecStrat='));
  t.throws(
    () => execFileSync('systemd-analyze', ['verify', '--man=no', file], { stdio: 'pipe' }),
    'and would have refused another one',
  );
});

/** A service manager's socket: prints each datagram as it comes. */
const listener = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('listening', flush=True)
while True:
    print(s.recv(4096).decode().replace('\\n', '|'), flush=True)
`;

t.test(
  'a service manager hears what it is told',
  { skip: skip('systemd-notify') || skip('python3') },
  async (t) => {
    const socket = join(t.testdir(), 'notify');
    const heard: string[] = [];
    const python = spawn('python3', ['-c', listener, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.teardown(() => python.kill());
    let wake = Promise.withResolvers<void>();
    python.stdout.setEncoding('utf8').on('data', (text: string) => {
      heard.push(...text.split('\n').filter((line) => line !== ''));
      wake.resolve();
      wake = Promise.withResolvers<void>();
    });
    const hears = async (word: string): Promise<void> => {
      while (!heard.some((line) => line.includes(word))) await wake.promise;
    };
    await hears('listening');
    const failures: string[] = [];
    const manager = serviceManager({ NOTIFY_SOCKET: socket, PATH: process.env['PATH'] }, (why) =>
      failures.push(why),
    );
    await manager.tell(['READY=1', 'STATUS=2 jobs are under way']);
    await hears('READY=1');
    t.ok(heard.some((line) => line.includes('STATUS=2 jobs are under way')));
    await manager.tell(['WATCHDOG=1']);
    await hears('WATCHDOG=1');
    t.same(failures, []);
    python.kill();
    await once(python, 'exit');
  },
);
