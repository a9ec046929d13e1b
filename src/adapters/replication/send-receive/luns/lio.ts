/**
 * LIO, the target of the Linux kernel: changed through targetcli(8), read from where the kernel shows it (configfs),
 * since targetcli prints trees for people and ends with 0 where a daemon works for it. An initiator finds a LUN by its
 * own mapping, which is made last, when its login is right. The kernel ends the sessions of an initiator that is removed.
 */
import type { TargetCommands } from './commands.ts';
import { isSameInitiator, naaOf } from './names.ts';
import { loginScript, lookScript } from './scripts.ts';
import type { Backing, Lun, SeenTarget, TargetSoftware } from './target.ts';

const usual = '/sys/kernel/config/target';
/** Where Debian's and the others' targetcli save, for the next start of the filer. */
const savedIn = ['/etc/rtslib-fb-target/saveconfig.json', '/etc/target/saveconfig.json'];
const group = 'tpg1';
const there = /already exists/i;
const notThere = /No such|No storage object/i;

export interface LioStore {
  /** `iblock_0/NAME`. */
  readonly id: string;
  readonly serial: string;
  readonly path: string;
}

export interface LioTarget extends SeenTarget {
  readonly authenticates: boolean;
  readonly enabled: boolean;
  readonly portals: readonly string[];
  /** Initiators that have a login of their own, with its user; an empty text for none. */
  readonly users: ReadonlyMap<string, string>;
  /** Numbers of LUNs by initiator. */
  readonly mapped: ReadonlyMap<string, readonly number[]>;
}

interface Seen {
  readonly stores: readonly LioStore[];
  readonly targets: readonly LioTarget[];
  /** IQNs of the targets that the next start brings back. */
  readonly saved: readonly string[];
}

export class Lio implements TargetSoftware {
  readonly name = 'LIO';
  readonly #commands: TargetCommands;
  readonly #configfs: string;

  constructor(commands: TargetCommands, configfs = usual) {
    this.#commands = commands;
    this.#configfs = configfs;
  }

  async look(signal?: AbortSignal): Promise<readonly SeenTarget[]> {
    return (await this.#look(signal)).targets;
  }

  async make(lun: Lun): Promise<void> {
    await this.#mustKnowLogin(lun);
    const seen = await this.#look();
    this.#mustBeRestored(seen, lun);
    const { stores, targets } = seen;
    if (!stores.some(({ id }) => nameOf(id) === lun.short))
      await this.#tell([`/backstores/${kindOf(lun.backing)}`, 'create', ...storeWords(lun)], isOurStore(lun));
    const target = targets.find(({ iqn }) => iqn === lun.target);
    if (target === undefined) await this.#tell(['/iscsi', 'create', lun.target], there);
    // Whoever was let in before goes without a login no longer.
    const authenticates = lun.chap !== null;
    if (target?.authenticates !== authenticates)
      await this.#tell([groupOf(lun), 'set', 'attribute', `authentication=${authenticates ? 1 : 0}`]);
    if (target?.luns.some(({ number }) => number === lun.number) !== true)
      await this.#tell(
        [
          `${groupOf(lun)}/luns`,
          'create',
          `storage_object=/backstores/${kindOf(lun.backing)}/${lun.short}`,
          `lun=${lun.number}`,
          'add_mapped_luns=false',
        ],
        there,
      );
    await this.#listen(lun);
    if (target?.enabled === false) await this.#tell([groupOf(lun), 'enable']);
  }

  /** targetcli lets a new target listen on every address, unless it is set otherwise; that is as good. */
  async #listen(lun: Lun): Promise<void> {
    const { portals = [] } = (await this.#target(lun)) ?? {};
    for (const portal of lun.portals) {
      const at = portal.lastIndexOf(':');
      const [address, port] = [portal.slice(0, at), portal.slice(at + 1)];
      const every = [`0.0.0.0:${port}`, `[::0]:${port}`, `[::]:${port}`];
      if ([portal, ...every].some((one) => portals.includes(one))) continue;
      const plain = address.replace(/^\[|\]$/g, '');
      await this.#tell(
        [`${groupOf(lun)}/portals`, 'create', `ip_address=${plain}`, `ip_port=${port}`],
        there,
      );
    }
  }

  async admit(lun: Lun, initiators: readonly string[]): Promise<void> {
    const target = await this.#target(lun);
    for (const given of initiators) {
      // targetcli writes them in lower case.
      const one = given.toLowerCase();
      if (target?.users.has(one) !== true)
        await this.#tell([`${groupOf(lun)}/acls`, 'create', `wwn=${one}`, 'add_mapped_luns=false'], there);
      if (lun.chap !== null) await this.#login(lun, one);
      if (target?.mapped.get(one)?.includes(lun.number) !== true)
        await this.#tell(
          [
            `${groupOf(lun)}/acls/${one}`,
            'create',
            `mapped_lun=${lun.number}`,
            `tpg_lun_or_backstore=${lun.number}`,
            'write_protect=false',
          ],
          there,
        );
    }
  }

  async turnAway(lun: Lun, initiators: readonly string[]): Promise<void> {
    const { users = new Map<string, string>() } = (await this.#target(lun)) ?? {};
    for (const one of users.keys())
      if (initiators.some((gone) => isSameInitiator(gone, one)))
        await this.#tell([`${groupOf(lun)}/acls`, 'delete', `wwn=${one}`], notThere);
  }

  async remove(lun: Lun): Promise<void> {
    const { stores, targets } = await this.#look();
    if (targets.some(({ iqn }) => iqn === lun.target))
      await this.#tell(['/iscsi', 'delete', lun.target], notThere);
    for (const { id } of stores)
      if (nameOf(id) === lun.short)
        await this.#tell([`/backstores/${storeKind(id)}`, 'delete', lun.short], notThere);
  }

  /** Saved is all that is there or nothing: what is not there yet after a start must not be forgotten. */
  async keep(lun: Lun): Promise<void> {
    if (isRestored(await this.#look(), lun)) await this.#tell(['/', 'saveconfig']);
  }

  #mustBeRestored(seen: Seen, lun: Lun): void {
    if (isRestored(seen, lun)) return;
    throw this.#commands.refusal(
      `Volume ${lun.volume} is not shown: LIO has not brought back the targets of the filer since its start`,
      'Bring them back on the filer (targetctl restore, or systemctl start target), then go on; what Lifeboat saves now would take their place',
    );
  }

  /** Seen before anything is made: a target without its login would let hosts in that should not be. */
  async #mustKnowLogin({ chap, volume }: Lun): Promise<void> {
    if (chap === null || (await chap.password()) !== null) return;
    throw this.#commands.refusal(
      `Volume ${volume} is not shown: the CHAP password of ${chap.user} is not known`,
      'Store it by `lifeboat secret set NAME`, and name it as `chap_stored_as` of the array',
    );
  }

  /** Past targetcli, which would show the password in the list of processes and in its log. */
  async #login(lun: Lun, initiator: string): Promise<void> {
    const password = await lun.chap?.password();
    if (lun.chap === null || typeof password !== 'string') return;
    const place = `${this.#configfs}/iscsi/${lun.target}/tpgt_1/acls/${initiator}/auth`;
    await this.#commands.must(['sh', '-c', loginScript, 'lifeboat-login', place], {
      stdin: `${lun.chap.user}\n${password}\n`,
    });
  }

  async #tell(words: readonly string[], already?: RegExp): Promise<void> {
    await this.#commands.must(['targetcli', ...words], already === undefined ? {} : { already });
  }

  async #target(lun: Lun): Promise<LioTarget | undefined> {
    return (await this.#look()).targets.find(({ iqn }) => iqn === lun.target);
  }

  async #look(signal?: AbortSignal): Promise<Seen> {
    const program = ['sh', '-c', lookScript, 'lifeboat-targets', this.#configfs, ...savedIn];
    const result = await this.#commands.ask(program, signal);
    if (result.code !== 0) throw this.#commands.error(program, result);
    return readLook(result.stdout);
  }
}

function kindOf({ kind }: Backing): string {
  return kind === 'block' ? 'block' : 'fileio';
}

function storeKind(id: string): string {
  return id.startsWith('iblock_') ? 'block' : 'fileio';
}

/** Some target of others that was saved is there, or none was saved. */
function isRestored({ saved, targets }: Seen, { target }: Lun): boolean {
  const others = saved.filter((iqn) => iqn !== target);
  return others.length === 0 || others.some((one) => targets.some(({ iqn }) => iqn === one));
}

function nameOf(id: string): string {
  return id.slice(id.indexOf('/') + 1);
}

function groupOf({ target }: Lun): string {
  return `/iscsi/${target}/${group}`;
}

/** The one that was to be made: the same file or device under a name of others is none of ours. */
function isOurStore({ short }: Lun): RegExp {
  return new RegExp(`already exists: ${short}$|Storage object \\S+/${short} exists`, 'm');
}

/** Without `write_back=false` a file loses at a power cut what hosts were told is written. */
function storeWords({ short, backing, serial }: Lun): readonly string[] {
  return backing.kind === 'block'
    ? [`name=${short}`, `dev=${backing.path}`, 'readonly=false', `wwn=${serial}`]
    : [`name=${short}`, `file_or_dev=${backing.path}`, 'write_back=false', `wwn=${serial}`];
}

/** What `lookScript` prints. Targets with several groups are not ours; their groups count as one. */
export function readLook(text: string): Seen {
  const lines = text.split('\n').map((line) => line.split('\t'));
  const stores = lines.flatMap(([kind, id = '', serial = '', path = '']): LioStore[] =>
    kind === 'store' ? [{ id, serial, path }] : [],
  );
  const iqns = new Set(lines.flatMap(([kind, iqn = '']) => (kind === 'tpg' ? [iqn] : [])));
  const saved = lines.flatMap(([kind, iqn = '']) => (kind === 'saved' ? [iqn] : []));
  return { stores, saved, targets: [...iqns].map((iqn) => readTarget(iqn, lines, stores)) };
}

function readTarget(
  iqn: string,
  lines: readonly (readonly string[])[],
  stores: readonly LioStore[],
): LioTarget {
  const of = (wanted: string): (readonly string[])[] =>
    lines.filter(([kind, name]) => kind === wanted && name === iqn).map((words) => words.slice(3));
  const groups = of('tpg');
  const mapped = Map.groupBy(of('mapped'), ([initiator = '']) => initiator);
  return {
    iqn,
    luns: of('lun').flatMap(([number, id]) => {
      const store = stores.find((one) => one.id === id);
      return store === undefined
        ? []
        : [{ number: Number(number), path: store.path, naa: naaOf(store.serial) }];
    }),
    initiators: [...mapped.keys()],
    open: groups.some(([, generates]) => generates === '1'),
    sessions: of('session').map(([initiator = '']) => initiator),
    authenticates: groups.every(([authenticates]) => authenticates === '1'),
    enabled: groups.some(([, , enabled]) => enabled === '1'),
    portals: of('portal').map(([portal = '']) => portal),
    users: new Map(of('acl').map(([initiator = '', user = '']) => [initiator, user])),
    mapped: new Map(
      [...mapped].map(([initiator, found]) => [initiator, found.map(([, number]) => Number(number))]),
    ),
  };
}
