/** What the clean-up of a drill asks of a pool: a VM removed by its mark, an SR forgotten and known again. */
import t from 'tap';
import { openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import { PortError } from '../../src/domain/errors.ts';
import { labRig } from './lab-rig.ts';
import { patientClock } from './xenapi-scripted-host.ts';

const mark = { key: 'lifeboat:drill', value: 'shop-20260314T020000Z-0001' };

async function refusal(work: Promise<unknown>): Promise<PortError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof PortError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

t.test('copies go by their mark, disks stay, and a forgotten SR can come again', async (t) => {
  const rig = await labRig(t, 91, 2);
  const site = rig.site('one');
  const { lab } = rig;
  const client = openHypervisor({
    site: 'one',
    clock: patientClock,
    password: async () => lab.credentials.password,
    pool: {
      hosts: lab
        .pool('one')
        .hosts.map((host) => ({ url: lab.url(host), fingerprint: host.certificate.sha256 })),
      username: lab.credentials.username,
      password: { from: 'env', name: 'UNUSED' },
      poolUuid: lab.pool('one').row.uuid,
      caFile: null,
      transport: 'auto',
      maxRequests: 4,
    },
  });
  t.teardown(() => client.close());
  const sr = await site.createSr('data');
  const disk = await site.createDisk(sr, 'disk');
  const vm = await site.createVm('copy', [disk]);
  const uuid = site.row('VM', vm).uuid;
  const srUuid = site.row('SR', sr).uuid;

  t.match(await refusal(client.destroyMarkedVm(uuid, mark)), {
    kind: 'refused',
    problem: { code: 'DR-VM-NOT-OURS' },
  });
  await client.setVmOtherConfig(uuid, mark.key, 'another drill');
  t.match(await refusal(client.destroyMarkedVm(uuid, mark)), { problem: { code: 'DR-VM-NOT-OURS' } });
  await client.setVmOtherConfig(uuid, mark.key, mark.value);
  await client.startVm(uuid);
  t.match(await refusal(client.destroyMarkedVm(uuid, mark)), { peerCode: 'VM_BAD_POWER_STATE' });
  t.match(await refusal(client.forgetSr(srUuid)), { peerCode: 'SR_HAS_PBD', kind: 'refused' });
  await client.hardShutdownVm(uuid);
  await client.destroyMarkedVm(uuid, mark);
  await client.destroyMarkedVm(uuid, mark);
  const facts = await client.observe();
  t.notOk(
    facts.vms.some((each) => each.uuid === uuid),
    'the VM is gone',
  );
  t.ok(
    facts.vdis.some((vdi) => vdi.uuid === site.row('VDI', disk).uuid),
    'its disk is not',
  );

  for (const host of facts.hosts) await client.unplugPbd(srUuid, host.uuid);
  await client.forgetSr(srUuid);
  await client.forgetSr(srUuid);
  t.notOk(
    (await client.observe()).srs.some((each) => each.uuid === srUuid),
    'the SR is forgotten',
  );
  await client.introduceSr({
    uuid: srUuid,
    nameLabel: 'data again',
    nameDescription: '',
    type: 'nfs',
    contentType: 'user',
    shared: true,
    smConfig: {},
  });
  const device = { server: 'filer', serverpath: '/exports/one' };
  for (const host of facts.hosts) {
    await client.createPbd(srUuid, host.uuid, device);
    await client.plugPbd(srUuid, host.uuid);
  }
  const again = await client.observe();
  t.match(
    again.srs.find((each) => each.uuid === srUuid),
    { nameLabel: 'data again', pbds: [{ attached: true }, { attached: true }] },
  );
  t.ok(
    again.vdis.some((vdi) => vdi.srUuid === srUuid && !vdi.missing),
    'the storage was never touched',
  );
});
