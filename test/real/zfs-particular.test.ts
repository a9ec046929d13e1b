/** What is particular to ZFS, over the real thing: other replicators' snapshots, datasets below, renames, holds, both ways of carrying. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { PortError } from '../../src/domain/errors.ts';
import {
  discardConfirmation,
  promotionConfirmation,
  type ReplicaPoint,
} from '../../src/domain/replication.ts';
import type { Replication } from '../../src/ports/replication.ts';
import { startFilers, whyNoFilers } from './storage/filer.ts';
import { openPair, type PairOfFilers } from './storage/pair-rig.ts';
import { zfsKind } from './storage/zfs-kind.ts';

const access = { addresses: ['10.1.1.1'], iqns: [] };

interface World {
  readonly pair: PairOfFilers;
  readonly volume: string;
  readonly source: Replication;
  readonly target: Replication;
  /** Runs zfs at a side; rejects when it fails. */
  zfs(side: 'source' | 'target', ...words: readonly string[]): Promise<string>;
  /** A file of the mounted volume at a side. */
  file(side: 'source' | 'target', name: string): string;
}

async function failureOf(work: Promise<unknown>): Promise<PortError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof PortError) return error;
    throw error;
  }
  throw new Error('it succeeded');
}

const skip = whyNoFilers('zfs');
if (skip !== false) t.plan(0, skip);
else {
  const filers = await startFilers('zfs', 15);
  t.teardown(() => filers.stop());
  const { pair } = openPair(filers, zfsKind);
  let count = 0;

  const world = async (test: Test, options: Parameters<PairOfFilers['adapter']>[2] = {}): Promise<World> => {
    await filers.ready();
    pair.clear();
    count += 1;
    const volume = `tank/p${count}`;
    await pair.filer('source').exec('zfs', 'create', volume);
    const [source, target] = (['source', 'target'] as const).map((side) => {
      const adapter = pair.adapter(side, [volume], options);
      test.teardown(() => adapter.close());
      return adapter;
    });
    if (source === undefined || target === undefined) throw new Error('two sides');
    return {
      pair,
      volume,
      source,
      target,
      zfs: (side, ...words) => pair.filer(side).exec('zfs', ...words),
      file: (side, name) => {
        const filer = pair.filer(side);
        return filer.path(join(filer.pool, `p${count}`, name));
      },
    };
  };
  const inDrill = async ({ target, volume, pair: { filer } }: World, point: ReplicaPoint, name: string) => {
    const { path = '' } = await target.drillStart(volume, { drill: 'look', point: point.ref, access });
    const file = pair.filer('target').path(join(path, name));
    const text = existsSync(file) ? readFileSync(file, 'utf8') : null;
    await target.drillStop(volume, 'look');
    return filer === undefined ? null : text;
  };
  const timeout = 120_000;

  t.test('what another replicator has carried is a point by its GUID', { timeout }, async (t) => {
    const w = await world(t);
    const { volume, source, target } = w;
    writeFileSync(w.file('source', 'data'), 'carried by others');
    await w.zfs('source', 'snapshot', `${volume}@zrepl_20260101_000000_000`);
    const link = 'ssh -i /run/link -o UserKnownHostsFile=/run/known_hosts root@10.78.0.2';
    const carry = `zfs send ${volume}@zrepl_20260101_000000_000 | ${link} zfs receive ${volume}`;
    await pair.filer('source').exec('bash', '-c', `set -o pipefail; ${carry}`);
    await w.zfs('target', 'set', 'readonly=on', volume);
    await w.zfs('target', 'unmount', '-f', volume);
    const guid = (
      await w.zfs('source', 'get', '-Hp', '-o', 'value', 'guid', `${volume}@zrepl_20260101_000000_000`)
    ).trim();
    const [point] = await target.points(volume);
    t.match(point, { ref: guid, complete: true });
    t.notHas(point, 'tag');
    t.equal((await target.observe(volume)).role, 'target');
    const next = await source.syncNow(volume, 'lb-after-others');
    t.equal((await target.points(volume)).length, 2, 'Lifeboat goes on from it');
    t.equal(await inDrill(w, next, 'data'), 'carried by others');
    await w.zfs('target', 'snapshot', `${volume}@zrepl_only_here`);
    const error = await failureOf(source.syncNow(volume, 'lb-too-late'));
    t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-DIVERGED' } });
    t.match(error.message, /zrepl_only_here/);
  });

  t.test('a dataset and all below it are one point', { timeout }, async (t) => {
    const w = await world(t);
    const { volume, source, target } = w;
    await w.zfs('source', 'create', `${volume}/logs`);
    writeFileSync(w.file('source', 'data'), 'above');
    writeFileSync(w.file('source', 'logs/data'), 'below');
    const point = await source.syncNow(volume, 'lb-both-1');
    t.equal(point.consistency, 'group');
    t.same(
      (await target.points(volume)).map(({ tag }) => tag),
      ['lb-both-1'],
    );
    t.equal(await inDrill(w, point, 'logs/data'), 'below');
    writeFileSync(w.file('source', 'logs/data'), 'below again');
    const second = await source.syncNow(volume, 'lb-both-2');
    await w.zfs('target', 'release', 'lifeboat', `${volume}/logs@lifeboat-lb-both-2:2`);
    await w.zfs('target', 'destroy', `${volume}/logs@lifeboat-lb-both-2:2`);
    t.same(
      (await target.points(volume)).map(({ tag }) => tag),
      ['lb-both-1'],
      'a point of which a part is missing is none',
    );
    await w.zfs('target', 'rollback', `${volume}/logs@lifeboat-lb-both-1:2`);
    await source.syncNow(volume, 'lb-both-2');
    t.equal((await target.points(volume))[0]?.ref, second.ref, 'the missing part is carried alone');
    const confirm = promotionConfirmation(volume, point.ref);
    await target.promote(volume, { mode: 'unplanned', point: point.ref, confirm });
    t.equal(
      readFileSync(w.file('target', 'logs/data'), 'utf8'),
      'below',
      'the older point, both parts of it',
    );
    t.equal(readFileSync(w.file('target', 'data'), 'utf8'), 'above');
  });

  t.test(
    'a point that was renamed is still that point, and held against destruction',
    { timeout },
    async (t) => {
      const w = await world(t);
      const { volume, source, target } = w;
      const first = await source.syncNow(volume, 'lb-name-1');
      await t.rejects(w.zfs('source', 'destroy', `${volume}@lifeboat-lb-name-1`), /busy/);
      await t.rejects(w.zfs('target', 'destroy', `${volume}@lifeboat-lb-name-1`), /busy/);
      await w.zfs('source', 'rename', `${volume}@lifeboat-lb-name-1`, `${volume}@monday`);
      t.equal((await source.syncNow(volume, 'lb-name-1')).ref, first.ref);
      await source.syncNow(volume, 'lb-name-2');
      t.same(
        (await target.points(volume)).map(({ tag }) => tag),
        ['lb-name-2', 'lb-name-1'],
      );
    },
  );

  t.test(
    'old points of ours go, those of others stay, and the common one is never lost',
    { timeout },
    async (t) => {
      const w = await world(t, { keep_points: 2 });
      const { volume, source, target } = w;
      await source.syncNow(volume, 'lb-keep-1');
      await w.zfs('source', 'snapshot', `${volume}@by-hand`);
      for (const n of [2, 3, 4]) await source.syncNow(volume, `lb-keep-${n}`);
      const left = await w.zfs('source', 'list', '-H', '-t', 'snapshot', '-o', 'name', '-r', volume);
      t.same(
        left
          .trim()
          .split('\n')
          .map((name) => name.split('@')[1]),
        ['by-hand', 'lifeboat-lb-keep-3', 'lifeboat-lb-keep-4'],
      );
      t.same(
        (await target.points(volume)).map(({ tag }) => tag),
        ['lb-keep-4', 'lb-keep-3'],
      );
    },
  );

  t.test(
    'a caller that is killed in the middle: the transfer ends, and the tag finds it',
    { timeout },
    async (t) => {
      const { volume, source, target } = await world(t);
      await source.syncNow(volume, 'lb-kill-1');
      pair.filer('source').put('run/hold', '');
      const asked = JSON.stringify([pair.settings('source'), pair.settings('target'), volume, 'lb-kill-2']);
      const caller = spawn(process.execPath, [join(import.meta.dirname, 'storage/sync-child.ts'), asked], {
        stdio: 'ignore',
      });
      while ((await source.observe(volume)).activity !== 'transferring') t.equal(caller.exitCode, null);
      caller.kill('SIGKILL');
      await once(caller, 'exit');
      t.equal((await source.observe(volume)).activity, 'transferring', 'it goes on without its caller');
      pair.filer('source').take('run/hold');
      const point = await source.syncNow(volume, 'lb-kill-2');
      t.same((await target.points(volume)).map(({ ref, tag }) => [ref, tag])[0], [point.ref, 'lb-kill-2']);
    },
  );

  t.test('through this machine, with no link between the filers, there and back', { timeout }, async (t) => {
    const w = await world(t, { via: 'lifeboat' });
    const { volume, source, target } = w;
    await filers.cutLink();
    writeFileSync(w.file('source', 'data'), 'one');
    await source.syncNow(volume, 'lb-via-1');
    writeFileSync(w.file('source', 'data'), 'two');
    const point = await source.syncNow(volume, 'lb-via-2');
    t.match(await source.observe(volume), { role: 'source', link: 'up' });
    await target.promote(volume, {
      mode: 'unplanned',
      point: point.ref,
      confirm: promotionConfirmation(volume, point.ref),
    });
    t.match(await source.observe(volume), { role: 'split' });
    writeFileSync(w.file('target', 'data'), 'three');
    writeFileSync(w.file('source', 'data'), 'lost');
    const confirm = discardConfirmation('demote', volume, point.ref);
    await source.demote(volume, { discard: true, confirm });
    const back = await target.reverse(volume, 'lb-via-3', { discard: false, confirm: '' });
    t.equal((await source.observe(volume)).newestComplete?.ref, back.ref);
    t.match(await source.observe(volume), { role: 'target' });
    t.match(await target.observe(volume), { role: 'source' });
  });

  t.test(
    'a first transfer that died before it closed the replica is taken up by the next',
    { timeout },
    async (t) => {
      const w = await world(t);
      const { volume, source, target } = w;
      writeFileSync(w.file('source', 'data'), 'one');
      pair.filer('target').put('run/lose', 'zfs receive *');
      await failureOf(source.syncNow(volume, 'lb-first-1'));
      t.match(await target.observe(volume), { writable: true });
      const point = await source.syncNow(volume, 'lb-first-2');
      t.match(await target.observe(volume), {
        role: 'target',
        writable: false,
        newestComplete: { ref: point.ref },
      });
      t.equal(await inDrill(w, point, 'data'), 'one');
    },
  );

  t.test('what was written to it before that is never taken for a replica', { timeout }, async (t) => {
    const w = await world(t);
    const { volume, source, target } = w;
    pair.filer('target').put('run/lose', 'zfs receive *');
    await failureOf(source.syncNow(volume, 'lb-first-1'));
    writeFileSync(w.file('target', 'data'), 'written there');
    const error = await failureOf(source.syncNow(volume, 'lb-first-1'));
    t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-REFUSED' } });
    t.match(await target.observe(volume), { writable: true });
    t.equal(readFileSync(w.file('target', 'data'), 'utf8'), 'written there');
  });

  t.test(
    'what was cut at the old source after it was demoted goes by its exact name only',
    { timeout },
    async (t) => {
      const w = await world(t);
      const { volume, source, target } = w;
      const point = await source.syncNow(volume, 'lb-late-1');
      const confirm = promotionConfirmation(volume, point.ref);
      await target.promote(volume, { mode: 'unplanned', point: point.ref, confirm });
      await source.demote(volume, {
        discard: true,
        confirm: discardConfirmation('demote', volume, point.ref),
      });
      await w.zfs('source', 'snapshot', `${volume}@zrepl_late`);
      writeFileSync(w.file('target', 'data'), 'new');
      const keeping = await failureOf(target.reverse(volume, 'lb-late-2', { discard: false, confirm: '' }));
      t.match(keeping, { kind: 'refused', problem: { code: 'DR-ARRAY-DIVERGED' } });
      t.match(keeping.message, /zrepl_late/);
      const stale = { discard: true, confirm: discardConfirmation('reverse', volume, '1') };
      t.match(await failureOf(target.reverse(volume, 'lb-late-2', stale)), {
        problem: { code: 'DR-ARRAY-CONFIRM' },
      });
      const exact = { discard: true, confirm: discardConfirmation('reverse', volume, point.ref) };
      const back = await target.reverse(volume, 'lb-late-2', exact);
      t.match(await source.observe(volume), { role: 'target', newestComplete: { ref: back.ref } });
      t.match(
        await w.zfs('source', 'list', '-H', '-t', 'snapshot', '-o', 'name'),
        /lifeboat-kept-\d+@zrepl_late/,
      );
    },
  );

  t.test('a clone keeps what was set on its dataset', { timeout }, async (t) => {
    const w = await world(t);
    const { volume, source, target } = w;
    const older = await source.syncNow(volume, 'lb-set-1');
    await source.syncNow(volume, 'lb-set-2');
    await w.zfs('target', 'set', 'compression=gzip', volume);
    await w.zfs('target', 'set', 'quota=1073741824', volume);
    const confirm = promotionConfirmation(volume, older.ref);
    await target.promote(volume, { mode: 'unplanned', point: older.ref, confirm });
    const said = await w.zfs('target', 'get', '-Hp', '-o', 'value', 'compression,quota,readonly', volume);
    t.same(said.trim().split('\n'), ['gzip', '1073741824', 'off']);
    const kept = await w.zfs('target', 'list', '-H', '-o', 'name,lifeboat:kept');
    t.match(
      kept,
      new RegExp(`^${volume}\\.lifeboat-kept-\\d+\t${volume}$`, 'm'),
      'what it was is still there',
    );
  });
}
