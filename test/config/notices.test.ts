/** `alarms` and `notices` of sites.yaml: what they become, and every mistake at its line and column. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { loadSettings } from '../../src/config/load.ts';
import { OperatorError } from '../../src/domain/errors.ts';
import { golden } from '../report/golden.ts';

const textOf = (name: string): string =>
  readFileSync(fileURLToPath(new URL(`cases/${name}`, import.meta.url)), 'utf8');
const load = (text: string) => loadSettings('/etc/dr/sites.yaml', () => text);

t.test('channels with their defaults, paths beside the file', (t) => {
  const { alarms, notices } = load(textOf('notices.yaml'));
  t.same(alarms, {
    drillEverySeconds: null,
    skewSeconds: 1800,
    expiryWithinSeconds: 30 * 86_400,
    expiries: [{ name: 'password of filer-tokyo', at: '2027-03-31T00:00:00.000Z' }],
  });
  t.match(notices, {
    remindSeconds: { critical: 7200, warning: 86_400 },
    settleSeconds: 300,
    digest: { at: '07:30', timeZone: 'Europe/Zurich' },
  });
  const everything = { atLeast: 'warning', groups: [], digest: true };
  t.same(notices?.channels, [
    {
      name: 'oncall',
      ...everything,
      type: 'mail',
      host: 'mail.example.org',
      port: 587,
      security: 'starttls',
      caFile: '/etc/dr/mail-ca.pem',
      login: { username: 'lifeboat', password: { from: 'file', path: '/etc/dr/mail-password' } },
      from: 'Lifeboat <lifeboat@example.org>',
      to: ['oncall@example.org'],
    },
    {
      name: 'local',
      ...everything,
      type: 'mail',
      host: 'localhost',
      port: 25,
      security: 'none',
      caFile: null,
      login: null,
      from: 'lifeboat@localhost',
      to: ['root@localhost'],
    },
    {
      name: 'chat',
      atLeast: 'critical',
      groups: ['shop-*'],
      digest: false,
      type: 'teams',
      url: { from: 'store', name: 'chat' },
      caFile: null,
    },
    {
      name: 'incidents',
      ...everything,
      type: 'webhook',
      url: 'https://incidents.example.org/in',
      secret: { from: 'store', name: 'incidents' },
      caFile: null,
    },
    {
      name: 'pager',
      ...everything,
      type: 'command',
      argv: ['/usr/local/bin/page', '--team'],
      timeoutSeconds: 60,
    },
  ]);
  t.end();
});

t.test('who hears of things is no part of what a plan rests on', (t) => {
  const text = textOf('notices.yaml');
  const without = text.slice(0, text.indexOf('alarms:'));
  t.equal(load(without).digest, load(text).digest);
  t.match(load(without), {
    notices: { channels: [], digest: null },
    alarms: { drillEverySeconds: 90 * 86_400 },
  });
  t.end();
});

t.test('every mistake at once, each at its line and column, and no secret among them', (t) => {
  try {
    load(textOf('notices-wrong.yaml'));
    t.fail('it was accepted');
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    golden(t, 'cases/notices-wrong.txt', import.meta.url, `${error.message}\n`);
    t.notMatch(error.message, /hunter2|T0\/B0/);
  }
  t.end();
});
