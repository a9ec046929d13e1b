/** The client against the lab: real sockets, both transports, the semantics of a pool. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { observedClasses, poolFacts, type Records } from '../../src/adapters/xenapi/facts.ts';
import { openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import { PortError } from '../../src/domain/errors.ts';
import type { PoolFacts } from '../../src/domain/pool.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { unpackOva } from '../../src/metadata/tar.ts';
import { patientClock } from './xenapi-scripted-host.ts';

type Transport = 'jsonrpc' | 'xmlrpc';
type Client = ReturnType<typeof openHypervisor>;

const mebibyte = 1024 * 1024;

async function startedLab(t: { teardown: (end: () => unknown) => void }): Promise<Lab> {
  const storage = mkdtempSync(join(tmpdir(), 'lifeboat-lab-'));
  const lab = await startLab({ world: 'recordings', storage });
  t.teardown(async () => {
    await lab.stop();
    rmSync(storage, { recursive: true });
  });
  return lab;
}

function client(
  t: { teardown: (end: () => unknown) => void },
  lab: Lab,
  name: string,
  transport: Transport,
  hosts = lab.pool(name).hosts,
): Client {
  const made = openHypervisor({
    site: name,
    clock: patientClock,
    password: async () => lab.credentials.password,
    pool: {
      hosts: hosts.map((host) => ({ url: lab.url(host), fingerprint: host.certificate.sha256 })),
      username: lab.credentials.username,
      password: { from: 'env', name: 'UNUSED' },
      poolUuid: lab.pool(name).row.uuid,
      caFile: null,
      transport,
      maxRequests: 4,
    },
  });
  t.teardown(() => made.close());
  return made;
}

async function failure(work: Promise<unknown>): Promise<PortError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof PortError) return error;
    throw error;
  }
  throw new Error('a failure was expected');
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const blocks: Uint8Array[] = [];
  for await (const block of stream) blocks.push(block);
  return Buffer.concat(blocks);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function need<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new Error(`${what} is missing`);
  return value;
}

/** A VM with a disk on a new NFS SR, and a card on the network of the pool, as an administrator would make them. */
async function makeVm(pool: Client, network: string): Promise<{ vm: string; sr: string; vdi: string }> {
  const { call } = pool.xapi;
  const [host] = (await call('host.get_all')) as string[];
  const config = { server: '127.0.0.2', serverpath: '/exports/prod1' };
  const sr = await call('SR.create', [
    need(host, 'host'),
    config,
    0,
    'lun 7',
    'gold',
    'nfs',
    'user',
    true,
    {},
  ]);
  const vm = await call('VM.create', [
    {
      name_label: 'payroll <&> ü',
      name_description: 'pays people',
      user_version: 1,
      is_a_template: false,
      affinity: null,
      memory_static_max: 1024 * mebibyte,
      memory_dynamic_max: 1024 * mebibyte,
      memory_dynamic_min: 1024 * mebibyte,
      memory_static_min: 512 * mebibyte,
      VCPUs_params: {},
      VCPUs_max: 1,
      VCPUs_at_startup: 1,
      actions_after_shutdown: 'destroy',
      actions_after_reboot: 'restart',
      actions_after_crash: 'restart',
      PV_bootloader: '',
      PV_kernel: '',
      PV_ramdisk: '',
      PV_args: '',
      PV_bootloader_args: '',
      PV_legacy_args: '',
      HVM_boot_policy: 'BIOS order',
      HVM_boot_params: { order: 'cd' },
      platform: {},
      PCI_bus: '',
      other_config: { tier: 'gold' },
      recommendations: '',
    },
  ]);
  const vdi = await call('VDI.create', [
    {
      name_label: 'payroll disk',
      name_description: '',
      SR: sr as string,
      virtual_size: 2 * mebibyte,
      type: 'user',
      sharable: false,
      read_only: false,
      other_config: {},
      xenstore_data: {},
      sm_config: {},
      tags: [],
    },
  ]);
  await call('VBD.create', [
    {
      VM: vm as string,
      VDI: vdi as string,
      userdevice: '0',
      bootable: true,
      mode: 'RW',
      type: 'Disk',
      unpluggable: true,
      empty: false,
      other_config: {},
      qos_algorithm_type: '',
      qos_algorithm_params: {},
    },
  ]);
  const [net] = (await call('network.get_by_name_label', [network])) as string[];
  await call('VIF.create', [
    {
      device: '0',
      network: need(net, 'network'),
      VM: vm as string,
      MAC: '02:00:00:00:00:07',
      MTU: 1500,
      other_config: {},
      qos_algorithm_type: '',
      qos_algorithm_params: {},
    },
  ]);
  const uuid = async (className: string, ref: unknown): Promise<string> =>
    String(await call(`${className}.get_uuid`, [String(ref)]));
  return { vm: await uuid('VM', vm), sr: await uuid('SR', sr), vdi: await uuid('VDI', vdi) };
}

/** What the pool is, without the moment at which it was asked. */
function timeless(facts: PoolFacts): unknown {
  return JSON.parse(
    JSON.stringify({ ...facts, observedAt: null, serverTime: null, clockOffsetSeconds: null }),
  );
}

for (const transport of ['jsonrpc', 'xmlrpc'] as const)
  t.test(`a VM goes from one site to the other over ${transport}`, async (t) => {
    const lab = await startedLab(t);
    const prod = client(t, lab, 'prod', transport);
    const dr = client(t, lab, 'dr', transport);
    const made = await makeVm(prod, 'prod-lan');

    const before = await prod.observe();
    const vm = need(
      before.vms.find((candidate) => candidate.uuid === made.vm),
      'the VM',
    );
    t.match(vm, {
      nameLabel: 'payroll <&> ü',
      powerState: 'Halted',
      memoryStaticMax: 1024 * mebibyte,
      otherConfig: { tier: 'gold' },
      vbds: [{ vdiUuid: made.vdi, userdevice: '0', mode: 'RW' }],
      vifs: [{ mac: '02:00:00:00:00:07' }],
      digest: /^[0-9a-f]{64}$/,
    });
    t.match(
      need(
        before.srs.find((sr) => sr.uuid === made.sr),
        'the SR',
      ),
      {
        type: 'nfs',
        shared: true,
        pbds: [{ attached: true, deviceConfig: { serverpath: '/exports/prod1' } }],
      },
    );
    t.ok(
      before.defaultTemplateNames.every(
        (name) => !before.vms.some((v) => v.isTemplate && v.nameLabel === name),
      ),
    );
    const other = client(t, lab, 'prod', transport === 'jsonrpc' ? 'xmlrpc' : 'jsonrpc');
    t.strictSame(timeless(await other.observe()), timeless(before), 'the other transport sees the same');

    const whole = await Promise.all(
      observedClasses.map(async (name) => [name, await prod.xapi.call(`${name}.get_all_records`)] as const),
    );
    const moment = { observedAt: '', serverTime: '', freeMemory: new Map<string, number>() };
    const fromWhole = poolFacts(Object.fromEntries(whole) as Records, moment);
    t.strictSame(
      timeless({ ...fromWhole, hosts: fromWhole.hosts.map((host) => ({ ...host, memoryFree: 0 })) }),
      timeless({ ...before, hosts: before.hosts.map((host) => ({ ...host, memoryFree: 0 })) }),
      'the fields that an observation leaves out are not needed',
    );

    const content = Buffer.alloc(2 * mebibyte);
    content.write('written a minute ago');
    await prod.importRawVdi(made.vdi, once(content), content.length);
    t.ok(
      (await collect(await prod.exportRawVdi(made.vdi))).equals(content),
      'disks are written and read whole',
    );

    const archive = await prod.exportMetadata(made.vm, { snapshots: true });
    t.match(Buffer.from(unpackOva(archive)).toString('utf8'), made.vm);
    t.match(Buffer.from(unpackOva(await collect(await prod.exportAllMetadata()))).toString('utf8'), made.vm);
    t.match((await collect(await prod.dumpDatabase())).toString('utf8'), /<table name="VM">/);

    const hosts = (await dr.observe()).hosts;
    const config = { server: '127.0.0.2', serverpath: '/exports/prod1' };
    for (const host of hosts) t.strictSame(await dr.probe(host.uuid, 'nfs', config, {}), [made.sr]);
    const noPath = await failure(dr.probe(need(hosts[0], 'host').uuid, 'nfs', { server: '127.0.0.2' }, {}));
    t.equal(noPath.problem.code, 'DR-SR-NFS-PATH');
    t.match(noPath.message, 'export /exports/prod1');

    const record = {
      uuid: made.sr.toUpperCase(),
      nameLabel: 'lun 7',
      nameDescription: 'gold',
      type: 'nfs',
      contentType: 'user',
      shared: true,
      smConfig: {},
    };
    await dr.introduceSr(record);
    await dr.introduceSr(record);
    t.equal((await failure(dr.introduceSr({ ...record, type: 'lvmoiscsi' }))).problem.code, 'DR-SR-KNOWN');
    const unplugged = await failure(dr.setSrName(made.sr, 'another', 'gold'));
    t.equal(unplugged.problem.code, 'DR-SR-DETACHED');
    t.match(unplugged.message, `lun 7 (${made.sr})`, 'the SR has its name in the message');
    const early = await failure(dr.importMetadata(archive, { restore: true, dryRun: true }));
    t.equal(early.problem.code, 'DR-IMPORT-DISK');
    for (const host of hosts) {
      await dr.createPbd(made.sr, host.uuid, { server: '127.0.0.2', serverpath: '/exports/elsewhere' });
      await dr.createPbd(made.sr, host.uuid, config);
      await dr.createPbd(made.sr, host.uuid, config);
      await dr.plugPbd(made.sr, host.uuid);
      await dr.plugPbd(made.sr, host.uuid);
    }
    await dr.scanSr(made.sr);
    await dr.setSrName(made.sr, 'lun 7', 'gold, recovered');
    await dr.setVdiName(made.vdi, 'payroll disk', 'boots');

    t.strictSame(await dr.importMetadata(archive, { restore: true, dryRun: true }), []);
    t.strictSame(await dr.importMetadata(archive, { restore: true, dryRun: false }), [made.vm]);
    const twice = await failure(dr.importMetadata(archive, { restore: true, dryRun: false }));
    t.equal(twice.problem.code, 'DR-IMPORT-NOT-NEWER');
    t.match(twice.message, 'payroll <&> ü');
    await dr.resetPowerState(made.vm);

    await dr.addVmTag(made.vm, 'recovered');
    await dr.addVmTag(made.vm, 'recovered');
    await dr.setVmOtherConfig(made.vm, 'lifeboat:run', 'one');
    await dr.setVmOtherConfig(made.vm, 'lifeboat:run', 'two');
    await dr.setVmOtherConfig(made.vm, 'tier', null);
    await dr.setHaRestartPriority(made.vm, '');
    const appliance = await dr.rebuildAppliance('payroll app', 'all of it', [made.vm]);
    t.equal(await dr.rebuildAppliance('payroll app', 'all of it', [made.vm]), appliance);
    await dr.blockOperations(made.vm, ['start', 'start_on'], 'fenced by lifeboat');
    await dr.blockOperations(made.vm, ['start'], 'another reason');
    const blocked = await failure(dr.startVm(made.vm));
    t.equal(blocked.problem.code, 'DR-OPERATION-BLOCKED');
    t.match(blocked.message, 'fenced by lifeboat');
    await dr.unblockOperations(made.vm, ['start', 'start_on']);

    const facts = await dr.observe();
    t.match(
      need(
        facts.vms.find((candidate) => candidate.uuid === made.vm),
        'the VM',
      ),
      {
        tags: ['recovered'],
        otherConfig: { 'lifeboat:run': 'two', tier: undefined },
        applianceUuid: appliance,
        blockedOperations: { start: undefined },
        vbds: [{ vdiUuid: made.vdi, attached: false }],
      },
    );
    t.match(
      need(
        facts.vdis.find((vdi) => vdi.uuid === made.vdi),
        'the disk',
      ),
      {
        nameLabel: 'payroll disk',
        nameDescription: 'boots',
      },
    );
    t.match(
      need(
        facts.srs.find((sr) => sr.uuid === made.sr),
        'the SR',
      ),
      { nameDescription: 'gold, recovered' },
    );
    t.ok((await collect(await dr.exportRawVdi(made.vdi))).equals(content), 'the data has come along');

    t.ok((await dr.whyNotHere(made.vm)).every((answer) => answer.reason === ''));
    await dr.unplugPbd(made.sr, need(hosts[1], 'second host').uuid);
    await dr.unplugPbd(made.sr, need(hosts[1], 'second host').uuid);
    t.match(
      (await dr.whyNotHere(made.vm)).find((answer) => answer.host === hosts[1]?.uuid)?.reason,
      `An SR of the VM is not plugged on the host; sr: lun 7 (${made.sr})`,
    );
    await dr.setStartDelay(made.vm, 7);
    t.match((await dr.vmStates([made.vm])).get(made.vm), { startDelaySeconds: 7 });
    await dr.setStartDelay(made.vm, 0);
    t.match((await dr.vmStates([made.vm])).get(made.vm), { startDelaySeconds: 0 });
    await dr.startVm(made.vm);
    t.match(
      await dr.vmStates([made.vm, '00000000-0000-4000-8000-000000000000']),
      new Map([[made.vm, { powerState: 'Running', residentOn: hosts[0]?.uuid }]]),
    );
    t.equal((await failure(dr.startVm(made.vm))).problem.code, 'DR-VM-STATE');
    t.equal(
      (await failure(dr.unplugPbd(made.sr, need(hosts[0], 'host').uuid))).problem.code,
      'DR-VDI-IN-USE',
    );
    t.equal((await failure(dr.cleanShutdownVm(made.vm))).problem.code, 'DR-VM-SHUTDOWN');
    await dr.hardShutdownVm(made.vm);
    t.match(await dr.vmStates([made.vm]), new Map([[made.vm, { powerState: 'Halted', residentOn: null }]]));

    const open = (name: string): number => lab.pool(name).db.all('session').length;
    await Promise.all([prod.close(), other.close(), dr.close()]);
    t.strictSame([open('prod'), open('dr')], [0, 0], 'every session is logged out');
    t.strictSame(
      lab
        .pool('dr')
        .db.all('task')
        .map((task) => task.text('name_label')),
      [],
      'and every task destroyed',
    );
  });

t.test('passwords of a PBD become secrets, are compared through them, and are never shown', async (t) => {
  const lab = await startedLab(t);
  const dr = client(t, lab, 'dr', 'jsonrpc');
  const [host] = (await dr.observe()).hosts;
  const sr = '0f3c1d1e-1111-4222-8333-444455556666';
  await dr.introduceSr({
    uuid: sr,
    nameLabel: 'chap',
    nameDescription: '',
    type: 'lvmoiscsi',
    contentType: 'user',
    shared: true,
    smConfig: {},
  });
  const config = {
    target: '10.9.0.5',
    targetIQN: 'iqn.x',
    SCSIid: '36001',
    chapuser: 'u',
    chappassword: 's3cret-chap',
  };
  const uuid = need(host, 'host').uuid;
  const pbd = async (): Promise<{ uuid: string; deviceConfig: Readonly<Record<string, string>> }> =>
    need((await dr.observe()).srs.find((known) => known.uuid === sr)?.pbds[0], 'the PBD');
  await dr.createPbd(sr, uuid, config);
  const first = await pbd();
  t.equal(first.deviceConfig['chappassword'], undefined);
  t.equal(await dr.readSecret(need(first.deviceConfig['chappassword_secret'], 'the secret')), 's3cret-chap');
  await dr.createPbd(sr, uuid, config);
  t.equal((await pbd()).uuid, first.uuid, 'the same password: nothing to do');
  await dr.createPbd(sr, uuid, { ...config, chappassword: 'another-chap' });
  t.not((await pbd()).uuid, first.uuid, 'another password: made anew');
  const error = await failure(dr.plugPbd(sr, uuid));
  t.notMatch(error.message, /another-chap/);
  const foreign = await failure(dr.createPbd(sr, uuid, { ...config, chappassword_secret: first.uuid }));
  t.equal(foreign.problem.code, 'DR-PBD-SECRET');
});

t.test('hosts that go and come, members, and a pool that is not the expected one', async (t) => {
  const lab = await startedLab(t);
  const [master, member] = lab.pool('dr').hosts;
  const both = client(t, lab, 'dr', 'jsonrpc', [need(member, 'member'), need(master, 'master')]);
  t.ok(await both.serverTime(), 'the member sends to the coordinator');
  const alone = client(t, lab, 'dr', 'jsonrpc', [need(member, 'member')]);
  t.equal((await failure(alone.serverTime())).problem.code, 'DR-POOL-NO-COORDINATOR');

  const wrong = client(t, lab, 'dr', 'jsonrpc', lab.pool('prod').hosts);
  t.equal((await failure(wrong.serverTime())).problem.code, 'DR-POOL-IDENTITY');
  t.equal(lab.pool('prod').db.all('session').length, 0, 'logged out of the wrong pool');

  await lab.killHost(need(master, 'master'));
  t.match(await both.contact(), [
    {
      url: lab.url(need(member, 'member')),
      answered: true,
      detail: /a member, its coordinator is 127\.0\.0\.3/,
    },
    { url: lab.url(need(master, 'master')), answered: false, detail: /connection refused/ },
  ]);
  t.equal((await failure(both.serverTime())).problem.code, 'DR-POOL-NO-COORDINATOR');
  await lab.reviveHost(need(master, 'master'));
  t.ok(await both.serverTime(), 'and back again');
});

t.test('a key that breaks XML is read over JSON, and told over XML', async (t) => {
  const lab = await startedLab(t);
  const json = client(t, lab, 'prod', 'jsonrpc');
  const { vm } = await makeVm(json, 'prod-lan');
  await json.setVmOtherConfig(vm, 'a<&>b', 'hostile');
  const facts = await json.observe();
  t.equal(facts.vms.find((known) => known.uuid === vm)?.otherConfig['a<&>b'], 'hostile');
  const error = await failure(client(t, lab, 'prod', 'xmlrpc').observe());
  t.equal(error.problem.code, 'DR-POOL-XML');
});

t.test('faults of a pool: what is repeated, what is unknown, what goes on elsewhere', async (t) => {
  const lab = await startedLab(t);
  const dr = client(t, lab, 'dr', 'jsonrpc');
  const { sr, vm } = await makeVm(dr, 'dr-lan');
  const fault = (rule: Omit<Parameters<typeof lab.faults.add>[0], 'pool'>): Promise<string> =>
    lab.faults.add({ pool: 'dr', ...rule } as Parameters<typeof lab.faults.add>[0]);
  const scans = (): number => lab.counts.get('Async.SR.scan') ?? 0;

  await fault({ method: 'VM.get_all', effect: { kind: 'drop' } });
  t.ok(await dr.xapi.call('VM.get_all'), 'a dropped read is asked again');

  await fault({
    method: 'SR.scan',
    times: 2,
    effect: {
      kind: 'error',
      code: 'OTHER_OPERATION_IN_PROGRESS',
      params: ['SR', 'OpaqueRef:x', 'scan', 'y'],
    },
  });
  await dr.scanSr(sr);
  t.equal(scans(), 3, 'a busy SR is tried again');

  await fault({ method: 'SR.scan', async: true, effect: { kind: 'lose-answer' } });
  const lost = await failure(dr.scanSr(sr));
  t.equal(lost.kind, 'outcome-unknown');
  t.equal(scans(), 4, 'a write whose answer was lost is not sent again');

  await fault({ method: 'SR.scan', effect: { kind: 'vanish-task' } });
  t.equal((await failure(dr.scanSr(sr))).kind, 'outcome-unknown');

  await fault({ method: 'SR.scan', effect: { kind: 'slow-task', seconds: 0.3 } });
  await fault({ method: 'event.from', times: 9, effect: { kind: 'drop' } });
  const begun = scans();
  await dr.scanSr(sr);
  t.equal(scans(), begun + 1, 'a link that breaks while a task runs is waited for: the task tells its end');

  await fault({ path: '/export_metadata', effect: { kind: 'reset', afterBytes: 700 } });
  const archive = await dr.exportMetadata(vm, { snapshots: true });
  t.ok(unpackOva(archive).length > 1000, 'a cut export is fetched again');

  await fault({ path: '/import_metadata', effect: { kind: 'reset', afterBytes: 700 } });
  const cut = await failure(dr.importMetadata(archive, { restore: false, dryRun: false }));
  t.match(
    cut.problem.code,
    /^DR-(POOL-INTERNAL|OUTCOME-UNKNOWN)$/,
    'a cut import is as its task says, or unknown',
  );

  await fault({ method: 'VM.get_all', effect: { kind: 'restart-toolstack' } });
  t.ok(await dr.xapi.call('VM.get_all'), 'a read goes on with a new session');
  await dr.addVmTag(vm, 'alive');

  await fault({ method: 'VM.get_all', effect: { kind: 'change-master', to: 'dr2' } });
  t.ok(await dr.xapi.call('VM.get_all'), 'the new coordinator is found');
  await dr.addVmTag(vm, 'moved');
  t.match(await dr.contact(), [{ detail: /a member/ }, { detail: 'xapi answers over JSON-RPC' }]);
});
