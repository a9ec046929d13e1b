/**
 * tgt, the target in user space, through tgtadm(8). What it shows is gone with tgtd, so a file for tgt-admin(8) beside
 * it says the same. A bind lets new sessions in, and an unbind leaves old ones alone: they are ended one by one. Since
 * 1.0.46 the NAA identifier is what `scsi_id` says.
 */
import type { TargetCommands } from './commands.ts';
import { isInitiator, isSameInitiator } from './names.ts';
import { recordScript } from './scripts.ts';
import type { Lun, SeenTarget, TargetSoftware } from './target.ts';

const notRunning = /failed to send request/i;
const alreadyThere = /already exists/i;
const notThere = /can't find|does not exist/i;
/** Small ids are taken by people and by tgt-admin. */
const firstTid = 0x10000;

export interface TgtSession {
  readonly id: string;
  readonly connection: string;
  readonly initiator: string;
}

export interface TgtTarget extends SeenTarget {
  readonly tid: number;
  readonly accounts: readonly string[];
  readonly nexuses: readonly TgtSession[];
}

interface TgtOptions {
  readonly tgt_control_port: number;
  readonly tgt_conf_directory: string;
}

export class Tgt implements TargetSoftware {
  readonly name = 'tgt';
  readonly #commands: TargetCommands;
  readonly #options: TgtOptions;

  constructor(commands: TargetCommands, options: TgtOptions) {
    this.#commands = commands;
    this.#options = options;
  }

  async look(signal?: AbortSignal): Promise<readonly TgtTarget[] | null> {
    const program = this.#program('show', 'target');
    const result = await this.#commands.ask(program, signal);
    if (result.code === 0) return readTargets(result.stdout);
    if (notRunning.test(result.stderr)) return null;
    throw this.#commands.error(program, result);
  }

  async make(lun: Lun): Promise<void> {
    const all = (await this.look()) ?? [];
    const found = all.find(({ iqn }) => iqn === lun.target);
    const tid = found?.tid ?? freeTid(lun, all);
    if (found === undefined)
      await this.#commands.must(this.#program('new', 'target', '--tid', tid, '-T', lun.target));
    const there = found?.luns.find(({ number }) => number === lun.number);
    const unit = ['--tid', tid, '--lun', lun.number] as const;
    if (there === undefined)
      await this.#commands.must(this.#program('new', 'logicalunit', ...unit, '-b', lun.backing.path));
    if (there?.naa !== lun.naa) {
      const names = `scsi_sn=${lun.serial},scsi_id=${lun.naa}`;
      await this.#commands.must(this.#program('update', 'logicalunit', ...unit, '--params', names));
    }
    if (lun.chap !== null && found?.accounts.includes(lun.chap.user) !== true)
      await this.#commands.must(this.#program('bind', 'account', '--tid', tid, '--user', lun.chap.user));
  }

  async admit(lun: Lun, initiators: readonly string[]): Promise<void> {
    const target = await this.#target(lun);
    if (target === undefined) return;
    for (const one of initiators)
      if (!target.initiators.includes(one))
        await this.#commands.must(this.#program('bind', 'target', '--tid', target.tid, '-Q', one), {
          already: alreadyThere,
        });
  }

  async turnAway(lun: Lun, initiators: readonly string[]): Promise<void> {
    const target = await this.#target(lun);
    if (target === undefined) return;
    for (const one of target.initiators)
      if (initiators.some((gone) => isSameInitiator(gone, one)))
        await this.#commands.must(this.#program('unbind', 'target', '--tid', target.tid, '-Q', one), {
          already: notThere,
        });
    const { nexuses } = (await this.#target(lun)) ?? { nexuses: [] };
    await this.#end(
      target.tid,
      nexuses.filter(({ initiator }) => initiators.some((gone) => isSameInitiator(gone, initiator))),
    );
  }

  async remove(lun: Lun): Promise<void> {
    const target = await this.#target(lun);
    if (target === undefined) return;
    await this.turnAway(lun, [...target.initiators, ...target.sessions]);
    await this.#commands.must(this.#program('delete', 'target', '--tid', target.tid), { already: notThere });
  }

  /** With CHAP nothing is written: the file would have to hold the password. */
  async keep(lun: Lun, initiators: readonly string[]): Promise<void> {
    const directory = this.#options.tgt_conf_directory;
    if (directory === '') return;
    const path = `${directory}/${lun.short}.conf`;
    const target = lun.chap === null ? await this.#target(lun) : undefined;
    const text = initiators.length === 0 || target === undefined ? '' : configOf(lun, target.tid, initiators);
    await this.#commands.must(['sh', '-c', recordScript, 'lifeboat-record', path, text]);
  }

  async #end(tid: number, sessions: readonly TgtSession[]): Promise<void> {
    for (const { id, connection } of sessions)
      await this.#commands.must(
        this.#program('delete', 'conn', '--tid', tid, '--sid', id, '--cid', connection),
        { already: notThere },
      );
  }

  async #target(lun: Lun): Promise<TgtTarget | undefined> {
    return (await this.look())?.find(({ iqn }) => iqn === lun.target);
  }

  #program(op: string, mode: string, ...rest: readonly (string | number)[]): readonly string[] {
    const port = ['-C', String(this.#options.tgt_control_port)];
    return ['tgtadm', ...port, '--lld', 'iscsi', '--op', op, '--mode', mode, ...rest.map(String)];
  }
}

/** The same for the same LUN, as long as nobody else has it. */
function freeTid({ serial }: Lun, all: readonly TgtTarget[]): number {
  const taken = new Set(all.map(({ tid }) => tid));
  let tid = firstTid + (Number.parseInt(serial.slice(0, 8), 16) % 0x7ff0_0000);
  while (taken.has(tid)) tid += 1;
  return tid;
}

/** What tgt-admin(8) makes the same target of. */
function configOf(lun: Lun, tid: number, initiators: readonly string[]): string {
  return [
    '# made by lifeboat, and removed by it',
    `<target ${lun.target}>`,
    `  controller_tid ${tid}`,
    `  <backing-store ${lun.backing.path}>`,
    `    lun ${lun.number}`,
    `    scsi_sn ${lun.serial}`,
    `    scsi_id ${lun.naa}`,
    '  </backing-store>',
    ...initiators.map((one) => `  initiator-name ${one}`),
    '</target>',
  ].join('\n');
}

/** What `tgtadm --op show --mode target` prints: nested by indents, one list under each heading. */
export function readTargets(text: string): readonly TgtTarget[] {
  return text.split(/^(?=Target \d+: )/m).flatMap((part) => {
    const [, tid, iqn] = /^Target (\d+): (\S+)/.exec(part) ?? [];
    return tid === undefined || iqn === undefined ? [] : [readTarget(Number(tid), iqn, part)];
  });
}

function readTarget(tid: number, iqn: string, text: string): TgtTarget {
  const acl = entriesOf(text, 'ACL information');
  const nexuses = readSessions(sectionOf(text, 'I_T nexus information'));
  return {
    tid,
    iqn,
    luns: readLuns(sectionOf(text, 'LUN information')),
    initiators: acl.filter(isInitiator),
    open: acl.some((entry) => !isInitiator(entry)),
    sessions: nexuses.map(({ initiator }) => initiator),
    accounts: entriesOf(text, 'Account information'),
    nexuses,
  };
}

function sectionOf(text: string, heading: string): string {
  return new RegExp(`^    ${heading}:\\n((?:        .*\\n?)*)`, 'm').exec(text)?.[1] ?? '';
}

function entriesOf(text: string, heading: string): string[] {
  return sectionOf(text, heading)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

function readSessions(text: string): TgtSession[] {
  return text.split(/^(?= {8}I_T nexus: )/m).flatMap((part) => {
    const id = /I_T nexus: (\d+)/.exec(part)?.[1];
    const initiator = /Initiator: (\S+)/.exec(part)?.[1];
    if (id === undefined || initiator === undefined) return [];
    return [...part.matchAll(/Connection: (\d+)/g)].map(([, connection = '0']) => ({
      id,
      connection,
      initiator,
    }));
  });
}

function readLuns(text: string): SeenTarget['luns'] {
  return text.split(/^(?= {8}LUN: )/m).flatMap((part) => {
    const value = (name: string): string =>
      new RegExp(`^ +${name}: (.*)$`, 'm').exec(part)?.[1]?.trim() ?? '';
    const [number, type] = [value('LUN'), value('Type')];
    if (number === '' || type === 'controller') return [];
    return [{ number: Number(number), path: value('Backing store path'), naa: value('SCSI ID') }];
  });
}
