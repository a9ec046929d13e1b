/**
 * Volumes of two real filers as LUNs of real tgtd, with a file in each: what zfs and btrfs have in common. LIO needs a
 * kernel with it, and is tried against a double (test/contract).
 */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { PortError } from '../../../src/domain/errors.ts';
import { type Exposed, promotionConfirmation } from '../../../src/domain/replication.ts';
import type { Replication } from '../../../src/ports/replication.ts';
import type { FilerRig, RealFiler } from './filer.ts';
import { Initiator } from './initiator.ts';
import { type Kind, openPair, type PairOfFilers } from './pair-rig.ts';

type Side = 'source' | 'target';

export const host = 'iqn.2026-01.org.example:host1';
export const stranger = 'iqn.2026-01.org.example:stranger';
export const access = { addresses: ['10.1.1.1'], iqns: [host] };
export const lunBytes = 64 * 1024 * 1024;
/** Where tgt's settings are kept: each filer has a /run of its own. */
export const confDirectory = '/run/tgt-conf';
const programs = ['tgtd', 'tgtadm', 'tgt-admin', 'iscsi-ls', 'iscsi-inq', 'iscsi-readcapacity16'];

/** Why there can be no targets here, as a reason to skip; false when there can. */
export function whyNoTargets(): string | false {
  const isThere = (name: string): boolean =>
    ['/usr/sbin', '/usr/bin'].some((place) => {
      try {
        accessSync(join(place, name), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
  const missing = programs.filter((name) => !isThere(name));
  if (missing.length === 0) return false;
  const reason = `not installed: ${missing.join(', ')}`;
  if (process.env['LIFEBOAT_REAL'] !== undefined) throw new Error(`LIFEBOAT_REAL is set and ${reason}`);
  return reason;
}

export async function failureOf(work: Promise<unknown>): Promise<PortError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof PortError) return error;
    throw error;
  }
  throw new Error('it succeeded');
}

/** As filer.sh does it for the programs of its file system: mishap.sh stands in front of tgtadm. */
async function putInFront(filer: RealFiler): Promise<void> {
  const script =
    'path=$(readlink -f "$(command -v tgtadm)") && mkdir -p /run/real && : >/run/real/tgtadm && mount --bind "$path" /run/real/tgtadm && mount --bind "$1" "$path"';
  await filer.exec('sh', '-c', script, 'put-in-front', join(import.meta.dirname, 'mishap.sh'));
}

/** tgtd of a filer, which dies with it; what it shows is forgotten with it. */
export async function startTarget(filer: RealFiler): Promise<void> {
  const begin = 'mkdir -p /run/tgtd && exec tgtd >/run/tgtd.log 2>&1 </dev/null';
  const answers = 'until tgtadm --lld iscsi --op show --mode system >/dev/null 2>&1; do sleep 0.05; done';
  await filer.exec('sh', '-c', begin);
  await filer.exec('sh', '-c', answers);
}

export async function stopTarget(filer: RealFiler): Promise<void> {
  const script = 'pkill -KILL -x tgtd; while pgrep -x tgtd >/dev/null; do sleep 0.05; done';
  await filer.exec('sh', '-c', script);
}

export function login(exposed: Exposed, name = host): Promise<Initiator> {
  const [portal = ''] = exposed.portals ?? [];
  return Initiator.login(portal, exposed.iqn ?? '', exposed.lun ?? 0, name);
}

/** What a host reads of a block of the LUN. */
export async function readBack(exposed: Exposed, block: number): Promise<string> {
  const session = await login(exposed);
  const text = await session.read(block);
  await session.logout();
  return text;
}

async function writeTo(exposed: Exposed, block: number, text: string): Promise<void> {
  const session = await login(exposed);
  await session.write(block, text);
  await session.logout();
}

/** A volume with its file at the source, and the adapters of both sides. */
export interface LunWorld {
  readonly pair: PairOfFilers;
  readonly volume: string;
  /** The file as the filer itself sees it. */
  readonly file: string;
  readonly source: Replication;
  readonly target: Replication;
  tgtadm(side: Side, ...words: readonly string[]): Promise<string>;
  /** Everything that tgtd of a side shows. */
  shown(side: Side): Promise<string>;
}

const options = {
  expose: 'iscsi',
  target_iqn: 'iqn.2026-01.org.example.filer',
  lun_image: 'disk.img',
  tgt_conf_directory: confDirectory,
};

export type OpenLun = (test: Test, more?: Readonly<Record<string, string>>) => Promise<LunWorld>;

export async function openLuns(filers: FilerRig, kind: Kind): Promise<OpenLun> {
  const { pair } = openPair(filers, kind);
  for (const filer of filers.filers) {
    await putInFront(filer);
    await startTarget(filer);
  }
  let count = 0;
  return async (test, more = {}) => {
    await filers.ready();
    pair.clear();
    count += 1;
    const volume = kind.volume(count);
    const filer = pair.filer('source');
    await kind.make(filer, volume);
    const file = join(filer.pool, volume.slice(volume.indexOf('/') + 1), 'disk.img');
    await filer.exec('truncate', '-s', String(lunBytes), file);
    const [source, target] = (['source', 'target'] as const).map((side) => {
      const adapter = pair.adapter(side, [volume], { ...options, ...more });
      test.teardown(() => adapter.close());
      return adapter;
    });
    if (source === undefined || target === undefined) throw new Error('two sides');
    const tgtadm = (side: Side, ...words: readonly string[]): Promise<string> =>
      pair.filer(side).exec('tgtadm', '--lld', 'iscsi', ...words);
    const shown = (side: Side): Promise<string> => tgtadm(side, '--op', 'show', '--mode', 'target');
    return { pair, volume, file, source, target, tgtadm, shown };
  };
}

/** Written over iSCSI, replicated, drilled, promoted, read over iSCSI, and home again. */
export async function lunStory(t: Test, { volume, source, target, shown }: LunWorld): Promise<void> {
  const there = await source.expose(volume, access);
  await writeTo(there, 7, 'first');
  const first = await source.syncNow(volume, 'lb-1');
  await writeTo(there, 7, 'second');

  const copy = await target.drillStart(volume, { drill: 'tuesday', point: first.ref, access });
  t.not(copy.scsiId, there.scsiId, 'a copy is another LUN');
  t.equal(await readBack(copy, 7), 'first');
  await writeTo(copy, 7, 'only a drill');
  t.same(
    await target.drillStart(volume, { drill: 'tuesday', point: first.ref, access }),
    copy,
    'the same drill, the same copy',
  );
  await source.syncNow(volume, 'lb-2');
  const open = await login(copy);
  await target.drillStop(volume, 'tuesday');
  await t.rejects(open.read(7), 'the session of the drill is ended');
  t.notMatch(await shown('target'), /lifeboat-drill/, 'nothing of the drill is left');

  // A host that forgot to log out, as one that was cut off has.
  const forgotten = await login(there);
  const last = await source.prepare(volume, 'lb-3');
  await t.rejects(forgotten.write(7, 'too late'), 'nobody writes to what is prepared');
  await t.rejects(login(there), /refused/);
  const confirm = promotionConfirmation(volume, last.ref);
  await target.promote(volume, { mode: 'planned', point: last.ref, confirm });
  const here = await target.expose(volume, access);
  t.not(here.scsiId, there.scsiId);
  t.equal(await readBack(here, 7), 'second');
  await writeTo(here, 8, 'at the other side');

  await source.demote(volume, { discard: false, confirm: '' });
  await target.reverse(volume, 'lb-4', { discard: false, confirm: '' });
  const home = await target.prepare(volume, 'lb-5');
  const homeward = promotionConfirmation(volume, home.ref);
  await source.promote(volume, { mode: 'planned', point: home.ref, confirm: homeward });
  const back = await source.expose(volume, access);
  t.equal(back.scsiId, there.scsiId, 'home again it is the LUN that it was');
  t.equal(await readBack(back, 8), 'at the other side');
  t.notMatch(await shown('target'), here.iqn ?? '', 'and the other filer shows it no longer');
}
