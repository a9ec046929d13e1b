/**
 * The second pass: what one part of sites.yaml says about another. It works on the data as written, shape errors
 * and all, so that a typing error in one place does not hide a wrong reference in another.
 */
import type { ErrorCode, Problem } from '../domain/errors.ts';
import { nearest } from '../domain/nearest.ts';
import { type Block, block, isBlock, list } from './blocks.ts';
import { checkConsistencyGroups } from './consistency-groups.ts';
import type { Path, YamlDocument } from './document.ts';
import { anyOf, pathText } from './issues.ts';

export function checkReferences(document: YamlDocument): Problem[] {
  const problems: Problem[] = [];
  const root = block(document.data);
  const sites = block(root['sites']);
  const arrays = block(root['arrays']);
  const groups = block(root['groups']);

  const report = (path: Path, code: ErrorCode, what: string, next: string): void => {
    problems.push({ code, what: `${pathText(path)}: ${what}`, where: document.place(path), next });
  };
  const mustBeOneOf = (path: Path, value: unknown, known: Block, kind: string): boolean => {
    if (typeof value !== 'string' || Object.hasOwn(known, value)) return true;
    const meant = nearest(value, Object.keys(known));
    report(
      path,
      'DR-CONFIG-REFERENCE',
      `there is no ${kind} named ${value}${meant === null ? '' : `; did you mean ${meant}?`}`,
      Object.keys(known).length === 0
        ? `describe it under ${kind}s`
        : `write ${anyOf(Object.keys(known))}, or describe ${value} under ${kind}s`,
    );
    return false;
  };
  const first = new Map<string, Path>();
  const mustBeOnce = (scope: string, value: unknown, path: Path, what: string, next: string): void => {
    if (typeof value !== 'string') return;
    const key = `${scope}\u0000${value}`;
    const earlier = first.get(key);
    if (earlier === undefined) first.set(key, path);
    else {
      const { line } = document.place(earlier);
      report(
        path,
        'DR-CONFIG-DUPLICATE',
        `${what} ${value} is already named in ${pathText(earlier)} (line ${line})`,
        next,
      );
    }
  };

  for (const [site, value] of Object.entries(sites)) {
    const pool = block(block(value)['pool']);
    const at: Path = ['sites', site, 'pool'];
    for (const [index, host] of list(pool['hosts']).entries()) {
      const address = block(host);
      const path = [...at, 'hosts', index];
      mustBeOnce('host', address['url'], [...path, 'url'], 'the host', 'give each host to one pool, once');
      if (
        typeof address['url'] === 'string' &&
        address['fingerprint'] === undefined &&
        pool['ca_file'] === undefined
      ) {
        report(
          path,
          'DR-CONFIG-NO-TRUST',
          `nothing proves that ${address['url']} is the right host`,
          'write the fingerprint of its certificate, or ca_file for the pool',
        );
      }
    }
    checkSsh(pool, (path, what, next) => report([...at, 'ssh', ...path], 'DR-CONFIG-MISSING', what, next));
    mustBeOnce(
      'pool',
      pool['pool_uuid'],
      [...at, 'pool_uuid'],
      'the pool',
      'two sites are two pools; copy each uuid with `xe pool-list params=uuid`',
    );
  }

  for (const [array, value] of Object.entries(arrays)) {
    mustBeOneOf(['arrays', array, 'site'], block(value)['site'], sites, 'site');
  }

  for (const [group, value] of Object.entries(groups)) {
    const at: Path = ['groups', group];
    const written = block(value);
    for (const side of ['production', 'recovery']) {
      mustBeOneOf([...at, side], written[side], sites, 'site');
    }
    const sameSite =
      typeof written['production'] === 'string' && written['production'] === written['recovery'];
    if (sameSite) {
      report(
        [...at, 'recovery'],
        'DR-CONFIG-SAME-SITE',
        'production and recovery are the same site',
        'name the site that takes over when production is lost',
      );
    }
    for (const [index, entry] of list(written['storage']).entries()) {
      const storage = block(entry);
      const path = [...at, 'storage', index];
      mustBeOnce(`sr of ${group}`, storage['sr'], [...path, 'sr'], 'the SR', 'list each SR once');
      const sides = [
        ['source', 'production'],
        ['target', 'recovery'],
      ] as const;
      for (const [side, role] of sides) {
        const volume = block(storage[side]);
        const array = volume['array'];
        const known = mustBeOneOf([...path, side, 'array'], array, arrays, 'array');
        const site = typeof array === 'string' ? block(arrays[array])['site'] : undefined;
        if (
          known &&
          typeof site === 'string' &&
          isKnown(sites, written[role]) &&
          !sameSite &&
          site !== written[role]
        ) {
          report(
            [...path, side, 'array'],
            'DR-CONFIG-REFERENCE',
            `array ${String(array)} stands at ${site}, and the ${side} must be at the ${role} site ${String(written[role])}`,
            `name an array of ${String(written[role])}`,
          );
        }
        if (typeof array === 'string' && typeof volume['volume'] === 'string') {
          mustBeOnce(
            'volume',
            `${array}/${volume['volume']}`,
            [...path, side, 'volume'],
            'the volume',
            'put all VMs of one volume into one group: a volume is promoted as a whole',
          );
        }
      }
    }
    const networks = block(written['networks']);
    const recoveryNames = new Set(
      Object.values(networks).map((network) =>
        typeof network === 'string' ? network : block(network)['recovery'],
      ),
    );
    for (const [production, network] of Object.entries(networks)) {
      const drill = block(network)['drill'];
      if (typeof drill === 'string' && recoveryNames.has(drill)) {
        report(
          [...at, 'networks', production, 'drill'],
          'DR-CONFIG-DRILL-NETWORK',
          `a drill on ${drill} would meet the network of a real failover`,
          'name an isolated network that nothing else uses',
        );
      }
    }
    checkMetadataBackup(written, sites, (path, what, next) =>
      report([...at, 'metadata_backup', ...path], 'DR-CONFIG-MISSING', what, next),
    );
    const include = block(written['vms'])['include'];
    if (isBlock(include) && Object.values(include).every((rules) => list(rules).length === 0)) {
      report(
        [...at, 'vms', 'include'],
        'DR-CONFIG-EMPTY-SCOPE',
        'no line names a VM, so the group would protect nothing',
        'write names, patterns, tags, folders, srs or uuids',
      );
    }
  }

  checkConsistencyGroups(groups, report);

  for (const [index, entry] of list(block(root['catalog'])['targets']).entries()) {
    const target = block(entry);
    const path: Path = ['catalog', 'targets', index];
    mustBeOnce('target', target['name'], [...path, 'name'], 'the target', 'give each target its own name');
    if (target['site'] !== undefined) mustBeOneOf([...path, 'site'], target['site'], sites, 'site');
    if (target['type'] === 'directory') {
      mustBeOnce(
        'directory',
        target['path'],
        [...path, 'path'],
        'the directory',
        'give each target its own directory',
      );
    }
    if (
      target['type'] === 'sftp' &&
      target['private_key_file'] === undefined &&
      target['password'] === undefined
    ) {
      report(
        path,
        'DR-CONFIG-MISSING',
        'no way to log in is written',
        'write private_key_file, or password with its source',
      );
    }
  }
  return problems;
}

type Complain = (path: Path, what: string, next: string) => void;

function checkSsh(pool: Block, complain: Complain): void {
  const ssh = pool['ssh'];
  if (!isBlock(ssh)) return;
  if (ssh['private_key_file'] === undefined && ssh['password'] === undefined)
    complain([], 'no way to log in is written', 'write private_key_file, or password with its source');
}

/** The sites change places one day, and the script is then to run at the other one. */
function checkMetadataBackup(group: Block, sites: Block, complain: Complain): void {
  if (block(group['metadata_backup'])['method'] !== 'host-script') return;
  for (const role of ['production', 'recovery']) {
    const site = group[role];
    if (typeof site !== 'string' || !isKnown(sites, site)) continue;
    if (isBlock(block(block(sites[site])['pool'])['ssh'])) continue;
    complain(
      ['method'],
      `host-script needs a login to the hosts of ${site}`,
      `write ssh for the pool of ${site}, or use method: xenapi`,
    );
  }
}

function isKnown(known: Block, name: unknown): boolean {
  return typeof name === 'string' && Object.hasOwn(known, name);
}
