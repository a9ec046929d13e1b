import { appendFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { JournalFiles } from '../../src/adapters/journal/journal-files.ts';
import { OperatorError } from '../../src/domain/errors.ts';
import type { RunEvent } from '../../src/domain/run.ts';

const at = '2026-01-31T02:30:05.000Z';
const decision = (reason: string): RunEvent => ({ event: 'Decision', at, by: 'Ada', decision: 'x', reason });

async function written(t: { testdir(): string }, events: readonly RunEvent[]) {
  const directory = join(t.testdir(), 'runs');
  const journals = new JournalFiles(directory);
  const journal = await journals.create('r1');
  for (const event of events) await journal.append(event);
  await journal.close();
  return { journals, path: journals.pathOf('r1'), directory };
}

t.test('what was appended is read again, and a person can read it too', async (t) => {
  const events = [decision('one'), decision('zwei: "ü"\nline'), decision('three')];
  const { journals, path, directory } = await written(t, events);
  t.same(await journals.read('r1'), events);
  t.same(await journals.list(), ['r1']);
  t.match(readFileSync(path, 'utf8'), /^\{"at":"2026-01-31T02:30:05\.000Z","event":"Decision","seq":1,/);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(statSync(directory).mode & 0o777, 0o700);
});

t.test('appends that overlap keep their order, and an opened journal goes on with the chain', async (t) => {
  const { journals } = await written(t, [decision('0')]);
  const { journal } = await journals.open('r1');
  await Promise.all(['1', '2', '3'].map((reason) => journal.append(decision(reason))));
  await journal.close();
  const reasons = (await journals.read('r1')).map((event) =>
    event.event === 'Decision' ? event.reason : '',
  );
  t.same(reasons, ['0', '1', '2', '3']);
});

t.test('a line that a crash tore is cut off and told, wherever it was torn', async (t) => {
  const events = [decision('one'), decision('two')];
  const { journals, path } = await written(t, events);
  const whole = readFileSync(path);
  const firstLine = whole.indexOf(0x0a) + 1;
  for (const cut of [firstLine + 1, firstLine + 40, whole.length - 1]) {
    writeFileSync(path, whole);
    truncateSync(path, cut);
    t.same(await journals.read('r1'), [events[0]], 'reading changes nothing');
    t.equal(statSync(path).size, cut);
    const { journal, events: kept, torn } = await journals.open('r1');
    t.same([kept, torn], [[events[0]], true]);
    await journal.append(decision('after'));
    await journal.close();
    t.same(await journals.read('r1'), [events[0], decision('after')]);
  }
  writeFileSync(path, whole);
  appendFileSync(path, Buffer.alloc(64));
  t.equal((await journals.open('r1')).torn, true, 'blocks of zeros after a power cut are a torn line');
});

t.test('every flipped bit, missing and swapped line is found and named with its line', async (t) => {
  const { journals, path } = await written(t, ['one', 'two', 'three'].map(decision));
  const whole = readFileSync(path);
  const lines = whole.toString('utf8').split('\n').filter(Boolean);
  const complains = async (line: number): Promise<void> => {
    const error = await journals.open('r1').then(
      () => null,
      (thrown: unknown) => thrown,
    );
    t.ok(error instanceof OperatorError);
    t.match(error, { code: 'DR-JOURNAL-BROKEN', problems: [{ where: { file: path, line } }] });
  };
  writeFileSync(path, `${[lines[1], lines[2]].join('\n')}\n`);
  await complains(1);
  writeFileSync(path, `${[lines[0], lines[2]].join('\n')}\n`);
  await complains(2);
  writeFileSync(path, `${[lines[0], lines[2], lines[1]].join('\n')}\n`);
  await complains(2);
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 2), fc.nat(7), async (index, bit) => {
      const damaged = Buffer.from(whole);
      damaged[index] = (damaged[index] ?? 0) ^ (1 << bit);
      writeFileSync(path, damaged);
      await t.rejects(journals.read('r1'), { code: 'DR-JOURNAL-BROKEN' });
    }),
    { numRuns: 100 },
  );
});

t.test('runs that are not there, or whose names are paths, are refused in a sentence', async (t) => {
  const journals = new JournalFiles(join(t.testdir(), 'runs'));
  t.same(await journals.list(), []);
  await t.rejects(journals.read('r9'), { code: 'DR-RUN-UNKNOWN' });
  t.throws(() => journals.pathOf('../r1'), { code: 'DR-RUN-ID' });
});

t.test('two runs never share a journal', async (t) => {
  const { journals } = await written(t, []);
  await t.rejects(journals.create('r1'), { code: 'DR-JOURNAL-IO' });
});
