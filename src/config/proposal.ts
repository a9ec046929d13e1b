/**
 * sites.yaml as `init` proposes it: everything that was seen, with the guesses marked CHECK and explained. Pure. What it
 * says is valid as it stands; what could not be completed stands in comments and protects nothing yet.
 */
import type { Proposal, ProposalFacts, ProposedSite } from '../domain/proposal.ts';
import type { SecretRef } from '../domain/settings.ts';
import { type ProposedGroup, proposeGroups } from './proposal-groups.ts';
import { type ProposedNetwork, proposeNetworks, said } from './proposal-networks.ts';

export function proposal(facts: ProposalFacts): Proposal {
  const { production, recovery, arrays } = facts;
  const { groups, unprotected } = proposeGroups(production.pool, {
    production: arrays.filter(({ site }) => site === production.name),
    recovery: arrays.filter(({ site }) => site === recovery.name),
  });
  const chapters = groups.map((group) => groupChapter(group, facts));
  const usable = chapters.filter(({ complete }) => complete);
  const silent = arrays.filter(({ pairs }) => pairs === null).map(({ name }) => name);
  const review = [
    ...(arrays.length === 0
      ? [
          'No array was described, so no group can be used yet: describe them, or start again with --arrays FILE',
        ]
      : []),
    ...silent.map((name) => `Array ${name} did not answer: its volumes are not known`),
    ...chapters.flatMap((chapter) => chapter.review),
    ...(unprotected.length === 0
      ? []
      : [
          `${unprotected.length} VMs have no disk on shared storage, and nobody protects them: ${unprotected
            .slice(0, 12)
            .map(({ nameLabel }) => said(nameLabel))
            .join(', ')}${unprotected.length > 12 ? ', …' : ''}`,
        ]),
    ...(groups.length === 0
      ? ['No VM has a disk on shared storage: there is nothing that could fail over']
      : []),
    'Add a second catalog target away from production, and keep a copy of the key file where it can be reached when production is gone',
  ];
  const lines = [
    ...head(facts),
    'sites:',
    ...siteLines(production),
    '',
    ...siteLines(recovery),
    '',
    '# The storage that replicates (docs/arrays.md). `lifeboat array test NAME` tries it without changing anything.',
    ...(arrays.length === 0
      ? ['arrays: {}', ...arraySample(facts)]
      : ['arrays:', ...arrays.flatMap((array) => array.lines)]),
    '',
    '# VMs that move together, proposed from the SRs that hold their disks. `lifeboat export GROUP --preview` shows who is in.',
    ...(usable.length === 0 ? ['groups: {}'] : ['groups:']),
    ...chapters.flatMap(({ lines: own, complete }) => (complete ? own : own.map(inComment))),
    '',
    ...tail(facts),
  ];
  return {
    text: `${lines.map((line) => line.trimEnd()).join('\n')}\n`,
    review,
    complete: usable.length > 0 && usable.length === chapters.length,
  };
}

function head({ schema, production, recovery }: ProposalFacts): string[] {
  return [
    `# yaml-language-server: $schema=${schema}`,
    '#',
    `# Proposed by \`lifeboat init\` from pool ${said(production.pool.nameLabel)} and pool ${said(recovery.pool.nameLabel)}, to be reviewed. Lines marked CHECK are guesses, or`,
    '# promises that only you can make. Then: `lifeboat validate`, `lifeboat doctor`, `lifeboat check`. Every path is relative',
    '# to this file.',
    '',
    '# Journals, locks, phases and the encrypted secrets. Lives at the recovery site, never in the site that may burn.',
    'state: .lifeboat',
    '',
  ];
}

function siteLines({ name, pool, hosts, username, password }: ProposedSite): string[] {
  return [
    `  ${word(name)}:`,
    `    title: ${word(pool.nameLabel === '' ? name : pool.nameLabel)}`,
    '    pool:',
    `      # ${said(pool.productBrand)} ${said(pool.productVersion)}, xapi ${said(pool.xapiBuild.text)}, ${counted(hosts.length, 'host')}`,
    `      pool_uuid: ${word(pool.uuid)}`,
    '      hosts:',
    ...hosts.flatMap(({ url, fingerprint, nameLabel }) =>
      fingerprint === null
        ? [
            `        # CHECK host ${said(nameLabel)}: its certificate could not be learned. Uncomment it with its fingerprint.`,
            `        # - url: ${word(url)}`,
          ]
        : [
            `        - url: ${word(url)} # ${said(nameLabel)}`,
            `          fingerprint: ${word(asPrinted(fingerprint))}`,
          ],
    ),
    `      username: ${word(username)}`,
    `      password: ${secretText(password)}`,
  ];
}

const asPrinted = (fingerprint: string): string => (fingerprint.toUpperCase().match(/../g) ?? []).join(':');

function secretText(secret: SecretRef): string {
  switch (secret.from) {
    case 'env':
      return `{ env: ${word(secret.name)} }`;
    case 'file':
      return `{ file: ${word(secret.path)} }`;
    case 'store':
      return `{ store: ${word(secret.name)} }`;
    case 'command':
      return `{ command: [${secret.argv.map(word).join(', ')}] }`;
  }
}

function arraySample({ production, recovery }: ProposalFacts): string[] {
  return [
    '# For example, two ZFS filers:',
    ...[production, recovery].flatMap(({ name }) => [
      `#  filer-${name}:`,
      `#    site: ${word(name)}`,
      '#    type: zfs',
      '#    options: { host: filer.example, username: lifeboat }',
      `#    secret: { store: filer-${name} }`,
    ]),
  ];
}

interface Chapter {
  readonly lines: readonly string[];
  readonly complete: boolean;
  readonly review: readonly string[];
}

function groupChapter(group: ProposedGroup, { production, recovery }: ProposalFacts): Chapter {
  const used = new Set(group.vms.flatMap(({ vifs }) => vifs.map(({ networkUuid }) => networkUuid)));
  const networks = proposeNetworks(
    production.pool.networks.filter(({ uuid }) => used.has(uuid)),
    recovery.pool.networks,
    [production.name, recovery.name, production.pool.nameLabel, recovery.pool.nameLabel],
  );
  const complete = group.storage.length > 0 && group.unmatched.length === 0;
  const missing = group.unmatched.map((sr) => `no replicated volume was recognised under SR ${said(sr)}`);
  const lines = [
    `  # ${counted(group.vms.length, 'VM')} today: ${namesOf(group)}`,
    ...group.doubts.map((doubt) => `  # CHECK ${doubt}`),
    ...missing.map((doubt) => `  # CHECK ${doubt}: complete \`storage\`, and take these comments away`),
    `  ${word(group.name)}:`,
    `    production: ${word(production.name)}`,
    `    recovery: ${word(recovery.name)}`,
    '    rpo: 15min # CHECK worst acceptable loss of data',
    '    rto: 1h # CHECK worst acceptable time until they serve again',
    '    vms:',
    '      # A volume is promoted as a whole: every VM with a disk on these SRs belongs to the group, also those of tomorrow.',
    '      include:',
    `        srs: [${group.srs.map(word).join(', ')}]`,
    '    storage:',
    ...group.storage.flatMap(({ sr, source, target, doubts }) => [
      ...doubts.map((doubt) => `      # CHECK ${doubt}`),
      `      - sr: ${word(sr)}`,
      `        source: { array: ${word(source.array)}, volume: ${word(source.volume)} }`,
      `        target: { array: ${word(target.array)}, volume: ${word(target.volume)} }`,
    ]),
    ...group.unmatched.flatMap((sr) => [
      `      - sr: ${word(sr)}`,
      '        source: { array: NAME, volume: VOLUME }',
      '        target: { array: NAME, volume: VOLUME }',
    ]),
    networks.some(({ recovery: name }) => name !== null) ? '    networks:' : '    networks: {}',
    ...networks.flatMap(networkLines),
  ];
  const unmapped = networks.filter(({ recovery: name }) => name === null);
  return {
    lines,
    complete,
    review: [
      ...missing.map((doubt) => `Group ${group.name}: ${doubt}`),
      ...group.doubts.map((doubt) => `Group ${group.name}: ${doubt}`),
      ...group.storage.flatMap(({ doubts }) => doubts.map((doubt) => `Group ${group.name}: ${doubt}`)),
      ...networks
        .filter(({ recovery: name, production: own }) => name !== null && name !== own)
        .map(
          ({ production: own, recovery: name }) =>
            `Group ${group.name}: network ${said(own)} → ${said(name ?? '')} is a guess`,
        ),
      ...unmapped.map(
        ({ production: own }) => `Group ${group.name}: network ${said(own)} has no counterpart yet`,
      ),
    ],
  };
}

const counted = (number: number, one: string): string => `${number} ${one}${number === 1 ? '' : 's'}`;

function namesOf({ vms }: ProposedGroup): string {
  const names = vms.map(({ nameLabel }) => said(nameLabel)).sort();
  return `${names.slice(0, 8).join(', ')}${names.length > 8 ? ', …' : ''}`;
}

function networkLines({ production, recovery, drill, doubts }: ProposedNetwork): string[] {
  const drilling = drill === null ? '' : `, drill: ${word(drill)}`;
  const line =
    recovery === null
      ? `      # ${word(production)}: { recovery: NAME }`
      : `      ${word(production)}: { recovery: ${word(recovery)}${drilling} }`;
  return [...doubts.map((doubt) => `      # CHECK ${said(production)}: ${doubt}`), line];
}

/** A line of a group that is not complete: YAML again when the sign is taken away. */
const inComment = (line: string): string => `#${line}`;

function tail({ keyFile, recovery }: ProposalFacts): string[] {
  return [
    'catalog:',
    '  # Recovery points hold secrets of the pool, so they are always encrypted. Keep a copy of this key where it can be reached',
    '  # when production is gone: without it no point can be opened.',
    '  encryption:',
    `    key_file: ${word(keyFile)}`,
    '  # CHECK each target holds everything; add a second one, on another machine.',
    '  targets:',
    '    - name: here',
    '      type: directory',
    `      # site: ${word(recovery.name)} # CHECK where it stands: without production, only what is elsewhere is left`,
    '      path: .lifeboat/catalog',
    '',
    '# When `lifeboat daemon` does what; `every 15min`, `daily at 02:30`, `monthly on the first Tuesday at 14:00`, or as cron has it.',
    'schedules:',
    '  timezone: UTC',
    '  export: every 15min',
    '  verify: hourly',
    '  rehearsal: daily',
    '  # A drill needs isolated networks, and people who know of it.',
    '  # drill: monthly on the first Tuesday at 14:00',
  ];
}

/** A YAML scalar that is read back as this text, wherever it stands: quoted unless it plainly needs no quotes. */
function word(text: string): string {
  const plain =
    /^[A-Za-z.][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*$/.test(text) ||
    /^https:\/\/[a-z0-9.-]+(:\d+)?$/.test(text);
  return plain &&
    !/^(true|false|null|yes|no|on|off|y|n|[.-].*|.*[.-])$/i.test(text.replace(/^\.(?=[a-z])/, ''))
    ? text
    : JSON.stringify(text);
}
