/** A lab with little guests and a small backup disk, and its disks taken apart as a host would. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import { openBackupImages } from '../../src/adapters/backup-vdi/open.ts';
import { openDom0 as openDom0Adapter } from '../../src/adapters/dom0/open.ts';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import type { Json } from '../../src/domain/canonical.ts';
import type { ObjectRef } from '../../src/domain/recovery-point.ts';
import type { MetadataBackupSettings, Settings } from '../../src/domain/settings.ts';
import { lookAtBackupJobs } from '../../src/execute/actions/backup-jobs.ts';
import { runBackupScript } from '../../src/execute/actions/backup-script.ts';
import { writeBackup } from '../../src/execute/actions/backup-write.ts';
import type { World } from '../../src/execute/actions/world.ts';
import type { ActResult, StepContext } from '../../src/execute/handlers.ts';
import { invoke } from '../../src/lab/core/dispatch.ts';
import { type Dom0, mishapsOf, openDom0, runCommand } from '../../src/lab/dom0/index.ts';
import { backendOf } from '../../src/lab/storage/state.ts';
import { metadataBackupUuid } from '../../src/lab/storage/vdi.ts';
import type { BackupImages } from '../../src/ports/backup-vdi.ts';
import type { ScriptEnd } from '../../src/ports/dom0.ts';
import type { Hypervisor } from '../../src/ports/hypervisor.ts';
import { LabHouse } from '../check/lab-app.ts';
import { mebibyte } from './house.ts';

export class BackupHouse {
  readonly house: LabHouse;
  readonly dom0: Dom0;
  readonly #t: Test;

  private constructor(t: Test, house: LabHouse, dom0: Dom0) {
    this.#t = t;
    this.house = house;
    this.dom0 = dom0;
  }

  static async start(t: Test): Promise<BackupHouse> {
    const house = await LabHouse.start(t);
    for (const site of ['production', 'recovery'])
      mishapsOf(house.lab.pool(site)).diskBytes = BigInt(16 * mebibyte);
    return new BackupHouse(t, house, await openDom0(house.lab));
  }

  get lab(): LabHouse['lab'] {
    return this.house.lab;
  }

  /** Uuid of the SR that carries the databases. */
  get gold(): string {
    return this.lab.pool('production').db.byName('SR', 'gold storage')[0]?.uuid ?? '';
  }

  get disk(): string {
    return metadataBackupUuid(this.gold);
  }

  /** Settings with a backup on the gold SR alone. */
  with(
    backup: Partial<MetadataBackupSettings> = {},
    ssh: { readonly hostKey?: string; readonly without?: string } = {},
  ): Partial<Settings> {
    const { settings } = this.house;
    const { lab, dom0 } = this;
    return {
      groups: settings.groups.map((group) => ({
        ...group,
        metadataBackup: {
          method: 'xenapi',
          everySeconds: 86_400,
          history: 3,
          dumps: 2,
          bytes: 16 * mebibyte,
          ...backup,
        },
      })),
      sites: settings.sites.map((site) => ({
        ...site,
        pool: {
          ...site.pool,
          ssh: {
            username: lab.credentials.username,
            privateKeyFile: null,
            password: { from: 'env', name: 'PASSWORD' },
            hosts: lab
              .pool(site.name)
              .hosts.filter((host) => host.row.uuid !== ssh.without)
              .map((host) => ({
                host: host.row.uuid,
                address: host.address,
                port: dom0.port,
                hostKey: ssh.hostKey ?? dom0.hostKey(host),
              })),
          },
        },
      })),
    };
  }

  /** The disk as it lies on the storage, in a file of its own. */
  image(site = 'production', vdi = this.disk): string {
    const pool = this.lab.pool(site);
    const row = pool.db.byUuid('VDI', vdi);
    const sr = row.row('SR', 'SR');
    if (sr === undefined) throw new Error('a disk lies on an SR');
    const directory = mkdtempSync(path.join(tmpdir(), 'lifeboat-backup-'));
    this.#t.teardown(() => rmSync(directory, { recursive: true, force: true }));
    const disk = backendOf(pool, sr).open(row.text('location'), 'r');
    const file = path.join(directory, 'image');
    writeFileSync(file, disk.read(0, disk.virtualSize));
    disk.close();
    return file;
  }

  /** A command on the master, as an administrator types it there. */
  async onMaster(site: string, line: string, input = ''): Promise<{ code: number; said: string }> {
    const said: string[] = [];
    const code = await runCommand(this.lab.pool(site).master, line, {
      out: (text) => said.push(text),
      err: (text) => said.push(text),
      input: async () => input,
    });
    return { code, said: said.join('') };
  }
}

/** The action by itself, over the real pool and the house's catalog, without a whole export around it. */
export interface Writing {
  write(changes?: {
    readonly pointId?: string;
    readonly history?: number;
    readonly hypervisor?: (real: Hypervisor) => Partial<Hypervisor>;
    readonly signal?: AbortSignal;
  }): Promise<ActResult>;
  readonly images: BackupImages;
  readonly directory: string;
}

export async function withWriting(
  t: Test,
  { house, gold }: BackupHouse,
  work: (writing: Writing) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(path.join(tmpdir(), 'lifeboat-writing-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const images = openBackupImages(directory);
  const site = house.settings.sites[0];
  if (site === undefined) throw new Error('a house has sites');
  const real = openHypervisor({
    site: site.name,
    pool: site.pool,
    password: async () => house.lab.credentials.password,
    clock: systemClock,
  });
  try {
    await house.with({}, async (app) => {
      const { points } = await app.catalog.list('shop');
      await work({
        images,
        directory,
        write: async ({ pointId, history, hypervisor, signal } = {}) => {
          const asked = over(real, hypervisor?.(real) ?? {});
          const world = {
            clock: systemClock,
            backupImages: images,
            hypervisor: async () => asked,
            catalog: async () => ({
              read: (id: string) => app.catalog.read(id),
              get: (object: ObjectRef) => app.catalog.get(object),
            }),
          } as unknown as World;
          const action = {
            do: 'write-backup',
            site: site.name,
            sr: { uuid: gold, nameLabel: 'gold storage' },
            pointId: pointId ?? points[0]?.id ?? '',
            history: history ?? 3,
            dumps: 2,
            bytes: 16 * mebibyte,
          } as const;
          const context = { signal: signal ?? new AbortController().signal } as StepContext;
          return writeBackup(world, action, context);
        },
      });
    });
  } finally {
    await real.close();
  }
}

export interface Written {
  readonly date: string;
  readonly bytesSent: number;
  readonly documentsWritten: number;
  readonly documentsLinked: number;
  readonly removedDates: readonly string[];
}
export const writtenIn = (output: Json): Written => output as unknown as Written;
export async function shutDown(backup: BackupHouse, name: string): Promise<string> {
  const pool = backup.lab.pool('production');
  const vm = pool.db.byName('VM', name)[0];
  if (vm === undefined) throw new Error(`no VM ${name}`);
  await invoke(pool.master, 'VM.hard_shutdown', vm.ref);
  return vm.ref;
}

/** The script's action and the look at jobs by themselves, over the lab's control domains. */
export interface Scripting {
  run(changes?: {
    readonly password?: string;
    readonly hostKey?: string;
    /** Uuid of a host that the settings leave out. */
    readonly without?: string;
    readonly history?: number;
    /** The pool goes by another uuid, as after a move to another site. */
    readonly pool?: string;
    /** What the script says, instead of running it. */
    readonly answer?: ScriptEnd;
  }): Promise<ActResult>;
  look(site: string, sr: { readonly uuid: string; readonly nameLabel: string }): Promise<ActResult>;
}

export async function withScript(
  t: Test,
  backup: BackupHouse,
  work: (scripting: Scripting) => Promise<void>,
): Promise<void> {
  const { house, lab, gold } = backup;
  const directory = mkdtempSync(path.join(tmpdir(), 'lifeboat-script-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const backupImages = openBackupImages(directory);
  const pools = new Map(
    house.settings.sites.map((site) => [
      site.name,
      openHypervisor({
        site: site.name,
        pool: site.pool,
        password: async () => lab.credentials.password,
        clock: systemClock,
      }),
    ]),
  );
  const context = { signal: new AbortController().signal } as StepContext;
  const hypervisor = async (site: string): Promise<Hypervisor> => {
    const found = pools.get(site);
    if (found === undefined) throw new Error(`no site ${site}`);
    return found;
  };
  try {
    await work({
      run: async ({
        password = lab.credentials.password,
        hostKey,
        without,
        history = 9,
        pool,
        answer,
      } = {}) => {
        const ssh = {
          ...(hostKey === undefined ? {} : { hostKey }),
          ...(without === undefined ? {} : { without }),
        };
        const dom0 = openDom0Adapter(
          { sites: backup.with({}, ssh).sites ?? [] },
          { secrets: { resolve: async () => password }, times: { connectSeconds: 20, keepaliveSeconds: 10 } },
        );
        const real = await hypervisor('production');
        const seen = await real.observe();
        const world = {
          clock: systemClock,
          backupImages,
          dom0: answer === undefined ? dom0 : { ...dom0, backupMetadata: async () => answer },
          hypervisor: async () =>
            pool === undefined
              ? real
              : over(real, { observe: async () => ({ ...(await real.observe()), uuid: pool }) }),
        } as unknown as World;
        const members = seen.vms.filter(({ nameLabel }) => /^(db|app|web)-/.test(nameLabel));
        try {
          return await runBackupScript(
            world,
            {
              do: 'run-backup-script',
              site: 'production',
              sr: { uuid: gold, nameLabel: 'gold storage' },
              history,
              vms: members.map(({ uuid, nameLabel }) => ({ uuid, nameLabel })),
              vmsInPool: seen.vms.length,
            },
            context,
          );
        } finally {
          await dom0.close();
        }
      },
      look: async (site, sr) => {
        const dom0 = openDom0Adapter(
          { sites: backup.with().sites ?? [] },
          { secrets: { resolve: async () => lab.credentials.password } },
        );
        const world = { clock: systemClock, dom0, hypervisor } as unknown as World;
        try {
          return await lookAtBackupJobs(
            world,
            { do: 'look-at-backup-jobs', site, srs: [sr], history: 25 },
            context,
          );
        } finally {
          await dom0.close();
        }
      },
    });
  } finally {
    await Promise.all([...pools.values()].map((open) => open.close()));
  }
}

/** A pool with some of its methods in the hand of a test. */
function over(real: Hypervisor, own: Partial<Hypervisor>): Hypervisor {
  return new Proxy(real, {
    get: (target, name) => {
      const value = (Reflect.get(own, name) ?? Reflect.get(target, name)) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
