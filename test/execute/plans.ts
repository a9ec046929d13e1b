/** An export and a failover of the fake world, as the planners would make them. */
import type { Plan, Step } from '../../src/domain/plan.ts';
import { named, pair, replicaPoint } from './fakes.ts';
import { planOf } from './support.ts';

type Draft = Pick<Step, 'id' | 'after' | 'action'> & Partial<Step>;

export function step(draft: Draft): Step {
  return {
    holdsWhen: null,
    pointOfNoReturn: false,
    repeatable: true,
    timeoutSeconds: 600,
    forecastSeconds: 1,
    uses: [],
    onFailure: 'stop',
    why: draft.id,
    ...draft,
  };
}

const pointId = 'payroll/20260101T000000Z-0001';
const networks = [
  { production: 'Office', recovery: { uuid: 'net-osaka', nameLabel: 'Office DR', bridge: 'xenbr0' } },
];

export function exportOf(names: readonly string[], strategy: 'singles' | 'all' = 'singles'): Plan {
  const vms = names.map(named);
  return planOf(
    [
      step({
        id: 'capture',
        after: [],
        action: { do: 'capture-pool', site: 'tokyo', vms: [...names], srs: ['sr1'], groupSrs: [] },
      }),
      step({
        id: 'documents',
        after: ['capture'],
        action: { do: 'save-documents', site: 'tokyo', vms, strategy, concurrency: 4 },
      }),
      step({
        id: 'replication',
        after: ['documents'],
        action: { do: 'record-replication', pairs: [pair] },
        onFailure: 'continue',
      }),
      step({
        id: 'seal',
        after: ['replication'],
        needs: [],
        action: { do: 'seal-point', pointId },
        holdsWhen: { is: 'point-sealed', pointId },
      }),
      step({ id: 'read-back', after: ['seal'], action: { do: 'verify-point', pointId } }),
    ],
    { id: 'export-1', operation: 'export' },
  );
}

export function failoverOf(names: readonly string[], values: Partial<Plan> = {}): Plan {
  const vms = names.map(named);
  const disks = names.map((name) => ({
    uuid: `disk-${name}`,
    location: `disk-${name}`,
    nameLabel: `${name} root`,
    nameDescription: '',
    virtualSize: 1024,
    usedBy: [name],
  }));
  const site = 'osaka';
  const starts = names.flatMap((name) => [
    step({
      id: `start-${name}`,
      after: ['import'],
      needs: ['import'],
      action: { do: 'start-vm', site, vm: named(name), twinSite: 'tokyo' },
      holdsWhen: { is: 'vm-running', site, vm: named(name) },
      uses: ['start:osaka'],
      onFailure: 'continue',
    }),
  ]);
  const sr = {
    uuid: 'sr1',
    nameLabel: 'Data 1',
    nameDescription: 'first',
    type: 'nfs',
    contentType: 'user',
    shared: true,
    smConfig: {},
    deviceConfig: { server: 'filer-a', serverpath: '/vol1', options: 'hard' },
    pointId,
    exposedBy: 'expose',
    hosts: [
      { uuid: 'oa', nameLabel: 'oa', master: true },
      { uuid: 'obb', nameLabel: 'obb', master: false },
    ],
  };
  return planOf(
    [
      step({
        id: 'evidence',
        after: [],
        action: { do: 'record-evidence', site: 'tokyo', evidence: ['silence'] },
      }),
      step({
        id: 'record',
        after: ['evidence'],
        action: { do: 'record-replica', pair, expected: replicaPoint, ageSeconds: 60 },
      }),
      step({ id: 'read-back', after: ['evidence'], action: { do: 'verify-point', pointId } }),
      step({
        id: 'tombstone',
        after: ['record', 'read-back'],
        action: { do: 'tombstone', group: 'payroll', lostSite: 'tokyo' },
        holdsWhen: { is: 'tombstoned', group: 'payroll', lostSite: 'tokyo' },
      }),
      step({
        id: 'promote',
        after: ['tombstone'],
        action: { do: 'promote', pair, point: replicaPoint },
        holdsWhen: { is: 'promoted', pair },
        pointOfNoReturn: true,
      }),
      step({ id: 'expose', after: ['promote'], action: { do: 'expose', pair, site } }),
      step({
        id: 'attach',
        after: ['expose'],
        action: { do: 'attach-sr', site, sr },
        holdsWhen: { is: 'sr-attached', site, srUuid: 'sr1', hosts: ['oa', 'obb'] },
      }),
      step({ id: 'compare', after: ['attach'], action: { do: 'compare-disks', site, srUuid: 'sr1', disks } }),
      step({
        id: 'names',
        after: ['compare'],
        action: {
          do: 'restore-names',
          site,
          srUuid: 'sr1',
          nameLabel: 'Data 1',
          nameDescription: 'first',
          disks,
        },
        holdsWhen: { is: 'names-restored', site, srUuid: 'sr1', disks },
        onFailure: 'continue',
      }),
      step({
        id: 'import',
        after: ['compare'],
        action: { do: 'import-vms', site, pointId, vms, networks },
        holdsWhen: { is: 'vms-imported', site, vms, networks },
        uses: ['import:osaka'],
        onFailure: 'continue',
      }),
      step({
        id: 'appliance',
        after: ['import'],
        action: { do: 'rebuild-appliance', site, nameLabel: 'App', nameDescription: '', vms },
        holdsWhen: { is: 'appliance-has', site, nameLabel: 'App', vms },
        onFailure: 'continue',
      }),
      ...starts,
      step({
        id: 'ha',
        after: starts.map(({ id }) => id),
        needs: [],
        action: { do: 'restore-ha', site, vms: vms.map((vm) => ({ ...vm, priority: 'restart' })) },
        holdsWhen: { is: 'ha-restored', site, vms: vms.map((vm) => ({ ...vm, priority: 'restart' })) },
        onFailure: 'continue',
      }),
    ],
    values,
  );
}
