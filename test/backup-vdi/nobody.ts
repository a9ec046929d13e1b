/** Builds, adds to and reads an image in argv[2] without any right: root becomes nobody first. Prints what it found. */
import { openBackupImages } from '../../src/adapters/backup-vdi/open.ts';
import { mebibyte, treeOf } from './house.ts';

const [, , directory = ''] = process.argv;
const images = openBackupImages(directory);
if (process.getuid?.() === 0) {
  process.setgroups?.([]);
  process.setgid?.(65534);
  process.setuid?.(65534);
}
const first = await images.build(16 * mebibyte, treeOf({ vms: 4, at: '2026-01-01T02:30:05Z' }));
const second = await images.append(first.image, treeOf({ vms: 5, at: '2026-01-02T02:30:05Z' }));
const { dates } = await images.contents(second.image);
const { documents } = await images.read(second.image, dates.at(-1)?.name ?? '');
process.stdout.write(
  JSON.stringify({ uid: process.getuid?.(), dates: dates.length, documents: documents.length }),
);
await images.release(first.image);
await images.release(second.image);
