/** The document of a VM as a drill imports it: another VM in everything that could meet the original. */
import t from 'tap';
import { drillMark, drillTag, originalMark } from '../../src/domain/drill.ts';
import { copyOptions } from '../../src/execute/actions/drill-copies.ts';
import type { MetadataDocument } from '../../src/metadata/document.ts';
import { rewriteForRecovery } from '../../src/metadata/recovery.ts';
import { fakeDocument, fakeVm, twoSites } from '../execute/fakes.ts';

const network = {
  production: 'Office',
  recovery: { uuid: 'net-drill', nameLabel: 'Drill', bridge: 'xapi9' },
};
const copy = { uuid: '00000000-0000-4000-8000-000000000001', nameLabel: 'drill: db', original: 'db' };

/** A VM that HA and its pool would start, with a tag and a seed. */
function original(): MetadataDocument {
  const pool = twoSites(['db']).sites['tokyo']?.pool;
  if (pool === undefined) throw new Error('no pool');
  const plain = fakeDocument(fakeVm('db', 'net-tokyo'), pool);
  return plain.with(
    plain.objects.map((object) =>
      object.class === 'VM'
        ? {
            ...object,
            fields: {
              ...object.fields,
              tags: ['gold'],
              ha_always_run: true,
              ha_restart_priority: 'restart',
              other_config: { mac_seed: 'the seed', auto_poweron: 'true', folder: '/shop' },
            },
          }
        : object,
    ),
  );
}

function drilled(attempt = 1) {
  return rewriteForRecovery(original(), {
    networks: [network],
    ...copyOptions('shop-20260314T020000Z-0001', copy, { run: 'run-1', attempt }),
  });
}

t.test('a copy is another VM', (t) => {
  const made = drilled();
  const [vm] = made.document.vms;
  const [was] = original().vms;
  t.equal(vm?.uuid, copy.uuid, 'the uuid of the plan');
  t.equal(vm?.nameLabel, 'drill: db');
  t.strictSame(vm?.tags, ['gold', drillTag]);
  t.match(vm?.otherConfig, {
    [drillMark]: 'shop-20260314T020000Z-0001',
    [originalMark]: 'db',
    auto_poweron: undefined,
    folder: '/shop',
  });
  t.not(vm?.macSeed, 'the seed', 'an equal seed would block the real failover');
  t.notOk(vm?.haAlwaysRun);
  t.equal(vm?.haRestartPriority, '');
  const [vif] = vm?.vifs ?? [];
  t.match(vif?.mac, /^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/, 'locally administered, no group address');
  t.not(vif?.mac, was?.vifs[0]?.mac);
  t.not(vif?.uuid, was?.vifs[0]?.uuid, 'an import would take an interface of the same uuid as it is');
  t.not(vm?.vbds[0]?.uuid, was?.vbds[0]?.uuid);
  t.equal(vm?.vbds[0]?.vdi?.location, was?.vbds[0]?.vdi?.location, 'its disk is the one of the clone');
  t.equal(vif?.network?.nameLabel, 'Drill');
  t.strictSame(made.unmappedNetworks, []);
  t.end();
});

t.test('the same attempt gives the same document, another attempt another one', (t) => {
  const mac = (attempt: number) => drilled(attempt).document.vms[0]?.vifs[0]?.mac;
  t.equal(mac(1), mac(1));
  t.not(mac(1), mac(2));
  t.equal(drilled(2).document.vms[0]?.uuid, copy.uuid, 'but for the uuid, by which half an import is known');
  t.end();
});
