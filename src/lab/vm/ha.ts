/** High availability: the loop that starts protected VMs, and auto_poweron at host boot (xapi.md 8.4, 8.5). */
import { randomUUID } from 'node:crypto';
import type { Row } from '../core/database.ts';
import { fail, type XenFailure } from '../core/failure.ts';
import type { LabHost, LabPool } from '../core/pool.ts';
import type { Registry } from '../core/registry.ts';
import { struct } from '../core/values.ts';
import { createVdi, destroyVdi } from '../storage/vdi.ts';
import { isXenFailure, startVm } from './power.ts';

/** Seconds after a change until the loop on the master has looked. */
const loopSeconds = 5;

export function installHa(registry: Registry): void {
  registry.on('pool.enable_ha', (call) => {
    const { pool } = call;
    if (pool.row.bool('ha_enabled')) fail('HA_IS_ENABLED');
    const srs = call.texts(0).map((ref) => pool.db.row('SR', ref));
    const [sr] =
      srs.length > 0
        ? srs
        : pool.db.all('SR').filter((row) => row.bool('shared') && row.text('content_type') === 'user');
    if (sr === undefined) fail('CANNOT_CREATE_STATE_FILE');
    const statefile = createVdi(
      pool,
      sr,
      4n * 1024n * 1024n,
      {},
      struct({
        name_label: 'Statefile for HA',
        type: 'ha_statefile',
      }),
    );
    pool.row.set({ ha_enabled: true, ha_statefiles: [statefile.ref], ha_configuration: struct(call.map(1)) });
    return '';
  });
  registry.on('pool.disable_ha', (call) => {
    const { pool } = call;
    if (!pool.row.bool('ha_enabled')) fail('HA_NOT_ENABLED');
    const files = pool.row.texts('ha_statefiles').map((ref) => pool.db.find('VDI', ref));
    pool.row.set({ ha_enabled: false, ha_statefiles: [] });
    for (const file of files) if (file !== undefined) destroyVdi(pool, file);
    return '';
  });
}

function isRestartable(vm: Row): boolean {
  return vm.text('power_state') === 'Halted' && !vm.bool('is_a_template') && !vm.bool('is_a_snapshot');
}

/** One turn of the loop: protected VMs that are halted start, by ascending order. */
export async function restartProtected(pool: LabPool, bestEffort: boolean): Promise<void> {
  if (!pool.row.bool('ha_enabled')) return;
  const wanted = pool.db
    .all('VM')
    .filter(isRestartable)
    .filter((vm) => {
      const priority = vm.text('ha_restart_priority');
      return (
        (vm.bool('ha_always_run') && priority === 'restart') || (bestEffort && priority === 'best-effort')
      );
    })
    .sort((a, b) => Number(a.int('order') - b.int('order')));
  for (const vm of wanted) {
    const refused = await tryStart(pool, vm);
    if (refused !== null)
      pool.message('HA_PROTECTED_VM_RESTART_FAILED', 1n, 'VM', vm.uuid, refused.description.join(' '));
  }
}

/** Why it did not start; null when it did. */
async function tryStart(pool: LabPool, vm: Row): Promise<XenFailure | null> {
  try {
    await startVm(pool, vm, null, `DummyRef:|${randomUUID()}|VM.start`);
    return null;
  } catch (error) {
    if (isXenFailure(error)) return error;
    throw error;
  }
}

/** Watches a pool and runs the loop when something calls for it; the result ends it. */
export function watchHa(pool: LabPool): () => void {
  const over = new AbortController();
  let waiting = false;
  let bestEffort = false;
  pool.db.onChange((row, change, fields) => {
    if (change === 'del') return;
    const enabled = row.cls === 'pool' && fields.includes('ha_enabled');
    const anotherHost =
      row.cls === 'host_metrics' && change === 'mod' && fields.includes('live') && row.bool('live');
    if (enabled || anotherHost) bestEffort = true;
    const halted =
      row.cls === 'VM' &&
      (change === 'add' || fields.includes('power_state') || fields.includes('ha_always_run'));
    if (!bestEffort && !(halted && row.text('ha_restart_priority') !== '')) return;
    if (waiting || over.signal.aborted) return;
    waiting = true;
    pool.clock.sleep(loopSeconds, over.signal).then(
      async () => {
        waiting = false;
        const all = bestEffort;
        bestEffort = false;
        await restartProtected(pool, all);
      },
      () => {
        waiting = false;
      },
    );
  });
  return () => over.abort();
}

/**
 * What a host's boot script does: with `auto_poweron` on the pool and on the VM, halted VMs start (xapi.md 8.4). What
 * does not start leaves no message.
 */
export async function autoPowerOn(host: LabHost): Promise<void> {
  const { pool } = host;
  if (pool.row.map('other_config')['auto_poweron'] !== 'true') return;
  for (const vm of pool.db.all('VM'))
    if (isRestartable(vm) && vm.map('other_config')['auto_poweron'] === 'true') await tryStart(pool, vm);
}
