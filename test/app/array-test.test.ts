/** `lifeboat array test`: over the sample program as it is, over one that answers oddly, and what a person reads. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openCommandArray } from '../../src/adapters/replication/command/command-array.ts';
import { systemClock } from '../../src/adapters/system/clock.ts';
import type { AppPorts } from '../../src/app/ports.ts';
import { testArray } from '../../src/app/test-array.ts';
import type { ArrayTest } from '../../src/domain/array-test.ts';
import { OperatorError } from '../../src/domain/errors.ts';
import type { ArraySettings, Settings } from '../../src/domain/settings.ts';
import { addVolume, makeArray, sample } from '../contract/replication/command/rig.ts';
import { call } from '../scripts/fake.ts';
import { shop } from '../support/two-sites.ts';

function tested(array: ArraySettings, name = array.name): Promise<ArrayTest> {
  const secrets = { resolve: () => Promise.resolve('') };
  const group = {
    ...shop,
    storage: [
      {
        sr: 'Tier 1',
        source: { array: 'osaka', volume: 'tier1' },
        target: { array: 'tokyo', volume: 'tier1-copy' },
      },
    ],
  };
  const settings = { file: 'sites.yaml', arrays: [array], groups: [group] } as unknown as Settings;
  const ports: Pick<AppPorts, 'settings' | 'clock' | 'array'> = {
    settings,
    clock: systemClock,
    array: async () => openCommandArray(array, { secrets, clock: systemClock, peers: new Map() }),
  };
  return testArray(ports as AppPorts, name);
}

function arrayAt(program: string, args: readonly string[] = []): ArraySettings {
  const options = { program_file: program, arguments: [...args] };
  return { name: 'tokyo', site: 'tokyo', type: 'command', options, secret: null };
}

function sampleArrays(test: Test): string {
  const home = test.testdir({});
  const [osaka, tokyo] = [join(home, 'osaka'), join(home, 'tokyo')];
  makeArray(osaka, tokyo, 'dir-osaka');
  makeArray(tokyo, osaka, 'dir-tokyo');
  addVolume(osaka, 'tier1', 'source', 'tier1-copy');
  addVolume(tokyo, 'tier1-copy', 'target', 'tier1');
  return tokyo;
}

const outcomes = ({ checks }: ArrayTest): Record<string, string> =>
  Object.fromEntries(checks.map(({ verb, outcome }) => [verb, outcome]));

t.test('the sample answers every verb, and what is not well is told', async (t) => {
  const tokyo = sampleArrays(t);
  const empty = await tested(arrayAt(sample, [tokyo]));
  t.same(outcomes(empty), {
    identify: 'ok',
    capabilities: 'ok',
    discover: 'ok',
    observe: 'ok',
    'observe tier1-copy': 'ok',
    'points tier1-copy': 'warning',
    drillList: 'ok',
  });
  t.match(
    empty.checks.find(({ verb }) => verb.startsWith('points'))?.says.join(),
    /nothing could be promoted/,
  );
  writeFileSync(join(tokyo, 'state', 'tier1-copy', 'points'), 'r1 lb-1 2026-01-31T02:00:00Z\n');
  mkdirSync(join(tokyo, 'points', 'tier1-copy', 'r1'));
  const held = await tested(arrayAt(sample, [tokyo]));
  t.equal(outcomes(held)['points tier1-copy'], 'ok');
  writeFileSync(join(tokyo, 'state', 'tier1-copy', 'role'), 'promoted\n');
  t.equal(outcomes(await tested(arrayAt(sample, [tokyo])))['observe tier1-copy'], 'warning');
});

t.test('a program that is wrong fails verb by verb, each with the reason', async (t) => {
  const tokyo = sampleArrays(t);
  const report = await tested(arrayAt(sample, [join(tokyo, 'absent')]));
  t.ok(report.checks.every(({ outcome, problem }) => outcome === 'failed' && problem !== null));
  t.match(report.checks[0]?.problem, { code: 'DR-ARRAY-UNREACHABLE', known: [/is not there/] });
  const absent = await tested(arrayAt('/nowhere/array.sh'));
  t.match(absent.checks[0]?.problem, { code: 'DR-ARRAY-PROGRAM' });
});

t.test('an array that is not in sites.yaml is an error of usage', async (t) => {
  const error = await tested(arrayAt(sample), 'tokio').then(
    () => null,
    (thrown: unknown) => thrown,
  );
  t.ok(error instanceof OperatorError && error.exitCode === 2 && /Did you mean tokyo/.test(error.message));
});

t.test('exit code and text follow the worst that was seen', async (t) => {
  const warned = await call(['array', 'test', 'filer']);
  t.match(warned, { code: 3, out: /! observe\n\s+target, link down/ });
  const failed = await call(['array', 'test', 'broken-filer']);
  t.match(failed, { code: 1, out: /DR-ARRAY-UNREACHABLE[\s\S]*1 of 2 verbs failed/ });
  t.match(JSON.parse((await call(['--json', 'array', 'test', 'filer'])).out), { array: 'filer' });
});
