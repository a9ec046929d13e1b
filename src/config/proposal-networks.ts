/**
 * Which network of the recovery pool takes the place of a production network. Only the same name is sure; everything else
 * is a guess, and says why. An import by bridge name or into a network that it would create never happens (invariant 12).
 */
import type { NetworkFacts } from '../domain/pool.ts';

export interface ProposedNetwork {
  readonly production: string;
  /** Null where nothing fits. */
  readonly recovery: string | null;
  readonly drill: string | null;
  /** Why a person must look; empty for the same name. */
  readonly doubts: readonly string[];
}

/** Words that say where a network is, and not what it is for. */
const siteWords = [
  ...[
    'production',
    'prod',
    'primary',
    'main',
    'live',
    'recovery',
    'reco',
    'dr',
    'secondary',
    'backup',
    'standby',
  ],
  ...['site', 'pool', 'net', 'network'],
];
const drillWords = ['drill', 'drills', 'test', 'bubble', 'isolated', 'sandbox'];

/** `words` are the names of sites and pools, which are no part of what a network is for either. */
export function proposeNetworks(
  production: readonly NetworkFacts[],
  recovery: readonly NetworkFacts[],
  words: readonly string[],
): ProposedNetwork[] {
  const idle = new Set([...siteWords, ...words.flatMap(wordsOf)]);
  const purposeOf = (network: NetworkFacts, ignoring: readonly string[] = []): string =>
    wordsOf(network.nameLabel)
      .filter((word) => !idle.has(word) && !ignoring.includes(word))
      .join(' ');
  const forDrills = recovery.filter((network) =>
    wordsOf(network.nameLabel).some((word) => drillWords.includes(word)),
  );
  const forReal = recovery.filter((network) => !forDrills.includes(network));
  return [...production]
    .sort((a, b) => (a.nameLabel < b.nameLabel ? -1 : 1))
    .map((network) => {
      const found = takerOf(network, forReal, (other) => purposeOf(other));
      const purpose = purposeOf(network);
      const drills = forDrills.filter((other) => purpose !== '' && purposeOf(other, drillWords) === purpose);
      const [drill] = drills;
      const named =
        drill !== undefined && drills.length === 1 && unique(drill, recovery) ? drill.nameLabel : null;
      return {
        production: network.nameLabel,
        recovery: found.name,
        drill: named,
        doubts: [
          ...found.doubts,
          ...(named === null
            ? ['no isolated network for drills was recognised: name one with `drill`, or there can be none']
            : [
                `${said(named)} is taken for an isolated network because of its name: nothing may reach it from outside`,
              ]),
        ],
      };
    });
}

interface Found {
  readonly name: string | null;
  readonly doubts: readonly string[];
}

function takerOf(
  network: NetworkFacts,
  candidates: readonly NetworkFacts[],
  purposeOf: (network: NetworkFacts) => string,
): Found {
  const same = candidates.filter((other) => other.nameLabel === network.nameLabel);
  if (same.length > 1)
    return {
      name: null,
      doubts: [`the recovery pool has ${same.length} networks of this name: give each its own`],
    };
  const [exact] = same;
  if (exact !== undefined) return { name: exact.nameLabel, doubts: [] };
  const purpose = purposeOf(network);
  const alike =
    purpose === ''
      ? []
      : candidates.filter((other) => purposeOf(other) === purpose && unique(other, candidates));
  const [one] = alike;
  if (one !== undefined && alike.length === 1)
    return {
      name: one.nameLabel,
      doubts: [`${said(one.nameLabel)} only sounds alike: compare VLAN and subnet`],
    };
  const vlans = vlansOf(network);
  const tagged = candidates.filter(
    (other) => vlansOf(other).some((vlan) => vlans.includes(vlan)) && unique(other, candidates),
  );
  const [byVlan] = tagged;
  if (byVlan !== undefined && tagged.length === 1)
    return {
      name: byVlan.nameLabel,
      doubts: [`${said(byVlan.nameLabel)} only has the same VLAN, ${vlansOf(byVlan).join(', ')}`],
    };
  const several = alike.length > 1 ? alike : tagged;
  return {
    name: null,
    doubts: [
      several.length > 1
        ? `several fit equally well: ${several.map(({ nameLabel }) => said(nameLabel)).join(', ')}`
        : 'no network of the recovery pool has this name, one that sounds alike, or its VLAN',
    ],
  };
}

const unique = (network: NetworkFacts, among: readonly NetworkFacts[]): boolean =>
  among.filter(({ nameLabel }) => nameLabel === network.nameLabel).length === 1;

const vlansOf = ({ pifs }: NetworkFacts): number[] =>
  [...new Set(pifs.map(({ vlan }) => vlan))].filter((vlan) => vlan > 0);

export const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

/** A name in a comment or a sentence: other people's names may hold anything. */
export const said = (name: string): string => JSON.stringify(name).slice(1, -1);
