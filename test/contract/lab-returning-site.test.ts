/**
 * A lost site comes back: what a real pool starts by itself then, and what keeps it from doing so (xapi.md 8.4, 8.5).
 * This is how two copies of a database come to run.
 */
import { cpSync } from 'node:fs';
import t, { type Test } from 'tap';
import { ledgerOf } from '../../src/lab/vm/index.ts';
import { type LabRig, labRig, nullRef, type Site, struct } from './lab-rig.ts';

const autoPowerOn = { other_config: struct({ auto_poweron: 'true' }) };
const isProtected = { ha_restart_priority: 'restart' };

async function runningVm(site: Site, name: string, more = {}, disks: readonly string[] = []): Promise<void> {
  await site.call('VM.start', await site.createVm(name, disks, more), false, false);
}

const running = (site: Site): string[] =>
  site.pool.db
    .all('VM')
    .filter((vm) => vm.text('power_state') === 'Running' && !vm.bool('is_control_domain'))
    .map((vm) => vm.text('name_label'))
    .sort();

/** The site burns and is rebuilt; the loop of HA has looked once. */
async function returns(rig: LabRig, name: string, expected: number): Promise<string[]> {
  const site = rig.site(name);
  await rig.lab.killSite(name);
  await rig.lab.reviveSite(name);
  await rig.clock.advance(6);
  await site.pool.until(() => running(site).length >= expected, 30);
  // Whatever else were to start has had its turn once the loop looks again and finds nothing.
  await rig.clock.advance(6);
  return running(site);
}

async function production(
  test: Test,
  number: number,
  hosts = 1,
): Promise<{ rig: LabRig; one: Site; sr: string }> {
  const rig = await labRig(test, number, hosts);
  const one = rig.site('one');
  return { rig, one, sr: await one.createSr('gold') };
}

t.test(
  'with auto_poweron on the pool and on the VM it starts; with one of both it does not',
  async (test) => {
    const { rig, one } = await production(test, 71, 2);
    await runningVm(one, 'automatic', autoPowerOn);
    await runningVm(one, 'by hand');
    test.same(await returns(rig, 'one', 0), [], 'the pool does not say so');
    one.pool.row.put('other_config', 'auto_poweron', 'true');
    test.same(await returns(rig, 'one', 1), ['automatic']);
  },
);

t.test('what HA protects starts, and what it tries at best as well; the rest does not', async (test) => {
  const { rig, one } = await production(test, 72);
  await one.call('pool.enable_ha', [], struct());
  await runningVm(one, 'protected', isProtected);
  await runningVm(one, 'at best', { ha_restart_priority: 'best-effort' });
  await runningVm(one, 'unprotected');
  test.same(await returns(rig, 'one', 2), ['at best', 'protected']);
  await one.call('pool.disable_ha');
  test.same(await returns(rig, 'one', 0), [], 'without HA the fields mean nothing');
});

t.test('a blocked start holds against auto_poweron and against HA', async (test) => {
  const { rig, one } = await production(test, 73);
  one.pool.row.put('other_config', 'auto_poweron', 'true');
  await one.call('pool.enable_ha', [], struct());
  for (const [name, more] of [
    ['automatic', autoPowerOn],
    ['protected', isProtected],
    ['fenced automatic', autoPowerOn],
    ['fenced protected', isProtected],
  ] as const)
    await runningVm(one, name, more);
  for (const vm of one.pool.db.all('VM'))
    if (vm.text('name_label').startsWith('fenced'))
      await one.call('VM.add_to_blocked_operations', vm.ref, 'start', 'failed over');
  test.same(await returns(rig, 'one', 2), ['automatic', 'protected']);
  const failures = one.pool.db
    .all('message')
    .filter((m) => m.text('name') === 'HA_PROTECTED_VM_RESTART_FAILED');
  test.match(failures[0]?.text('body'), /^OPERATION_BLOCKED /);
});

t.test(
  'a site that comes back after a failover writes beside its twin, and the lab says so',
  async (test) => {
    const { rig, one, sr } = await production(test, 74);
    const two = rig.site('two');
    one.pool.row.put('other_config', 'auto_poweron', 'true');
    const disk = await one.createDisk(sr, 'data');
    await runningVm(one, 'db', autoPowerOn, [disk]);
    cpSync(rig.directory('one'), rig.directory('two'), { recursive: true });
    await rig.lab.killSite('one');

    const gold = one.row('SR', sr).uuid;
    const replica = await two.call('SR.introduce', gold, 'gold', '', 'nfs', 'user', true, struct());
    const device = struct({ server: 'any', serverpath: '/exports/two' });
    const host = two.pool.master.row.ref;
    const pbd = await two.call('PBD.create', struct({ host, SR: replica, device_config: device }));
    await two.call('PBD.plug', pbd);
    const twin = two.pool.db.byUuid('VDI', one.row('VDI', disk).uuid);
    await runningVm(two, 'db', {}, [twin.ref]);
    test.same(ledgerOf(rig.lab).violations, [], 'the lost site writes nothing');

    await rig.lab.reviveSite('one');
    await one.pool.until(() => running(one).length === 1, 30);
    test.match(ledgerOf(rig.lab).violations, [{ vdi: twin.uuid, writers: [/^one\//, /^two\//] }]);
  },
);

t.test('a lost site leaves nothing running behind when nobody asks for it', async (test) => {
  const { rig, one } = await production(test, 75);
  await runningVm(one, 'web');
  await rig.lab.killSite('one');
  test.same(running(one), ['web'], 'the database still says so while the host is dead');
  await rig.lab.reviveSite('one');
  const [vm] = one.pool.db.byName('VM', 'web');
  test.match(
    { state: vm?.text('power_state'), host: vm?.text('resident_on') },
    { state: 'Halted', host: nullRef },
  );
});
