/**
 * Completion: the scripts say what the program knows. bash is tried for real, with a program that answers for names; zsh and
 * fish where they are installed.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { commandTree } from '../../src/faces/cli/cli.ts';
import { commandNodes } from '../../src/faces/cli/completion/tree.ts';
import { call } from './fake.ts';

const nodes = commandNodes(commandTree('0.0.0'));

async function scriptOf(t: Test, shell: string): Promise<string> {
  const { code, out, asked } = await call(['completion', shell]);
  t.equal(code, 0);
  t.strictSame(asked, [], 'no configuration is needed');
  const directory = mkdtempSync(join(tmpdir(), 'lifeboat-completion-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const file = join(directory, `lifeboat.${shell}`);
  writeFileSync(file, out);
  return file;
}

/** What is typed before the cursor, the last word begun or empty → some words that are offered, and some that are not. */
const lines: readonly (readonly [
  typed: readonly string[],
  offered: readonly string[],
  never: readonly string[],
])[] = [
  [[''], ['status', 'failover', 'run', 'init', 'completion'], ['resume', 'shop', 'help']],
  [['sta'], ['status'], ['failover']],
  [['status', ''], ['shop', 'payroll'], ['status']],
  [['status', 'shop', 'pa'], ['payroll'], ['shop']],
  [
    ['failover', '--'],
    ['--declare-lost', '--yes', '--json', '--config'],
    ['--keep', '--sync'],
  ],
  [['failover', '--yes', ''], ['osaka', 'tokyo'], ['shop']],
  [['failover', '--declare-lost', ''], [], ['shop', 'osaka']],
  [['failover', '--declare-lost', 'fire', ''], ['shop'], []],
  [['--config', 'other.yaml', 'run', ''], ['resume', 'list'], ['status']],
  [['run', 'resume', ''], ['latest'], ['resume', 'shop']],
  [['run', 'resume', 'latest', ''], [], ['resume', 'shop']],
  [['array', 'test', ''], ['filer-a'], []],
  [['plan', 'failover', '--f'], ['--full'], ['--by']],
  [['completion', ''], ['bash', 'zsh', 'fish'], ['shop']],
];

const stub = `lifeboat() {
  case "\${*: -1}" in
    groups) printf 'shop\\npayroll\\n' ;;
    sites) printf 'osaka\\ntokyo\\n' ;;
    arrays) printf 'filer-a\\n' ;;
    runs) printf 'latest\\n' ;;
  esac
}`;

t.test('bash', async (t) => {
  const script = await scriptOf(t, 'bash');
  for (const [typed, offered, never] of lines) {
    const words = ['lifeboat', ...typed];
    const { stdout, stderr, status } = spawnSync(
      'bash',
      [
        '--norc',
        '-c',
        `source "$1"; ${stub}; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lifeboat; printf '%s\\n' "\${COMPREPLY[@]}"`,
        'bash',
        script,
        ...words,
      ],
      { encoding: 'utf8' },
    );
    judge(t, typed, stdout, offered, never);
    t.match({ status, stderr }, { status: 0, stderr: '' }, typed.join(' '));
  }
});

t.test('bash asks the configuration that the line names', async (t) => {
  const script = await scriptOf(t, 'bash');
  const { stdout } = spawnSync(
    'bash',
    [
      '--norc',
      '-c',
      `source "$1"; lifeboat() { printf '%s' "$*" | tr ' ' '/'; }; COMP_WORDS=(lifeboat -c /etc/x.yaml status ''); COMP_CWORD=4; _lifeboat; printf '%s\\n' "\${COMPREPLY[@]}"`,
      'bash',
      script,
    ],
    { encoding: 'utf8' },
  );
  t.equal(stdout, '--config//etc/x.yaml/completion/--list/groups\n');
});

const present = (program: string): boolean => spawnSync(program, ['--version']).error === undefined;
const zsh = process.env['ZSH_PROGRAM'] ?? 'zsh';
const fish = process.env['FISH_PROGRAM'] ?? 'fish';

t.test('zsh', { skip: present(zsh) ? false : 'zsh is not installed' }, async (t) => {
  const script = await scriptOf(t, 'zsh');
  for (const [typed, offered, never] of lines) {
    const begun = typed.at(-1) ?? '';
    const { stdout, stderr } = spawnSync(
      zsh,
      [
        '-f',
        '-c',
        [
          'compdef() { : }',
          // What the completion system of zsh does with what it is given, without its terminal.
          'compadd() { [[ $1 == -- ]] && shift; print -rl -- "$@" }',
          `_describe() { [[ $1 == -o ]] && shift; print -rl -- \${(P)2%%:*} }`,
          '_files() { : }',
          `source "$1"; ${stub}; shift; words=("$@"); CURRENT=$#; _lifeboat`,
        ].join('\n'),
        'zsh',
        script,
        'lifeboat',
        ...typed,
      ],
      { encoding: 'utf8' },
    );
    const found = stdout.split('\n').filter((word) => word.startsWith(begun));
    judge(t, typed, found.join('\n'), offered, never);
    t.equal(stderr, '', typed.join(' '));
  }
});

t.test('fish', { skip: present(fish) ? false : 'fish is not installed' }, async (t) => {
  const script = await scriptOf(t, 'fish');
  const answers =
    'function lifeboat; switch $argv[-1]; case groups; echo shop; echo payroll; case sites; echo osaka; echo tokyo; case arrays; echo filer-a; case runs; echo latest; end; end';
  for (const [typed, offered, never] of lines) {
    const line = ['lifeboat', ...typed].join(' ');
    const { stdout } = spawnSync(
      fish,
      ['--no-config', '-c', `source ${script}; ${answers}; complete -C '${line}'`],
      {
        encoding: 'utf8',
      },
    );
    const found = stdout.split('\n').map((row) => row.split('\t')[0] ?? '');
    judge(t, typed, found.join('\n'), offered, never);
  }
});

function judge(
  t: Test,
  typed: readonly string[],
  found: string,
  offered: readonly string[],
  never: readonly string[],
): void {
  const words = found.split('\n').filter((word) => word !== '');
  const what = `lifeboat ${typed.join(' ')}`;
  t.strictSame(
    offered.filter((word) => !words.includes(word)),
    [],
    `${what}: offered`,
  );
  t.strictSame(
    never.filter((word) => words.includes(word)),
    [],
    `${what}: not offered`,
  );
}

t.test('names are listed offline', async (t) => {
  for (const [kind, names] of [
    ['groups', 'shop\n'],
    ['sites', 'osaka\ntokyo\n'],
    ['arrays', ''],
  ] as const) {
    const { code, out, asked } = await call(['completion', '--list', kind]);
    t.match({ code, out }, { code: 0, out: names });
    t.strictSame(asked, ['validate sites.yaml'], 'nothing is opened');
  }
  const runs = await call(['completion', '--list', 'runs']);
  t.match(runs.out, /^latest\n/);
  t.match(await call(['completion']), { code: 2, err: /no shell was named/i });
  t.match(await call(['completion', 'tcsh']), { code: 2 });
});

t.test('the tree is the whole program', (t) => {
  const paths = nodes.map(({ path }) => path);
  for (const path of ['', 'status', 'run', 'run resume', 'drill cleanup', 'plan failover', 'catalog extract'])
    t.ok(paths.includes(path), path === '' ? 'the program' : path);
  t.equal(new Set(paths).size, paths.length);
  t.match(
    nodes.find(({ path }) => path === 'run')?.arguments,
    [{ name: 'file', kind: { of: 'files' } }],
    'run FILE',
  );
  for (const node of nodes) {
    t.ok(node.description !== '', `${node.path}: described`);
    t.ok(
      node.options.some(({ long }) => long === '--config'),
      `${node.path}: takes what holds everywhere`,
    );
  }
  t.end();
});
