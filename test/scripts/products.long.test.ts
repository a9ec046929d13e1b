/** Production and recovery of different ages, through the real program: XenServer 6.5 into XCP-ng 8.3, and not back. */
import t from 'tap';
import { arrayOf } from '../../src/lab/arrays/index.ts';
import { demoVolumes } from '../../src/lab/demo.ts';
import { ends, World } from './trouble.ts';

t.setTimeout(480_000);

const everybody = ['db-01', 'web-01'];
const guests = { db: 1, app: 0, web: 1 };

/** The pins of hosts whose certificates are made anew, and what the pool of 6.5 needs besides. */
function pinsOf(world: World, site: 'production' | 'recovery'): (readonly [RegExp, string])[] {
  return world.lab
    .pool(site)
    .hosts.map((host) => [
      new RegExp(`(url: ${world.lab.url(host).replaceAll('.', '\\.')}\\n\\s+fingerprint: )\\S+`),
      `$1${host.certificate.sha256}`,
    ]);
}

async function inStep(world: World): Promise<void> {
  for (const volume of demoVolumes) await arrayOf(world.lab, 'array-production').sync(volume, null).done;
}

t.test('from XenServer 6.5 to XCP-ng 8.3', async (t) => {
  const world = await World.start(t, {
    guests,
    saved: false,
    products: { production: 'XenServer 6.5', recovery: 'XCP-ng 8.3' },
  });
  const pins = pinsOf(world, 'production');
  world.configure(...pins);
  const refused = await world.run('export', 'shop');
  ends(t, 'export without old_tls', refused, 10, /need old_tls: true at the pool in sites\.yaml/);

  world.configure(...pins, [/^( +)username: root/m, '$1old_tls: true\n$1username: root']);
  await inStep(world);
  ends(t, 'export', await world.run('export', 'shop'), 0);
  const checked = await world.run('check', 'shop');
  t.match(checked.said, /TLS 1\.0 is accepted of pool production.*DR-POOL-OLD-TLS/);
  t.notMatch(checked.said, /DR-IMPORT-VERSION/);

  await world.lab.killSite('production');
  const over = await world.run('failover', 'shop', '--yes', 'recovery');
  t.ok([0, 3].includes(over.code), over.said);
  t.same(world.running('recovery'), everybody);
});

t.test('from XCP-ng 8.3 to XenServer 7.1: refused beforehand, in words', async (t) => {
  const world = await World.start(t, {
    guests,
    saved: false,
    products: { production: 'XCP-ng 8.3', recovery: 'XenServer 7.1' },
  });
  await inStep(world);
  ends(
    t,
    'export',
    await world.run('export', 'shop'),
    3,
    /an import at site recovery would fail: Pool recovery \(xapi 1\.14\) refuses documents of xapi 25\.6/,
  );
  await world.lab.killSite('production');
  ends(
    t,
    'failover',
    await world.run('failover', 'shop', '--yes', 'recovery'),
    10,
    /Pool recovery of site recovery \(xapi 1\.14\) refuses documents of xapi 25\.6.*DR-BUILD-GATE/,
    /Update pool recovery to at least the version of the production pool/,
  );
  t.same(world.running('recovery'), []);
});
