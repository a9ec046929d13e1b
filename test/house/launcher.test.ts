import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';

const root = join(import.meta.dirname, '../..');

/** A clone without node_modules, and a PATH on which `node` is whatever the script says. */
function freshClone(nodeScript: string | null): { dir: string; env: NodeJS.ProcessEnv } {
  const dir = mkdtempSync(join(tmpdir(), 'lifeboat-launcher-'));
  mkdirSync(join(dir, 'clone/bin'), { recursive: true });
  mkdirSync(join(dir, 'clone/src'));
  mkdirSync(join(dir, 'path'));
  cpSync(join(root, 'bin/lifeboat'), join(dir, 'clone/bin/lifeboat'));
  writeFileSync(join(dir, 'clone/Makefile'), '');
  writeFileSync(join(dir, 'clone/src/main.ts'), 'console.log("started");\n');
  for (const tool of ['dirname', 'readlink', 'uname']) {
    symlinkSync(
      execFileSync('sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).trim(),
      join(dir, 'path', tool),
    );
  }
  if (nodeScript !== null) {
    writeFileSync(join(dir, 'path/node'), nodeScript);
    chmodSync(join(dir, 'path/node'), 0o755);
  }
  return { dir, env: { PATH: join(dir, 'path') } };
}

t.test('the launcher says plainly which Node it needs', (t) => {
  const old = freshClone('#!/bin/sh\ncase "$2" in *split*) echo 20 ;; *) echo 20.20.2 ;; esac\n');
  const none = freshClone(null);
  t.teardown(() => {
    rmSync(old.dir, { recursive: true });
    rmSync(none.dir, { recursive: true });
  });
  const onOld = spawnSync(join(old.dir, 'clone/bin/lifeboat'), ['status'], {
    env: old.env,
    encoding: 'utf8',
  });
  t.equal(onOld.status, 2);
  t.match(onOld.stderr, /needs Node 24 or newer; .*node is version 20\.20\.2/);
  t.match(onOld.stderr, /Next: run 'make setup'/);
  t.notMatch(onOld.stderr, /SyntaxError|at .*:\d+/);
  const onNone = spawnSync(join(none.dir, 'clone/bin/lifeboat'), [], { env: none.env, encoding: 'utf8' });
  t.equal(onNone.status, 2);
  t.match(onNone.stderr, /no node is on the PATH/);
  t.end();
});

t.test('the launcher asks for make setup when the libraries are missing', (t) => {
  const clone = freshClone(null);
  t.teardown(() => rmSync(clone.dir, { recursive: true }));
  const run = spawnSync(join(clone.dir, 'clone/bin/lifeboat'), [], {
    env: { ...clone.env, LIFEBOAT_NODE: process.execPath },
    encoding: 'utf8',
  });
  t.equal(run.status, 2);
  t.match(run.stderr, /libraries are not installed yet\. Next: run 'make setup'/);
  t.end();
});

t.test('the launcher starts the sources of a clone', (t) => {
  const clone = freshClone(null);
  t.teardown(() => rmSync(clone.dir, { recursive: true }));
  mkdirSync(join(clone.dir, 'clone/node_modules/commander'), { recursive: true });
  const run = spawnSync(join(clone.dir, 'clone/bin/lifeboat'), [], {
    env: { ...clone.env, LIFEBOAT_NODE: process.execPath },
    encoding: 'utf8',
  });
  t.equal(run.stdout, 'started\n');
  t.equal(run.status, 0);
  t.end();
});

t.test('a daemon is started with little room, other verbs as ever', (t) => {
  const clone = freshClone(null);
  t.teardown(() => rmSync(clone.dir, { recursive: true }));
  mkdirSync(join(clone.dir, 'clone/node_modules/commander'), { recursive: true });
  writeFileSync(
    join(clone.dir, 'clone/src/main.ts'),
    'console.log(JSON.stringify([process.execArgv, process.env["MALLOC_ARENA_MAX"] ?? null, process.argv.slice(2)]));\n',
  );
  const started = (words: readonly string[], more: NodeJS.ProcessEnv = {}): unknown =>
    JSON.parse(
      spawnSync(join(clone.dir, 'clone/bin/lifeboat'), words, {
        env: { ...clone.env, LIFEBOAT_NODE: process.execPath, ...more },
        encoding: 'utf8',
      }).stdout,
    );
  const words = ['--config', 'a b.yaml', 'daemon'];
  t.same(started(words), [['--max-semi-space-size=4'], '2', words]);
  t.same(started(words, { MALLOC_ARENA_MAX: '8' }), [['--max-semi-space-size=4'], '8', words]);
  t.same(started(['status', 'shop']), [[], null, ['status', 'shop']]);
  t.end();
});
