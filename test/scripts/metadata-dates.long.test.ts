/** Which metadata is taken when only the replicated storage is left: of several dates, and of one that is not whole. */
import t from 'tap';
import { mishapsOf, runCommand } from '../../src/lab/dom0/index.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { burn, hostBackup, prepared, replicate } from './burnt.ts';
import { ends } from './trouble.ts';

t.setTimeout(600_000);

t.test(
  'dates are listed and chosen; one that is not whole is no good point; a drill goes on by itself',
  async (t) => {
    const { world, sr } = await prepared(t);
    const pool = world.lab.pool('production');
    const [first = '', second = ''] = await twoBackups(world.lab, sr, () => {
      // The script says nothing of what failed inside it.
      const failing = mishapsOf(pool);
      failing.database = true;
      failing.exports.add(pool.db.byName('VM', 'db-01')[0]?.uuid ?? '');
    });
    await replicate(world.lab);
    await burn(world);

    ends(
      t,
      'list',
      await world.run('catalog', 'recover', 'shop', '--list', '--yes', 'recovery'),
      0,
      /Metadata backup on SR gold storage/,
      new RegExp(`${second} written .*, 3 VMs, by a host ${first} written .*, 4 VMs`),
      /Metadata backup on SR silver storage none under the uuid/,
    );
    ends(
      t,
      'drill',
      await world.run('drill', 'shop', '--yes', 'recovery'),
      0,
      new RegExp(`date ${second} .* is not whole`),
      new RegExp(`Source replicated storage: metadata backup of ${first} on SR gold storage`),
      /Inventory the same before and after/,
    );
    const { said } = await world.run('catalog', 'list', 'shop');
    t.equal(said.match(/shop\/\d{8}T\d{6}Z-[0-9a-f]{4}/g)?.length, 2, 'both dates are kept');
    ends(
      t,
      'the same date again is the same point',
      await world.run('catalog', 'recover', 'shop', '--date', first, '--yes', 'recovery'),
      0,
      new RegExp(`${first} .*, kept as shop/`),
    );
    const again = await world.run('catalog', 'list', 'shop');
    t.equal(again.said.match(/shop\/\d{8}T\d{6}Z-[0-9a-f]{4}/g)?.length, 2);
  },
);

/** Two dates, which the script names by the second; `between` happens before the second one. */
async function twoBackups(lab: Lab, sr: string, between: () => void): Promise<string[]> {
  await hostBackup(lab, sr);
  between();
  const second = Math.floor(lab.clock.now() / 1000);
  while (Math.floor(lab.clock.now() / 1000) === second) await lab.clock.sleep(0.1);
  await hostBackup(lab, sr);
  const dates: string[] = [];
  await runCommand(lab.pool('production').master, `/opt/xensource/bin/xe-restore-metadata -u ${sr} -l`, {
    out: (text) => dates.push(...text.trim().split('\n')),
    err: () => undefined,
    input: async () => '',
  });
  return dates.sort();
}
