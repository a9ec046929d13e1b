/** A filer with a pool of the double behind an SSH server: what `zfs`, `zpool` and the adapter's scripts do there. */
import { once } from 'node:events';
import type { ServerChannel } from 'ssh2';
import type { Test } from 'tap';
import { startSshServer, type TestSshServer } from '../../../../support/ssh-server.ts';
import { type Dataset, Refusal, type Snapshot, type StreamHead, tokenOf, type ZfsPool } from './pool.ts';

export interface ZfsFiler extends TestSshServer {
  readonly pool: ZfsPool;
  /** What was sent, in order: the arguments of each `zfs send` that was no question. */
  readonly sends: string[][];
  /** The next stream breaks off after so many bytes of data. */
  cutNext(afterBytes: number): void;
  /** What follows the next first arrival on this filer does not happen: power is lost. */
  loseCloseOfNext(): void;
}

/** The arguments that a line of quoted words stands for. */
export function wordsOf(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|\\')+/g)].map(([word]) =>
    word.replaceAll(/'([^']*)'|\\'/g, (_, text: string | undefined) => text ?? "'"),
  );
}

/** Further programs of a filer: what one prints, a `Refusal`, or null for a program that it is not. */
export type Programs = (program: readonly string[], input: string) => string | null;

export async function startZfsFiler(
  t: Test,
  pool: ZfsPool,
  programs: Programs = () => null,
): Promise<ZfsFiler> {
  const face = new Face(pool, programs);
  const ssh = await startSshServer(t, { command: (line, channel) => face.serve(wordsOf(line), channel) });
  return {
    ...ssh,
    pool,
    sends: face.sends,
    cutNext: (afterBytes) => {
      face.cutAfter = afterBytes;
    },
    loseCloseOfNext: () => {
      face.losesClose = true;
    },
  };
}

class Face {
  readonly sends: string[][] = [];
  cutAfter: number | null = null;
  losesClose = false;
  readonly #pool: ZfsPool;
  readonly #programs: Programs;

  constructor(pool: ZfsPool, programs: Programs) {
    this.#pool = pool;
    this.#programs = programs;
  }

  async serve(words: readonly string[], channel: ServerChannel): Promise<void> {
    const [env, , , ...program] = words;
    if (env !== 'env') throw new Error(`not a command of the adapter: ${words[0]}`);
    try {
      const reads = ['lifeboat-receive', 'lifeboat-login'].includes(program[3] ?? '');
      const input = reads ? await allOf(channel) : '';
      channel.write(this.#run(program, input));
      channel.exit(0);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      channel.write(error.printed);
      channel.stderr.write(`${error.message}\n`);
      channel.exit(error.code);
    }
    channel.end();
  }

  #run(program: readonly string[], input: string): string {
    const printed = this.#programs(program, input);
    if (printed !== null) return printed;
    if (program[0] === 'zfs') return this.#zfs(program.slice(1));
    if (program[0] !== 'sh' || program[1] !== '-c') throw new Error(`no such program: ${program[0]}`);
    const [name, ...given] = program.slice(3);
    switch (name) {
      case 'lifeboat-look':
        return this.#look(given.slice(1));
      case 'lifeboat-probe':
        return this.#probe();
      case 'lifeboat-settle':
        return this.#settle(given);
      case 'lifeboat-send':
        return this.#send(wordsOf(given[1] ?? ''));
      case 'lifeboat-receive':
        return this.#receive(given, input);
      case 'lifeboat-close':
        this.#close(this.#pool.dataset(given[0] ?? ''));
        return '';
      case 'lifeboat-stop':
        return '';
      default:
        throw new Error(`no such script: ${name}`);
    }
  }

  #look(program: readonly string[]): string {
    const clock = `clock ${this.#pool.clock}\n`;
    try {
      return clock + (program.length === 0 ? '' : this.#run(program, ''));
    } catch (error) {
      if (error instanceof Refusal) error.printed = clock + error.printed;
      throw error;
    }
  }

  #probe(): string {
    const { resume, bookmarks } = this.#pool.features;
    const state = (is: boolean): string => (is ? 'enabled' : 'disabled');
    return [
      'release zfs-2.2.2-1',
      ...(resume ? ['knows receive_resume_token'] : []),
      'knows zvols',
      'NAME  PROPERTY  VALUE  SOURCE',
      `${this.#pool.name}  guid  4711  -`,
      `${this.#pool.name}  version  -  default`,
      `${this.#pool.name}  feature@extensible_dataset  ${state(resume)}  local`,
      `${this.#pool.name}  feature@bookmarks  ${state(bookmarks)}  local`,
      '',
    ].join('\n');
  }

  /** As the script: what cannot be done is left. */
  #settle(triples: readonly string[]): string {
    for (let at = 0; at < triples.length; at += 3) {
      const [action = '', name = '', value = ''] = triples.slice(at, at + 3);
      try {
        if (action === 'hold') this.#pool.snapshot(name).snapshot.holds.add('lifeboat');
        else if (action === 'release') this.#pool.snapshot(name).snapshot.holds.delete('lifeboat');
        else if (action === 'bookmark') this.#pool.bookmark(name, value);
        else if (action === 'sent') this.#pool.dataset(name).local.set('lifeboat:sent', value);
        else {
          if (action === 'remove') this.#pool.snapshot(name).snapshot.holds.delete('lifeboat');
          this.#pool.destroy(name);
        }
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
      }
    }
    return '';
  }

  #send(words: readonly string[]): string {
    this.sends.push(words.slice(2));
    const { head, body } = this.#streamOf(words.slice(2));
    const cut = body.slice(0, this.cutAfter ?? body.length);
    this.cutAfter = null;
    return `${JSON.stringify(head)}\n${cut}`;
  }

  #streamOf(words: readonly string[]): { readonly head: StreamHead; readonly body: string } {
    const [option = '', value = '', name = ''] = words;
    if (option === '-t' && words.length === 2) return this.#pool.resend(value);
    if (option === '-i' && words.length === 3) return this.#pool.send(name, value);
    if (words.length === 1) return this.#pool.send(option, null);
    throw usage('send', words);
  }

  #receive([, marks = '', receive = '', after = '']: readonly string[], input: string): string {
    const mark = this.#zfs(wordsOf(marks).slice(1));
    if (mark.startsWith('promot')) throw new Refusal('', 76);
    const words = wordsOf(receive).slice(2);
    const name = words.at(-1) ?? '';
    const options = words.slice(0, -1).join(' ');
    if (options !== '' && !(options === '-s -u' && this.#pool.features.resume)) throw usage('receive', words);
    const end = input.indexOf('\n');
    if (end < 0) throw new Refusal('cannot receive: failed to read from stream');
    this.#pool.receive(name, JSON.parse(input.slice(0, end)), input.slice(end + 1), options !== '');
    const loses = this.losesClose && after !== '';
    if (loses) this.losesClose = false;
    if (loses) throw new Refusal('', 255);
    return after === '' ? '' : this.#run(wordsOf(after), '');
  }

  #close(dataset: Dataset): void {
    dataset.local.set('readonly', 'on');
    if (dataset.type === 'filesystem') dataset.local.set('canmount', 'noauto');
    dataset.mounted = false;
  }

  #zfs([verb = '', ...words]: readonly string[]): string {
    const name = words.at(-1) ?? '';
    switch (verb) {
      case 'get':
        return this.#get(words);
      case 'set':
        return this.#set(words[0] ?? '', this.#pool.dataset(name));
      case 'inherit':
        this.#pool.dataset(name).local.delete(words[0] ?? '');
        return '';
      case 'snapshot':
        return this.#snapshot(words);
      case 'destroy':
        this.#pool.destroy(name);
        return '';
      case 'clone':
        return this.#clone(words);
      case 'mount':
      case 'unmount':
        this.#mountable(name).mounted = verb === 'mount';
        return '';
      case 'send':
        if (words[0] !== '-n') throw usage(verb, words);
        this.#streamOf(words.slice(1));
        return '';
      case 'receive':
        if (words[0] !== '-A' || words.length !== 2) throw usage(verb, words);
        this.#pool.abandon(name);
        return '';
      default:
        throw usage(verb, words);
    }
  }

  #mountable(name: string): Dataset {
    const dataset = this.#pool.dataset(name);
    if (dataset.type !== 'filesystem') throw new Refusal(`cannot open '${name}': operation not applicable`);
    return dataset;
  }

  #set(setting: string, dataset: Dataset): string {
    const [key = '', value = ''] = setting.split('=');
    if (dataset.type === 'volume' && ['canmount', 'sharenfs', 'mountpoint'].includes(key))
      throw new Refusal(`cannot set property for '${dataset.name}': '${key}' does not apply to this type`);
    dataset.local.set(key, value);
    return '';
  }

  #snapshot(words: readonly string[]): string {
    const name = words.at(-1) ?? '';
    const [of = '', short = ''] = name.split('@');
    const at = words.indexOf('-o');
    const local = at < 0 ? [] : [(words[at + 1] ?? '').split('=') as [string, string]];
    for (const dataset of this.#pool.datasets.values())
      if (dataset.name === of || dataset.name.startsWith(`${of}/`))
        this.#pool.cut(`${dataset.name}@${short}`, new Map(local));
    return '';
  }

  #clone(words: readonly string[]): string {
    const [origin = '', name = ''] = words.slice(-2);
    const { dataset, snapshot } = this.#pool.snapshot(origin);
    const made = this.#pool.create(name, dataset.type, origin);
    made.content = snapshot.content;
    words.forEach((word, at) => {
      if (words[at - 1] === '-o') this.#set(word, made);
    });
    return '';
  }

  #get(words: readonly string[]): string {
    const columns = words[words.indexOf('-o') + 1] ?? '';
    const [properties = '', ...names] = words.slice(words.indexOf('-o') + 2);
    const asked = properties.split(',');
    if (asked.includes('receive_resume_token') && !this.#pool.features.resume)
      throw new Refusal("bad property list: invalid property 'receive_resume_token'", 2);
    const lines: string[] = [];
    const missing: string[] = [];
    for (const name of names) {
      const found = [...this.#pool.datasets.values()].filter(
        (one) => one.name === name || (words.includes('-r') && one.name.startsWith(`${name}/`)),
      );
      const snapshot = name.includes('@') ? [this.#pool.snapshot(name)] : [];
      if (found.length + snapshot.length === 0 && name !== this.#pool.name) missing.push(name);
      const rows = [
        ...snapshot.map(({ dataset, snapshot: one }) => [name, usedOf(dataset, one)] as const),
        ...found.flatMap((dataset) => rowsOf(dataset, words.includes('-r'))),
      ];
      for (const [row, values] of rows)
        for (const property of asked) {
          const { value, source } = values(property);
          if (words.includes('-s') && source !== 'local') continue;
          lines.push(columns === 'value' ? value : `${row}\t${property}\t${value}\t${source}`);
        }
    }
    if (missing.length > 0 && names.length === missing.length && columns === 'value') return '';
    const text = lines.map((line) => `${line}\n`).join('');
    if (missing.length === 0) return text;
    // What there is has been printed all the same.
    throw new Refusal(
      missing.map((one) => `cannot open '${one}': dataset does not exist`).join('\n'),
      1,
      text,
    );
  }
}

interface Value {
  readonly value: string;
  readonly source: string;
}

type Values = (property: string) => Value;

function rowsOf(dataset: Dataset, deep: boolean): (readonly [string, Values])[] {
  const { name, snapshots, bookmarks } = dataset;
  return [
    [name, (property) => ofDataset(dataset, property)],
    ...(deep ? snapshots.map((one) => [`${name}@${one.short}`, ofSnapshot(one, 'snapshot')] as const) : []),
    ...(deep
      ? bookmarks.map(({ short, of }) => [`${name}#${short}`, ofSnapshot(of, 'bookmark')] as const)
      : []),
  ];
}

function ofDataset(dataset: Dataset, property: string): Value {
  const { type, name, local, origin, mounted } = dataset;
  const fixed: Readonly<Record<string, string>> = {
    ...{ type, origin, guid: `1${name.length}`, creation: '1', createtxg: '1' },
    mounted: type === 'volume' ? '-' : mounted ? 'yes' : 'no',
    mountpoint: type === 'volume' ? '-' : `/${name}`,
    receive_resume_token: tokenOf(dataset),
  };
  const set = local.get(property);
  if (set !== undefined) return { value: set, source: 'local' };
  if (property === 'readonly') return { value: 'off', source: 'default' };
  return { value: fixed[property] ?? '-', source: '-' };
}

function ofSnapshot(one: Snapshot, type: string): Values {
  const fixed: Readonly<Record<string, string>> = {
    ...{ type, guid: one.guid, creation: String(one.creation), createtxg: String(one.createtxg), used: '0' },
  };
  return (property) => {
    const set = type === 'snapshot' ? one.local.get(property) : undefined;
    return set === undefined
      ? { value: fixed[property] ?? '-', source: '-' }
      : { value: set, source: 'local' };
  };
}

/** What only this snapshot still refers to. */
function usedOf(dataset: Dataset, one: Snapshot): Values {
  const values = ofSnapshot(one, 'snapshot');
  const used = one.content === dataset.content ? '0' : '512';
  return (property) => (property === 'used' ? { value: used, source: '-' } : values(property));
}

function usage(verb: string, words: readonly string[]): Refusal {
  return new Refusal(`usage: zfs ${verb} (not ${words.join(' ')})`, 2);
}

async function allOf(channel: ServerChannel): Promise<string> {
  let text = '';
  channel.on('data', (piece: Buffer) => {
    text += piece.toString('utf8');
  });
  await once(channel, 'end');
  return text;
}
