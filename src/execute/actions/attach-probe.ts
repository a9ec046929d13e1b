/** Which hosts see the replica, asked of each of them before anything is introduced (xapi.md 7.4, 7.6). */
import { type ErrorCode, OperatorError, PortError, type Problem, problemOf } from '../../domain/errors.ts';
import type { SrToAttach } from '../../domain/plan.ts';
import type { TextMap } from '../../domain/pool.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import { concernsOneObject, inParallel, listed, sentenceOf } from './world.ts';

/** Types whose drivers cannot be probed: the plug is the first contact (xapi.md 7.4). */
const unprobed = new Set(['iso', 'udev', 'zfs', 'linstor', 'hba', 'rawhba']);
const hostsAtOnce = 4;

type Host = SrToAttach['hosts'][number];

export interface Blind {
  readonly host: string;
  readonly reason: string;
}

export interface Sight {
  /** By host: the `device_config` with which it sees the SR. */
  readonly configs: ReadonlyMap<string, TextMap>;
  /** Hosts that do not see it. */
  readonly blind: Map<string, Blind>;
  readonly warnings: readonly string[];
}

export interface Look {
  readonly sr: SrToAttach;
  readonly hosts: readonly Host[];
  /** The ways that a host may be told to reach the SR, the most likely one first; never none. */
  ways(host: string): readonly TextMap[];
  /** What is amiss with these ways already, for the person who reads why they failed. */
  readonly doubts: readonly string[];
}

/**
 * An SR of one host alone needs one that sees it; of a shared one the master must see it. Where a host sees another SR in
 * its place, or the same one twice, the volume is the wrong one or another copy is in the way, and nothing is attached.
 *
 * @throws OperatorError DR-SR-NOT-SEEN, DR-SR-DUPLICATE-LUN
 */
export async function lookFromAll(hypervisor: Hypervisor, look: Look, signal: AbortSignal): Promise<Sight> {
  const { sr, hosts } = look;
  const configs = new Map(hosts.map((host) => [host.uuid, firstOf(look.ways(host.uuid))]));
  const blind = new Map<string, Blind>();
  if (unprobed.has(sr.type)) return { configs, blind, warnings: [] };
  const seen: Seen = { another: false, problems: [], unsupported: null };
  await inParallel(hosts, hostsAtOnce, async (host) => {
    const found = await lookFrom(hypervisor, look, host, seen, signal);
    if ('config' in found) configs.set(host.uuid, found.config);
    else blind.set(host.uuid, { host: host.nameLabel, reason: found.reason });
  });
  const warnings =
    seen.unsupported === null ? [] : [`SR type ${sr.type} cannot be probed here: ${seen.unsupported}`];
  const isLost = sr.shared
    ? hosts.some((host) => host.master && blind.has(host.uuid))
    : blind.size === hosts.length && hosts.length > 0;
  const isTwice = seen.problems.some(({ code }) => code === duplicate);
  if (isLost || isTwice || seen.another) throw notSeen(look, blind, seen, isTwice);
  return { configs, blind, warnings };
}

const duplicate: ErrorCode = 'DR-SR-DUPLICATE-LUN';

interface Seen {
  another: boolean;
  readonly problems: Problem[];
  unsupported: string | null;
}

async function lookFrom(
  hypervisor: Hypervisor,
  { sr, ways }: Look,
  host: Host,
  seen: Seen,
  signal: AbortSignal,
): Promise<{ readonly config: TextMap } | { readonly reason: string }> {
  const reasons: string[] = [];
  for (const config of ways(host.uuid)) {
    try {
      const found = await hypervisor.probe(host.uuid, sr.type, config, sr.smConfig, signal);
      if (found.some((uuid) => uuid.toLowerCase() === sr.uuid.toLowerCase())) return { config };
      seen.another ||= found.length > 0;
      reasons.push(
        found.length === 0 ? 'it finds no SR there' : `it finds another SR there (${listed(found)})`,
      );
    } catch (error) {
      if (!concernsOneObject(error)) throw error;
      if (isUnsupported(error)) {
        seen.unsupported = sentenceOf(error);
        return { config };
      }
      const problem = problemOf(error);
      if (problem !== null) seen.problems.push(problem);
      reasons.push(sentenceOf(error));
    }
  }
  return { reason: [...new Set(reasons)].join('; and otherwise ') };
}

function notSeen(
  { sr, hosts, doubts }: Look,
  blind: ReadonlyMap<string, Blind>,
  { another, problems }: Seen,
  isTwice: boolean,
): OperatorError {
  return new OperatorError({
    code: isTwice ? duplicate : 'DR-SR-NOT-SEEN',
    what: isTwice
      ? `Original and copy of SR ${sr.nameLabel} are both visible to the same host`
      : `SR ${sr.nameLabel} is not seen by ${blind.size} of ${hosts.length} hosts`,
    where: { object: `SR ${sr.uuid}` },
    known: [...[...blind.values()].map(({ host, reason }) => `host ${host}: ${reason}`).sort(), ...doubts],
    next: nextOf(another, isTwice, problems),
  });
}

function nextOf(another: boolean, isTwice: boolean, problems: readonly Problem[]): string {
  if (isTwice)
    return 'Take the LUN that is not the promoted one away from the named hosts on the array, then resume the run';
  if (another)
    return 'Find out which volume the named hosts see, and give them the promoted one alone; then resume the run';
  const [first] = problems;
  return first !== undefined && problems.every(({ code }) => code === first.code)
    ? `${first.next}; then resume the run`
    : 'Give these hosts access to the volume (export, LUN mask, network, CHAP), then resume the run';
}

function isUnsupported(error: unknown): boolean {
  if (!(error instanceof PortError)) return false;
  if (error.problem.code === 'DR-SR-NO-PROBE' || error.peerCode === 'SR_OPERATION_NOT_SUPPORTED') return true;
  return (
    error.peerCode === 'INTERNAL_ERROR' && error.peerParams.some((text) => /probe not supported/i.test(text))
  );
}

function firstOf(ways: readonly TextMap[]): TextMap {
  const [first] = ways;
  if (first === undefined) throw new Error('a host has no way to the SR');
  return first;
}
