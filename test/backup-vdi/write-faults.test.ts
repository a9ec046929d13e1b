/** Writes that break off, storage that lies, and disks that are not ours to write, on the lab. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { backupVdiMark } from '../../src/domain/backup-vdi.ts';
import { PortError } from '../../src/domain/errors.ts';
import { invoke } from '../../src/lab/core/dispatch.ts';
import { struct } from '../../src/lab/core/values.ts';
import { mishapsOf } from '../../src/lab/dom0/index.ts';
import type { DiskPiece } from '../../src/ports/backup-vdi.ts';
import type { Hypervisor } from '../../src/ports/hypervisor.ts';
import { fsck, names } from './house.ts';
import { BackupHouse, shutDown, withWriting, writtenIn } from './lab.ts';

t.setTimeout(300_000);

t.test(
  'what breaks off is taken back; what cannot be is told, and put right by the next run',
  async (t: Test) => {
    const backup = await BackupHouse.start(t);
    const { lab } = backup;
    await backup.house.save();
    await withWriting(t, backup, async ({ write }) => {
      await lab.faults.add({
        pool: 'production',
        path: '/import_raw_vdi',
        effect: { kind: 'reset', afterBytes: 9000 },
      });
      await t.rejects(write(), /is as it was before/, 'the first write of all breaks off');
      const first = writtenIn((await write()).output);
      t.equal(fsck(backup.image()), 'clean', 'and a disk that never was whole is made anew');
      t.match(
        await write(),
        { output: { bytesSent: 0, date: first.date } },
        'the same point is written once',
      );

      await shutDown(backup, 'db-01');
      await backup.house.save();
    });
    await withWriting(t, backup, async ({ write, directory }) => {
      const before = backup.image();
      const sha256 = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');
      const same = (message: string): void => {
        t.equal(sha256(backup.image()), sha256(before), message);
      };
      await t.rejects(
        write({ hypervisor: (real) => ({ importRawPieces: ways(real, halfThenCut) }) }),
        /DR-POOL-LOST.*is as it was before|is as it was before.*DR-POOL-LOST/s,
      );
      same('broken off in the middle');
      t.strictSame(readdirSync(directory), [], 'nothing is kept of what was put back');

      await t.rejects(
        write({ hypervisor: (real) => ({ importRawPieces: ways(real, falsified) }) }),
        /DR-BACKUP-READ-BACK/,
        'storage that lies',
      );
      same('what was falsified is taken back as well');

      await t.rejects(
        write({ hypervisor: (real) => ({ importRawPieces: ways(real, halfThenCut, cutAtOnce) }) }),
        /DR-BACKUP-HALF-WRITTEN/,
        'the way back is broken too',
      );
      t.not(sha256(backup.image()), sha256(before), 'the disk is neither');
      t.strictSame(readdirSync(directory), [`undo-${backup.disk}`], 'what was overwritten is kept');

      await t.rejects(
        write({ hypervisor: (real) => ({ importRawPieces: ways(real, cutAtOnce) }) }),
        /an earlier write left it that broke off/,
        'a host that does not take it',
      );
      t.strictSame(readdirSync(directory), [`undo-${backup.disk}`]);
      await t.rejects(
        write({ hypervisor: (real) => ({ importRawPieces: ways(real, falsified) }) }),
        /is as it was before/,
        'the next run fails as well',
      );
      same('and goes back to what was there before the first of them');

      await t.rejects(
        write({ hypervisor: (real) => ({ importRawPieces: ways(real, cutAtOnce) }) }),
        /nothing was sent to the disk/,
        'a disk that a script holds is not put back',
      );
      t.strictSame(readdirSync(directory), []);
      const mended = writtenIn((await write()).output);
      t.equal(fsck(backup.image()), 'clean');
      t.strictSame(names(backup.image(), '/metadata'), [...names(before, '/metadata'), mended.date]);
      t.strictSame(readdirSync(directory), []);
    });
  },
);

t.test('a first write that came to its end unmarked costs the date of a host nothing', async (t: Test) => {
  const backup = await BackupHouse.start(t);
  await backup.house.save();
  await withWriting(t, backup, async ({ write }) => {
    let isFirst = true;
    const unmarked = (real: Hypervisor): Partial<Hypervisor> => ({
      setVdiOtherConfig: async (vdi, key, ...rest) => {
        if (key === backupVdiMark && isFirst) {
          isFirst = false;
          throw lost();
        }
        await real.setVdiOtherConfig(vdi, key, ...rest);
      },
    });
    await t.rejects(write({ hypervisor: unmarked }), /DR-POOL-LOST/);
    // A date is named by its second, and a fast machine needs less than one for all of this.
    mishapsOf(backup.lab.pool('production')).minutesAheadOfUtc = -60;
    const script = await backup.onMaster(
      'production',
      `/opt/xensource/bin/xe-backup-metadata -u ${backup.gold} -k 12`,
    );
    t.equal(script.code, 0, script.said);
    const before = names(backup.image(), '/metadata');
    t.equal(before.length, 2, 'ours, and the date of the host');
    await write();
    t.strictSame(names(backup.image(), '/metadata').slice(0, 2), before);
  });
});

t.test('a disk that is not ours to write is left alone', async (t: Test) => {
  const backup = await BackupHouse.start(t);
  const pool = backup.lab.pool('production');
  const call = (method: string, ...params: Parameters<typeof invoke>[2][]): Promise<unknown> =>
    invoke(pool.master, method, ...params);
  await backup.house.save();
  await withWriting(t, backup, async ({ write }) => {
    const other = 'a5e2c1d0-7b31-4f0e-9c55-0123456789ab';
    await t.rejects(
      write({
        hypervisor: (real) => ({
          createMarkedVdi: async (sr, wanted) =>
            real.createMarkedVdi(sr, { ...wanted, nameLabel: 'another name' }),
        }),
      }),
      /DR-BACKUP-UUID/,
      `an old host gives it any uuid, such as ${other}`,
    );
    t.strictSame(
      pool.db.all('VDI').filter((vdi) => vdi.text('name_label') === 'another name'),
      [],
      'and it is removed again',
    );
    await write();
    const vdi = pool.db.byUuid('VDI', backup.disk);
    const vm = pool.db.byName('VM', 'web-01')[0];
    const vbd = await call(
      'VBD.create',
      struct({ VM: vm?.ref ?? '', VDI: vdi.ref, userdevice: '7', type: 'Disk', mode: 'RW', bootable: false }),
    );
    await t.rejects(write(), /DR-BACKUP-GUEST-DISK.*/s, 'what a guest can write to is not believed');
    await call('VBD.destroy', String(vbd));
    const stopped = new AbortController();
    stopped.abort(new PortError('cancelled', { code: 'DR-RUN-STOPPED', what: 'stopped', next: 'none' }));
    await t.rejects(write({ signal: stopped.signal }));
    t.equal(fsck(backup.image()), 'clean');
  });
});

type ImportPieces = Hypervisor['importRawPieces'];

/** The first calls go these ways, one after the other; all further ones as they are. */
function ways(real: Hypervisor, ...first: readonly ((real: Hypervisor) => ImportPieces)[]): ImportPieces {
  const left = [...first];
  return (...args) => {
    const way = left.shift();
    return way === undefined ? real.importRawPieces(...args) : way(real)(...args);
  };
}

const lost = (): PortError =>
  new PortError('outcome-unknown', { code: 'DR-POOL-LOST', what: 'the line is cut', next: 'look' });

/** Everything but the last stretch arrives. */
function halfThenCut(real: Hypervisor): ImportPieces {
  return async (vdi, extents, pieces, signal) => {
    const some = extents.slice(0, -1);
    if (some.length === 0) throw new Error('one stretch cannot be cut in two');
    const within = ({ offset }: DiskPiece): boolean =>
      some.some((extent) => offset >= extent.offset && offset < extent.offset + extent.bytes);
    await real.importRawPieces(
      vdi,
      some,
      (async function* () {
        for await (const piece of pieces) if (within(piece)) yield piece;
      })(),
      signal,
    );
    throw lost();
  };
}

function cutAtOnce(): ImportPieces {
  return async () => {
    throw lost();
  };
}

/** Storage that keeps something else than it was given. */
function falsified(real: Hypervisor): ImportPieces {
  return (vdi, extents, pieces, signal) =>
    real.importRawPieces(
      vdi,
      extents,
      (async function* () {
        let isFirst = true;
        for await (const { offset, content } of pieces) {
          yield { offset, content: isFirst ? Buffer.alloc(content.length, 1) : content };
          isFirst = false;
        }
      })(),
      signal,
    );
}
