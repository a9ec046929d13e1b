/**
 * Which VMs a group takes in, and which tier starts them. Pure: rules against facts. A VM is in when any include names
 * it and no exclude does; snapshots and templates are not VMs. Every verdict names the rule that decided.
 */
import { drillOfVm } from './drill.ts';
import { globExpression, patternExpression } from './glob.ts';
import type { PoolFacts, Uuid } from './pool.ts';
import type { ScopeMatch, ScopeRules } from './settings.ts';
import type { Instant } from './time.ts';

/** What a rule can look at: a VM of a pool, or the same VM in a recovery point (`PointVm` satisfies it). */
export interface Matchable {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  readonly tags: readonly string[];
  /** XenCenter's folder, such as `/Shop/Front`; null when it lies in none. */
  readonly folder: string | null;
  /** SRs that hold a disk of the VM. */
  readonly srUuids: readonly Uuid[];
}

export interface SrName {
  readonly uuid: Uuid;
  readonly nameLabel: string;
}

/** One line of a ScopeMatch, as the person wrote it. */
export interface ScopeRule {
  readonly kind: 'name' | 'pattern' | 'tag' | 'folder' | 'sr' | 'uuid';
  readonly text: string;
}

export interface ScopeVerdict {
  readonly vm: Matchable;
  readonly included: boolean;
  /** The include that names it; null when none does. */
  readonly includedBy: ScopeRule | null;
  /** The exclude that names it, whether an include did or not. */
  readonly excludedBy: ScopeRule | null;
}

export interface ScopePreview {
  readonly group: string;
  readonly site: string;
  readonly pool: string;
  readonly takenAt: Instant;
  readonly in: readonly ScopeVerdict[];
  /** The other VMs of the pool: excluded, or named by no include of this group. */
  readonly out: readonly (ScopeVerdict & { readonly protectedBy: readonly string[] })[];
  /** VMs of the pool that no group takes in. */
  readonly unprotected: readonly Matchable[];
  /** VMs that this group shares with others: they would be started twice. */
  readonly shared: readonly { readonly vm: Matchable; readonly groups: readonly string[] }[];
  /** Rules that name no VM: most often a typing error. */
  readonly idleRules: readonly { readonly side: 'include' | 'exclude'; readonly rule: ScopeRule }[];
}

export const nothing: ScopeMatch = { names: [], patterns: [], tags: [], folders: [], srs: [], uuids: [] };

export function rulesOf(match: ScopeMatch): ScopeRule[] {
  const rules = (kind: ScopeRule['kind'], texts: readonly string[]): ScopeRule[] =>
    texts.map((text) => ({ kind, text }));
  return [
    ...rules('uuid', match.uuids),
    ...rules('name', match.names),
    ...rules('pattern', match.patterns),
    ...rules('tag', match.tags),
    ...rules('folder', match.folders),
    ...rules('sr', match.srs),
  ];
}

type Test = (vm: Matchable) => boolean;

/** Throws `SyntaxError` on a bad glob or pattern; the configuration has checked both before. */
function compileRule(rule: ScopeRule, srs: readonly SrName[]): Test {
  const { text } = rule;
  switch (rule.kind) {
    case 'uuid':
      return (vm) => vm.uuid === text.toLowerCase();
    case 'name': {
      const expression = globExpression(text);
      return (vm) => expression.test(vm.nameLabel);
    }
    case 'pattern': {
      const expression = patternExpression(text);
      return (vm) => expression.test(vm.nameLabel);
    }
    case 'tag':
      return (vm) => vm.tags.includes(text);
    case 'folder': {
      const folder = text.replace(/\/+$/, '');
      return (vm) => vm.folder !== null && (vm.folder === folder || vm.folder.startsWith(`${folder}/`));
    }
    case 'sr': {
      const uuids = new Set(
        srs.filter((sr) => sr.uuid === text || sr.nameLabel === text).map((sr) => sr.uuid),
      );
      return (vm) => vm.srUuids.some((uuid) => uuids.has(uuid));
    }
  }
}

/** Compiles a match once; the function answers with the first rule that names the VM, or null. */
export function compileMatch(match: ScopeMatch, srs: readonly SrName[]): (vm: Matchable) => ScopeRule | null {
  const tests = rulesOf(match).map((rule) => ({ rule, test: compileRule(rule, srs) }));
  return (vm) => tests.find(({ test }) => test(vm))?.rule ?? null;
}

/**
 * The VMs of a pool that rules can name: no snapshots, no templates, no copies of a drill, which bear the tags and folders
 * of their originals; by name, then uuid.
 */
export function matchableVms(pool: Pick<PoolFacts, 'vms' | 'vdis'>): Matchable[] {
  const srOfVdi = new Map(pool.vdis.map((vdi) => [vdi.uuid, vdi.srUuid]));
  return pool.vms
    .filter((vm) => !vm.isSnapshot && !vm.isTemplate && drillOfVm(vm) === null)
    .map((vm) => {
      const srUuids = vm.vbds.flatMap((vbd) => {
        // A CD drive is no disk: an ISO library would otherwise pull in every VM that has a disc inserted.
        const sr = vbd.type === 'Disk' && vbd.vdiUuid !== null ? srOfVdi.get(vbd.vdiUuid) : undefined;
        return sr === undefined ? [] : [sr];
      });
      return {
        uuid: vm.uuid,
        nameLabel: vm.nameLabel,
        tags: vm.tags,
        folder: vm.otherConfig['folder'] || null,
        srUuids: [...new Set(srUuids)].sort(),
      };
    })
    .sort(byName);
}

export function byName(
  a: Pick<Matchable, 'uuid' | 'nameLabel'>,
  b: Pick<Matchable, 'uuid' | 'nameLabel'>,
): number {
  const order = (x: string, y: string): number => (x < y ? -1 : x > y ? 1 : 0);
  return order(a.nameLabel, b.nameLabel) || order(a.uuid, b.uuid);
}

/** One verdict per VM, in the order given. */
export function judgeScope<Vm extends Matchable>(
  vms: readonly Vm[],
  srs: readonly SrName[],
  rules: ScopeRules,
): (ScopeVerdict & { readonly vm: Vm })[] {
  const includes = compileMatch(rules.include, srs);
  const excludes = compileMatch(rules.exclude, srs);
  return vms.map((vm) => {
    const includedBy = includes(vm);
    const excludedBy = excludes(vm);
    return { vm, included: includedBy !== null && excludedBy === null, includedBy, excludedBy };
  });
}

/** The VMs of a pool that these rules take in, by name. */
export function vmsInScope(pool: Pick<PoolFacts, 'vms' | 'vdis' | 'srs'>, rules: ScopeRules): Matchable[] {
  return judgeScope(matchableVms(pool), pool.srs, rules)
    .filter((verdict) => verdict.included)
    .map((verdict) => verdict.vm);
}

/**
 * The whole picture of one group among all groups of the same production site. `groups` must hold the group itself;
 * groups of other production sites are passed over.
 */
export function previewScope(
  pool: Pick<PoolFacts, 'vms' | 'vdis' | 'srs' | 'nameLabel' | 'observedAt'>,
  groups: readonly { readonly name: string; readonly production: string; readonly scope: ScopeRules }[],
  name: string,
): ScopePreview {
  const group = groups.find((candidate) => candidate.name === name);
  if (group === undefined) throw new Error(`no group ${name} among those given`);
  const vms = matchableVms(pool);
  const verdicts = judgeScope(vms, pool.srs, group.scope);
  const takenBy = new Map<Uuid, string[]>(vms.map((vm) => [vm.uuid, []]));
  for (const each of groups) {
    if (each.production !== group.production) continue;
    for (const verdict of each === group ? verdicts : judgeScope(vms, pool.srs, each.scope)) {
      if (verdict.included) takenBy.get(verdict.vm.uuid)?.push(each.name);
    }
  }
  const groupsOf = (vm: Matchable): readonly string[] => takenBy.get(vm.uuid) ?? [];
  const inside = verdicts.filter((verdict) => verdict.included);
  return {
    group: name,
    site: group.production,
    pool: pool.nameLabel,
    takenAt: pool.observedAt,
    in: inside,
    out: verdicts
      .filter((verdict) => !verdict.included)
      .map((verdict) => ({ ...verdict, protectedBy: groupsOf(verdict.vm) })),
    unprotected: vms.filter((vm) => groupsOf(vm).length === 0),
    shared: inside
      .filter(({ vm }) => groupsOf(vm).length > 1)
      .map(({ vm }) => ({ vm, groups: groupsOf(vm) })),
    idleRules: (['include', 'exclude'] as const).flatMap((side) =>
      rulesOf(group.scope[side])
        .filter((rule) => !vms.some(compileRule(rule, pool.srs)))
        .map((rule) => ({ side, rule })),
    ),
  };
}

/** Each VM goes to the first tier that names it; VMs that no tier names come back as `others`. Order is kept. */
export function assignToTiers<Vm extends Matchable>(
  vms: readonly Vm[],
  tiers: readonly { readonly vms: ScopeMatch }[],
  srs: readonly SrName[],
): { readonly tiers: readonly (readonly Vm[])[]; readonly others: readonly Vm[] } {
  const matches = tiers.map((tier) => compileMatch(tier.vms, srs));
  const filled: Vm[][] = tiers.map(() => []);
  const others: Vm[] = [];
  for (const vm of vms) {
    const index = matches.findIndex((matchesVm) => matchesVm(vm) !== null);
    (filled[index] ?? others).push(vm);
  }
  return { tiers: filled, others };
}

/** One VM against one match, for callers that know the names of its SRs. Many VMs are cheaper with `compileMatch`. */
export function matchesScope(
  match: ScopeMatch,
  vm: Matchable & { readonly srNames: readonly string[] },
): boolean {
  const [held = 'none'] = vm.srUuids;
  const srs = [
    ...vm.srUuids.map((uuid) => ({ uuid, nameLabel: uuid })),
    ...vm.srNames.map((nameLabel) => ({ uuid: held, nameLabel })),
  ];
  return compileMatch(match, srs)(vm) !== null;
}
