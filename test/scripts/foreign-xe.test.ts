/** A recovery point in the hands of people who have `xe` and nothing else: the files, and the script beside them. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { foreignBackups } from '../../src/adapters/foreign/foreign.ts';
import { promotionConfirmation } from '../../src/domain/replication.ts';
import { arrayOf } from '../../src/lab/arrays/index.ts';
import { demoVolumes } from '../../src/lab/demo.ts';
import { guestRead, guestWrite } from '../../src/lab/vm/guest.ts';
import { shellWord, type XeRecovery, xeScript } from '../../src/report/xe-script.ts';
import { ends, World } from './trouble.ts';
import { fakeXe, xeOf } from './xe.ts';

t.setTimeout(480_000);

const everybody = ['db-01', 'web-01'];
const run = promisify(execFile);

interface Ended {
  readonly code: number;
  readonly said: string;
}

/** Runs a script with this `xe` in front of everything else; never rejects. */
function sh(xe: { readonly directory: string }, ...words: readonly string[]): Promise<Ended> {
  return answered('yes', xe, ...words);
}

/** The same by somebody who types something else when asked. */
async function answered(
  answer: string,
  xe: { readonly directory: string },
  ...words: readonly string[]
): Promise<Ended> {
  const env = { ...process.env, PATH: `${xe.directory}:${process.env['PATH']}` };
  const started = run('sh', words, { env, timeout: 120_000 });
  // A script that ends before it asks reads nothing.
  started.child.stdin?.on('error', () => undefined).end(`${answer}\n`);
  try {
    const { stdout, stderr } = await started;
    return { code: 0, said: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, said: stdout + stderr };
  }
}

t.test('a group comes up from the files of a recovery point, with xe alone', async (t) => {
  const world = await World.start(t, { guests: { db: 1, app: 0, web: 1 }, saved: false });
  const production = world.lab.pool('production');
  const recovery = world.lab.pool('recovery');
  const uuidOf = (name: string): string => production.db.byName('VM', name)[0]?.uuid ?? '';
  for (const name of everybody)
    guestWrite(world.lab, 'production', uuidOf(name), '0', 4096, Buffer.from(`data of ${name}`));
  for (const volume of demoVolumes) await arrayOf(world.lab, 'array-production').sync(volume, null).done;
  ends(t, 'export', await world.run('export', 'shop'), 0);
  await world.lab.killSite('production');

  const to = join(world.directory, 'stick');
  const taken = await world.run('catalog', 'extract', 'shop/latest', '--script', '--to', to);
  ends(t, 'catalog extract', taken, 0, /recover\.sh/, /prepared for the recovery site/);
  t.same(readdirSync(to).sort(), ['recover.sh', 'shop.xva', 'shop.xva2']);
  t.equal(statSync(join(to, 'shop.xva')).mode & 0o777, 0o600);
  const again = await foreignBackups.read([join(to, 'shop.xva')]);
  t.same([...again.documents.keys()].sort(), everybody.map(uuidOf).sort(), 'numbered as xe does it');

  const script = join(to, 'recover.sh');
  const xe = await fakeXe(t, join(world.directory, 'bin'), xeOf(world.lab, recovery));
  t.same(await sh(xe, '-n', script), { code: 0, said: '' }, 'the shell reads it');
  t.match(await sh(xe, script), { code: 2, said: /all \| check/ });
  t.same(xe.calls, [], 'without a word nothing is done');

  // What the script tells people to do first.
  const target = arrayOf(world.lab, 'array-recovery');
  for (const volume of demoVolumes) {
    const ref = target.points(volume)[0]?.ref ?? '';
    await target.promote(volume, {
      mode: 'unplanned',
      point: ref,
      confirm: promotionConfirmation(volume, ref),
    });
    target.expose(
      volume,
      recovery.hosts.map((host) => host.address),
    );
  }
  const text = readFileSync(script, 'utf8');
  t.match(text, /# THEN: make the replica of SR gold storage writable: volume gold of array array-recovery/);
  const unwritten = await sh(xe, script, 'storage');
  t.match(unwritten, { code: 1, said: /SR1_server is empty/ }, 'production is attached to by nobody');
  t.match(text, /# at production server is 127\.0\.1\.100\nSR1_server=''/);
  const written = text
    .replaceAll(/^(SR\d_server)=''/gm, "$1='127.0.2.100'")
    .replace("SR1_serverpath=''", "SR1_serverpath='/volumes/gold'")
    .replace("SR2_serverpath=''", "SR2_serverpath='/volumes/silver'");
  writeFileSync(script, written);

  recovery.db.byName('network', 'Recovery DMZ')[0]?.set({ name_label: 'renamed' });
  const missing = await sh(xe, script, 'all');
  t.match(missing, { code: 1, said: /network Recovery DMZ: there are 0 of that name/ });
  t.notOk(
    xe.calls.some(([verb]) => verb !== 'network-list'),
    'before anything was changed',
  );
  recovery.db.byName('network', 'renamed')[0]?.set({ name_label: 'Recovery DMZ' });

  const first = await sh(xe, script, 'all');
  t.equal(first.code, 0, first.said);
  t.same(world.running('recovery'), everybody);
  const starts = xe.calls.filter(([verb]) => verb === 'vm-start').map(([, uuid]) => uuid);
  t.same(
    starts,
    everybody.map((name) => `uuid=${uuidOf(name)}`),
    'tier by tier',
  );
  for (const name of everybody) {
    const read = guestRead(world.lab, 'recovery', uuidOf(name), '0', 4096, `data of ${name}`.length);
    t.equal(read.toString(), `data of ${name}`);
    const vm = recovery.db.byName('VM', name)[0];
    const network = vm?.rows('VIFs', 'VIF')[0]?.row('network', 'network')?.text('name_label');
    t.match(network, /^Recovery /, `${name} is on a network of this site`);
    t.equal(vm?.rows('VBDs', 'VBD')[0]?.row('VDI', 'VDI')?.text('name_label'), `${name} disk 0`);
  }

  const before = xe.calls.length;
  const second = await sh(xe, script, 'all');
  t.equal(second.code, 0, second.said);
  const changed = xe.calls
    .slice(before)
    .map(([verb = '']) => verb)
    .filter((verb) => !/-list$|-scan$|vdi-param-set/.test(verb));
  t.same(changed, [], 'a second time nothing is left to do');
});

const nasty = `it's $(touch never) \`id\` "quoted" \\ *; & | <x>\n# next line\ttab -- é`;

t.test('names are words, whatever they hold', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lifeboat-xe-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const uuid = (n: number): string => `00000000-0000-4000-8000-00000000000${n}`;
  const recovery: XeRecovery = {
    ...{ group: nasty, pointId: nasty, takenAt: '2026-01-31T02:30:00.000Z', site: nasty },
    files: [{ file: 'g.xva', uuid: uuid(1), nameLabel: nasty }],
    networks: [nasty],
    srs: [
      {
        ...{ uuid: uuid(2), nameLabel: nasty, nameDescription: nasty, type: 'lvmoiscsi' },
        ...{ contentType: 'user', shared: true, volume: nasty },
        places: [{ key: 'target', atProduction: nasty }],
        options: { 'odd key;x': 'y', how: nasty },
        secretKeys: ['chappassword'],
        vdis: [{ uuid: uuid(3), nameLabel: nasty, nameDescription: '' }],
      },
    ],
    tiers: [{ name: nasty, vms: [{ uuid: uuid(1), nameLabel: nasty }], delaySeconds: 0 }],
    appliances: [{ nameLabel: nasty, nameDescription: nasty, vmUuids: [uuid(1)] }],
    protectedByHa: [{ uuid: uuid(1), priority: 'restart' }],
  };
  const script = join(directory, 'recover.sh');
  mkdirSync(directory, { recursive: true });
  // The address is written by hand, as anything that a person writes there.
  writeFileSync(script, xeScript(recovery).replace("SR1_target=''", `SR1_target=${shellWord(nasty)}`));
  const answers: Record<string, string> = {
    'network-list': 'one',
    'vdi-list': uuid(3),
    'host-list': 'h1,h2',
  };
  const xe = await fakeXe(t, join(directory, 'bin'), ([verb = '', ...rest]) => {
    if (verb === 'pool-list') return rest[0] === 'params=master' ? 'h1' : 'true';
    if (verb.endsWith('-create')) return `made by ${verb}`;
    return answers[verb] ?? '';
  });
  process.env['SR1_chappassword'] = nasty;
  t.teardown(() => {
    delete process.env['SR1_chappassword'];
  });
  const ended = await sh(xe, script, 'all');
  t.equal(ended.code, 0, ended.said);
  const called = (verb: string) => xe.calls.filter(([first]) => first === verb).map(([, ...rest]) => rest);
  t.same(called('network-list'), [[`name-label=${nasty}`, '--minimal']]);
  t.same(called('sr-introduce'), [
    [`uuid=${uuid(2)}`, `name-label=${nasty}`, 'type=lvmoiscsi', 'content-type=user', 'shared=true'],
  ]);
  t.same(called('sr-param-set'), [[`uuid=${uuid(2)}`, `name-description=${nasty}`]]);
  t.same(
    called('pbd-create'),
    ['h1', 'h2'].map((host) => [
      `sr-uuid=${uuid(2)}`,
      `host-uuid=${host}`,
      `device-config:target=${nasty}`,
      'device-config:odd key;x=y',
      `device-config:how=${nasty}`,
      `device-config:chappassword=${nasty}`,
    ]),
    'the coordinator first, the password from whoever runs it',
  );
  t.same(called('vdi-param-set'), [[`uuid=${uuid(3)}`, `name-label=${nasty}`, 'name-description=']]);
  t.same(called('vm-import'), [['filename=g.xva', 'metadata=true', 'preserve=true']]);
  t.same(called('appliance-create'), [[`name-label=${nasty}`, `name-description=${nasty}`]]);
  t.same(called('vm-start'), [[`uuid=${uuid(1)}`]]);
  t.same(called('vm-param-set').at(-1), [`uuid=${uuid(1)}`, 'ha-restart-priority=restart']);
  t.notOk(readdirSync(directory).includes('never'), 'nothing of a name was carried out');
});

t.test('a point that does not know how its SRs were attached asks for the address', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lifeboat-xe-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const script = join(directory, 'recover.sh');
  const sr = {
    ...{ uuid: 'u', nameLabel: 'gold', nameDescription: '', type: 'nfs', contentType: 'user', shared: true },
    ...{ options: {}, secretKeys: [], volume: null, vdis: [] },
    places: [{ key: 'server', atProduction: '10.0.0.5' }],
  };
  const none = { files: [], networks: [], tiers: [], appliances: [], protectedByHa: [] };
  const told = { group: 'g', pointId: 'p', takenAt: '2026-01-31T02:30:00.000Z', site: 's' };
  writeFileSync(script, xeScript({ ...none, ...told, srs: [sr] }));
  const xe = await fakeXe(t, join(directory, 'bin'), () => '');
  const ended = await sh(xe, script, 'storage');
  t.match(ended, { code: 1, said: /SR1_server is empty: write at the top of this script/ });
  t.match(await answered('no', xe, script, 'start'), {
    code: 1,
    said: /Nothing was done.*runs anywhere else/s,
  });
  t.same(xe.calls, [], 'before anything was changed');
});
