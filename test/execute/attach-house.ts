/** A replica in front of a pool of the lab: one SR saved at production, its copy offered here as a fake array would. */
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import type { OperatorError } from '../../src/domain/errors.ts';
import type { Plan, SrToAttach, Step } from '../../src/domain/plan.ts';
import { plainDeviceConfig } from '../../src/domain/pool.ts';
import type { RecoveryPoint } from '../../src/domain/recovery-point.ts';
import type { Exposed } from '../../src/domain/replication.ts';
import { attachSr, isAttached } from '../../src/execute/actions/attach.ts';
import { compareDisks } from '../../src/execute/actions/compare-disks.ts';
import type { World } from '../../src/execute/actions/world.ts';
import type { StepContext } from '../../src/execute/handlers.ts';
import { addStorageManager, type Fabric, fabricOf, type Lun } from '../../src/lab/storage/index.ts';
import type { Catalog } from '../../src/ports/catalog.ts';
import { type LabRig, labRig, type Site, struct } from '../contract/lab-rig.ts';

export const iqn = 'iqn.2020-01.example:array';

/** Pool `one` is the recovery site, with a master and a member; pool `two` is production. */
export class AttachHouse {
  readonly rig: LabRig;
  readonly recovery: Site;
  readonly production: Site;
  readonly fabric: Fabric;
  readonly #close: () => Promise<void>;
  readonly #world: World;
  #point: Partial<RecoveryPoint> = {};
  #sr: SrToAttach | null = null;
  #exposed: Exposed = { kind: 'file' };
  disk = { uuid: '', nameLabel: '' };

  private constructor(rig: LabRig) {
    this.rig = rig;
    this.recovery = rig.site('one');
    this.production = rig.site('two');
    this.fabric = fabricOf(this.recovery.pool);
    const open = (name: string) => {
      const pool = rig.lab.pool(name);
      return openHypervisor({
        site: name,
        clock: systemClock,
        password: async () => rig.lab.credentials.password,
        pool: {
          hosts: pool.hosts.map((host) => ({
            url: rig.lab.url(host),
            fingerprint: host.certificate.sha256,
          })),
          username: rig.lab.credentials.username,
          password: { from: 'env', name: 'UNUSED' },
          poolUuid: pool.row.uuid,
          caFile: null,
          transport: 'auto',
          maxRequests: 4,
        },
      });
    };
    const pools = { one: open('one'), two: open('two') };
    this.#close = async () => {
      await Promise.all([pools.one.close(), pools.two.close()]);
    };
    const catalog: Partial<Catalog> = { read: async () => this.#point as RecoveryPoint };
    const world: Partial<World> = {
      clock: systemClock,
      hypervisor: async (site: string) => (site === 'one' ? pools.one : pools.two),
      catalog: async () => catalog as Catalog,
    };
    // What attaching an SR asks of the world, and no more.
    this.#world = world as World;
  }

  static async open(
    test: { teardown(work: () => Promise<void>): void },
    number: number,
  ): Promise<AttachHouse> {
    const rig = await labRig(test, number, 2);
    const house = new AttachHouse(rig);
    for (const { pool } of [house.recovery, house.production])
      for (const type of ['cephfs', 'glusterfs', 'moosefs']) addStorageManager(pool, type);
    test.teardown(() => house.#close());
    return house;
  }

  lun(scsiId: string, more: Partial<Lun> = {}): Lun {
    const directory = join(this.rig.lab.storage, `lun-${scsiId}`);
    mkdirSync(directory, { recursive: true });
    const sizeBytes = 2 ** 30;
    return {
      ...{ scsiId, serial: scsiId, vendor: 'ACME', lunId: 0, sizeBytes, directory },
      access: () => 'rw',
      ...more,
    };
  }

  directory(name: string): string {
    const directory = join(this.rig.lab.storage, name);
    mkdirSync(directory, { recursive: true });
    return directory;
  }

  /** An SR with one disk at production, and what an export would save of it. */
  async protect(type: string, deviceConfig: Readonly<Record<string, string>>, shared = true): Promise<void> {
    const { production } = this;
    const contentType = type === 'iso' ? 'iso' : 'user';
    const host = production.pool.master.row.ref;
    const sr = await production.call(
      'SR.create',
      host,
      struct(deviceConfig),
      0n,
      'gold',
      'true',
      type,
      contentType,
      shared,
      struct(),
    );
    if (type !== 'iso') await production.createDisk(sr, 'payroll');
    const pool = await (await this.#world.hypervisor('two')).observe();
    const found = pool.srs.find((each) => each.nameLabel === 'gold');
    const vdi = pool.vdis.find((each) => each.srUuid === found?.uuid);
    if (found === undefined) throw new Error('the SR was not made');
    const secrets = Object.entries(deviceConfig).filter(([key]) => key.endsWith('password'));
    this.disk = { uuid: vdi?.location ?? '', nameLabel: vdi?.nameLabel ?? '' };
    this.#point = {
      id: 'p1',
      hosts: pool.hosts,
      srs: [{ ...found, secretDeviceConfig: Object.fromEntries(secrets) }],
    };
    this.#sr = {
      uuid: found.uuid,
      nameLabel: found.nameLabel,
      nameDescription: found.nameDescription,
      type: found.type,
      contentType: found.contentType,
      shared: found.shared,
      smConfig: found.smConfig,
      deviceConfig: plainDeviceConfig(found.pbds[0]?.deviceConfig ?? {}),
      pointId: 'p1',
      exposedBy: 'expose',
      hosts: this.recovery.pool.hosts.map(({ name, row }) => ({
        uuid: row.uuid,
        nameLabel: name,
        master: row === this.recovery.pool.master.row,
      })),
    };
  }

  /** The point as it would be if a password could not be read when it was made. */
  loseSecrets(): void {
    this.#point = {
      ...this.#point,
      srs: (this.#point.srs ?? []).map((sr) => ({ ...sr, secretDeviceConfig: {} })),
    };
  }

  /** What the array says; the bytes are a plain copy. */
  replicate(from: string, to: string, exposed: Exposed): void {
    cpSync(from, to, { recursive: true });
    this.#exposed = exposed;
  }

  get srUuid(): string {
    return this.#toAttach.uuid;
  }

  get #toAttach(): SrToAttach {
    if (this.#sr === null) throw new Error('nothing is protected yet');
    return this.#sr;
  }

  #context(): StepContext {
    const step = { id: 'attach', action: { do: 'attach-sr', site: 'one', sr: this.#toAttach } };
    const exposed = { exposed: { ...this.#exposed } };
    return {
      run: 'r1',
      plan: { operation: 'failover', steps: [] } as unknown as Plan,
      step: step as unknown as Step,
      attempt: 1,
      startedAt: '2026-01-01T00:00:00.000Z',
      signal: new AbortController().signal,
      decisions: [],
      output: (id) => (id === 'expose' ? exposed : null),
    };
  }

  attach() {
    return attachSr(this.#world, { do: 'attach-sr', site: 'one', sr: this.#toAttach }, this.#context());
  }

  /** The refusal of an attachment, as one text; fails when there was none. */
  async refused(): Promise<{ readonly code: string; readonly text: string }> {
    try {
      await this.attach();
    } catch (error) {
      const problem = (error as OperatorError).problems?.[0] ?? (error as { problem: never }).problem;
      const { code, what, known = [], next } = problem as OperatorError['problems'][number];
      return { code, text: [what, ...known, next].join('\n') };
    }
    throw new Error('the attachment was not refused');
  }

  isAttached() {
    const hosts = this.#toAttach.hosts.map((host) => host.uuid);
    return isAttached(
      this.#world,
      { is: 'sr-attached', site: 'one', srUuid: this.srUuid, hosts },
      this.#context(),
    );
  }

  compare() {
    const { uuid, nameLabel } = this.disk;
    const disks = [
      {
        ...{ uuid, location: uuid, nameLabel, nameDescription: '' },
        virtualSize: 8 * 2 ** 20,
        usedBy: ['payroll'],
      },
    ];
    const action = { do: 'compare-disks', site: 'one', srUuid: this.srUuid, disks } as const;
    return compareDisks(this.#world, action, this.#context());
  }

  /** `device_config` per host that has the SR plugged. */
  plugged(): Record<string, Readonly<Record<string, string>>> {
    const { pool } = this.recovery;
    const sr = pool.db.findByUuid('SR', this.srUuid);
    const pbds = sr?.rows('PBDs', 'PBD').filter((pbd) => pbd.bool('currently_attached')) ?? [];
    return Object.fromEntries(
      pbds.map((pbd) => [pool.hostOf(pbd.text('host'))?.name ?? '', { ...pbd.map('device_config') }]),
    );
  }

  isKnown(): boolean {
    return this.recovery.pool.db.findByUuid('SR', this.srUuid) !== undefined;
  }
}
