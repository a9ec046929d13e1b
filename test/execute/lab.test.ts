/** Export and failover of the demo world, through the real client, planners, catalog, files and arrays. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { TargetsCatalog } from '../../src/adapters/catalog/catalog.ts';
import { LocalStore } from '../../src/adapters/catalog/local-store.ts';
import { JournalFiles } from '../../src/adapters/journal/journal-files.ts';
import { openReplication } from '../../src/adapters/replication/open.ts';
import { SqliteStates } from '../../src/adapters/state/sqlite-states.ts';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { systemEntropy } from '../../src/adapters/system/entropy.ts';
import { openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import type { Plan } from '../../src/domain/plan.ts';
import { vmsInScope } from '../../src/domain/scope.ts';
import type { GroupSettings, ScopeMatch } from '../../src/domain/settings.ts';
import { declareLost } from '../../src/execute/decisions.ts';
import { execute, planDigest } from '../../src/execute/executor.ts';
import { handlersOver } from '../../src/execute/interpreter.ts';
import { writeArrayAccess } from '../../src/lab/arrays/index.ts';
import { startLab } from '../../src/lab/lab.ts';
import { fingerprint } from '../../src/metadata/canonical.ts';
import { parseArchive } from '../../src/metadata/document.ts';
import { observe } from '../../src/observe/observe.ts';
import { planExport } from '../../src/plan/export.ts';
import { planFailover } from '../../src/plan/failover.ts';
import type { Replication } from '../../src/ports/replication.ts';
import { noGuests } from '../support/guests.ts';

const everything: ScopeMatch = { names: ['*'], patterns: [], tags: [], folders: [], srs: [], uuids: [] };
const nothing: ScopeMatch = { ...everything, names: [] };
const volumes = ['gold', 'silver'];

const group: GroupSettings = {
  name: 'shop',
  production: 'production',
  recovery: 'recovery',
  scope: { include: everything, exclude: nothing },
  storage: volumes.map((volume) => ({
    sr: `${volume} storage`,
    source: { array: 'array-production', volume },
    target: { array: 'array-recovery', volume },
  })),
  rpoSeconds: 900,
  rtoSeconds: 3600,
  networks: [
    { production: 'Production LAN', recovery: 'Recovery LAN', drill: null, drillAtProduction: null },
    { production: 'DMZ', recovery: 'Recovery DMZ', drill: null, drillAtProduction: null },
    { production: 'Database', recovery: 'Recovery Database', drill: null, drillAtProduction: null },
  ],
  plan: {
    file: null,
    tiers: [
      {
        name: 'databases',
        vms: { ...nothing, names: ['db-*'] },
        ready: [{ gate: 'running' }],
        timeoutSeconds: 300,
        onTimeout: 'stop',
      },
    ],
    others: 'by-order',
    honourStartDelay: true,
  },
  retention: { last: 3, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, maxAgeSeconds: null },
};

t.test(
  '24 VMs are saved, their site dies, and they run on the mapped networks of the other one',
  async (t) => {
    const root = mkdtempSync(join(tmpdir(), 'lifeboat-execute-'));
    const lab = await startLab({ world: 'demo', storage: join(root, 'storage') });
    const sites = new Map(
      ['production', 'recovery'].map((site) => [
        site,
        openHypervisor({
          site,
          clock: systemClock,
          password: async () => lab.credentials.password,
          pool: {
            hosts: lab
              .pool(site)
              .hosts.map((host) => ({ url: lab.url(host), fingerprint: host.certificate.sha256 })),
            username: lab.credentials.username,
            password: { from: 'env', name: 'UNUSED' },
            poolUuid: lab.pool(site).row.uuid,
            caFile: null,
            transport: 'auto',
            maxRequests: 4,
          },
        }),
      ]),
    );
    const catalog = new TargetsCatalog({
      targets: [new LocalStore('near', join(root, 'catalog'))],
      key: async () => ({ from: 'passphrase', passphrase: 'a passphrase of the test' }),
      now: () => systemClock.now(),
    });
    const states = new SqliteStates(join(root, 'state.db'), systemClock, systemEntropy);
    t.teardown(async () => {
      await Promise.all([...sites.values(), ...arrays.values()].map((open) => open.close()));
      await catalog.close();
      states.close();
      await lab.stop();
      rmSync(root, { recursive: true, force: true });
    });

    const access = join(root, 'access');
    mkdirSync(access);
    await writeArrayAccess(lab, access);
    const arrays = new Map<string, Replication>();
    const arrayOfName = (name: string): Replication => {
      const site = name.replace('array-', '');
      const found =
        arrays.get(name) ??
        openReplication(
          { name, site, type: 'lab', options: { directory: access }, secret: null },
          {
            clock: systemClock,
            secrets: { resolve: async () => Promise.reject(new Error('no secret')) },
            peers: new Map(),
          },
        );
      arrays.set(name, found);
      return found;
    };
    const reach = {
      clock: systemClock,
      entropy: systemEntropy,
      hypervisor: async (site: string) => {
        const found = sites.get(site);
        if (found === undefined) throw new Error(`no site ${site}`);
        return found;
      },
      array: async (name: string) => arrayOfName(name),
      catalog: async () => catalog,
    };
    const ports = {
      ...reach,
      journals: new JournalFiles(join(root, 'runs')),
      states,
      ...handlersOver({
        ...reach,
        groups: [group],
        states: async () => states,
        probeTcp: async () => true,
        ...noGuests,
        rehearse: async () => [],
      }),
    };
    const openedSite = (site: string) => {
      const found = sites.get(site);
      if (found === undefined) throw new Error(`no site ${site}`);
      return found;
    };
    const look = () =>
      observe(reach, {
        sites: ['production', 'recovery'],
        pairs: group.storage,
        groups: [group.name],
        pointsPerGroup: 5,
        pointId: null,
      });
    const carryOut = (plan: Plan, decisions: { by: string; decision: string; reason: string }[] = []) =>
      execute(ports, { plan, planDigest: planDigest(plan), by: 'Ada', version: '1', decisions });

    // What the guests report is part of their documents: none of them may begin to report between two exports.
    const guests = lab.pool('production');
    await guests.until(
      () =>
        guests.db
          .all('VM')
          .filter((vm) => vm.text('power_state') === 'Running' && !vm.bool('is_control_domain'))
          .every((vm) => vm.row('guest_metrics', 'VM_guest_metrics')?.bool('PV_drivers_detected') === true),
      120,
    );
    const before = await look();
    const production = before.sites['production'];
    if (production?.reachable !== true) throw new Error('the production site should answer');
    const saved = await carryOut(
      planExport({
        planId: 'e1',
        pointId: 'shop/20260101T000000Z-0001',
        group,
        configDigest: 'c',
        generation: 0,
        observation: before,
        vms: vmsInScope(production.pool, group.scope),
      }),
    );
    t.equal(saved.run.steps.get('read-back')?.status, 'succeeded', saved.summary);
    t.match(saved.run.steps.get('seal')?.output, { vmCount: 24, failureCount: 0 });

    const fetches = () => lab.calls.filter((call) => call.method.includes('export_metadata')).length;
    const exportAgain = async (number: number, everything: boolean) => {
      const observation = await look();
      const view = observation.sites['production'];
      const before = fetches();
      const pointId = `shop/20260101T00000${number}Z-000${number}`;
      const vms = view?.reachable === true ? vmsInScope(view.pool, group.scope) : [];
      const request = { planId: `e${number}`, pointId, group, configDigest: 'c', generation: 0 };
      const plan = planExport({ ...request, observation, vms, everything });
      const { run, summary } = await carryOut(plan);
      t.equal(run.steps.get('read-back')?.status, 'succeeded', summary);
      t.same(run.steps.get('documents')?.warnings, []);
      const point = await catalog.read(pointId);
      const why = plan.steps.find((step) => step.id === 'documents')?.why;
      const prints = new Map<string, string>();
      for (const vm of point.vms)
        prints.set(vm.nameLabel, fingerprint(parseArchive(await catalog.get(vm.document))));
      return { point, why, fetched: fetches() - before, prints };
    };
    const idle = await exportAgain(2, false);
    t.equal(idle.fetched, 0, 'nothing changed: nothing is fetched');
    t.match(idle.why, 'none of 24 VMs changed since point shop/20260101T000000Z-0001: nothing is fetched');
    const { xapi } = openedSite('production');
    for (const name of ['db-01', 'web-01']) {
      const [vm] = (await xapi.call('VM.get_by_name_label', [name])) as string[];
      await xapi.call('VM.set_name_description', [vm ?? '', 'changed after the first export']);
    }
    const changed = await exportAgain(3, false);
    t.equal(changed.fetched, 2);
    t.match(changed.why, /^2 of 24 VMs changed since point .*: single requests; 22 documents kept$/);
    t.equal(changed.point.vms.length, 24);
    t.match(
      changed.point.vms.find((vm) => vm.nameLabel === 'web-02'),
      { documentFrom: { pointId: 'shop/20260101T000000Z-0001' } },
      'a document remembers who fetched it, over more than one point',
    );
    const full = await exportAgain(4, true);
    t.equal(full.fetched, 1, 'all in one request');
    t.same(changed.prints, full.prints, 'kept documents say what fetched ones do');
    // The failover shall rest upon kept documents.
    const last = await exportAgain(5, false);
    t.equal(last.fetched, 0);
    for (const volume of volumes) await arrayOfName('array-production').syncNow(volume, 'after the export');
    await lab.killSite('production');

    const planned = {
      planId: 'f1',
      group,
      configDigest: 'c',
      generation: 0,
      observation: await look(),
      pointId: null,
      declaredLost: true,
    };
    const plan = planFailover(planned);
    t.same(plan.waitingOn, []);
    t.equal(plan.expects.pointId, last.point.id);
    const result = await carryOut(plan, [{ by: 'Ada', decision: declareLost, reason: 'fire' }]);
    for (const [id, state] of result.run.steps)
      if (state.status !== 'succeeded' || state.warnings.length > 0)
        t.fail(`${id} ${state.status}`, {
          problem: state.problem,
          reason: state.reason,
          warnings: state.warnings,
        });
    t.equal(result.outcome, 'done', result.summary);

    const pool = await (await reach.hypervisor('recovery')).observe();
    const names = new Map(pool.networks.map((network) => [network.uuid, network.nameLabel]));
    t.equal(pool.vms.filter((vm) => vm.powerState === 'Running').length, 24);
    t.same(
      [
        ...new Set(
          pool.vms.map((vm) => `${vm.nameLabel.slice(0, 2)} ${names.get(vm.vifs[0]?.networkUuid ?? '')}`),
        ),
      ].sort(),
      ['ap Recovery LAN', 'db Recovery Database', 'we Recovery DMZ'],
    );
    t.match(await states.get('shop'), {
      phase: 'failed-over',
      activeSite: 'recovery',
      tombstone: { site: 'production' },
    });

    const finished = { ...planned, generation: 1, observation: await look(), tombstoned: true };
    const again = planFailover(finished);
    t.same(again.waitingOn, []);
    t.same(again.steps, [], 'invariant 6: planning again on the finished world yields an empty plan');
    const [vm] = pool.vms;
    if (vm !== undefined) await (await reach.hypervisor('recovery')).hardShutdownVm(vm.uuid);
    t.ok(
      planFailover({ ...finished, observation: await look() }).steps.length > 0,
      'one VM that does not run is something to do',
    );
  },
);
