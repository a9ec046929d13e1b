/** Recovery plans: what each line of the elaborate sample means once it is read. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { loadRecoveryPlan, loadSettings } from '../../src/config/load.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const sample = readFileSync(`${root}runbooks/elaborate.yaml`, 'utf8');

t.test('the elaborate sample says everything that a plan can say', (t) => {
  const plan = loadRecoveryPlan('/etc/dr/plans/elaborate.yaml', () => sample);
  const [directory, database, application, web] = plan.tiers;
  t.match(directory, { name: 'directory', delaySeconds: 30, atOnce: 1, onTimeout: 'stop' });
  t.same(directory?.ready, [
    { gate: 'guest-agent' },
    { gate: 'address', subnets: ['10.10.1.0/24', '10.20.1.0/24'] },
    { gate: 'tcp', port: 389 },
  ]);
  t.same(directory?.readyInDrill, [{ gate: 'guest-agent' }]);
  t.same(database?.ready[1], {
    gate: 'command',
    user: 'probe',
    port: 22,
    keyFile: '/etc/dr/plans/keys/probe',
    hostKey: { knownHostsFile: '/etc/dr/plans/keys/known_hosts' },
    argv: ['pg_isready', '--quiet'],
    exitCode: 0,
  });
  t.same(application?.ready, [
    {
      gate: 'http',
      port: 8443,
      path: '/health',
      tls: true,
      host: 'app.example.com',
      verify: true,
      caFile: '/etc/dr/plans/keys/example-ca.pem',
      status: [200, 204],
      contains: '"status":"up"',
    },
  ]);
  t.same(web?.ready, [{ gate: 'running' }]);
  t.notOk(web !== undefined && ('delaySeconds' in web || 'atOnce' in web || 'readyInDrill' in web));
  t.match(plan.dependencies, [
    { vms: { names: ['app-*'] }, needs: { names: ['license-01'] }, ifNotReady: 'start' },
    { vms: { names: ['db-02'] }, needs: { names: ['db-01'] }, ifNotReady: 'leave-halted' },
  ]);
  t.match(plan.leaveOff, { names: ['*-test'], tags: ['not-at-dr'] });
  t.match(plan.overrides, [
    {
      addresses: [
        {
          device: '0',
          ipv4: { address: '10.20.1.11/24', gateway: '10.20.1.1' },
          ipv6: { address: 'fd00:20:1::11/64', gateway: 'fd00:20:1::1' },
        },
      ],
      addressesInDrill: true,
    },
    {
      site: 'production',
      addresses: [{ ipv4: { address: '10.10.1.11/24' }, ipv6: null }],
      addressesInDrill: false,
    },
    {
      networks: [{ production: 'Production LAN', here: 'Recovery Database' }],
      memory: { staticMax: 8 * 1024 ** 3, dynamicMax: 8 * 1024 ** 3, dynamicMin: 4 * 1024 ** 3 },
      vcpus: 2,
      host: 'recovery-1',
    },
  ]);
  t.match(plan.prompts, [
    { moment: { at: 'before-promotion' }, timeoutSeconds: 900, byDefault: 'stop', inDrill: false },
    { moment: { at: 'before-tier', tier: 'web' }, byDefault: 'continue', inDrill: true },
  ]);
  t.match(plan.callouts, [
    {
      moment: { at: 'after-tier', tier: 'directory' },
      timeoutSeconds: 120,
      onFailure: 'stop',
      repeatable: true,
      retries: 2,
      inDrill: false,
    },
    { moment: { at: 'after-start', vm: 'license-*' }, repeatable: false, retries: 0, inDrill: true },
    { moment: { at: 'end' }, onFailure: 'continue' },
  ]);
  t.end();
});

t.test(
  'an override without a site applies at the recovery site of its group, and paths start at the plan',
  (t) => {
    const sites = readFileSync(`${root}sites.yaml`, 'utf8');
    const settings = loadSettings('/etc/dr/sites.yaml', (file) =>
      file.endsWith('sites.yaml')
        ? sites
        : file.endsWith('shop.yaml')
          ? sample
          : readFileSync(file.replace('/etc/dr/', root), 'utf8'),
    );
    const plan = settings.groups[0]?.plan;
    t.same(
      plan?.overrides?.map(({ site }) => site),
      ['recovery', 'production', 'recovery'],
    );
    t.match(plan?.tiers[1]?.ready[1], { keyFile: '/etc/dr/runbooks/keys/probe' });
    t.end();
  },
);
