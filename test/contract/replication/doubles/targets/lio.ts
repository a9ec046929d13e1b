/** LIO: targetcli, over a directory in the place of configfs. */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { Refusal } from '../zfs/pool.ts';
import type { FoundLun, Login, TargetDouble } from './target.ts';

const kernelPlace = '/sys/kernel/config/target';
const savePlace = '/etc/rtslib-fb-target/saveconfig.json';
const kinds = { block: 'iblock', fileio: 'fileio' } as const;
type Kind = keyof typeof kinds;
/** The characters of a value on a command line of configshell, and of a path in it. */
const goodValue = /^[A-Za-z0-9?;&*$!#,=_+/.<>()~@:%[\]-]+$/;
const goodIqn = /^iqn\.[0-9]{4}-[0-1][0-9]\.[^ _]*\.[^ _]*$/;

export class LioDouble implements TargetDouble {
  readonly name = 'lio';
  readonly commands: string[] = [];
  readonly #root: string;
  readonly #saved: string;
  readonly #saveFile: string;
  readonly #prefers: { readonly defaultPortal: boolean };

  /** @param directory - an empty one */
  constructor(directory: string, prefers = { defaultPortal: true }) {
    this.#root = join(directory, 'configfs');
    this.#saved = join(directory, 'saved');
    this.#saveFile = join(directory, 'saveconfig.json');
    this.#prefers = prefers;
    mkdirSync(join(this.#root, 'core/alua'), { recursive: true });
    mkdirSync(join(this.#root, 'iscsi/discovery_auth'), { recursive: true });
    mkdirSync(this.#saved, { recursive: true });
  }

  run(program: readonly string[], input: string): string | null {
    const [first, , script = '', name] = program;
    if (first === 'targetcli') {
      this.commands.push(program.join(' '));
      this.#command(program.slice(1));
      return '';
    }
    if (first !== 'sh') return null;
    if (name === 'lifeboat-target-software') return 'has lio\n';
    if (name !== 'lifeboat-targets' && name !== 'lifeboat-login') return null;
    const args = program
      .slice(4)
      .filter((word) => word !== '/etc/target/saveconfig.json')
      .map((word) => word.replace(kernelPlace, this.#root).replace(savePlace, this.#saveFile));
    try {
      return execFileSync('sh', ['-c', script, name, ...args], { input, encoding: 'utf8', stdio: 'pipe' });
    } catch (error) {
      throw new Refusal(String((error as { stderr?: string }).stderr), 1);
    }
  }

  login(target: string, initiator: string, login?: Login): readonly FoundLun[] {
    const acl = this.#path('iscsi', target, 'tpgt_1/acls', initiator.toLowerCase());
    if (!existsSync(acl)) throw new Error('login: not authorized');
    const needs = this.#text(this.#path('iscsi', target, 'tpgt_1/attrib/authentication')) === '1';
    const auth = (name: string): string => this.#text(join(acl, 'auth', name));
    const right = login?.user === auth('userid') && login.password === auth('password');
    if (needs && (!right || auth('userid') === '')) throw new Error('login: authentication failure');
    writeFileSync(join(acl, 'info'), `InitiatorName: ${initiator}\nLIO Session ID: 1\n`);
    return readdirSync(acl)
      .filter((one) => one.startsWith('lun_'))
      .map((one) => this.#lunOf(target, Number(one.slice(4))));
  }

  sessions(): readonly string[] {
    return this.targets().flatMap((iqn) =>
      this.#names('iscsi', iqn, 'tpgt_1/acls').filter((one) =>
        this.#text(this.#path('iscsi', iqn, 'tpgt_1/acls', one, 'info')).startsWith('InitiatorName'),
      ),
    );
  }

  targets(): readonly string[] {
    return this.#names('iscsi').filter((name) => name.startsWith('iqn.'));
  }

  /** The kernel forgets, and nobody has brought anything back yet. */
  lose(): void {
    rmSync(this.#root, { recursive: true });
    mkdirSync(join(this.#root, 'core'), { recursive: true });
    mkdirSync(join(this.#root, 'iscsi'));
  }

  /** As `targetctl restore` does at the start of a filer. */
  restart(): void {
    rmSync(this.#root, { recursive: true });
    cpSync(this.#saved, this.#root, { recursive: true, verbatimSymlinks: true });
    for (const iqn of this.targets())
      for (const one of this.#names('iscsi', iqn, 'tpgt_1/acls'))
        writeFileSync(this.#path('iscsi', iqn, 'tpgt_1/acls', one, 'info'), 'No active iSCSI Session\n');
  }

  #lunOf(target: string, number: number): FoundLun {
    const lun = this.#path('iscsi', target, `tpgt_1/lun/lun_${number}`);
    const [link = ''] = readdirSync(lun);
    const store = this.#path('core', readlinkSync(join(lun, link)).split('/core/')[1] ?? '');
    const serial = this.#text(join(store, 'wwn/vpd_unit_serial')).split(': ')[1] ?? '';
    const digits = serial.replaceAll(/[^0-9a-f]/gi, '').slice(0, 25);
    return { number, path: this.#text(join(store, 'udev_path')), scsiId: `36001405${digits}` };
  }

  #command([path = '', verb = '', ...words]: readonly string[]): void {
    for (const word of [path, ...words])
      if (!goodValue.test(word)) throw new Refusal(`Expected end of text, found '${word}'`);
    const named = new Map(words.filter((word) => word.includes('=')).map((word) => wordsOf(word)));
    const plain = words.filter((word) => !word.includes('='));
    const need = (name: string): string => {
      const value = named.get(name);
      if (value === undefined) throw new Refusal(`Missing required parameter ${name}`);
      named.delete(name);
      return value;
    };
    this.#at(path, verb, plain, need);
    if (named.size > 0) throw new Refusal(`Unexpected keyword parameter '${[...named.keys()][0]}'.`);
  }

  #at(path: string, verb: string, plain: readonly string[], need: (name: string) => string): void {
    const [, kind] = /^\/backstores\/(block|fileio)$/.exec(path) ?? [];
    const [, iqn = '', below = ''] = /^\/iscsi\/([^/]+)\/tpg1(\/.*)?$/.exec(path) ?? [];
    const acl = /^\/acls\/(.+)$/.exec(below)?.[1];
    if (iqn !== '' && !this.targets().includes(iqn)) throw new Refusal(`No such path ${path}`);
    const asked = `${kind === undefined ? (iqn === '' ? path : `tpg${acl === undefined ? below : '/acls/*'}`) : 'store'} ${verb}`;
    const [name = ''] = plain;
    const group = (...below: readonly string[]): string => this.#path('iscsi', iqn, 'tpgt_1', ...below);
    const does: Readonly<Record<string, () => void>> = {
      '/ saveconfig': () => this.#save(),
      'store create': () => this.#createStore(kind as Kind, need),
      'store delete': () => this.#deleteStore(kind as Kind, name),
      '/iscsi create': () => this.#createTarget(name),
      '/iscsi delete': () => this.#deleteTarget(name),
      'tpg set': () => {
        if (name !== 'attribute') throw new Refusal(`Unknown configuration group: ${name}`);
        this.#write(group('attrib/authentication'), need('authentication'));
      },
      'tpg enable': () => this.#write(group('enable'), '1'),
      'tpg/luns create': () => this.#createLun(iqn, need),
      'tpg/portals create': () => this.#createPortal(iqn, need('ip_address'), need('ip_port')),
      'tpg/acls create': () => this.#createAcl(iqn, need),
      'tpg/acls delete': () => this.#deleteAcl(iqn, need('wwn')),
      'tpg/acls/* create': () => this.#map(iqn, acl ?? '', need),
    };
    const act = does[asked];
    if (act === undefined) throw new Refusal(`Command not found ${verb}`);
    act();
  }

  #save(): void {
    rmSync(this.#saved, { recursive: true });
    cpSync(this.#root, this.#saved, { recursive: true, verbatimSymlinks: true });
    const targets = this.targets().map((wwn) => {
      const acls = this.#names('iscsi', wwn, 'tpgt_1/acls').map((node_wwn) => ({ node_wwn }));
      return { fabric: 'iscsi', tpgs: [{ node_acls: acls }], wwn };
    });
    const stores = this.#stores().map(({ name }) => ({ name, wwn: '1fbf54fe' }));
    writeFileSync(this.#saveFile, JSON.stringify({ storage_objects: stores, targets }, null, 2));
  }

  #stores(): readonly { readonly name: string; readonly place: string; readonly path: string }[] {
    return this.#names('core').flatMap((hba) =>
      this.#names('core', hba).map((name) => {
        const place = this.#path('core', hba, name);
        return { name, place, path: this.#text(join(place, 'udev_path')) };
      }),
    );
  }

  #createStore(kind: Kind, need: (name: string) => string): void {
    const name = need('name');
    const path = kind === 'block' ? need('dev') : need('file_or_dev');
    const wwn = need('wwn');
    // Left to itself targetcli caches what is written to a file, and asks a device whether it is read-only.
    if (kind === 'block' && need('readonly') !== 'false') throw new Refusal('not as a device of hosts');
    if (kind === 'fileio' && need('write_back') !== 'false') throw new Refusal('not with a write cache');
    const same = this.#stores().find((one) => one.path === path);
    if (same !== undefined && kind === 'fileio')
      throw new Refusal(`storage object for ${path} already exists: ${same.name}`);
    if (this.#stores().some((one) => one.name === name))
      throw new Refusal(`Storage object ${kind}/${name} exists`);
    if (same !== undefined)
      throw new Refusal(`Cannot configure StorageObject because device ${path} is already in use`);
    const count = this.#names('core').filter((hba) => hba.startsWith(kinds[kind])).length;
    const place = this.#path('core', `${kinds[kind]}_${count}`, name);
    mkdirSync(join(place, 'wwn'), { recursive: true });
    this.#write(join(place, 'udev_path'), path);
    this.#write(join(place, 'wwn/vpd_unit_serial'), `T10 VPD Unit Serial Number: ${wwn}`);
  }

  #deleteStore(kind: Kind, name: string): void {
    const found = this.#stores().find((one) => one.name === name && one.place.includes(`/${kinds[kind]}_`));
    if (found === undefined) throw new Refusal(`No storage object named ${name}.`);
    rmSync(join(found.place, '..'), { recursive: true });
  }

  #createTarget(iqn: string): void {
    if (!goodIqn.test(iqn)) throw new Refusal(`WWN not valid as: iqn, naa, eui`);
    if (this.targets().includes(iqn)) throw new Refusal('This Target already exists in configFS');
    const group = this.#path('iscsi', iqn, 'tpgt_1');
    for (const one of ['attrib', 'lun', 'acls', 'np']) mkdirSync(join(group, one), { recursive: true });
    this.#write(join(group, 'attrib/authentication'), '0');
    this.#write(join(group, 'attrib/generate_node_acls'), '0');
    this.#write(join(group, 'enable'), '1');
    this.#write(join(group, 'dynamic_sessions'), '');
    if (this.#prefers.defaultPortal) mkdirSync(join(group, 'np/0.0.0.0:3260'));
  }

  #deleteTarget(iqn: string): void {
    if (!this.targets().includes(iqn)) throw new Refusal(`No such Target in configfs: ${iqn}`);
    rmSync(this.#path('iscsi', iqn), { recursive: true });
  }

  #createLun(iqn: string, need: (name: string) => string): void {
    const [, , kind = '', name] = need('storage_object').split('/');
    const store = this.#stores().find(
      (one) => one.name === name && one.place.includes(`/${kinds[kind as Kind]}_`),
    );
    const number = need('lun');
    if (need('add_mapped_luns') !== 'false') throw new Refusal('nobody is to find it yet');
    if (store === undefined) throw new Refusal('storage object or path not valid');
    const lun = this.#path('iscsi', iqn, 'tpgt_1/lun', `lun_${number}`);
    if (existsSync(lun)) throw new Refusal(`lun for storage object ${kind}/${name} already exists`);
    mkdirSync(lun);
    const up = '../../../../../../target/core';
    symlinkSync(
      `${up}/${basename(join(store.place, '..'))}/${basename(store.place)}`,
      join(lun, '1a2b3c4d5e'),
    );
  }

  #createPortal(iqn: string, address: string, port: string): void {
    const all = this.#path('iscsi', iqn, 'tpgt_1/np');
    if (readdirSync(all).includes(`0.0.0.0:${port}`))
      throw new Refusal('Could not create NetworkPortal in configFS');
    mkdirSync(join(all, address.includes('.') ? `${address}:${port}` : `[${address}]:${port}`));
  }

  #createAcl(iqn: string, need: (name: string) => string): void {
    const name = need('wwn').toLowerCase();
    if (need('add_mapped_luns') !== 'false') throw new Refusal('its login is not right yet');
    const acl = this.#path('iscsi', iqn, 'tpgt_1/acls', name);
    if (!goodIqn.test(name)) throw new Refusal('WWN not valid as: iqn, naa, eui');
    if (existsSync(acl)) throw new Refusal('This NodeACL already exists in configFS');
    mkdirSync(join(acl, 'auth'), { recursive: true });
    this.#write(join(acl, 'auth/userid'), '');
    this.#write(join(acl, 'auth/password'), '');
    this.#write(join(acl, 'info'), 'No active iSCSI Session for Initiator Endpoint');
  }

  #deleteAcl(iqn: string, name: string): void {
    const acl = this.#path('iscsi', iqn, 'tpgt_1/acls', name);
    if (!existsSync(acl)) throw new Refusal(`No such NodeACL in configfs: ${acl}`);
    rmSync(acl, { recursive: true });
  }

  #map(iqn: string, acl: string, need: (name: string) => string): void {
    const [number, of, protects] = [need('mapped_lun'), need('tpg_lun_or_backstore'), need('write_protect')];
    if (!existsSync(this.#path('iscsi', iqn, 'tpgt_1/acls', acl))) throw new Refusal(`No such path ${acl}`);
    if (!existsSync(this.#path('iscsi', iqn, 'tpgt_1/lun', `lun_${of}`)))
      throw new Refusal(`LUN ${of} does not exist in this TPG`);
    if (protects !== 'false') throw new Refusal('hosts write');
    const mapped = this.#path('iscsi', iqn, 'tpgt_1/acls', acl, `lun_${number}`);
    if (existsSync(mapped)) throw new Refusal('This MappedLUN already exists in configFS');
    mkdirSync(mapped);
  }

  #path(...parts: readonly string[]): string {
    return join(this.#root, ...parts);
  }

  #names(...parts: readonly string[]): string[] {
    const place = this.#path(...parts);
    return existsSync(place) ? readdirSync(place).sort() : [];
  }

  #text(path: string): string {
    return existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
  }

  #write(path: string, text: string): void {
    writeFileSync(path, `${text}\n`);
  }
}

function wordsOf(word: string): [string, string] {
  const at = word.indexOf('=');
  return [word.slice(0, at), word.slice(at + 1)];
}
