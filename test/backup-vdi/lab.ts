/** A lab with little guests and a small backup disk, and its disks taken apart as a host would. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import type { MetadataBackupSettings, Settings } from '../../src/domain/settings.ts';
import { type Dom0, mishapsOf, openDom0, runCommand } from '../../src/lab/dom0/index.ts';
import { backendOf } from '../../src/lab/storage/state.ts';
import { metadataBackupUuid } from '../../src/lab/storage/vdi.ts';
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
      mishapsOf(house.lab.pool(site)).diskBytes = BigInt(32 * mebibyte);
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
          bytes: 32 * mebibyte,
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
              .hosts.filter((host) => host.name !== ssh.without)
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
