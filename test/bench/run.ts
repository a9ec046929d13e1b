/**
 * `make bench`: ratios from one run, with what was measured beside each. `--quick` takes a fifth of the VMs; `--only NAME`
 * runs one part. It ends with 0 unless something breaks: a missed aim is printed, for people to judge.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { measureBackup } from './backup.ts';
import { measureBackupRead } from './backup-read.ts';
import { measureCatalog } from './catalog.ts';
import { measureDaemon } from './daemon.ts';
import { measureExport } from './export.ts';
import { measureFailover } from './failover.ts';
import { type Bench, type Figure, printed } from './figures.ts';
import { measureMemory } from './memory.ts';
import { measurePreflight } from './preflight.ts';
import { measureRecovery } from './recovery.ts';
import { measureRules } from './rules.ts';
import { measureStorage } from './storage.ts';

const parts: Readonly<Record<string, (bench: Bench) => Promise<Figure[]>>> = {
  export: measureExport,
  recovery: measureRecovery,
  failover: measureFailover,
  preflight: measurePreflight,
  rules: measureRules,
  catalog: measureCatalog,
  memory: measureMemory,
  storage: measureStorage,
  daemon: measureDaemon,
  backup: measureBackup,
  'backup-read': measureBackupRead,
};

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string' } },
});
const names = values.only === undefined ? Object.keys(parts) : [values.only];
const directory = mkdtempSync(join(tmpdir(), 'lifeboat-bench-'));
const bench: Bench = {
  directory,
  vms: values.quick ? 200 : 1000,
  repetitions: values.quick ? 1 : 3,
};
process.stdout.write(
  `${new Date().toISOString().slice(0, 10)}, Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model ?? 'unknown'}), ${bench.vms} VMs\n\n`,
);
try {
  for (const name of names) {
    const measure = parts[name];
    if (measure === undefined)
      throw new Error(`there is no part ${name}; choose one of ${Object.keys(parts).join(', ')}`);
    process.stdout.write(`${printed(await measure(bench))}\n`);
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
