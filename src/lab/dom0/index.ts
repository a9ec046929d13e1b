/** The control domains of a lab, for whoever opens them. */
export { mishapsOf } from './backup-script.ts';
export { runCommand } from './commands.ts';
export { cronJob, filesOf, type Period, scheduleBackup } from './files.ts';
export { e2fs, MountedDisk } from './mounted-disk.ts';
export { type Dom0, openDom0 } from './server.ts';
