/** Both halves of the port over one directory of private copies. */
import type { BackupImages } from '../../ports/backup-vdi.ts';
import { BackupReader } from './read.ts';
import { Scratch } from './scratch.ts';
import { digestOf } from './sparse.ts';
import { Undo } from './undo.ts';
import { BackupWriter } from './write.ts';

/** `directory` is made when it is first needed, and holds nothing when nobody is at work. */
export function openBackupImages(directory: string): BackupImages {
  const scratch = new Scratch(directory);
  const reader = new BackupReader(scratch);
  const writer = new BackupWriter(scratch);
  const undo = new Undo(scratch);
  return {
    receive: (content, bytes, signal) => scratch.within(reader.receive(content, bytes, signal)),
    contents: (image, signal) => scratch.within(reader.contents(image, signal)),
    read: (image, date, signal) => scratch.within(reader.read(image, date, signal)),
    readDatabase: (image, pool, options) => scratch.within(reader.readDatabase(image, pool, options)),
    digestOf: (content, bytes, signal) => digestOf(content, bytes, signal),
    release: (image) => reader.release(image),
    build: (bytes, tree, signal) => scratch.within(writer.build(bytes, tree, signal)),
    append: (image, tree, signal) => scratch.within(writer.append(image, tree, signal)),
    changes: (from, to, signal) => scratch.within(writer.changes(from, to, signal)),
    filled: (image, signal) => scratch.within(writer.filled(image, signal)),
    keepUndo: (vdi, from, extents) => scratch.within(undo.keep(vdi, from, extents)),
    undone: (vdi, image, signal) => scratch.within(undo.undone(vdi, image, signal)),
    forgetUndo: (vdi) => undo.forget(vdi),
    content: (image, extents) => writer.content(image, extents),
  };
}
