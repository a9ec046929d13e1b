/** The ONTAP adapter over the CLI against clusters in memory: the contract, and what its tables and times are read as. */
import t from 'tap';
import {
  commandLine,
  instantIn,
  lagSeconds,
  readTable,
  word,
} from '../../../src/adapters/replication/ontap/cli-text.ts';
import { startCliFace } from './doubles/ontap/cli-face.ts';
import { makeClusters, ontapRig } from './doubles/ontap/rig.ts';
import { replicationSuite } from './suite.ts';

const clusters = makeClusters();
const { face } = await startCliFace(t, clusters);
face.reset();
const adapters = { source: face.open('source'), target: face.open('target') };

t.test('words, tables, lags and times', async (t) => {
  t.equal(word('svm1:vol_1'), 'svm1:vol_1');
  t.equal(word('lifeboat {"a":"\\"}'), String.raw`"lifeboat {\"a\":\"\\\"}"`);
  t.equal(word('a; volume delete'), '"a; volume delete"', 'nothing becomes a command of its own');
  t.throws(() => word('a\nb'));
  t.equal(commandLine('volume show', { vserver: 's' }), 'volume show -vserver s');
  t.same(readTable('There are no entries matching your query.\n', ['a']), []);
  const rows = readTable('Last login: today\na~|~b~|~\nA~|~B~|~\n1~|~-~|~\n', ['a', 'b']);
  t.same([...(rows?.[0] ?? [])], [['a', '1']], 'a dash is a value that is not there');
  t.equal(readTable('a~|~\nA~|~\n1~|~2~|~3~|~\n', ['a']), null, 'a row with more columns is no row');
  t.equal(readTable('welcome', ['a']), null);
  t.equal(lagSeconds('118:3:10'), 118 * 3600 + 190);
  t.equal(lagSeconds('-'), null);
  t.equal(instantIn('Asia/Tokyo', 'Sat Nov 21 01:16:45 2026'), '2026-11-20T16:16:45.000Z');
  t.equal(instantIn('America/New_York', '07/04/2026 12:00:00'), '2026-07-04T16:00:00.000Z', 'in summer');
  t.equal(instantIn('America/New_York', '01/04/2026 12:00:00'), '2026-01-04T17:00:00.000Z', 'in winter');
  t.equal(instantIn('No/Where', '01/04/2026 12:00:00'), null);
});

replicationSuite(
  'ontap-cli',
  () => {
    face.reset();
    return Promise.resolve(ontapRig(clusters, face, adapters));
  },
  { cannot: { readKept: 'a resync takes the place of what was there: nothing is kept aside' } },
);
