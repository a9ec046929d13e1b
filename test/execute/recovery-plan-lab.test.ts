/**
 * A VM of the lab comes up with another shape and another address, which is on loopback: its page, its SSH server and a
 * local program are real. Every port of the program is the one that the product uses.
 */
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import t from 'tap';
import { JournalFiles } from '../../src/adapters/journal/journal-files.ts';
import { runInGuest } from '../../src/adapters/ssh/guest.ts';
import { SqliteInbox } from '../../src/adapters/state/sqlite-inbox.ts';
import { SqliteStates } from '../../src/adapters/state/sqlite-states.ts';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { systemEntropy } from '../../src/adapters/system/entropy.ts';
import { probeHttp } from '../../src/adapters/system/http.ts';
import { programRunner } from '../../src/adapters/system/programs.ts';
import { probeTcp } from '../../src/adapters/system/tcp.ts';
import { openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import type { ReadinessGate } from '../../src/domain/recovery-plan.ts';
import { execute, planDigest } from '../../src/execute/executor.ts';
import { handlersOver } from '../../src/execute/interpreter.ts';
import { startLab } from '../../src/lab/lab.ts';
import { agentKey } from '../../src/lab/vm/index.ts';
import { step } from './plans.ts';
import { planOf } from './support.ts';

const gib = 1024 ** 3;

const newVm = {
  name_label: 'db-01',
  name_description: '',
  user_version: 1,
  is_a_template: false,
  affinity: null,
  memory_static_max: gib,
  memory_dynamic_max: gib,
  memory_dynamic_min: gib,
  memory_static_min: gib,
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
  // Its guest agent reports a second after the start.
  other_config: { [agentKey]: '1' },
  recommendations: '',
};

async function guestServers(root: string) {
  const page = createServer((_request, response) => response.end('all is up'));
  page.listen(0, '127.0.0.1');
  const { private: hostKey, public: hostPublic } = ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 });
  const user = ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 });
  const commands: string[] = [];
  const login = new ssh2.Server({ hostKeys: [hostKey] }, (client) => {
    client.on('error', () => client.end());
    client.on('authentication', (context) =>
      context.method === 'publickey' ? context.accept() : context.reject(['publickey']),
    );
    client.on('session', (accept) =>
      accept().on('exec', (acceptCommand, _reject, { command }) => {
        commands.push(command);
        const channel = acceptCommand();
        channel.exit(0);
        channel.end();
      }),
    );
  });
  login.listen(0, '127.0.0.1');
  await Promise.all([once(page, 'listening'), once(login, 'listening')]);
  const keyFile = join(root, 'key');
  const knownHostsFile = join(root, 'known_hosts');
  const ports = {
    page: (page.address() as AddressInfo).port,
    ssh: (login.address() as AddressInfo).port,
  };
  writeFileSync(keyFile, user.private, { mode: 0o600 });
  writeFileSync(knownHostsFile, `[db-01]:${ports.ssh} ${hostPublic}\n`);
  const close = (): void => {
    page.closeAllConnections();
    page.close();
    login.close();
  };
  return { ports, keyFile, knownHostsFile, commands, close };
}

t.test(
  'adjusted, started, given an address, waited for over HTTP and SSH; called and answered',
  async (t) => {
    const root = mkdtempSync(join(tmpdir(), 'lifeboat-plan-'));
    const guest = await guestServers(root);
    const lab = await startLab({ world: 'recordings', storage: join(root, 'storage') });
    const pool = lab.pool('dr');
    const hypervisor = openHypervisor({
      site: 'dr',
      clock: systemClock,
      password: async () => lab.credentials.password,
      pool: {
        hosts: pool.hosts.map((host) => ({ url: lab.url(host), fingerprint: host.certificate.sha256 })),
        username: lab.credentials.username,
        password: { from: 'env', name: 'UNUSED' },
        poolUuid: pool.row.uuid,
        caFile: null,
        transport: 'auto',
        maxRequests: 4,
      },
    });
    const states = new SqliteStates(join(root, 'state.db'), systemClock, systemEntropy);
    const inbox = new SqliteInbox(join(root, 'state.db'), systemClock);
    t.teardown(async () => {
      await hypervisor.close();
      await inbox.close();
      states.close();
      guest.close();
      await lab.stop();
      rmSync(root, { recursive: true, force: true });
    });

    const { xapi } = hypervisor;
    const [network] = (await xapi.call('network.get_all')) as string[];
    const ref = String(await xapi.call('VM.create', [newVm]));
    await xapi.call('VIF.create', [
      {
        device: '0',
        network: network ?? '',
        VM: ref,
        MAC: '',
        MTU: 1500,
        other_config: {},
        qos_algorithm_type: '',
        qos_algorithm_params: {},
      },
    ]);
    const vm = { uuid: String(await xapi.call('VM.get_uuid', [ref])), nameLabel: 'db-01' };
    const [host] = pool.hosts;
    if (host === undefined) throw new Error('the pool has a host');
    const adjustment = {
      memory: { staticMax: 2 * gib, dynamicMax: 2 * gib, dynamicMin: gib },
      vcpus: 3,
      host: { uuid: host.row.uuid, nameLabel: host.name },
    };
    const addresses = [
      {
        device: '0',
        ipv4: { address: '127.0.0.1/8', gateway: '' },
        ipv6: { address: 'fd00::11/64', gateway: '' },
      },
    ];
    const gates: readonly ReadinessGate[] = [
      { gate: 'guest-agent' },
      { gate: 'address', subnets: ['10.0.0.0/8', '127.0.0.0/8'] },
      { gate: 'tcp', port: guest.ports.page },
      {
        gate: 'http',
        port: guest.ports.page,
        path: '/health',
        tls: false,
        host: null,
        verify: true,
        caFile: null,
        status: [200],
        contains: 'is up',
      },
      {
        gate: 'command',
        user: 'probe',
        port: guest.ports.ssh,
        keyFile: guest.keyFile,
        hostKey: { knownHostsFile: guest.knownHostsFile },
        argv: ['pg_isready', "it's"],
        exitCode: 0,
      },
    ];
    const site = 'dr';
    const occasion = { at: 'end', when: 'at the end', tier: null, vm: null } as const;
    const wrote = join(root, 'called');
    const script = `require('node:fs').writeFileSync(process.argv[1], process.env.LIFEBOAT_GROUP + ' ' + process.env.LIFEBOAT_SITE)`;
    const plan = planOf([
      step({
        id: 'adjust',
        after: [],
        action: { do: 'adjust-vm', site, vm, adjustment },
        holdsWhen: { is: 'vm-adjusted', site, vm, adjustment },
      }),
      step({
        id: 'start',
        after: ['adjust'],
        action: { do: 'start-vm', site, vm, twinSite: null },
        holdsWhen: { is: 'vm-running', site, vm },
      }),
      step({
        id: 'address',
        after: ['start'],
        action: { do: 'set-addresses', site, vm, addresses },
        holdsWhen: { is: 'addresses-set', site, vm, addresses },
      }),
      step({
        id: 'ready',
        after: ['address'],
        action: { do: 'await-ready', site, vm, gates },
        holdsWhen: { is: 'vm-ready', site, vm, gates },
      }),
      step({
        id: 'ask',
        after: ['ready'],
        action: {
          do: 'ask',
          name: 'doors',
          question: 'Open?',
          occasion,
          answerWithinSeconds: 500,
          byDefault: 'stop',
        },
      }),
      step({
        id: 'call',
        after: ['ask'],
        action: {
          do: 'call-out',
          name: 'status-page',
          site,
          occasion,
          argv: [process.execPath, '-e', script, wrote],
          tryWithinSeconds: 300,
          retries: 0,
        },
        repeatable: false,
      }),
    ]);
    const handlers = handlersOver({
      clock: systemClock,
      groups: [],
      states: async () => states,
      hypervisor: async () => hypervisor,
      array: async () => Promise.reject(new Error('no array is needed')),
      catalog: async () => Promise.reject(new Error('no catalog is needed')),
      rehearse: async () => [],
      probeTcp,
      probeHttp,
      runInGuest,
      runProgram: programRunner({ directory: root, environment: process.env, redact: (text) => text }),
    });
    const journals = new JournalFiles(join(root, 'runs'));
    const asked = Promise.withResolvers<void>();
    const running = execute(
      { journals, states, inbox, clock: systemClock, entropy: systemEntropy, ...handlers },
      {
        plan,
        planDigest: planDigest(plan),
        by: 'Ada',
        version: '1',
        runId: 'r1',
        onEvent: (event) => {
          if (event.event === 'StepStarted' && event.step === 'ask') asked.resolve();
          if (event.event === 'RunEnded') asked.resolve();
        },
      },
    );
    await asked.promise;
    await inbox.post('r1', { says: 'answer', step: 'ask', answer: 'continue', by: 'Bob', reason: 'seen' });
    const result = await running;
    for (const [id, state] of result.run.steps)
      if (state.status !== 'succeeded') t.fail(`${id} ${state.status}`, { problem: state.problem });
    t.equal(result.outcome, 'done', result.summary);
    t.match(await hypervisor.vmShape(vm.uuid), {
      memoryStaticMax: 2 * gib,
      memoryDynamicMin: gib,
      vcpusAtStartup: 3,
      affinity: host.row.uuid,
    });
    t.same(await hypervisor.vifAddresses(vm.uuid), addresses);
    t.same(result.run.steps.get('ready')?.output, { addresses: ['127.0.0.1', 'fd00::11'] });
    t.same([...new Set(guest.commands)], [`'pg_isready' 'it'\\''s'`]);
    t.match(result.run.steps.get('ask')?.output, { answer: 'continue', by: 'Bob' });
    t.ok(existsSync(wrote));
    t.equal(readFileSync(wrote, 'utf8'), 'payroll dr');
  },
);
