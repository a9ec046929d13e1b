/** tgt 1.0.85: what tgtadm prints and refuses, and what tgt-admin makes of a file at a restart. */
import { Refusal } from '../zfs/pool.ts';
import type { FoundLun, Login, TargetDouble } from './target.ts';

interface Target {
  readonly tid: number;
  readonly iqn: string;
  readonly luns: Map<number, { readonly path: string; scsiId: string; serial: string }>;
  readonly initiators: Set<string>;
  readonly accounts: Set<string>;
  /** Session id and initiator. */
  readonly sessions: Map<number, string>;
}

export class TgtDouble implements TargetDouble {
  readonly name = 'tgt';
  readonly commands: string[] = [];
  readonly accounts = new Map<string, string>();
  /** What was written to files, by path. */
  readonly files = new Map<string, string>();
  isRunning = true;
  #targets: Target[] = [];
  #sessions = 0;

  run(program: readonly string[]): string | null {
    const [first, , , name, path = '', text = ''] = program;
    if (first === 'tgtadm') {
      this.commands.push(program.join(' '));
      return this.#command(program.slice(1));
    }
    if (first !== 'sh') return null;
    if (name === 'lifeboat-target-software') return `has tgt\n${this.isRunning ? 'runs tgt\n' : ''}`;
    if (name !== 'lifeboat-record') return null;
    if (text === '') this.files.delete(path);
    else this.files.set(path, text);
    return '';
  }

  login(iqn: string, initiator: string, login?: Login): readonly FoundLun[] {
    const target = this.#targets.find((one) => one.iqn === iqn);
    if (!this.isRunning || target === undefined || !target.initiators.has(initiator))
      throw new Error('login: not authorized');
    const right = login !== undefined && this.accounts.get(login.user) === login.password;
    if (target.accounts.size > 0 && !(right && target.accounts.has(login.user)))
      throw new Error('login: authentication failure');
    this.#sessions += 1;
    target.sessions.set(this.#sessions, initiator);
    return [...target.luns].map(([number, { path, scsiId }]) => ({ number, path, scsiId: naaOf(scsiId) }));
  }

  sessions(): readonly string[] {
    return this.#targets.flatMap(({ sessions }) => [...sessions.values()]);
  }

  targets(): readonly string[] {
    return this.#targets.map(({ iqn }) => iqn);
  }

  /** Only what files say is shown again. */
  restart(): void {
    this.isRunning = true;
    this.#targets = [...this.files.values()].map((text) => {
      const value = (name: string): string => new RegExp(`${name} ([^\\s>]+)`).exec(text)?.[1] ?? '';
      const lun = { path: value('<backing-store'), scsiId: value('scsi_id'), serial: value('scsi_sn') };
      const initiators = [...text.matchAll(/initiator-name (\S+)/g)].map(([, name = '']) => name);
      return {
        ...emptyTarget(Number(value('controller_tid')), value('<target')),
        luns: new Map([[Number(value('\\n +lun')), lun]]),
        initiators: new Set(initiators),
      };
    });
  }

  #command(words: readonly string[]): string {
    if (!this.isRunning)
      throw new Refusal(
        'tgtadm: failed to send request hdr to tgt daemon, Transport endpoint is not connected',
        107,
      );
    const options = optionsOf(words);
    const take = (name: string): string => {
      const value = options.get(name);
      if (value === undefined) throw refused(`'${name}' option is necessary`);
      options.delete(name);
      return value;
    };
    if (take('-C') !== '0' || take('--lld') !== 'iscsi') throw refused('invalid request');
    const printed = this.#ask(take('--op'), take('--mode'), take, options);
    if (options.size > 0) throw refused(`option '${[...options.keys()][0]}' is not supported`);
    return printed;
  }

  #ask(op: string, mode: string, take: (name: string) => string, left: ReadonlyMap<string, string>): string {
    switch (`${op} ${mode}`) {
      case 'show target':
        return this.#targets.map(print).join('');
      case 'new target':
        this.#create(Number(take('--tid')), take('-T'));
        return '';
      case 'delete target': {
        const target = this.#target(take);
        if (target.sessions.size > 0) throw refused('this target is still active');
        this.#targets = this.#targets.filter((one) => one !== target);
        return '';
      }
      case 'new logicalunit': {
        const { luns } = this.#target(take);
        const number = Number(take('--lun'));
        if (luns.has(number)) throw refused('this logical unit number already exists');
        luns.set(number, { path: take('-b'), scsiId: 'IET     00010001', serial: 'beaf11' });
        return '';
      }
      case 'update logicalunit':
        this.#rename(this.#target(take), Number(take('--lun')), take('--params'));
        return '';
      case 'bind target':
        if (left.has('-I')) throw new Error('a target is opened by names of initiators alone');
        bind(this.#target(take).initiators, take('-Q'));
        return '';
      case 'unbind target':
        if (!this.#target(take).initiators.delete(take('-Q')))
          throw refused('this access control rule does not exist');
        return '';
      case 'bind account': {
        const { accounts } = this.#target(take);
        const user = take('--user');
        if (!this.accounts.has(user)) throw refused("can't find the account");
        bind(accounts, user);
        return '';
      }
      case 'delete conn': {
        const { sessions } = this.#target(take);
        if (take('--cid') !== '0' || !sessions.delete(Number(take('--sid'))))
          throw refused("can't find the session");
        return '';
      }
      default:
        throw refused('invalid request');
    }
  }

  #create(tid: number, iqn: string): void {
    if (!Number.isInteger(tid) || tid < 1 || tid > 0x7fff_ffff)
      throw refused(`-t argument value '${tid}' out of range`);
    if (this.#targets.some((one) => one.tid === tid || one.iqn === iqn))
      throw refused('this target already exists');
    this.#targets.push(emptyTarget(tid, iqn));
  }

  #rename({ luns }: Target, number: number, params: string): void {
    const lun = luns.get(number);
    if (lun === undefined) throw refused("can't find the logical unit");
    for (const [name, value = ''] of params.split(',').map((one) => one.split('='))) {
      if (value.length > 36) throw refused('invalid request');
      if (name === 'scsi_id') lun.scsiId = value;
      else if (name === 'scsi_sn') lun.serial = value;
      else throw refused('invalid request');
    }
  }

  #target(take: (name: string) => string): Target {
    const tid = Number(take('--tid'));
    const found = this.#targets.find((one) => one.tid === tid);
    if (found === undefined) throw refused("can't find the target");
    return found;
  }
}

function emptyTarget(tid: number, iqn: string): Target {
  return {
    ...{ tid, iqn, luns: new Map(), initiators: new Set() },
    ...{ accounts: new Set(), sessions: new Map() },
  };
}

function bind(all: Set<string>, one: string): void {
  if (all.has(one)) throw refused('this access control rule already exists');
  all.add(one);
}

function refused(words: string): Refusal {
  return new Refusal(`tgtadm: ${words}`, 22);
}

function optionsOf(words: readonly string[]): Map<string, string> {
  if (words.length % 2 !== 0) throw refused('unrecognized option');
  return new Map(words.flatMap((word, at) => (at % 2 === 0 ? [[word, words[at + 1] ?? '']] : [])));
}

/** Hexadecimal digits of the id, to the right, behind the nibble of their kind (tgt usr/spc.c). */
function naaOf(scsiId: string): string {
  const digits = [...scsiId].map((one) => (/[0-9a-f]/i.test(one) ? one.toLowerCase() : '0')).join('');
  return `36${digits.padStart(32, '0').slice(-31)}`;
}

function print({ tid, iqn, luns, initiators, accounts, sessions }: Target): string {
  const unit = (number: number, type: string, id: string, serial: string, path: string): string[] => [
    `        LUN: ${number}`,
    `            Type: ${type}`,
    `            SCSI ID: ${id}`,
    `            SCSI SN: ${serial}`,
    '            Size: 67 MB, Block size: 512',
    '            Online: Yes',
    '            Backing store type: rdwr',
    `            Backing store path: ${path}`,
    '            Backing store flags: ',
  ];
  return [
    `Target ${tid}: ${iqn}`,
    '    System information:',
    '        Driver: iscsi',
    '        State: ready',
    '    I_T nexus information:',
    ...[...sessions].flatMap(([id, initiator]) => [
      `        I_T nexus: ${id}`,
      `            Initiator: ${initiator} alias: none`,
      '            Connection: 0',
      '                IP Address: 10.1.1.1',
    ]),
    '    LUN information:',
    ...unit(0, 'controller', `IET     ${tid.toString(16)}0000`, `beaf${tid}0`, 'None'),
    ...[...luns].flatMap(([number, { path, scsiId, serial }]) => unit(number, 'disk', scsiId, serial, path)),
    '    Account information:',
    ...[...accounts].map((one) => `        ${one}`),
    '    ACL information:',
    ...[...initiators].map((one) => `        ${one}`),
    '',
  ].join('\n');
}
