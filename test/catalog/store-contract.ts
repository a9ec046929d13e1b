/** What every kind of target must do, whichever it is. */
import type { Test } from 'tap';
import {
  publish,
  StoreExists,
  StoreMissing,
  type TargetStore,
  writeAtomically,
} from '../../src/adapters/catalog/target-store.ts';
import { noise } from './world.ts';

async function gather(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const piece of pieces) all.push(Buffer.from(piece));
  return Buffer.concat(all);
}

export async function storeContract(t: Test, store: TargetStore): Promise<void> {
  await t.rejects(store.open({ create: false }), 'a root that is not there is not opened');
  await store.open({ create: true });
  await store.makeDirectory('tmp');
  await store.makeDirectory('a/b');
  await store.makeDirectory('a/b');
  t.same(await store.list('nowhere'), [], 'a directory that is not there is empty');

  for (const size of [0, 1, 32 * 1024, 1024 * 1024, 2 * 1024 * 1024 + 12_345]) {
    const bytes = noise(size);
    await writeAtomically(store, 'a/b/file', bytes);
    t.ok(Buffer.from(await store.read('a/b/file')).equals(bytes), `${size} bytes come back`);
    t.ok((await gather(store.stream('a/b/file'))).equals(bytes), `${size} bytes come back as a stream`);
    t.equal((await store.stat('a/b/file'))?.bytes, size);
  }
  const bytes = noise(100_000);
  const file = await store.create('tmp/one');
  await file.write(bytes.subarray(0, 70_000));
  await file.write(bytes.subarray(70_000));
  await publish(store, file, 'a/b/file');
  t.ok(
    Buffer.from(await store.read('a/b/file')).equals(bytes),
    'appended pieces, and a file that is replaced',
  );
  t.ok(
    Buffer.from(await store.read('a/b/file', { offset: 65_000, length: 10_000 })).equals(
      bytes.subarray(65_000, 75_000),
    ),
    'a part',
  );
  t.equal(
    (await store.read('a/b/file', { offset: 99_990, length: 100 })).length,
    10,
    'a part beyond the end is short',
  );

  const abandoned = store.stream('a/b/file')[Symbol.asyncIterator]();
  await abandoned.next();
  await abandoned.return?.();

  const mine = await store.create('tmp/lock');
  await mine.close();
  await mine.close();
  await t.rejects(store.create('tmp/lock'), StoreExists, 'a file is created once');
  await t.rejects(store.create('nowhere/file'), StoreMissing);
  await t.rejects(store.read('a/none'), StoreMissing);
  await t.rejects(gather(store.stream('a/none')), StoreMissing);
  t.equal(await store.stat('a/none'), null);
  t.same(
    (await store.list('a')).map(({ name, kind }) => ({ name, kind })),
    [{ name: 'b', kind: 'directory' }],
  );
  await store.remove('tmp/lock');
  await store.remove('tmp/lock');
  t.same(await store.list('tmp'), []);
}
