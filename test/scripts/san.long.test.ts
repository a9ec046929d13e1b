/**
 * SRs on LUNs, over iSCSI with CHAP and over Fibre Channel, through the real program: drilled on clones beside the
 * replicas, moved to the other site, and taken over by the first one when that is gone.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { addArray, addLun, arrayOf, pairVolumes } from '../../src/lab/arrays/index.ts';
import { invoke } from '../../src/lab/core/dispatch.ts';
import type { LabPool } from '../../src/lab/core/pool.ts';
import { struct } from '../../src/lab/core/values.ts';
import { type DemoStorage, demoVolumes } from '../../src/lab/demo.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { guestRead, guestWrite, ledgerOf } from '../../src/lab/vm/guest.ts';
import { ends, World } from './trouble.ts';

t.setTimeout(240_000);

const chap = { user: 'xen', password: 'hush-chap' };
const sizeBytes = 4 * 2 ** 30;
const sides = [
  { site: 'production', address: '127.0.1.100', portals: ['10.1.0.5', '10.1.1.5'] },
  { site: 'recovery', address: '127.0.2.100', portals: ['10.9.0.5', '10.9.1.5'] },
] as const;

/** Volume gold behind the iSCSI targets of the arrays, silver on their Fibre Channel ports; masked to their own site. */
async function san(lab: Lab, pools: readonly LabPool[]): Promise<DemoStorage> {
  for (const { site, address, portals } of sides) {
    const array = await addArray(lab, { name: `array-${site}`, site, address, port: lab.port });
    const own = pools.find((pool) => pool.site === site)?.hosts ?? [];
    const admitted = site === 'production' ? own.map((host) => host.address) : [];
    addLun(array, 'gold', pools, { kind: 'iscsi', sizeBytes, admitted, portals, chap });
    addLun(array, 'silver', pools, { kind: 'fc', sizeBytes, admitted });
    for (const { name, row } of own)
      row.set({ multipathing: true, iscsi_iqn: `iqn.2020-01.example:${name}` });
  }
  const [source, target] = sides.map(({ site }) => arrayOf(lab, `array-${site}`));
  if (source === undefined || target === undefined) throw new Error('two sides have two arrays');
  for (const volume of demoVolumes)
    pairVolumes({ array: source, volume }, { array: target, volume }, { intervalSeconds: 10 });
  return {
    device(name) {
      const volume = source.volume(name);
      const { scsiId = '', iqn = '', portals = [] } = volume.offer(volume.exportPath);
      if (name === 'silver') return { SCSIid: scsiId };
      const targets = portals.map((portal) => portal.replace(/:\d+$/, '')).join(',');
      const { user: chapuser, password: chappassword } = chap;
      return { target: targets, targetIQN: iqn, SCSIid: scsiId, chapuser, chappassword };
    },
    type: (volume) => (volume === 'gold' ? 'lvmoiscsi' : 'lvmohba'),
    inStep: async () => {
      for (const volume of demoVolumes) await source.sync(volume, null).done;
    },
  };
}

type Pool = 'production' | 'recovery';
const everybody = ['db-01', 'web-01'];

function vmOf(world: World, pool: Pool, name: string): string {
  const vm = world.lab.pool(pool).db.byName('VM', name)[0];
  if (vm === undefined) throw new Error(`no VM ${name} in ${pool}`);
  return vm.uuid;
}

function write(world: World, pool: Pool, text: string): void {
  for (const vm of everybody)
    guestWrite(world.lab, pool, vmOf(world, pool, vm), '0', 4096, Buffer.from(`${text} ${vm}`));
}

function reads(world: World, pool: Pool, text: string): boolean[] {
  return everybody.map((vm) => {
    const wanted = `${text} ${vm}`;
    const found = guestRead(world.lab, pool, vmOf(world, pool, vm), '0', 4096, wanted.length);
    return found.toString() === wanted;
  });
}

/** LUN and paths of each plugged PBD of a pool. */
function plugged(world: World, pool: Pool): string[] {
  return world.lab
    .pool(pool)
    .db.all('PBD')
    .filter((pbd) => pbd.bool('currently_attached') && pbd.map('device_config')['SCSIid'] !== undefined)
    .map((pbd) => {
      const { SCSIid = '', target = 'fc' } = pbd.map('device_config');
      const paths = pbd.map('other_config')[`mpath-${SCSIid}`] ?? 'none';
      return `${pbd.row('SR', 'SR')?.text('name_label')} by ${target}, paths ${paths}`;
    })
    .sort();
}

/** On three hosts each. */
function onAll(...lines: readonly string[]): string[] {
  return lines.flatMap((line) => [line, line, line]).sort();
}

async function inStep(world: World, site: Pool): Promise<void> {
  for (const volume of demoVolumes) await arrayOf(world.lab, `array-${site}`).sync(volume, null).done;
}

/** A disc of a library that the other site does not have, in a drive of web-01. */
async function insertDisc(world: World): Promise<void> {
  const { master, db, exports } = world.lab.pool('production');
  const library = world.lab.directory('discs');
  writeFileSync(join(library, 'rescue.iso'), Buffer.alloc(4096));
  exports.set('/discs', library);
  const device = struct({ location: 'filer:/discs', type: 'nfs_iso' });
  await invoke(master, 'SR.create', master.row.ref, device, 0n, 'discs', '', 'iso', 'iso', false, struct());
  const [disc] = db.all('VDI').filter((vdi) => vdi.text('location') === 'rescue.iso');
  const [vm] = db.byName('VM', 'web-01');
  const drive = { userdevice: '3', bootable: false, mode: 'RO', type: 'CD', empty: false };
  await invoke(master, 'VBD.create', struct({ ...drive, VM: vm?.ref ?? '', VDI: disc?.ref ?? '' }));
}

function noSecretIn(t: Test, world: World): void {
  for (const name of readdirSync(world.directory, { recursive: true, encoding: 'utf8' })) {
    if (!/\.(?:jsonl?|ya?ml|txt|log)$/.test(name) || name.startsWith('lab')) continue;
    const text = readFileSync(join(world.directory, name), 'utf8');
    if (text.includes(chap.password)) t.fail(`${name} holds the CHAP password`);
  }
}

t.test('drilled, moved, and taken back when the other site is gone', async (t) => {
  const world = await World.start(t, { guests: { db: 1, app: 0, web: 1 }, saved: false, storage: san });
  const before = plugged(world, 'production');
  const recovered = onAll(
    'gold storage by 10.9.0.5,10.9.1.5, paths [2, 2]',
    'silver storage by fc, paths [1, 1]',
  );
  await insertDisc(world);
  write(world, 'production', 'first');
  await inStep(world, 'production');
  ends(t, 'export', await world.run('export', 'shop'), 0);

  ends(
    t,
    'drill',
    await world.run('drill', 'shop', '--yes', 'recovery'),
    3,
    /2 of 2 VMs/,
    /rescue\.iso is not there/,
    /the same before and after/,
  );
  t.same(plugged(world, 'recovery'), [], 'no clone is left attached');
  t.same(world.running('production'), everybody);

  const moved = await world.run('migrate', 'shop', '--yes', 'recovery');
  ends(t, 'migrate', moved, 3, /CD drive 3 of web-01 is emptied: rescue\.iso is not there/);
  t.same(plugged(world, 'recovery'), recovered, 'every host has the LUNs of its own array, over all paths');
  t.same(plugged(world, 'production'), []);
  t.same(reads(world, 'recovery', 'first'), [true, true]);
  write(world, 'recovery', 'second');

  await inStep(world, 'recovery');
  ends(t, 'export there', await world.run('export', 'shop'), 0);

  await world.lab.killSite('recovery');
  const taken = await world.run('failover', 'shop', '--yes', 'production');
  t.ok([0, 3].includes(taken.code), 'failover', { said: taken.said });
  t.same(plugged(world, 'production'), before, 'the records that were kept, and their PBDs');
  t.same(world.running('production'), everybody);
  t.same(reads(world, 'production', 'second'), [true, true]);
  t.same(ledgerOf(world.lab).violations, [], 'no disk had two writers');
  noSecretIn(t, world);
});
