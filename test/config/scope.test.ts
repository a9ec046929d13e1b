import fc from 'fast-check';
import t from 'tap';
import { globExpression, globProblem, patternExpression, patternProblem } from '../../src/domain/glob.ts';
import type { PoolFacts, VdiFacts, VmFacts } from '../../src/domain/pool.ts';
import {
  assignToTiers,
  judgeScope,
  type Matchable,
  matchableVms,
  matchesScope,
  nothing,
  previewScope,
} from '../../src/domain/scope.ts';
import type { ScopeMatch } from '../../src/domain/settings.ts';
import { vbdFacts, vmFacts } from '../support/facts.ts';

const vm = (nameLabel: string, more: Partial<Matchable> = {}): Matchable => ({
  uuid: `uuid-${nameLabel}`,
  nameLabel,
  tags: [],
  folder: null,
  srUuids: [],
  ...more,
});
const match = (more: Partial<ScopeMatch>): ScopeMatch => ({ ...nothing, ...more });

t.test('globs match whole names', (t) => {
  const cases: [string, string[], string[]][] = [
    ['web-*', ['web-', 'web-01', 'web-a b'], ['Web-01', 'xweb-01', 'web']],
    ['db-0?', ['db-01', 'db-0x'], ['db-0', 'db-012']],
    ['db-[1-3]', ['db-1', 'db-3'], ['db-4', 'db-']],
    ['db-[!1-3]', ['db-4', 'db-x'], ['db-1']],
    ['[]x]', [']', 'x'], ['[]x]']],
    ['{web,app{1,2}}-*', ['web-1', 'app1-x', 'app2-'], ['app-1', 'app3-']],
    ['a.b+(c)', ['a.b+(c)'], ['axb+(c)']],
    ['50\\% \\*', ['50% *'], ['50% x']],
    ['**x', ['x', 'aax'], ['xa']],
    ['one*two', ['one\ntwo'], ['one']],
    ['café-?', ['café-😀'], []],
    ['[a-]', ['a', '-'], ['b']],
    ['a,b', ['a,b'], ['a', 'b']],
  ];
  for (const [glob, yes, no] of cases) {
    const expression = globExpression(glob);
    for (const name of yes) t.ok(expression.test(name), `${glob} takes ${JSON.stringify(name)}`);
    for (const name of no) t.notOk(expression.test(name), `${glob} leaves ${JSON.stringify(name)}`);
  }
  t.match(globProblem('web-['), 'never closed');
  t.match(globProblem('{a,b'), 'never closed');
  t.match(globProblem('[z-a]'), 'backwards');
  t.match(globProblem('a\\'), 'nothing follows');
  t.match(globProblem(''), 'matches nothing');
  t.equal(globProblem('web-*'), null);
  t.end();
});

t.test('a glob with stars and question marks means what a slow matcher says', (t) => {
  const slow = (glob: string, name: string): boolean => {
    if (glob === '') return name === '';
    const [first, rest] = [glob.charAt(0), glob.slice(1)];
    if (first === '*') return slow(rest, name) || (name !== '' && slow(glob, name.slice(1)));
    return name !== '' && (first === '?' || first === name.charAt(0)) && slow(rest, name.slice(1));
  };
  const letters = (alphabet: string, minLength: number) =>
    fc.array(fc.constantFrom(...alphabet), { minLength, maxLength: 8 }).map((list) => list.join(''));
  fc.assert(
    fc.property(letters('ab.-$^+|()*?', 1), letters('ab.-$^+|()', 0), (glob, name) => {
      t.equal(globExpression(glob).test(name), slow(glob, name), `${glob} against ${name}`);
    }),
  );
  t.end();
});

t.test('a name with its special characters escaped matches itself and nothing else', (t) => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), fc.string(), (name, other) => {
      const expression = globExpression(name.replace(/[\\*?[\]{},]/g, '\\$&'));
      t.ok(expression.test(name));
      t.equal(expression.test(other), other === name);
    }),
  );
  t.end();
});

t.test('patterns are anchored at both ends, alternatives too', (t) => {
  const expression = patternExpression('web-\\d+|db-\\d+');
  t.ok(expression.test('web-1'));
  t.ok(expression.test('db-22'));
  t.notOk(expression.test('web-1x'));
  t.notOk(expression.test('xdb-2'));
  t.type(patternProblem('a)(b'), 'string', 'the wrapping must not repair it');
  t.type(patternProblem('[a'), 'string');
  t.equal(patternProblem('a.*'), null);
  t.end();
});

t.test('each kind of rule finds its VMs and is named in the verdict', (t) => {
  const srs = [
    { uuid: 'sr-1', nameLabel: 'Shop data' },
    { uuid: 'sr-2', nameLabel: 'Other' },
  ];
  const vms = [
    vm('web-1'),
    vm('tagged', { tags: ['shop'] }),
    vm('filed', { folder: '/Shop/Front' }),
    vm('nearly', { folder: '/Shopping' }),
    vm('stored', { srUuids: ['sr-1'] }),
    vm('elsewhere', { srUuids: ['sr-2'] }),
    vm('exact'),
    vm('web-old'),
  ];
  const verdicts = judgeScope(vms, srs, {
    include: {
      names: ['web-*'],
      patterns: [],
      tags: ['shop'],
      folders: ['/Shop/'],
      srs: ['Shop data'],
      uuids: ['UUID-exact'.toLowerCase()],
    },
    exclude: match({ patterns: ['.*-old'] }),
  });
  t.same(
    verdicts.map((v) => [v.vm.nameLabel, v.included, v.includedBy?.kind ?? null, v.excludedBy?.kind ?? null]),
    [
      ['web-1', true, 'name', null],
      ['tagged', true, 'tag', null],
      ['filed', true, 'folder', null],
      ['nearly', false, null, null],
      ['stored', true, 'sr', null],
      ['elsewhere', false, null, null],
      ['exact', true, 'uuid', null],
      ['web-old', false, 'name', 'pattern'],
    ],
  );
  t.end();
});

const anyVm = fc
  .record({
    uuid: fc.uuid(),
    nameLabel: fc.constantFrom('web-1', 'web-2', 'app-1', 'db-1', 'db-old', 'x'),
    tags: fc.subarray(['shop', 'test']),
    folder: fc.constantFrom(null, '/a', '/a/b', '/c'),
    srUuids: fc.subarray(['sr-1', 'sr-2']),
  })
  .map((value): Matchable => value);
const anyMatch = fc
  .record({
    names: fc.subarray(['web-*', 'db-?', '*', '{app,db}-1']),
    patterns: fc.subarray(['web-\\d', '.*-old']),
    tags: fc.subarray(['shop', 'test']),
    folders: fc.subarray(['/a', '/c/']),
    srs: fc.subarray(['sr-1', 'Two']),
    uuids: fc.constant([] as string[]),
  })
  .map((value): ScopeMatch => value);
const srs = [
  { uuid: 'sr-1', nameLabel: 'One' },
  { uuid: 'sr-2', nameLabel: 'Two' },
];

t.test('excludes win, and more excludes never take a VM in', (t) => {
  fc.assert(
    fc.property(fc.array(anyVm), anyMatch, anyMatch, (vms, include, exclude) => {
      const open = judgeScope(vms, srs, { include, exclude: nothing });
      const strict = judgeScope(vms, srs, { include, exclude });
      const excluded = judgeScope(vms, srs, { include: exclude, exclude: nothing });
      for (const [index, verdict] of strict.entries()) {
        t.equal(verdict.included, open[index]?.included === true && excluded[index]?.included === false);
        t.equal(verdict.included, verdict.includedBy !== null && verdict.excludedBy === null);
      }
    }),
  );
  t.end();
});

t.test('every VM is in exactly one tier or among the others, in its first tier', (t) => {
  fc.assert(
    fc.property(fc.uniqueArray(anyVm, { selector: (v) => v.uuid }), fc.array(anyMatch), (vms, matches) => {
      const result = assignToTiers(
        vms,
        matches.map((each) => ({ vms: each })),
        srs,
      );
      const placed = [...result.tiers.flat(), ...result.others];
      t.equal(placed.length, vms.length);
      t.equal(new Set(placed).size, vms.length);
      for (const [index, tier] of result.tiers.entries()) {
        const earlier = matches.slice(0, index);
        for (const each of tier) {
          t.notOk(
            earlier.some((m) => judgeScope([each], srs, { include: m, exclude: nothing })[0]?.included),
          );
        }
      }
    }),
  );
  t.end();
});

const seen = (nameLabel: string, more: Partial<VmFacts> = {}): VmFacts =>
  vmFacts({ uuid: `uuid-${nameLabel}`, nameLabel, ...more });
const vbd = (vdiUuid: string, type: 'Disk' | 'CD'): VmFacts['vbds'][number] => ({
  ...vbdFacts(`vbd-${vdiUuid}`, vdiUuid),
  type,
});
const vdi = (uuid: string, srUuid: string): VdiFacts => ({
  uuid,
  srUuid,
  location: uuid,
  nameLabel: uuid,
  nameDescription: '',
  type: 'user',
  virtualSize: 1,
  managed: true,
  missing: false,
  isASnapshot: false,
  snapshotOf: null,
  readOnly: false,
  smConfig: {},
  otherConfig: {},
});
const pool: Pick<PoolFacts, 'vms' | 'vdis' | 'srs' | 'nameLabel' | 'observedAt'> = {
  nameLabel: 'lab',
  observedAt: '2026-01-31T02:30:05.000Z',
  srs: [],
  vdis: [vdi('disk', 'sr-1'), vdi('disc', 'sr-iso')],
  vms: [
    seen('web-1', { vbds: [vbd('disk', 'Disk'), vbd('disc', 'CD')], otherConfig: { folder: '/Shop' } }),
    seen('web-snap', { isSnapshot: true, isTemplate: true }),
    seen('template', { isTemplate: true }),
    seen('app-1', { tags: ['shop'] }),
    seen('lonely'),
  ],
};

t.test('snapshots and templates are no VMs, and an inserted disc is no disk', (t) => {
  const vms = matchableVms(pool);
  t.same(
    vms.map((v) => v.nameLabel),
    ['app-1', 'lonely', 'web-1'],
  );
  t.same(vms[2]?.srUuids, ['sr-1']);
  t.equal(vms[2]?.folder, '/Shop');
  t.end();
});

t.test('the preview tells who is out, who shares, who has no protection, and which rules are idle', (t) => {
  const group = (name: string, include: ScopeMatch, exclude = nothing, production = 'osaka') => ({
    name,
    production,
    scope: { include, exclude },
  });
  const groups = [
    group('shop', match({ names: ['web-*', 'wbe-*'] }), match({ tags: ['never'] })),
    group('apps', match({ tags: ['shop'], names: ['web-1'] })),
    group('elsewhere', match({ names: ['*'] }), nothing, 'lyon'),
  ];
  const preview = previewScope(pool, groups, 'shop');
  t.same(
    preview.in.map((v) => [v.vm.nameLabel, v.includedBy]),
    [['web-1', { kind: 'name', text: 'web-*' }]],
  );
  t.same(
    preview.out.map((v) => [v.vm.nameLabel, v.protectedBy]),
    [
      ['app-1', ['apps']],
      ['lonely', []],
    ],
  );
  t.same(
    preview.unprotected.map((v) => v.nameLabel),
    ['lonely'],
    'a group of another site protects nothing here',
  );
  t.same(
    preview.shared.map((s) => [s.vm.nameLabel, s.groups]),
    [['web-1', ['shop', 'apps']]],
  );
  t.same(
    preview.idleRules.map((r) => [r.side, r.rule.text]),
    [
      ['include', 'wbe-*'],
      ['exclude', 'never'],
    ],
  );
  t.throws(() => previewScope(pool, groups, 'nope'), /no group nope/);
  t.end();
});

t.test('one VM against one match says what the compiled match says', (t) => {
  fc.assert(
    fc.property(anyVm, anyMatch, (each, rules) => {
      const srNames = srs.filter((sr) => each.srUuids.includes(sr.uuid)).map((sr) => sr.nameLabel);
      t.equal(
        matchesScope(rules, { ...each, srNames }),
        judgeScope([each], srs, { include: rules, exclude: nothing })[0]?.included,
      );
    }),
  );
  t.end();
});
