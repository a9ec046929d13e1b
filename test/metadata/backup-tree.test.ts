/** What the files of a metadata backup mean: names, moments, and which dump belongs to which date. */
import fc from 'fast-check';
import t from 'tap';
import { databaseOf, momentOf, vmsOfSr, withNames } from '../../src/metadata/backup-tree.ts';
import { formatSrMeta, type NamedSr, parseSrMeta } from '../../src/metadata/srmeta.ts';

const first = '0f3c1d1e-0000-4000-8000-000000000001';
const second = '0f3c1d1e-0000-4000-8000-000000000002';
const one: NamedSr = { uuid: first, nameLabel: 'Süd & 東京 "1"', nameDescription: '<b>', vdis: [] };

const uuid = fc.uuid({ version: [4, 5] });
const sayable = fc
  .string({ unit: 'binary' })
  .map((text) => [...text.toWellFormed()].filter((sign) => isSayable(sign.codePointAt(0) ?? 0)).join(''));
const named = { uuid, nameLabel: sayable, nameDescription: sayable };
const srs = fc.array(fc.record({ ...named, vdis: fc.array(fc.record(named), { maxLength: 4 }) }), {
  maxLength: 4,
});

function isSayable(code: number): boolean {
  return (code >= 0x20 && code !== 0xfffe && code !== 0xffff) || [9, 10, 13].includes(code);
}

t.test('names that XML can hold come back as they were', (t) => {
  fc.assert(
    fc.property(srs, (given: readonly NamedSr[]) => {
      const text = formatSrMeta(given);
      if (text.includes('\n')) throw new Error('the script writes one line');
      return JSON.stringify(parseSrMeta(text)) === JSON.stringify(given);
    }),
  );
  const [sr] = parseSrMeta(formatSrMeta([{ ...one, nameLabel: 'a\u0000b\u0007' }]));
  t.equal(sr?.nameLabel, 'a\ufffdb\ufffd', 'what it cannot hold is told apart from nothing');
  t.end();
});

t.test('the file of a host is read; what is no such file is refused', (t) => {
  const written = `<meta><sr uuid="${first}" name_label="LUN &quot;7&quot;" name_description=""><vdi uuid="${second}" name_label="db" name_description="&#10;"/><vdi uuid="nobody" name_label="x"/></sr><sr name_label="no uuid"/></meta>`;
  t.same(parseSrMeta(written), [
    {
      uuid: first,
      nameLabel: 'LUN "7"',
      nameDescription: '',
      vdis: [{ uuid: second, nameLabel: 'db', nameDescription: '\n' }],
    },
  ]);
  for (const broken of [
    '',
    written.slice(0, -20),
    'no xml',
    `<!DOCTYPE meta [<!ENTITY a "aaaaaaaa">]><meta><sr uuid="${first}" name_label="&a;"/></meta>`,
  ])
    t.throws(() => parseSrMeta(broken), { code: 'DR-SRMETA-UNREADABLE' });
  t.end();
});

t.test('names are put where there are some, and nothing is taken away', (t) => {
  const item = (id: string, nameLabel: string) => ({ uuid: id, nameLabel, nameDescription: 'before' });
  const pool = { srs: [item(first, 'old')], vdis: [item(second, ''), item('other', 'kept')] };
  const renamed = withNames(pool as unknown as Parameters<typeof withNames>[0], [
    { ...one, vdis: [{ uuid: second, nameLabel: 'db', nameDescription: 'data' }] },
    { uuid: 'other', nameLabel: '', nameDescription: '', vdis: [] },
  ]);
  t.match(renamed.srs, [{ nameLabel: 'Süd & 東京 "1"', nameDescription: '<b>' }]);
  t.match(renamed.vdis, [
    { nameLabel: 'db', nameDescription: 'data' },
    { nameLabel: 'kept', nameDescription: 'before' },
  ]);
  t.end();
});

t.test('the moment of a date', (t) => {
  const name = '2026-01-31-02-30-05';
  const none = { name, writtenAt: null, provenance: null };
  t.same(momentOf(none), { at: '2026-01-31T02:30:05.000Z', by: 'name' });
  t.same(momentOf({ ...none, writtenAt: '2026-01-30T17:30:06.000Z' }), {
    at: '2026-01-30T17:30:06.000Z',
    by: 'file',
  });
  t.same(
    momentOf({ ...none, writtenAt: '1970-01-01T00:00:00.000Z' }),
    { at: '2026-01-31T02:30:05.000Z', by: 'name' },
    'no time zone explains that',
  );
  t.same(
    momentOf({
      ...none,
      writtenAt: '2026-01-31T02:30:09.000Z',
      provenance: { takenAt: '2026-01-31T02:29:00Z' },
    }),
    { at: '2026-01-31T02:29:00.000Z', by: 'lifeboat' },
  );
  t.equal(momentOf({ ...none, name: 'yesterday' }), null);
  t.end();
});

t.test('the dump of a date', (t) => {
  const dumps = [0, 1, 2].map((generation) => ({ pool: 'a', generation }));
  t.same(databaseOf(dumps, 0, null), { pool: 'a', generation: 0 });
  t.same(databaseOf(dumps, 2, null), { pool: 'a', generation: 2 });
  t.equal(databaseOf(dumps, 3, null), null, 'the row is shorter than the history');
  t.equal(databaseOf([], 0, null), null);
  const mixed = [...dumps, { pool: 'b', generation: 0 }];
  t.equal(databaseOf(mixed, 0, null), null, 'whose date it is nobody can tell');
  t.same(databaseOf(mixed, 0, { pool: { uuid: 'b', nameLabel: '' } }), { pool: 'b', generation: 0 });
  t.end();
});

t.test('VMs with a disk on an SR', (t) => {
  const links = [
    { sr: first, vm: 'x' },
    { sr: second, vm: 'y' },
    { sr: first, vm: 'z' },
  ];
  t.same([...vmsOfSr(links, first)], ['x', 'z']);
  t.end();
});
