/** VM life in the lab: placement, power, appliances, guests and their data (xapi.md 8, 9.1). */
import { cpSync } from 'node:fs';
import t from 'tap';
import { agentKey, guestRead, guestWrite, ledgerOf, vmState } from '../../src/lab/vm/index.ts';
import { macOf } from '../../src/lab/vm/state.ts';
import { labRig, network, nullRef, refusal, type Site, struct } from './lab-rig.ts';

const start = (site: Site, vm: string): Promise<readonly string[]> =>
  refusal(site.call('VM.start', vm, false, false));

t.test('a VM starts where its storage is plugged and its memory fits', async (test) => {
  const rig = await labRig(test, 51, 2);
  const one = rig.site('one');
  const [first, second] = one.pool.hosts.map((host) => host.row.ref);
  const sr = await one.createSr('gold');
  const vm = await one.createVm('web', [await one.createDisk(sr, 'disk')]);
  const [pbd = ''] = one.row('SR', sr).texts('PBDs');
  await one.call('PBD.unplug', pbd);
  test.same(await refusal(one.call('VM.assert_can_boot_here', vm, first ?? '')), ['VM_REQUIRES_SR', vm, sr]);
  test.same(await start(one, vm), ['done']);
  test.equal(one.row('VM', vm).text('resident_on'), second);

  const gibibyte = 1024n ** 3n;
  const memory = {
    memory_static_max: 15n * gibibyte,
    memory_dynamic_max: 15n * gibibyte,
    memory_dynamic_min: 15n * gibibyte,
  };
  const large = await one.createVm('large', [], memory);
  test.equal(
    (await start(one, large))[0],
    'HOST_NOT_ENOUGH_FREE_MEMORY',
    'the second round ignores memory, the start does not',
  );
  for (const host of one.pool.hosts) host.row.set({ enabled: false });
  test.same(await start(one, large), ['NO_HOSTS_AVAILABLE'], 'and says nothing about why');
});

t.test('addresses follow from the seed, as in the recordings', async (test) => {
  const seed = 'dc5257ce-c7a1-ebb9-2aca-cffad7f42016';
  test.equal(macOf(seed, '0'), 'e2:6c:6d:a9:0f:0f');
  test.equal(macOf(seed, '1'), '1e:c9:c6:19:3d:7a');
});

t.test('an internal network lives on one host; HA knows', async (test) => {
  const rig = await labRig(test, 52, 2);
  const one = rig.site('one');
  const [first, second] = one.pool.hosts;
  const lan = network(one.pool, 'drill lan');
  const make = async (name: string): Promise<string> => {
    const vm = await one.createVm(name, []);
    await one.call('VIF.create', struct({ VM: vm, network: lan.ref, device: '0', MAC: '', MTU: 1500n }));
    return vm;
  };
  const [a, b] = [await make('a'), await make('b')];
  await one.call('VM.start_on', a, second?.row.ref ?? '', false, false);
  test.same(await refusal(one.call('VM.start_on', b, first?.row.ref ?? '', false, false)), [
    'VM_REQUIRES_NETWORK',
    b,
    lan.ref,
  ]);
  test.same(await start(one, b), ['done']);
  test.equal(one.row('VM', b).text('resident_on'), second?.row.ref);
  test.same(await refusal(one.call('VM.assert_agile', b)), [
    'HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED',
    lan.ref,
  ]);
  const half = network(one.pool, 'half', first === undefined ? [] : [first]);
  const c = await one.createVm('c', []);
  await one.call('VIF.create', struct({ VM: c, network: half.ref, device: '0', MAC: '', MTU: 1500n }));
  test.same(await refusal(one.call('VM.assert_can_boot_here', c, second?.row.ref ?? '')), [
    'VM_REQUIRES_NETWORK',
    c,
    half.ref,
  ]);
});

t.test('an agent reports in its own time, with an address of the subnet', async (test) => {
  const rig = await labRig(test, 53);
  const one = rig.site('one');
  const lan = network(one.pool, 'lan');
  const state = vmState(one.pool);
  state.agents = true;
  state.agentSeconds = 20;
  state.subnets.set(lan.uuid, '10.20.0.0/24');
  const make = async (name: string, config: Record<string, string>): Promise<string> => {
    const vm = await one.createVm(name, [], { other_config: struct(config) });
    await one.call('VIF.create', struct({ VM: vm, network: lan.ref, device: '0', MAC: '', MTU: 1500n }));
    await one.call('VM.start', vm, false, false);
    return vm;
  };
  const [quick, silent] = [await make('quick', {}), await make('silent', { [agentKey]: 'never' })];
  const metrics = (vm: string) => one.row('VM_guest_metrics', one.row('VM', vm).text('guest_metrics'));
  await rig.clock.advance(19);
  test.equal(metrics(quick).bool('PV_drivers_detected'), false);
  test.same(await refusal(one.call('VM.clean_shutdown', quick)), ['VM_LACKS_FEATURE', quick]);
  await rig.clock.advance(2);
  test.equal(metrics(quick).bool('PV_drivers_detected'), true);
  test.match(metrics(quick).map('networks')['0/ip'], /^10\.20\.0\.\d+$/);
  test.equal(metrics(silent).bool('PV_drivers_detected'), false);
  test.ok(one.row('VM', quick).texts('allowed_operations').includes('clean_shutdown'));
  const down = one.call('VM.clean_shutdown', quick);
  await rig.clock.advance(5);
  await down;
  test.equal(one.row('VM', quick).text('power_state'), 'Halted');
});

t.test('start_delay passes inside the call, and a hard shutdown does not wait for it', async (test) => {
  const rig = await labRig(test, 54);
  const one = rig.site('one');
  const vm = await one.createVm('slow', []);
  await one.call('VM.set_start_delay', vm, 60n);
  let over = false;
  const starting = one.call('VM.start', vm, false, false).then(() => {
    over = true;
  });
  await rig.clock.advance(59);
  test.match({ over, state: one.row('VM', vm).text('power_state') }, { over: false, state: 'Running' });
  test.same(await start(one, vm), ['VM_BAD_POWER_STATE', vm, 'halted', 'running']);
  test.same(one.row('VM', vm).texts('allowed_operations'), ['hard_reboot', 'hard_shutdown']);
  await one.call('VM.hard_shutdown', vm);
  test.equal(one.row('VM', vm).text('power_state'), 'Halted');
  await rig.clock.advance(2);
  await starting;
  test.same(one.row('VM', vm).map('current_operations'), {});
});

t.test('what a guest wrote is in the replica, and a twin is noticed', async (test) => {
  const rig = await labRig(test, 55);
  const { lab } = rig;
  const [one, two] = [rig.site('one'), rig.site('two')];
  const sr = await one.createSr('gold');
  const vm = await one.createVm('db', [await one.createDisk(sr, 'data')]);
  const uuid = one.row('VM', vm).uuid;
  test.throws(() => guestWrite(lab, 'one', uuid, '0', 0, Buffer.from('x')), /halted/);
  await one.call('VM.start', vm, false, false);
  guestWrite(lab, 'one', uuid, '0', 3_000_000, Buffer.from('the order of 10:31'));
  cpSync(rig.directory('one'), rig.directory('two'), { recursive: true });
  guestWrite(lab, 'one', uuid, '0', 3_000_000, Buffer.from('the order of 10:32'));

  const introduced = await two.call(
    'SR.introduce',
    one.row('SR', sr).uuid,
    'replica',
    '',
    'nfs',
    'user',
    true,
    struct(),
  );
  const device = struct({ server: 'any', serverpath: '/exports/two' });
  const host = two.pool.master.row.ref;
  const pbd = await two.call('PBD.create', struct({ host, SR: introduced, device_config: device }));
  await two.call('PBD.plug', pbd);
  const disk = two.pool.db.byUuid('VDI', one.pool.db.all('VDI')[0]?.uuid ?? '');
  const twin = await two.createVm('db', [disk.ref]);
  test.same(ledgerOf(lab).violations, []);
  await two.call('VM.start', twin, false, false);
  test.equal(
    guestRead(lab, 'two', two.row('VM', twin).uuid, '0', 3_000_000, 18).toString(),
    'the order of 10:31',
  );
  test.match(ledgerOf(lab).violations, [{ vdi: disk.uuid, writers: [`one/${uuid}`, /^two\//] }]);
  test.same(await refusal(two.call('PBD.unplug', pbd)), ['VDI_IN_USE', disk.ref]);
  await lab.killSite('one');
  test.throws(() => guestRead(lab, 'one', uuid, '0', 0, 1), /no power/);
});

t.test(
  'a killed host keeps its guests on record until it is back; auto_poweron starts them',
  async (test) => {
    const rig = await labRig(test, 56, 2);
    const one = rig.site('one');
    const sr = await one.createSr('gold');
    const vm = await one.createVm('web', [await one.createDisk(sr, 'disk')], {
      other_config: struct({ auto_poweron: 'true' }),
    });
    const [, member] = one.pool.hosts;
    if (member === undefined) throw new Error('the pool has one host only');
    await one.call('VM.start_on', vm, member.row.ref, false, false);
    test.same(await refusal(one.call('VM.power_state_reset', vm)), ['HOST_IS_LIVE', member.row.ref]);
    await rig.lab.killHost(member);
    test.equal(one.row('VM', vm).text('power_state'), 'Running');
    await one.call('VM.power_state_reset', vm);
    test.same(await start(one, vm), ['done'], 'on the other host');
    await one.call('VM.hard_shutdown', vm);
    one.pool.row.put('other_config', 'auto_poweron', 'true');
    await rig.lab.reviveHost(member);
    test.ok(await one.pool.until(() => one.row('VM', vm).text('power_state') === 'Running', 5));
    test.equal(
      one
        .row('SR', sr)
        .rows('PBDs', 'PBD')
        .filter((pbd) => pbd.bool('currently_attached')).length,
      2,
    );
  },
);

t.test('HA starts protected VMs by itself, in order', async (test) => {
  const rig = await labRig(test, 57);
  const one = rig.site('one');
  await one.createSr('gold');
  const started: string[] = [];
  one.pool.db.onChange((row, _change, fields) => {
    if (row.cls === 'VM' && fields.includes('power_state') && row.text('power_state') === 'Running')
      started.push(row.text('name_label'));
  });
  const protection = { ha_always_run: true, ha_restart_priority: 'restart' };
  await one.createVm('second', [], { ...protection, order: 2n });
  await one.createVm('first', [], { ...protection, order: 1n });
  await one.createVm('unprotected', []);
  await one.call('pool.enable_ha', [], struct());
  test.same(started, []);
  await rig.clock.advance(6);
  await one.pool.until(() => started.length === 2, 5);
  test.same(started, ['first', 'second']);
});

t.test('a snapshot keeps the moment, a clone is another VM, revert goes back', async (test) => {
  const rig = await labRig(test, 58);
  const one = rig.site('one');
  const sr = await one.createSr('gold');
  const vm = await one.createVm('db', [await one.createDisk(sr, 'data')]);
  const lan = network(one.pool, 'lan');
  await one.call('VIF.create', struct({ VM: vm, network: lan.ref, device: '0', MAC: '', MTU: 1500n }));
  const uuid = one.row('VM', vm).uuid;
  await one.call('VM.start', vm, false, false);
  guestWrite(rig.lab, 'one', uuid, '0', 100, Buffer.from('before'));
  const snapshot = await one.call('VM.snapshot', vm, 'snap');
  guestWrite(rig.lab, 'one', uuid, '0', 100, Buffer.from('after!'));
  test.equal(one.row('VM', snapshot).map('snapshot_info')['power-state-at-snapshot'], 'Running');
  test.same(await refusal(one.call('VM.clone', vm, 'copy')), ['VM_BAD_POWER_STATE', vm, 'halted', 'running']);
  await one.call('VM.revert', snapshot);
  test.equal(one.row('VM', vm).text('power_state'), 'Halted');
  await one.call('VM.start', vm, false, false);
  test.equal(guestRead(rig.lab, 'one', uuid, '0', 100, 6).toString(), 'before');
  await one.call('VM.hard_shutdown', vm);
  await one.call('VM.add_to_blocked_operations', vm, 'start', 'fenced');
  const clone = one.row('VM', await one.call('VM.clone', vm, 'copy'));
  const mac = (ref: string): string => one.row('VM', ref).rows('VIFs', 'VIF')[0]?.text('MAC') ?? '';
  test.not(mac(clone.ref), mac(vm));
  test.equal(mac(snapshot), mac(vm));
  test.same(clone.map('blocked_operations'), {});
  test.match(await start(one, vm), ['OPERATION_BLOCKED', vm, 'fenced']);
  test.same(await start(one, clone.ref), ['done']);
  test.equal(guestRead(rig.lab, 'one', clone.uuid, '0', 100, 6).toString(), 'before');
  test.equal(one.row('VM', snapshot).text('appliance'), nullRef);
});
