/** The man page is what the program knows: `node tools/man.ts` writes it anew, and so does LIFEBOAT_GOLDEN=write here. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { commandTree } from '../../src/faces/cli/cli.ts';
import { commandNodes } from '../../src/faces/cli/completion/tree.ts';
import { manFile, manText } from '../../tools/man.ts';
import { golden } from '../report/golden.ts';

t.test('docs/lifeboat.1 is current', (t) => {
  golden(t, `../../${manFile}`, import.meta.url, manText());
  t.end();
});

t.test('it names every verb and every option', (t) => {
  const page = manText();
  for (const { path, options } of commandNodes(commandTree('0'))) {
    if (path !== '') t.ok(page.includes(`.SS "lifeboat ${path.replaceAll('-', '\\-')}"`), path);
    for (const { long } of options)
      if (!page.includes(`\\fB${long.replaceAll('-', '\\-')}\\fR`)) t.fail(`${path} ${long} is not named`);
  }
  t.notMatch(page, /^[.'](?!(?:\\"|B|I|RI|TP|TH|SH|SS|PP)\b|\\")/m, 'no line of text is taken for a request');
  t.end();
});

const troff = spawnSync('groff', ['--version']).error === undefined;

/** Bold is a letter over itself, underlined one over a line. */
const plain = (printed: string): string =>
  printed
    .split('\b')
    .map((part, at, all) => (at < all.length - 1 ? part.slice(0, -1) : part))
    .join('');

t.test('troff has no complaint', { skip: troff ? false : 'groff is not installed' }, (t) => {
  const { stderr, stdout, status } = spawnSync(
    'groff',
    ['-man', '-Tutf8', '-ww', join(import.meta.dirname, '../..', manFile)],
    { encoding: 'utf8' },
  );
  t.match({ status, stderr }, { status: 0, stderr: '' });
  t.match(plain(stdout), /lifeboat failover group\.\.\./);
  t.end();
});
