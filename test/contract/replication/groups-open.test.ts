/** Consistency groups from the settings to the adapters: who is told of them, and who refuses them by name. */
import t from 'tap';
import { companionsOf } from '../../../src/adapters/replication/consistency-group.ts';
import { openReplication, peersOf } from '../../../src/adapters/replication/open.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import { PortError } from '../../../src/domain/errors.ts';
import type { ArraySettings } from '../../../src/domain/settings.ts';
import { together } from '../../support/kept-together.ts';
import { shop } from '../../support/two-sites.ts';

const filer = (name: string, site: string): ArraySettings => ({
  name,
  site,
  type: 'zfs',
  options: { host: '192.0.2.1', username: 'u', host_key: `SHA256:${'A'.repeat(43)}`, pool: 'tank' },
  secret: { from: 'env', name: 'x' },
});
const arrays = [filer('filer-osaka', 'osaka'), filer('filer-tokyo', 'tokyo')];

t.test('an adapter is told the group of a volume at its own array, and at the other one', async (t) => {
  const here = peersOf({ arrays, groups: [together] }, 'filer-tokyo');
  t.match(here.get('tier1-copy'), {
    volume: 'tier1',
    consistencyGroup: { here: 'shop-copy', there: 'shop' },
  });
  t.same(companionsOf(here).get('tier2-copy'), ['tier1-copy', 'tier2-copy']);
  t.same([...companionsOf(peersOf({ arrays, groups: [shop] }, 'filer-tokyo'))], [], 'alone without one');
});

t.test(
  'an adapter that knows no groups refuses by name what would be done to all, and asks nobody',
  async (t) => {
    const [, tokyo] = arrays;
    if (tokyo === undefined) throw new Error('there are two');
    const open = (groups: (typeof shop)[]) => {
      const adapter = openReplication(tokyo, {
        secrets: { resolve: async () => 'x' },
        clock: systemClock,
        peers: peersOf({ arrays, groups }, 'filer-tokyo'),
      });
      t.teardown(() => adapter.close());
      return adapter;
    };
    const error = await open([together])
      .promote('tier1-copy', { mode: 'unplanned', point: 'p', confirm: 'tier1-copy@p' })
      .catch((thrown: unknown) => thrown);
    t.ok(error instanceof PortError);
    t.match(error, {
      kind: 'refused',
      peerCode: 'unsupported',
      problem: { code: 'DR-CONSISTENCY-GROUP-CANNOT', known: [/type zfs/], next: /consistency_group/ },
    });
    const stopped = await open([together])
      .points('tier1-copy', AbortSignal.abort())
      .catch((thrown: unknown) => thrown);
    t.notMatch(stopped, { peerCode: 'unsupported' }, 'looking goes on');
    t.equal(open([shop]).array, 'filer-tokyo');
  },
);
