/** Incremental sync by Lifeboat against the bare pipe between the same two real filers, and what a look at many volumes costs. */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { startFilers, whyNoFilers } from '../real/storage/filer.ts';
import { openPair, type PairOfFilers } from '../real/storage/pair-rig.ts';
import { zfsKind } from '../real/storage/zfs-kind.ts';
import { type Bench, type Figure, ratioOf, spread, timed } from './figures.ts';

const mebibyte = 1024 * 1024;
const login = 'ssh -i /run/link -o UserKnownHostsFile=/run/known_hosts -o BatchMode=yes root@10.78.0.2';

export async function measureStorage(bench: Bench): Promise<Figure[]> {
  const missing = whyNoFilers('zfs');
  if (missing !== false)
    return [{ name: 'incremental sync', value: 'not measured', aim: null, met: null, beside: missing }];
  const filers = await startFilers('zfs', 31);
  try {
    const { pair } = openPair(filers, zfsKind);
    return [await incremental(pair, bench), await status(pair, bench)];
  } finally {
    await filers.stop();
  }
}

async function incremental(pair: PairOfFilers, bench: Bench): Promise<Figure> {
  const sizeBytes = (bench.repetitions === 1 ? 64 : 256) * mebibyte;
  const source = pair.filer('source');
  for (const volume of ['tank/ours', 'tank/bare']) await source.exec('zfs', 'create', volume);
  const adapter = pair.adapter('source', ['tank/ours'], { keep_points: 1 });
  const first = ['zfs snapshot tank/bare@0', `zfs send tank/bare@0 | ${login} zfs receive tank/bare`];
  await adapter.syncNow('tank/ours', 'round-0');
  await source.exec('bash', '-c', first.join(' && '));
  await pair.filer('target').exec('zfs', 'set', 'canmount=noauto', 'tank/bare');
  await pair.filer('target').exec('zfs', 'unmount', '-f', 'tank/bare');
  const ours: number[] = [];
  const bare: number[] = [];
  for (let round = 1; round <= bench.repetitions; round += 1) {
    for (const volume of ['ours', 'bare']) fill(source.path(join(source.pool, volume, 'data')), sizeBytes);
    ours.push((await timed(() => adapter.syncNow('tank/ours', `round-${round}`))).seconds);
    const pipe = `zfs send -i @${round - 1} tank/bare@${round} | ${login} zfs receive tank/bare`;
    const line = `set -o pipefail; zfs snapshot tank/bare@${round} && ${pipe}`;
    bare.push((await timed(() => source.exec('bash', '-c', line))).seconds);
    await pair.filer('target').exec('zfs', 'destroy', `tank/bare@${round - 1}`);
    await source.exec('zfs', 'destroy', `tank/bare@${round - 1}`);
  }
  await adapter.close();
  const ratio = ratioOf(bare, ours);
  return {
    name: `incremental sync of ${sizeBytes / mebibyte} MiB against the bare pipe`,
    value: `${ratio.toFixed(2)} of its throughput`,
    aim: 'at least 0.90',
    met: ratio >= 0.9,
    beside: `Lifeboat, until the point is proved and held: ${spread(ours)}; zfs send | ssh | zfs receive: ${spread(bare)}`,
  };
}

async function status(pair: PairOfFilers, bench: Bench): Promise<Figure> {
  const count = bench.repetitions === 1 ? 50 : 500;
  const volumes = Array.from({ length: count }, (_, n) => `tank/many-${n}`);
  const target = pair.filer('target');
  const make = 'n=0; while [ $n -lt "$1" ]; do zfs create "tank/many-$n" || exit; n=$((n + 1)); done';
  await target.exec('sh', '-c', make, 'make', String(count));
  const sessions = (): number => [...target.log('sshd.log').matchAll(/Starting session/g)].length;
  const adapter = pair.adapter('target', []);
  await adapter.observe('tank/many-0');
  const before = sessions();
  const { seconds, result } = await timed(() => adapter.observeAll(volumes));
  const cost = sessions() - before;
  await adapter.close();
  return {
    name: `status of ${result.size} volumes`,
    value: `${cost} round trip${cost === 1 ? '' : 's'}`,
    aim: 'a constant number',
    met: cost <= 2,
    beside: spread([seconds]),
  };
}

function fill(path: string, sizeBytes: number): void {
  const file = openSync(path, 'w');
  for (let written = 0; written < sizeBytes; written += mebibyte) writeSync(file, randomBytes(mebibyte));
  fsyncSync(file);
  closeSync(file);
}
