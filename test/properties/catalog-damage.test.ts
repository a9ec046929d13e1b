/** Every flipped bit is found, in the file where it is; and retention never removes the last good point. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { retain } from '../../src/adapters/catalog/retention.ts';
import { documentOf, exportPoint, localCatalog, scratch } from '../catalog/world.ts';

t.test('every flipped bit is found and named', async (t) => {
  const directory = scratch(t, 'small');
  const catalog = localCatalog([directory], { graceSeconds: 0 });
  for (let minute = 1; minute <= 3; minute += 1) {
    await exportPoint(catalog, 'payroll', minute, {
      a: documentOf('a', 600),
      b: documentOf(`b${minute}`, 600),
    });
  }
  const rules = { last: 2, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, maxAgeSeconds: null };
  await catalog.prune('payroll', rules, { dryRun: false });
  await catalog.close();
  const files = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  t.ok(files.length >= 8, `${files.length} files`);
  const opened = localCatalog([directory]);
  const found = async (file: string, bit: number): Promise<boolean> => {
    const bytes = readFileSync(file);
    const damaged = Buffer.from(bytes);
    damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    writeFileSync(file, damaged);
    try {
      const { damage, targets } = await opened.verify({});
      const name = relative(directory, file);
      return targets.every(({ ok }) => ok) && damage.some((one) => one.file === name && one.target === 't1');
    } finally {
      writeFileSync(file, bytes);
    }
  };
  for (const file of files) {
    // Both ends whole, where formats have their lengths and marks, and samples of the middle.
    const bits = readFileSync(file).length * 8;
    const edges = [...Array(40).keys()]
      .flatMap((n) => [n * 3, bits - 1 - n * 3])
      .filter((n) => n >= 0 && n < bits);
    const missed: number[] = [];
    for (const bit of edges) if (!(await found(file, bit))) missed.push(bit);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: bits - 1 }), async (bit) => {
        if (!(await found(file, bit))) missed.push(bit);
      }),
      { numRuns: 40 },
    );
    t.same(missed, [], `${relative(directory, file)}: each of them`);
  }
  t.same((await opened.verify({ deep: true })).damage, [], 'and nothing is found where nothing is');
});

t.test('retention never removes the last good point, and more generous rules never remove more', (t) => {
  const counts = fc.integer({ min: 0, max: 4 });
  const rules = fc.record({
    last: counts,
    hourly: counts,
    daily: counts,
    weekly: counts,
    monthly: counts,
    yearly: counts,
    maxAgeSeconds: fc.option(fc.integer({ min: 0, max: 400 * 86_400 })),
  });
  const points = fc.array(fc.tuple(fc.integer({ min: 0, max: 700 * 24 * 4 }), fc.boolean()), {
    maxLength: 40,
  });
  const now = '2026-03-02T12:00:00.000Z';
  fc.assert(
    fc.property(points, rules, (ages, rule) => {
      const candidates = ages.map(([quarters, good], index) => ({
        id: `g/${index}`,
        takenAt: new Date(Date.parse(now) - quarters * 900_000).toISOString(),
        good,
      }));
      const kept = retain(candidates, rule, now).filter(({ reasons }) => reasons.length > 0);
      const newest = candidates
        .filter(({ good }) => good)
        .reduce((best, { takenAt }) => (takenAt > best ? takenAt : best), '');
      const keptGood = kept.filter(({ id }) => candidates.find((one) => one.id === id)?.good);
      if (newest !== '' && !keptGood.some(({ takenAt }) => takenAt === newest)) return false;
      const more = retain(candidates, { ...rule, last: rule.last + 1, daily: rule.daily + 1 }, now);
      const keptMore = new Set(more.filter(({ reasons }) => reasons.length > 0).map(({ id }) => id));
      return kept.every(({ id }) => keptMore.has(id));
    }),
    { numRuns: 300 },
  );
  t.pass('for all histories and rules');
  t.end();
});
