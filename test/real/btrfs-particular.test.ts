/** What is particular to btrfs, over the real thing: points that share extents, there and back. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { discardConfirmation, promotionConfirmation } from '../../src/domain/replication.ts';
import type { Replication } from '../../src/ports/replication.ts';
import { btrfsKind } from './storage/btrfs-kind.ts';
import { startFilers, whyNoFilers } from './storage/filer.ts';
import { openPair } from './storage/pair-rig.ts';

type Side = 'source' | 'target';

const sides = ['source', 'target'] as const;
const diskBytes = 4 * 1024 * 1024;
const timeout = 120_000;
const notDiscarding = { discard: false, confirm: '' };

function bytesOf(words: string, bytes = diskBytes): Buffer {
  return createHash('shake256', { outputLength: bytes }).update(words).digest();
}

/** The disk as a program leaves it that saves into a copy and puts that in the place of the old one. */
function saveOver(disk: string, words: string): void {
  const copy = `${disk}.new`;
  execFileSync('cp', ['--reflink=always', disk, copy]);
  execFileSync('dd', [`of=${copy}`, 'bs=4096', 'seek=100', 'conv=notrunc,fsync', 'status=none'], {
    input: bytesOf(words, 4096),
  });
  renameSync(copy, disk);
}

async function promote(
  adapter: Replication,
  volume: string,
  mode: 'planned' | 'unplanned',
  point: string,
): Promise<void> {
  await adapter.promote(volume, { mode, point, confirm: promotionConfirmation(volume, point) });
}

const skip = whyNoFilers('btrfs');
if (skip !== false) t.plan(0, skip);
else {
  const filers = await startFilers('btrfs', 21);
  t.teardown(() => filers.stop());
  const { pair } = openPair(filers, btrfsKind);

  const diskOf = (side: Side, volume: string): string =>
    pair.filer(side).path(join(pair.filer(side).pool, volume, 'disk'));

  const world = async (t: Test, volume: string, via: 'filer' | 'lifeboat' = 'filer') => {
    await filers.ready();
    pair.clear();
    await btrfsKind.make(pair.filer('source'), volume);
    const [source, target] = [
      pair.adapter('source', [volume], { via }),
      pair.adapter('target', [volume], { via }),
    ];
    t.teardown(() => Promise.all([source.close(), target.close()]));
    return { source, target };
  };
  /** The source was lost and is back: its volume is demoted, and the target has saved the disk over itself. */
  const failedOver = async (t: Test, volume: string, via?: 'filer' | 'lifeboat') => {
    const { source, target } = await world(t, volume, via);
    writeFileSync(diskOf('source', volume), bytesOf('the first disk'));
    const { ref } = await source.syncNow(volume, 'lb-first');
    await promote(target, volume, 'unplanned', ref);
    saveOver(diskOf('target', volume), 'failed over');
    await source.demote(volume, { discard: true, confirm: discardConfirmation('demote', volume, ref) });
    return { source, target };
  };
  const isSame = async (t: Test, volume: string, tag: string): Promise<void> => {
    const script = 'cd "$1"/.lifeboat/"$2"/points/"$3"@* && find . -type f | sort | xargs sha256sum';
    const [here, there] = await Promise.all(
      sides.map((side) => {
        const filer = pair.filer(side);
        return filer.exec('sh', '-c', script, 'sums', filer.pool, volume, tag);
      }),
    );
    t.match(here, /disk/);
    t.equal(here, there, `${tag} is the same at both filers, byte for byte`);
  };
  const noBridge = async (t: Test): Promise<void> => {
    for (const side of sides) {
      const filer = pair.filer(side);
      const listed = await filer.exec('btrfs', 'subvolume', 'list', filer.pool);
      t.notMatch(listed, /bridge/, `nothing of the way stays at the ${side}`);
    }
  };

  for (const via of ['filer', 'lifeboat'] as const)
    t.test(`a disk saved over itself goes there and back, via ${via}`, { timeout }, async (t) => {
      const volume = `p-${via}`;
      const { source, target } = await failedOver(t, volume, via);
      const carried = await filers.linkBytes();
      await target.reverse(volume, 'lb-back', notDiscarding);
      const bytes = (await filers.linkBytes()) - carried;
      t.ok(bytes < diskBytes / 4, `only what was written has been carried: ${bytes} bytes`);
      await isSame(t, volume, 'lb-back');

      saveOver(diskOf('target', volume), 'reprotected');
      await target.syncNow(volume, 'lb-on');
      await isSame(t, volume, 'lb-on');

      const { ref } = await target.prepare(volume, 'lb-home');
      await promote(source, volume, 'planned', ref);
      saveOver(diskOf('source', volume), 'home');
      await target.demote(volume, notDiscarding);
      await source.reverse(volume, 'lb-forth', notDiscarding);
      await isSame(t, volume, 'lb-forth');
      await noBridge(t);
    });

  t.test('a reversal that breaks off is taken up by the next', { timeout }, async (t) => {
    const volume = 'p-broken';
    const { source, target } = await failedOver(t, volume);
    pair.filer('target').put('run/fail', 'btrfs send -q -p * */bridge');
    await t.rejects(target.reverse(volume, 'lb-back', notDiscarding), 'before the bridge');
    pair.filer('target').put('run/fail', 'btrfs send -q -p */bridge *');
    const back = await target.reverse(volume, 'lb-back', notDiscarding);
    t.match(await source.observe(volume), { role: 'target', newestComplete: { ref: back.ref } });
    await isSame(t, volume, 'lb-back');
    await noBridge(t);
  });

  t.test('a base that is gone in the middle has words of its own', { timeout }, async (t) => {
    const volume = 'p-gone';
    const { source } = await world(t, volume);
    await source.syncNow(volume, 'lb-one');
    pair.filer('source').put('run/hold', '');
    const sync = source.syncNow(volume, 'lb-two').catch((error: unknown) => error);
    while ((await source.observe(volume)).activity !== 'transferring');
    const filer = pair.filer('target');
    const remove = 'btrfs subvolume delete "$1"/.lifeboat/"$2"/points/lb-one@*';
    await filer.exec('sh', '-c', remove, 'remove', filer.pool, volume);
    pair.filer('source').take('run/hold');
    t.match(await sync, { kind: 'refused', problem: { code: 'DR-ARRAY-BASE' } });
  });
}
