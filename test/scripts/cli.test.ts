import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { exitCodes, OperatorError, PortError } from '../../src/domain/errors.ts';
import type { Finding } from '../../src/domain/finding.ts';
import { worst } from '../../src/faces/cli/session.ts';
import { golden } from '../report/golden.ts';
import { type Called, call, interruptHere, lockHeld, type Typed, type World } from './fake.ts';

const blocking: Finding = {
  severity: 'problem',
  code: 'DR-NETWORK-MISSING',
  about: 'network',
  name: 'Tokyo LAN',
  what: 'There is no network Tokyo LAN at site tokyo',
  evidence: ['its networks are Tokyo Database'],
  vms: ['app-01'],
  next: 'Create it, or map Production LAN to another network in sites.yaml.',
};
const warning: Finding = {
  ...blocking,
  severity: 'warning',
  code: 'DR-ISO-ABSENT',
  what: 'A disc is missing',
};

/** What a person sees: the command, both streams, the exit code. */
function transcript(words: readonly string[], called: Called): string {
  const shown = words.map((word) => (/[\s"]/.test(word) ? JSON.stringify(word) : word));
  return `$ lifeboat ${shown.join(' ')}\n${called.out}${called.err === '' ? '' : `[stderr]\n${called.err}`}[exit code ${called.code}]\n`;
}

async function script(
  test: Pick<typeof t, 'equal'>,
  name: string,
  words: readonly string[],
  world: World = {},
  typed: Typed = {},
): Promise<Called> {
  const called = await call(words, world, typed);
  golden(test, `cases/${name}.txt`, import.meta.url, transcript(words, called));
  return called;
}

t.test('help teaches', async (t) => {
  const topics = [
    [],
    ['validate'],
    ['status'],
    ['check'],
    ['export'],
    ['plan'],
    ['plan', 'failover'],
    ['failover'],
    ['run'],
    ['run', 'resume'],
    ['catalog'],
    ['catalog', 'extract'],
    ['secret'],
  ];
  let text = '';
  for (const topic of topics) {
    const words = [...topic, '--help'];
    const called = await call(words);
    t.equal(called.code, 0);
    text += `${transcript(words, called)}\n`;
  }
  golden(t, 'cases/help.txt', import.meta.url, text);
  for (const topic of [[], ['failover'], ['run', 'retry']]) {
    const called = await call(['help', ...topic]);
    t.equal(called.code, 0);
    t.equal(called.out, (await call([...topic, '--help'])).out, 'help VERB is VERB --help');
  }
});

t.test('a slip of the fingers is told with what was meant, exit code 2', async (t) => {
  let text = '';
  for (const words of [
    ['statsu'],
    ['failover'],
    ['export', '--prevew'],
    ['run', 'lsit'],
    ['catalog', 'extract', 'p'],
    [],
  ]) {
    const called = await call(words);
    t.equal(called.code, 2, words.join(' '));
    t.equal(called.asked.length, 0, 'nothing was opened');
    if (words.length > 0) text += `${transcript(words, called)}\n`;
  }
  golden(t, 'cases/slips.txt', import.meta.url, text);
  t.match(await call(['--version']), { code: 0, out: '0.1.0\n' });
  for (const words of [
    ['statsu', '--json'],
    ['--json', 'run', 'show'],
  ]) {
    const called = await call(words);
    t.equal(called.code, 2);
    t.equal(called.err, '');
    t.match(JSON.parse(called.out), {
      error: { exitCode: 2, problems: [{ code: 'DR-USAGE', what: String }] },
    });
  }
});

t.test('failover: the plan, one typed confirmation, the run, the report', async (t) => {
  const called = await script(t, 'failover', ['failover', 'shop'], {}, { answers: ['tokyo'] });
  t.equal(called.code, 0);
  t.match(called.asked, [
    'open sites.yaml',
    'plan {"operation":"failover","group":"shop","pointId":null,"decisions":[]}',
    'run failover by night-shift',
    'close',
  ]);
});

t.test('without the right name nothing happens', async (t) => {
  const cases: [string, readonly string[], Typed, number, RegExp][] = [
    ['the wrong name is typed', [], { answers: ['osaka'] }, 2, /osaka was typed, and the site is tokyo/i],
    ['nothing is typed', [], { answers: [''] }, 2, /DR-CONFIRM-WRONG/],
    ['Ctrl-C at the question', [], { answers: [null] }, 130, /It was not confirmed/],
    ['nobody is there', [], {}, 2, /nobody is here to confirm.*--yes tokyo/is],
    ['the wrong name in a script', ['--yes', 'osaka'], {}, 2, /--yes says osaka/],
    ['JSON without --yes', ['--json'], { answers: ['tokyo'] }, 2, /^/],
  ];
  for (const [what, words, typed, code, message] of cases) {
    const called = await call(['failover', 'shop', ...words], {}, typed);
    t.equal(called.code, code, what);
    t.match(called.err, message, what);
    t.notOk(
      called.asked.some((each) => each.startsWith('run ')),
      `${what}: nothing ran`,
    );
  }
  const scripted = await call(['failover', 'shop', '--yes', 'tokyo']);
  t.equal(scripted.code, 0);
  t.ok(scripted.asked.includes('run failover by night-shift'));
});

t.test('decisions carry name and reason', async (t) => {
  const words = [
    'failover',
    'shop',
    '--yes',
    'tokyo',
    '--declare-lost',
    'fire',
    '--accept-loss',
    ' told the owner ',
    '--by',
    'Akira',
    '--point',
    'p1',
  ];
  const called = await call(words);
  t.match(
    called.asked[1],
    'plan {"operation":"failover","group":"shop","pointId":"p1","decisions":[{"decision":"declare-lost","by":"Akira","reason":"fire"},{"decision":"accept-loss","by":"Akira","reason":"told the owner"}]}',
  );
  t.ok(called.asked.includes('run failover by Akira'));
  const known = await call(['plan', 'failover', '--override', 'DR-NETWORK-MTU=told them', 'shop']);
  t.match(
    known.asked[1],
    '"decisions":[{"decision":"override DR-NETWORK-MTU","by":"night-shift","reason":"told them"}]',
  );
  t.match(await call(['failover', 'shop', '--override', 'DR-X']), { code: 2, err: /DR-DECISION-OVERRIDE/ });
  const empty = await call(['failover', 'shop', '--declare-lost', ' ']);
  t.equal(empty.code, 2);
  t.match(empty.err, /has no reason.*DR-DECISION-REASON/s);
});

t.test('problems block: shown, exit code 10, nothing asked and nothing run', async (t) => {
  const called = await script(t, 'failover-blocked', ['failover', 'shop', '--yes', 'tokyo'], {
    findings: [blocking, warning],
  });
  t.equal(called.code, 10);
  t.notOk(called.asked.some((each) => each.startsWith('run ')));
  t.equal((await call(['plan', 'failover', 'shop'], { findings: [blocking] })).code, 10);
  t.equal((await call(['plan', 'failover', 'shop'], { findings: [warning] })).code, 3);
  t.equal((await call(['plan', 'failover', 'shop'])).code, 0);
  t.equal((await call(['check'], { findings: [blocking] })).code, 10);
  t.equal((await call(['check'], { findings: [warning] })).code, 3);
  t.equal((await call(['check'])).code, 0);
  t.equal((await call(['export'], { findings: [blocking] })).code, 10);
});

t.test('the exit code of a run is the exit code of the call', async (t) => {
  const ends = [
    ['done', 0],
    ['done-with-warnings', 3],
    ['failed', 1],
    ['stuck', 12],
  ] as const;
  for (const [outcome, exitCode] of ends) {
    const called = await call(['export', 'shop'], { story: { end: { outcome, exitCode, summary: 'x' } } });
    t.equal(called.code, exitCode, outcome);
  }
  t.equal(worst([0, 3, 10, 1]), 1);
  t.equal(worst([3, 12, 1]), 12);
  t.equal(worst([]), 0);
});

t.test('Ctrl-C stops the run, which can be resumed: exit code 130', async (t) => {
  const called = await call(['failover', 'shop', '--yes', 'tokyo'], { duringRun: interruptHere });
  t.equal(called.code, exitCodes.stopped);
  t.match(called.err, /Stopping\./);
  t.match(called.out, /Go on: lifeboat run resume run-0042/);
});

t.test('errors are sentences, without a stack', async (t) => {
  const wrongPassword = new PortError('auth', {
    code: 'DR-POOL-PASSWORD',
    what: 'Pool tokyo-pool does not accept user root',
    where: { site: 'tokyo' },
    known: ['the password came from environment variable TOKYO'],
    next: 'Set the right password.',
  });
  const misconfigured = new OperatorError(
    [
      {
        code: 'DR-CONFIG-KEY-UNKNOWN',
        what: "unknown key 'rpoo' in groups.shop; did you mean rpo?",
        where: { file: 'sites.yaml', line: 25, column: 5 },
        next: 'write rpo, or remove the key',
      },
      {
        code: 'DR-CONFIG-MISSING',
        what: 'catalog has no encryption',
        where: { file: 'sites.yaml', line: 38, column: 1 },
        next: 'write encryption: with its value',
      },
    ],
    { exitCode: exitCodes.usage },
  );
  let text = '';
  for (const [words, world, code] of [
    [['status'], { broken: wrongPassword }, 1],
    [['status'], { misconfigured }, 2],
    [['validate'], { misconfigured }, 2],
    [['export'], { broken: lockHeld }, 11],
    [['status'], { broken: new TypeError('cannot read properties of undefined') }, 1],
  ] as const) {
    const called = await call(words, world);
    t.equal(called.code, code, words.join(' '));
    t.notMatch(called.err, /\n\s+at /, 'no stack');
    text += `${transcript(words, called)}\n`;
  }
  golden(t, 'cases/errors.txt', import.meta.url, text);
  const debug = await call(
    ['status'],
    { broken: new TypeError('oops', { cause: new Error('because') }) },
    { env: { LIFEBOAT_DEBUG: '1' } },
  );
  t.match(debug.err, /\n\s+at .*caused by Error: because/s);
  const json = await call(['status', '--json'], { broken: wrongPassword });
  t.match(JSON.parse(json.out), { error: { exitCode: 1, problems: [{ code: 'DR-POOL-PASSWORD' }] } });
  t.equal(json.err, '');
});

t.test('--json prints one document per line, wherever the flag stands', async (t) => {
  const lines = (called: Called): Record<string, unknown>[] =>
    called.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
  const failover = lines(await call(['failover', 'shop', '--yes', 'tokyo', '--json']));
  t.match(failover[0], {
    plan: { operation: 'failover' },
    digest: /^[0-9a-f]{64}$/,
    confirm: { site: 'tokyo' },
  });
  t.match(failover[1], { event: 'RunStarted' });
  t.match(failover.at(-1), { run: { outcome: 'done', facts: { vms: Array } } });
  for (const words of [
    ['--json', 'status'],
    ['check', '--json'],
    ['export', '--preview', '--json'],
    ['plan', 'export', 'shop', '--json'],
    ['run', 'list', '--json'],
    ['run', 'show', 'latest', '--json'],
    ['catalog', 'list', '--json'],
    ['catalog', 'show', 'shop/latest', '--json'],
    ['catalog', 'verify', '--json'],
    ['catalog', 'prune', '--json'],
    ['secret', 'list', '--json'],
    ['validate', '--json'],
  ]) {
    const called = await call(words);
    t.equal(called.out.trimEnd().split('\n').length, 1, words.join(' '));
    t.doesNotThrow(() => lines(called), words.join(' '));
  }
});

t.test('verbs that only look', async (t) => {
  await script(t, 'validate', ['validate']);
  await script(t, 'preview', ['export', 'shop', '--preview']);
  await script(t, 'run-list', ['run', 'list']);
  const shown = await call(['run', 'show', 'latest']);
  t.equal(shown.code, 130);
  t.match(shown.out, /Journal: \.lifeboat\/runs\/run-0042\.jsonl/);
  t.match((await call(['run', 'list', 'shop'])).asked, ['open sites.yaml', 'runs of shop']);
  t.match((await call(['-c', 'other.yaml', 'status', 'shop'])).asked, ['open other.yaml', 'status shop']);
});

t.test('stuck steps are answered with a reason', async (t) => {
  const resumed = await call([
    'run',
    'resume',
    'latest',
    '--retry',
    'promote-tier1-copy',
    '--skip',
    'start-web-01',
    '--reason',
    'seen it',
  ]);
  t.equal(resumed.code, 0);
  t.ok(
    resumed.asked.includes(
      'resume run-0042 by night-shift [{"step":"promote-tier1-copy","answer":"retry","reason":"seen it"},{"step":"start-web-01","answer":"skip","reason":"seen it"}]',
    ),
    resumed.asked.join('\n'),
  );
  const verbs = [
    ['retry', 'promote-tier1-copy'],
    ['skip', 'start-web-01'],
  ];
  for (const [answer = '', step = ''] of verbs) {
    const answered = await call(['run', answer, 'latest', step, '--reason', 'seen it', '--by', 'Akira']);
    t.equal(answered.code, 0);
    const given = `resume run-0042 by Akira [{"step":"${step}","answer":"${answer}","reason":"seen it"}]`;
    t.ok(answered.asked.includes(given), answered.asked.join('\n'));
    t.match(await call(['run', answer, 'latest', step]), { code: 2, err: /--reason/ });
  }
  t.match(await call(['run', 'resume', 'latest', '--skip', 'start-web-01']), {
    code: 2,
    err: /needs its reason/,
  });
  t.match(await call(['run', 'resume', 'latest', '--skip', 'nope', '--reason', 'x']), {
    code: 2,
    err: /DR-RUN-STEP/,
  });
  t.match(await call(['run', 'abandon', 'latest']), { code: 2, err: /--reason/ });
  t.match((await call(['run', 'abandon', 'run-0042', '--reason', 'no use'])).asked, [
    'open sites.yaml',
    'abandon run-0042 by night-shift: no use',
  ]);
});

t.test('reports go to files by their names', async (t) => {
  t.match((await call(['run', 'report', 'latest', 'r.html'])).files.get('r.html'), /^<!doctype html>/);
  t.match(JSON.parse((await call(['run', 'report', 'latest', 'r.json'])).files.get('r.json') ?? ''), {
    id: 'run-0042',
  });
  t.match(
    (await call(['run', 'report', 'latest', 'r.txt'])).files.get('r.txt'),
    /^Failover of group shop: stopped/,
  );
  t.match((await call(['run', 'report', 'latest'])).out, /^Failover of group shop: stopped/);
});

t.test('the catalog: shown without secrets, extracted to files that are never overwritten', async (t) => {
  const shown = await call(['catalog', 'show', 'shop/latest', '--json']);
  t.notMatch(shown.out, 'open-sesame');
  t.ok(shown.asked.includes('list shop'));
  const extracted = await call(['catalog', 'extract', 'shop/latest', 'db-01', 'web-02', '--to', 'out']);
  t.same([...extracted.files.values()], ['a document', 'a document']);
  t.match([...extracted.files.keys()][0], /^out\/db-01-0000.*\.xva$/);
  t.match(await call(['catalog', 'extract', 'p', 'db-1', '--to', 'out']), {
    code: 2,
    err: /did you mean db-01\?.*DR-VM-UNKNOWN/s,
  });
  t.match(await call(['catalog', 'extract', 'p', '--to', 'out', '--database', 'db-01']), {
    code: 1,
    err: /DR-EXTRACT-DATABASE/,
  });
  t.match(await call(['catalog', 'extract', 'p', 'db-01', 'db-01', '--to', 'out']), {
    code: 1,
    err: /Cannot write.*Name another place/s,
  });
  t.match(await call(['catalog', 'list', 'shpo']), {
    code: 2,
    err: /did you mean shop\?.*DR-GROUP-UNKNOWN/s,
  });
  t.ok((await call(['catalog', 'prune', '--dry-run'])).asked.includes('prune shop last 10, only say'));
  t.ok((await call(['catalog', 'verify', 'shop', '--point', 'x'])).asked.includes('verify shop x'));
  const damaged = { points: [], damaged: [{ id: 'x', target: 'here', reason: 'torn' }], targets: [] };
  t.equal((await call(['catalog', 'list'], { listing: damaged })).code, 3);
});

t.test('secrets are typed unseen or piped, never arguments', async (t) => {
  const secrets = new Map<string, string>();
  t.equal((await call(['secret', 'set', 'osaka'], { secrets }, { piped: 'pass word\n' })).code, 0);
  t.equal(secrets.get('osaka'), 'pass word');
  const typed = await call(['secret', 'set', 'osaka'], { secrets }, { answers: ['new', 'new'] });
  t.equal(secrets.get('osaka'), 'new');
  t.equal(typed.secretsTyped.length, 2);
  t.notMatch(typed.out + typed.err, /\bnew\b/);
  t.match(await call(['secret', 'set', 'osaka'], { secrets }, { answers: ['a', 'b'] }), {
    code: 2,
    err: /not the same/,
  });
  t.match(await call(['secret', 'set', 'osaka'], { secrets }, { piped: '' }), {
    code: 2,
    err: /would be empty/,
  });
  t.equal(secrets.get('osaka'), 'new');
  t.equal(
    (await call(['secret', 'set', 'osaka', 'value'], { secrets })).code,
    2,
    'a value as an argument is refused',
  );
  t.match(await call(['secret', 'rm', 'osak'], { secrets }), { code: 2, err: /did you mean osaka\?/ });
  t.match(await call(['secret', 'rm', 'osaka'], { secrets }), { code: 0 });
  t.equal(secrets.size, 0);
});

t.test('the lab gets its words as typed', async (t) => {
  t.same((await call(['lab', 'up', '--name', 'x', '--json'])).asked, ['lab up --name x as JSON']);
  t.same((await call(['--json', 'lab', '--help'])).asked, ['lab --help as JSON']);
  t.same((await call(['-c', 'lab', 'status'])).asked[0], 'open lab', 'a file named lab is not the verb');
  t.same((await call(['status', 'lab'])).asked[1], 'status lab');
});

t.test('on a terminal the run is drawn over itself and the cursor comes back', async (t) => {
  const called = await call(['failover', 'shop', '--yes', 'tokyo'], {}, { screen: true });
  t.equal(called.code, 0);
  t.ok(called.out.includes('\u001b[?25l'));
  t.ok(called.out.lastIndexOf('\u001b[?25h') > called.out.lastIndexOf('\u001b[?25l'));
  t.notMatch(called.out, /^\d\d:\d\d:\d\d {2}start/m, 'no plain lines beside it');
  t.match(called.out, '\u001b[1m');
  const grey = await call(['status'], {}, { screen: true, env: { NO_COLOR: '1' } });
  t.notMatch(grey.out, '\u001b[1m');
});

t.test('every error code has its heading in the runbooks, and no heading is left over', (t) => {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const collect = (pattern: string, expression: RegExp): string[] => [
    ...new Set(
      globSync(pattern, { cwd: root }).flatMap((file) =>
        [...readFileSync(`${root}${file}`, 'utf8').matchAll(expression)].map((match) => match[1] ?? ''),
      ),
    ),
  ];
  const codes = collect('src/**/*.ts', /\b(DR-[A-Z0-9]+(?:-[A-Z0-9]+)*)\b(?!-\$\{)/g);
  // Some codes are put together: `DR-ARRAY-` and the kind of the failure.
  const families = collect('src/**/*.ts', /\b(DR-[A-Z0-9]+(?:-[A-Z0-9]+)*-)\$\{/g);
  const headings = collect('runbooks/*.md', /^## (DR-[A-Z0-9-]+)$/gm);
  // Help texts write DR-CODE where any code may stand.
  const missing = codes.filter((code) => code !== 'DR-CODE' && !headings.includes(code)).sort();
  t.same(missing, [], 'add a heading to a file under runbooks/: what one sees, what it means, what to do');
  const left = headings.filter(
    (code) => !codes.includes(code) && !families.some((each) => code.startsWith(each)),
  );
  t.same(left.sort(), []);
  t.ok(codes.length > 100);
  t.end();
});
