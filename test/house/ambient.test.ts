/** Rules of the house that no linter knows. Each is tried on a line that breaks it, so that none of them sleeps. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import t from 'tap';

const root = join(import.meta.dirname, '../..');

interface Rule {
  readonly says: string;
  readonly breaks: RegExp;
  /** Lines that the rule must catch. */
  readonly caught: readonly string[];
  readonly appliesTo: (file: string) => boolean;
}

const hasTheClock = (file: string): boolean => /^src\/(adapters|lab)\/|^src\/main\.ts$/.test(file);

const rules: readonly Rule[] = [
  {
    says: 'time and randomness come through the ports Clock and Entropy',
    // Calls and bare mentions alike: `now: Date.now` is as ambient as `Date.now()`.
    breaks:
      /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bset(?:Timeout|Interval|Immediate)\(|\bperformance\.now\b|\brandom(?:UUID|Bytes|Int)\(|\bprocess\.hrtime\b/,
    caught: [
      'const t = Date.now();',
      'new Date()',
      'Math.random() < 1',
      'setTimeout(f, 1)',
      'setInterval(f, 1)',
    ],
    appliesTo: (file) => file.startsWith('src/') && !hasTheClock(file),
  },
  {
    says: 'invariant 11: no call that can wipe storage exists in the product',
    breaks: /\bSR\.(?:create|destroy)\b/,
    caught: ["call('SR.destroy', ref)", "call('SR.create', host)"],
    appliesTo: (file) => file.startsWith('src/') && !file.startsWith('src/lab/'),
  },
  {
    says: 'invariant 11: disks are removed in one place, which reads the mark of what Lifeboat made first',
    breaks: /\bVDI\.destroy\b/,
    caught: ["call('VDI.destroy', vdi)"],
    appliesTo: (file) =>
      file.startsWith('src/') &&
      !file.startsWith('src/lab/') &&
      file !== 'src/adapters/xenapi/marked-disks.ts',
  },
  {
    says: 'what is left to do stands in the tracker, not in the code',
    breaks: /\b(?:TODO|FIXME|XXX|HACK)\b/,
    caught: ['// TODO later', '/* FIXME */'],
    appliesTo: () => true,
  },
  {
    says: 'the type checker and the linter are not talked out of what they see',
    breaks: /@ts-(?:ignore|expect-error|nocheck)|biome-ignore|eslint-disable/,
    caught: ['// @ts-ignore', '// biome-ignore lint: no'],
    appliesTo: () => true,
  },
  {
    says: 'a value whose type is not known is `unknown`',
    breaks: /(?:[:<|&,(]|\bas|=>)\s*any\b\s*(?:[;,)>\]|&=]|\[\]|$)/,
    caught: ['let x: any;', 'f(x as any)', 'Record<string, any>', 'const x: any[] = [];'],
    appliesTo: () => true,
  },
  {
    says: 'no test is left out or run alone by accident',
    breaks: /\.only\(|\bonly: true\b/,
    caught: ["t.only('this one', f)", "t.test('x', { only: true }, f)"],
    appliesTo: (file) => file.startsWith('test/'),
  },
];

function sources(directory: string): string[] {
  return readdirSync(join(root, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

/** Comments may speak of what code must not do; markers of unfinished work count wherever they stand. */
function codeOf(line: string): string {
  return /^\s*(?:\*|\/\*|\/\/)/.test(line) ? '' : line;
}

const self = relative(root, import.meta.filename);
const files = [...sources('src'), ...sources('test')].filter((file) => file !== self);

for (const rule of rules) {
  t.test(rule.says, (t) => {
    for (const line of rule.caught) t.match(line, rule.breaks, `catches ${line}`);
    const aboutComments = rule.caught.some((line) => codeOf(line) === '');
    const broken = files.filter(rule.appliesTo).flatMap((file) =>
      readFileSync(join(root, file), 'utf8')
        .split('\n')
        .flatMap((line, index) =>
          rule.breaks.test(aboutComments ? line : codeOf(line))
            ? [`${file}:${index + 1}: ${line.trim()}`]
            : [],
        ),
    );
    t.strictSame(broken, []);
    t.end();
  });
}
