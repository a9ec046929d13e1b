/** The printable runbook of a group, and the rescue bundle, from the words typed to the files written. */
import { createHash } from 'node:crypto';
import t from 'tap';
import { OperatorError } from '../../src/domain/errors.ts';
import type { Finding } from '../../src/domain/finding.ts';
import { golden } from '../report/golden.ts';
import { call } from './fake.ts';

const missing: Finding = {
  severity: 'problem',
  code: 'DR-NETWORK-MISSING',
  about: 'network',
  name: 'Tokyo LAN',
  what: 'There is no network Tokyo LAN at site tokyo',
  evidence: ['its networks are <Tokyo & Database>'],
  vms: ['app-01'],
  next: 'Create it, or map Production LAN to another network in sites.yaml.',
};

t.test(
  'the runbook holds the plans of the day and the procedures for what stands in their way',
  async (t) => {
    const called = await call(
      ['runbook', 'shop'],
      { findings: [missing] },
      { screen: true, env: { NO_COLOR: '1' } },
    );
    t.equal(called.code, 0);
    t.ok(
      called.out.split('\n').every((line) => [...line].length <= 80),
      'it fits a screen of 80 columns',
    );
    const printed = await call(['runbook', 'shop', 'shop.txt'], { findings: [missing] });
    t.equal(printed.code, 0);
    golden(t, 'cases/runbook.txt', import.meta.url, printed.files.get('shop.txt') ?? '');
    const page = (await call(['runbook', 'shop', 'shop.html'], { findings: [missing] })).files.get(
      'shop.html',
    );
    t.match(page, /<h2 class="chapter">1\. Failover<\/h2>/);
    t.match(page, /&lt;Tokyo &amp; Database&gt;/, 'names are no markup');
    t.notMatch(page, /<script|(src|href)=/);
    t.match(page, /<dt>DR-NETWORK-MISSING<\/dt><dd>runbooks\/checks\.md<\/dd>/);
    const json = JSON.parse((await call(['--json', 'runbook', 'shop'], { findings: [missing] })).out);
    t.match(json, {
      group: 'shop',
      chapters: [{ operation: 'failover', findings: [{ code: missing.code }] }],
    });
  },
);

t.test(
  'the bundle: settings, documents, runbook, procedures, sums, and how to do without Lifeboat',
  async (t) => {
    const files = new Map([
      ['sites.yaml', 'sites: {}\n'],
      ['runbooks/shop.yaml', 'tiers: []\n'],
    ]);
    const called = await call(['bundle', '/stick', 'shop'], {}, { files });
    t.equal(called.code, 0, called.err);
    const names = [...called.files.keys()].map((file) => file.replace('/stick/', ''));
    for (const name of [
      'README.txt',
      'SHA256SUMS',
      'settings/sites.yaml',
      'settings/runbooks/shop.yaml',
      'runbooks/checks.md',
      'shop/runbook.txt',
      'shop/runbook.html',
      'shop/point.json',
      'shop/point.txt',
    ])
      t.ok(names.includes(name), name);
    t.equal(
      names.filter((name) => name.startsWith('shop/documents/')).length,
      24,
      'one document for each VM',
    );
    const sums = (called.files.get('/stick/SHA256SUMS') ?? '').trimEnd().split('\n');
    t.equal(sums.length, names.length - 1);
    for (const line of sums) {
      const [sum, name = ''] = line.split('  ');
      const content = called.files.get(`/stick/${name}`) ?? 'absent';
      t.equal(createHash('sha256').update(content).digest('hex'), sum, name);
    }
    const readme = (called.files.get('/stick/README.txt') ?? '').replaceAll(/\s+/g, ' ');
    t.match(readme, /Lifeboat 0\.1\.0/);
    t.match(readme, /lifeboat catalog extract/);
    t.match(readme, /xe vm-import metadata=true/);
    t.ok(
      (called.files.get('/stick/README.txt') ?? '').split('\n').every((line) => line.length <= 80),
      'readable on a console',
    );
    golden(t, 'cases/bundle-readme.txt', import.meta.url, called.files.get('/stick/README.txt') ?? '');
  },
);

t.test('a bundle never overwrites, and an unknown group is told before anything is written', async (t) => {
  const unknown = await call(['bundle', '/stick', 'shpo']);
  t.equal(unknown.code, 2);
  t.match(unknown.err, /did you mean shop/);
  t.equal(unknown.files.size, 0);
  const broken = await call(['runbook', 'shop'], {
    broken: new OperatorError({ code: 'DR-POOL-UNREACHABLE', what: 'nobody answers', next: 'look' }),
  });
  t.not(broken.code, 0);
  t.match(broken.err, /nobody answers/i);
});
