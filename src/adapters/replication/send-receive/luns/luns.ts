/**
 * Volumes of a filer as iSCSI LUNs, through whichever target software the filer has. One target for each volume or copy,
 * with one LUN, and everything about it follows from its name. Each act looks, does what is missing, and looks again: a
 * command that came back is no proof. What the site itself shows is used as it is, and never changed.
 */
import { PortError } from '../../../../domain/errors.ts';
import type { Capabilities, Exposed } from '../../../../domain/replication.ts';
import type { Access } from '../../../../ports/replication.ts';
import type { Secrets } from '../../../../ports/system.ts';
import { badName, wrongState } from '../errors.ts';
import type { Filer } from '../filer.ts';
import { handOff } from './by-hand.ts';
import { TargetCommands } from './commands.ts';
import { Lio } from './lio.ts';
import { isInitiator, lunNames, union, without } from './names.ts';
import { type LunOptions, portalsOf } from './options.ts';
import { probeScript, waitScript } from './scripts.ts';
import type { Backing, Chap, Lun, SeenTarget, TargetSoftware } from './target.ts';
import { Tgt } from './tgt.ts';

/** A volume or copy, as its store knows it. */
export interface LunVolume {
  readonly name: string;
  /** What tells this filer from all others. */
  readonly filer: string;
  readonly backing: Backing;
  /** Who is let in while it is shown, as it is written on the volume itself. */
  readonly initiators: readonly string[];
  remember(initiators: readonly string[]): Promise<void>;
}

/** What backs a LUN must be a word to the target's software. */
const goodPath = /^\/[A-Za-z0-9_.:@+/-]+$/;

export class Luns {
  readonly #filer: Filer;
  readonly #options: LunOptions;
  readonly #commands: TargetCommands;
  readonly #chap: Chap | null;
  #software: TargetSoftware | null = null;

  constructor(filer: Filer, options: LunOptions, secrets: Secrets) {
    this.#filer = filer;
    this.#options = options;
    this.#commands = new TargetCommands(filer);
    this.#chap = chapOf(options, secrets);
  }

  /** With no target software a person maps the LUNs, by the names that hosts will look for. */
  async capable(
    volumes: readonly { readonly name: string; readonly filer: string; readonly path: string }[],
    signal?: AbortSignal,
  ): Promise<Partial<Capabilities>> {
    if ((await this.#installed(signal)) !== null) return { expose: 'lun' };
    const named = volumes.map(({ name, filer, path }) => this.#lun(name, filer, { kind: 'block', path }));
    return { expose: 'lun', drill: 'none', ...handOff(named, this.#options.chap_user ?? null) };
  }

  /** Refuses where only a person could show it. */
  async mustShow(name: string): Promise<void> {
    if ((await this.#installed()) !== null) return;
    throw wrongState(
      this.#filer.array,
      `Volume ${name} is not shown to hosts by Lifeboat`,
      ['the filer has neither targetcli with LIO nor tgtadm'],
      'Install one of the two on the filer, then go on',
    );
  }

  /** Lets these initiators in beside those who are in already. */
  async add(volume: LunVolume, { iqns }: Access): Promise<Exposed> {
    const lun = this.#lunOf(volume);
    const wanted = this.#mustBeInitiators(lun, iqns);
    const software = await this.#installed();
    // A person has mapped it, as the plan has asked: the hosts look whether it is so.
    if (software === null) return exposedAs(lun);
    const others = showing(await this.#running(software), lun);
    if (others.length > 0) return this.#asTheSiteShows(lun, others, wanted);
    const all = union(volume.initiators.filter(isInitiator), wanted);
    // Who is let in is written down before the door opens, and struck out after it has closed.
    await volume.remember(all);
    await this.#show(software, lun, all);
    return exposedAs(lun);
  }

  /** Lets them in no longer; the last one takes the LUN along. */
  async remove(volume: LunVolume, { iqns }: Access): Promise<void> {
    const lun = this.#lunOf(volume);
    const software = await this.#installed();
    if (software !== null) await this.#takeFrom(software, lun, iqns, volume);
    const left = without(volume.initiators, iqns);
    if (left.length < volume.initiators.length) await volume.remember(left);
  }

  /** Nobody reaches it any more; to whom it was shown is remembered. */
  async hide(volume: LunVolume): Promise<void> {
    const lun = this.#lunOf(volume);
    const software = await this.#installed();
    if (software === null) return;
    const target = await seen(software, lun);
    if (target !== null) {
      this.#mustBeQuiet(lun, without(target.sessions, volume.initiators));
      await this.#away(software, lun);
    }
    await software.keep(lun, []);
  }

  /** Shows it again to those of before; after a restart of the filer as well. */
  async showAgain(volume: LunVolume): Promise<void> {
    const initiators = volume.initiators.filter(isInitiator);
    if (initiators.length === 0) return;
    const software = await this.#installed();
    if (software === null) return;
    const lun = this.#lunOf(volume);
    if (showing(await this.#running(software), lun).length === 0) await this.#show(software, lun, initiators);
  }

  /** How hosts see the volume, for people: without contacting any host. */
  async describe(volume: LunVolume, signal?: AbortSignal): Promise<Readonly<Record<string, string>>> {
    const lun = this.#lunOf(volume);
    const software = await this.#installed(signal);
    const all = software === null ? [] : ((await software.look(signal)) ?? []);
    const own = all.find(({ iqn }) => iqn === lun.target);
    const others = showing(all, lun);
    const shown = own === undefined ? others : [own, ...others];
    return {
      LUN: `${lun.number} of ${lun.target}`,
      portals: lun.portals.join(', '),
      serial: lun.serial,
      SCSIid: lun.scsiId,
      'target software': software?.name ?? 'none: a person maps it',
      'shown to': shown.flatMap(({ initiators }) => initiators).join(', ') || 'nobody',
      sessions: shown.flatMap(({ sessions }) => sessions).join(', ') || 'none',
      ...(others.length === 0 ? {} : { 'shown by': others.map(({ iqn }) => iqn).join(', ') }),
    };
  }

  async #show(software: TargetSoftware, lun: Lun, initiators: readonly string[]): Promise<void> {
    const { kind, path } = lun.backing;
    const test = kind === 'block' ? 'b' : 'f';
    await this.#commands.must(['sh', '-c', waitScript, 'lifeboat-wait', path, test]);
    await software.make(lun);
    await software.admit(lun, initiators);
    await software.keep(lun, initiators);
    const target = await seen(software, lun);
    const unit = target?.luns.find(({ number }) => number === lun.number);
    const wrong = [
      ...(unit === undefined ? [`LUN ${lun.number} of target ${lun.target} is not there`] : []),
      ...(unit !== undefined && unit.path !== lun.backing.path ? [`it shows ${unit.path}`] : []),
      ...(unit !== undefined && unit.naa !== lun.naa
        ? [`it has the identifier ${unit.naa}, not ${lun.naa}`]
        : []),
      ...without(initiators, target?.initiators ?? []).map((one) => `${one} is not let in`),
    ];
    if (wrong.length > 0) throw this.#notShown(lun, software, wrong);
  }

  async #takeFrom(
    software: TargetSoftware,
    lun: Lun,
    iqns: readonly string[],
    { initiators }: LunVolume,
  ): Promise<void> {
    const target = await seen(software, lun);
    const left = without(initiators, iqns);
    if (target !== null) {
      if (without(target.initiators, iqns).length > 0) await software.turnAway(lun, iqns);
      else {
        this.#mustBeQuiet(lun, without(target.sessions, iqns));
        await this.#away(software, lun);
      }
    }
    await software.keep(lun, left);
  }

  async #away(software: TargetSoftware, lun: Lun): Promise<void> {
    await software.remove(lun);
    if ((await seen(software, lun)) === null) return;
    throw this.#notShown(lun, software, [`target ${lun.target} is still there`]);
  }

  /** Somebody whom we did not let in is at work on it. */
  #mustBeQuiet(lun: Lun, strangers: readonly string[]): void {
    if (strangers.length === 0) return;
    throw new PortError('busy', {
      code: 'DR-ARRAY-BUSY',
      what: `LUN ${lun.volume} is not taken away: initiators are logged in whom Lifeboat did not let in`,
      where: { object: `array ${this.#filer.array}` },
      known: [`target ${lun.target}`, ...new Set(strangers)],
      next: 'Find out who they are; log them out and remove them from the target on the filer, then try again',
    });
  }

  /** What the site shows by itself has names of its own, and hosts must find it by these. */
  #asTheSiteShows(lun: Lun, others: readonly SeenTarget[], wanted: readonly string[]): Exposed {
    const [target] = others;
    const unit = target?.luns.find(({ path }) => path === lun.backing.path);
    const missing = target?.open === true ? [] : without(wanted, target?.initiators ?? []);
    if (target !== undefined && unit !== undefined && others.length === 1 && missing.length === 0)
      return {
        kind: 'iscsi',
        portals: lun.portals,
        iqn: target.iqn,
        lun: unit.number,
        scsiId: `3${unit.naa}`,
      };
    throw wrongState(
      this.#filer.array,
      `Volume ${lun.volume} is shown by a target of the site, and not to all who need it`,
      [
        ...others.map(({ iqn }) => `${lun.backing.path} belongs to ${iqn}`),
        ...missing.map((one) => `${one} is not let in there`),
      ],
      'Let these initiators in at that target, or remove it so that Lifeboat makes its own; then go on',
    );
  }

  #notShown(lun: Lun, software: TargetSoftware, known: readonly string[]): PortError {
    return new PortError('protocol', {
      code: 'DR-ARRAY-PROTOCOL',
      what: `${software.name} did what it was told for volume ${lun.volume}, and it does not show`,
      where: { object: `array ${this.#filer.array}` },
      known,
      next: 'Look at the target on the filer (targetcli ls /iscsi, or tgtadm --lld iscsi --op show --mode target), then try again',
    });
  }

  #mustBeInitiators({ volume }: Lun, iqns: readonly string[]): readonly string[] {
    const [bad] = iqns.filter((one) => !isInitiator(one));
    if (bad !== undefined) throw badName(this.#filer.array, 'the name of an initiator', bad);
    if (iqns.length > 0) return iqns;
    throw wrongState(
      this.#filer.array,
      `Volume ${volume} is shown to nobody: no host of the pool has an initiator name`,
      ['a target without initiators would be open to nobody, and one for all to everybody'],
      'Give the hosts an IQN (xe host-param-set iscsi_iqn=…), then go on',
    );
  }

  #lunOf({ name, filer, backing }: LunVolume): Lun {
    if (!goodPath.test(backing.path)) throw badName(this.#filer.array, 'the path of a LUN', backing.path);
    return this.#lun(name, filer, backing);
  }

  #lun(name: string, filer: string, backing: Backing): Lun {
    const options = this.#options;
    return {
      ...lunNames(options.target_iqn ?? '', filer, name),
      volume: name,
      number: options.lun,
      backing,
      portals: portalsOf(options),
      chap: this.#chap,
    };
  }

  /** The target software of the filer, asked until it is found; null when there is none. */
  async #installed(signal?: AbortSignal): Promise<TargetSoftware | null> {
    if (this.#software !== null) return this.#software;
    const port = String(this.#options.tgt_control_port);
    const program = ['sh', '-c', probeScript, 'lifeboat-target-software', port, configfs];
    const result = await this.#commands.ask(program, signal);
    if (result.code !== 0) throw this.#commands.error(program, result);
    const which = chosen(this.#options.target_software, new Set(result.stdout.split('\n')));
    const found =
      which === null
        ? null
        : which === 'lio'
          ? new Lio(this.#commands)
          : new Tgt(this.#commands, this.#options);
    this.#software = found;
    return found;
  }

  async #running(software: TargetSoftware): Promise<readonly SeenTarget[]> {
    const all = await software.look();
    if (all !== null) return all;
    throw new PortError('refused', {
      code: 'DR-ARRAY-TOOLS',
      what: `${software.name} does not run on the filer, so no LUN can be shown`,
      where: { object: `array ${this.#filer.array}` },
      next: 'Start it on the filer (systemctl start tgt), then try again',
    });
  }
}

const configfs = '/sys/kernel/config/target';

/** What is wanted and not there is none. A tgtd that runs was chosen by somebody. */
function chosen(wanted: LunOptions['target_software'], has: ReadonlySet<string>): 'lio' | 'tgt' | null {
  const lio = has.has('has lio');
  const tgt = has.has('has tgt');
  if (wanted === 'lio') return lio ? 'lio' : null;
  if (wanted === 'tgt') return tgt ? 'tgt' : null;
  if (has.has('runs tgt')) return 'tgt';
  return lio ? 'lio' : tgt ? 'tgt' : null;
}

function chapOf({ chap_user: user, chap_stored_as: name }: LunOptions, secrets: Secrets): Chap | null {
  if (user === undefined) return null;
  return {
    user,
    password: () => (name === undefined ? Promise.resolve(null) : secrets.resolve({ from: 'store', name })),
  };
}

async function seen(software: TargetSoftware, { target }: Lun): Promise<SeenTarget | null> {
  return (await software.look())?.find(({ iqn }) => iqn === target) ?? null;
}

/** Targets of others that show the same device or file. */
function showing(all: readonly SeenTarget[], { target, backing }: Lun): readonly SeenTarget[] {
  return all.filter(({ iqn, luns }) => iqn !== target && luns.some(({ path }) => path === backing.path));
}

function exposedAs({ portals, target, number, scsiId }: Lun): Exposed {
  return { kind: 'iscsi', portals, iqn: target, lun: number, scsiId };
}
