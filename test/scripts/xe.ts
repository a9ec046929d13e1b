/**
 * As much of `xe` as a recovery script needs, over a pool of the lab: a program on the path that hands its arguments to
 * this process, and an interpreter that keeps to xe's forms: `key=value` words, bare flags, `--minimal` lists.
 */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import type { Test } from 'tap';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import type { Row } from '../../src/lab/core/database.ts';
import { invoke } from '../../src/lab/core/dispatch.ts';
import { failureOf } from '../../src/lab/core/failure.ts';
import type { LabPool } from '../../src/lab/core/pool.ts';
import { struct } from '../../src/lab/core/values.ts';
import type { Lab } from '../../src/lab/lab.ts';

export interface Xe {
  /** To be put in front of PATH. */
  readonly directory: string;
  /** Every call so far, as the arguments came. */
  readonly calls: readonly (readonly string[])[];
}

/** `answer` says what a call prints; an error makes xe fail with its message. */
export async function fakeXe(
  t: Test,
  directory: string,
  answer: (argv: readonly string[], cwd: string) => string | Promise<string>,
): Promise<Xe> {
  const calls: string[][] = [];
  const serve = async (socket: Socket): Promise<void> => {
    const [cwd = '', ...argv] = await wordsOf(socket);
    calls.push(argv);
    try {
      const text = await answer(argv, cwd);
      socket.end(`0\n${text === '' ? '' : `${text}\n`}`);
    } catch (error) {
      socket.end(`1\n${failureOf(error).description.join(' ')}\n`);
    }
  };
  const server = createServer((socket) => void serve(socket));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.teardown(() => new Promise<void>((done) => server.close(() => done())));
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  mkdirSync(directory, { recursive: true });
  const program = join(directory, 'xe');
  // A shell starts in a tenth of the time of a program, and a recovery calls it dozens of times.
  writeFileSync(
    program,
    `#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/${port}
printf '%s\\0' "$#" "$PWD" "$@" >&3
IFS= read -r code <&3
if [ "$code" = 0 ]; then cat <&3; else cat <&3 >&2; exit 1; fi
`,
  );
  chmodSync(program, 0o700);
  return { directory, calls };
}

/** The directory and the arguments, each ended by a NUL, and their number in front. */
function wordsOf(socket: Socket): Promise<string[]> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
      const [count = '', ...words] = text.split('\0');
      if (words.length > Number(count) + 1) resolve(words.slice(0, -1));
    });
    socket.once('error', reject);
  });
}

/** The arguments of one call: `uuid=…`, `device-config:server=…`, and flags. */
function parse(argv: readonly string[]): { verb: string; values: Map<string, string>; minimal: boolean } {
  const [verb = '', ...rest] = argv;
  const values = new Map<string, string>();
  for (const word of rest) {
    const at = word.indexOf('=');
    if (at > 0) values.set(word.slice(0, at), word.slice(at + 1));
    else if (word !== '--minimal') throw new Error(`xe does not know ${word}`);
  }
  return { verb, values, minimal: rest.includes('--minimal') };
}

const classes: Readonly<Record<string, string>> = {
  network: 'network',
  host: 'host',
  sr: 'SR',
  pbd: 'PBD',
  vdi: 'VDI',
  vm: 'VM',
  appliance: 'VM_appliance',
};

/** What `xe` would do at the coordinator of this pool. */
export function xeOf(lab: Lab, pool: LabPool): (argv: readonly string[], cwd: string) => Promise<string> {
  const { db, master } = pool;
  const own = (cls: string, uuid: string): Row => db.byUuid(cls, uuid);
  const matches = (row: Row, key: string, value: string): boolean => {
    switch (key) {
      case 'sr-uuid':
        return row.row('SR', 'SR')?.uuid === value;
      case 'host-uuid':
        return row.row('host', 'host')?.uuid === value;
      case 'power-state':
        return row.text('power_state').toLowerCase() === value;
      case 'currently-attached':
        return String(row.bool('currently_attached')) === value;
      default:
        return row.text(key.replaceAll('-', '_')) === value;
    }
  };
  const list = (cls: string, values: ReadonlyMap<string, string>): string =>
    db
      .all(cls)
      .filter((row) => [...values].every(([key, value]) => matches(row, key, value)))
      .map((row) => row.uuid)
      .join(',');
  const setParams = (cls: string, values: ReadonlyMap<string, string>): string => {
    const row = own(cls, values.get('uuid') ?? '');
    for (const [key, value] of values) {
      if (key === 'uuid') continue;
      row.set({
        [key.replaceAll('-', '_')]: key === 'appliance' ? own('VM_appliance', value).ref : value,
      });
    }
    return '';
  };
  const importVm = async (file: string): Promise<string> => {
    const client = openHypervisor({
      site: pool.name,
      pool: {
        hosts: [
          {
            url: lab.url(master),
            fingerprint: master.certificate.sha256.replaceAll(':', '').toLowerCase(),
          },
        ],
        ...{ username: 'root', password: { from: 'env', name: 'UNUSED' } },
        ...{ poolUuid: null, caFile: null, transport: 'auto', maxRequests: 1 },
      },
      password: async () => lab.credentials.password,
      clock: systemClock,
    });
    try {
      const made = await client.importMetadata(readFileSync(file), { restore: true, dryRun: false });
      return made.join(',');
    } finally {
      await client.close();
    }
  };
  return async (argv, cwd) => {
    const { verb, values } = parse(argv);
    const get = (key: string): string => values.get(key) ?? '';
    const [, noun = '', action = ''] = /^([a-z]+)-(list|param-set)$/.exec(verb) ?? [];
    const cls = classes[noun];
    if (cls !== undefined && action === 'list') return list(cls, values);
    if (cls !== undefined && action === 'param-set') return setParams(cls, values);
    switch (verb) {
      case 'pool-list':
        return get('params') === 'master' ? master.row.uuid : String(pool.row.bool('ha_enabled'));
      case 'sr-introduce':
        await invoke(
          master,
          'SR.introduce',
          ...[get('uuid'), get('name-label'), '', get('type'), get('content-type'), get('shared') === 'true'],
          struct(),
        );
        return get('uuid');
      case 'pbd-create': {
        const config = [...values].flatMap(([key, value]) =>
          key.startsWith('device-config:') ? [[key.slice('device-config:'.length), value] as const] : [],
        );
        const record = {
          host: own('host', get('host-uuid')).ref,
          SR: own('SR', get('sr-uuid')).ref,
          device_config: struct(Object.fromEntries(config)),
          other_config: struct(),
        };
        const ref = await invoke(master, 'PBD.create', struct(record));
        return db.row('PBD', String(ref)).uuid;
      }
      case 'pbd-plug':
        await invoke(master, 'PBD.plug', own('PBD', get('uuid')).ref);
        return '';
      case 'sr-scan':
        await invoke(master, 'SR.scan', own('SR', get('uuid')).ref);
        return '';
      case 'vm-import':
        if (get('metadata') !== 'true' || get('preserve') !== 'true')
          throw new Error('this is no import of metadata');
        return importVm(resolve(cwd, get('filename')));
      case 'vm-start':
        await invoke(master, 'VM.start', own('VM', get('uuid')).ref, false, false);
        return '';
      case 'appliance-create': {
        const vapp = db.create('VM_appliance', {
          name_label: get('name-label'),
          name_description: get('name-description'),
        });
        return vapp.uuid;
      }
      default:
        throw new Error(`xe does not know ${verb}`);
    }
  };
}
