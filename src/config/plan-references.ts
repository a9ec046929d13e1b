/**
 * What one part of a recovery plan says about another. It works on the data as written, so that a typing error in one
 * place does not hide a wrong reference in another. Which VMs the rules name is known at planning, not here.
 */
import { canonicalJson } from '../domain/canonical.ts';
import type { ErrorCode, Problem } from '../domain/errors.ts';
import { nearest } from '../domain/nearest.ts';
import { type Block, block, isBlock, list } from './blocks.ts';
import type { Path, YamlDocument } from './document.ts';
import { anyOf, pathText } from './issues.ts';

const scopeAdvice = 'write names, patterns, tags, folders, srs or uuids';

/** `sites`: the names that sites.yaml knows; null for a plan that is looked at alone. */
export function checkPlan(document: YamlDocument, sites: readonly string[] | null): Problem[] {
  const problems: Problem[] = [];
  const root = block(document.data);
  const report = (path: Path, code: ErrorCode, what: string, next: string): void => {
    problems.push({ code, what: `${pathText(path)}: ${what}`, where: document.place(path), next });
  };
  const mustNameVms = (path: Path, match: unknown, otherwise: string): void => {
    if (isBlock(match) && Object.values(match).every((rules) => list(rules).length === 0))
      report(path, 'DR-CONFIG-EMPTY-SCOPE', 'no line names a VM', `${scopeAdvice}, or ${otherwise}`);
  };
  const tiers = namesIn(root, 'tiers', 'tier', report);
  namesIn(root, 'callouts', 'callout', report);
  namesIn(root, 'prompts', 'prompt', report);
  for (const [index, entry] of list(root['tiers']).entries())
    mustNameVms(['tiers', index, 'vms'], block(entry)['vms'], 'remove the tier');
  for (const [index, entry] of list(root['dependencies']).entries()) {
    const { vms, needs } = block(entry);
    const at = ['dependencies', index];
    mustNameVms([...at, 'vms'], vms, 'remove the dependency');
    mustNameVms([...at, 'needs'], needs, 'remove the dependency');
    if (isBlock(vms) && isBlock(needs) && canonicalJson(rulesIn(vms)) === canonicalJson(rulesIn(needs)))
      report(
        [...at, 'needs'],
        'DR-CONFIG-SELF-DEPENDENCY',
        'these VMs need themselves',
        'name the VMs that must be ready before them',
      );
  }
  for (const [index, entry] of list(root['overrides']).entries()) {
    const { vms, site } = block(entry);
    mustNameVms(['overrides', index, 'vms'], vms, 'remove the override');
    if (typeof site === 'string' && sites !== null && !sites.includes(site))
      report(
        ['overrides', index, 'site'],
        'DR-CONFIG-REFERENCE',
        `there is no site named ${site}${didYouMean(site, sites)}`,
        `write ${anyOf(sites)}`,
      );
  }
  mustNameVms(['leave_off'], root['leave_off'], 'remove leave_off');
  for (const section of ['callouts', 'prompts'])
    for (const [index, entry] of list(root[section]).entries())
      for (const side of ['before', 'after']) {
        const named = tierOf(block(entry)[side]);
        if (named === null || tiers.has(named)) continue;
        report(
          [section, index, side],
          'DR-CONFIG-REFERENCE',
          `there is no tier named ${named}${didYouMean(named, [...tiers])}`,
          tiers.size === 0
            ? 'describe it under tiers'
            : `write ${anyOf([...tiers].map((tier) => `tier ${tier}`))}`,
        );
      }
  return problems;
}

/** The names of a list, each of which may stand there once. */
function namesIn(
  root: Block,
  section: string,
  kind: string,
  report: (path: Path, code: ErrorCode, what: string, next: string) => void,
): ReadonlySet<string> {
  const names = new Set<string>();
  for (const [index, entry] of list(root[section]).entries()) {
    const name = block(entry)['name'];
    if (typeof name !== 'string') continue;
    if (names.has(name))
      report(
        [section, index, 'name'],
        'DR-CONFIG-DUPLICATE',
        `the ${kind} ${name} is already described above`,
        `give each ${kind} its own name`,
      );
    names.add(name);
  }
  return names;
}

function didYouMean(written: string, known: readonly string[]): string {
  const meant = nearest(written, known);
  return meant === null ? '' : `; did you mean ${meant}?`;
}

function tierOf(written: unknown): string | null {
  return typeof written === 'string' ? (/^tier +(\S.*)$/.exec(written)?.[1] ?? null) : null;
}

/** Empty lists say nothing: with and without them a rule is the same. */
function rulesIn(match: Block): Block {
  return Object.fromEntries(
    Object.entries(match)
      .filter(([, rules]) => list(rules).length > 0)
      .map(([kind, rules]) => [kind, [...list(rules)].map(String).sort()]),
  );
}
