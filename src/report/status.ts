/** `status`, `check` and the scope preview as text. */
import type { Finding } from '../domain/finding.ts';
import type { ScopePreview, ScopeRule, ScopeVerdict } from '../domain/scope.ts';
import type { CheckReport, GroupStatus, Readiness, RunBrief, StatusReport } from '../domain/status.ts';
import { formatDuration } from '../domain/time.ts';
import { findingLines, foldFindings, gapLines } from './findings.ts';
import { clean, count, facts, heading, names, type Paper, page, paint, table, wrap } from './paper.ts';
import { rehearsalBriefText } from './trials.ts';
import {
  describeSkew,
  formatAge,
  formatInstant,
  groupPhaseWords,
  operationWords,
  outcomeWords,
} from './words.ts';

export function statusText(report: StatusReport, paper: Paper): string {
  const lines = [heading(paper, `Status at ${formatInstant(report.takenAt)}`), ''];
  lines.push(
    ...facts(paper, [
      ...report.sites.map((site): [string, string] => [
        `Site ${site.site}`,
        site.reachable
          ? `${paint(paper, 'good', 'answers')}: pool ${clean(site.pool ?? '')}, ${site.hostsLive ?? '?'} of ${site.hosts ?? '?'} hosts live`
          : `${paint(paper, 'bad', 'does not answer')}${site.detail === null ? '' : `: ${clean(site.detail)}`}`,
      ]),
      ...rehearsalRow(report, paper),
    ]),
  );
  for (const group of report.groups) lines.push('', ...groupLines(group, paper));
  if (report.groups.length === 0)
    lines.push('', 'No group is configured. Next: describe one under groups in sites.yaml.');
  if (report.gaps.length > 0) lines.push('', ...gapLines(report.gaps, paper));
  return page(lines);
}

function rehearsalRow({ selfRehearsal, takenAt }: StatusReport, paper: Paper): [string, string][] {
  return selfRehearsal === undefined ? [] : [['Lifeboat', rehearsalBriefText(selfRehearsal, takenAt, paper)]];
}

function groupLines(group: GroupStatus, paper: Paper): string[] {
  const rpo = formatDuration(group.rpoSeconds);
  const rows: [string, string][] =
    group.phase === 'failed-over'
      ? movedRows(group, rpo, paper)
      : [
          [
            'Phase',
            `${paint(paper, group.phase === 'protected' ? 'good' : group.phase === 'stuck' ? 'bad' : 'warn', groupPhaseWords[group.phase])}; the VMs run at ${group.activeSite}`,
          ],
          ['RPO', rpoText(group, rpo, paper)],
          [
            'Metadata',
            group.point === null
              ? paint(paper, 'bad', 'there is no good recovery point')
              : `${formatAge(group.point.ageSeconds)} old, ${count(group.point.vmCount, 'VM')}: ${group.point.id}`,
          ],
          ['Skew', describeSkew(group.skewSeconds)],
          ...group.replicas.map((replica, index): [string, string] => [
            index === 0 ? 'Replica' : '',
            `${clean(replica.sr)}: ${replica.point === null ? 'no complete point' : `${formatAge(replica.ageSeconds)} old`}, ${clean(replica.state)}`,
          ]),
          ['VMs now', group.vmCount === null ? 'unknown' : String(group.vmCount)],
          ['Failover', readinessText(group.readiness, group.findings, paper)],
          ['Last run', group.lastRun === null ? 'none' : briefText(group.lastRun)],
          ['Last drill', group.lastDrill === null ? 'never' : briefText(group.lastDrill)],
          ...(group.lastCanary === undefined ? [] : [canaryRow(group.lastCanary)]),
        ];
  if (group.currentRun !== null) rows.push(['Now', currentRunText(group.currentRun, paper)]);
  if (group.frozen !== null) {
    rows.push([
      'Frozen',
      `by ${clean(group.frozen.by)} at ${formatInstant(group.frozen.at)}: ${clean(group.frozen.reason)}`,
    ]);
  }
  return [
    heading(paper, `Group ${group.group}, ${group.production} → ${group.recovery}`),
    ...facts(paper, rows),
    ...(group.findings.length > 0 ? ['', ...findingLines(group.findings, paper)] : []),
  ];
}

/** After a failover the promise is void: no replica, no loss to forecast, and no way on before the sites are reconciled. */
function movedRows(group: GroupStatus, rpo: string, paper: Paper): [string, string][] {
  return [
    [
      'Phase',
      `${paint(paper, 'warn', 'failed over')}; the VMs run at ${group.activeSite}, and nothing protects them there`,
    ],
    [
      'RPO',
      paint(paper, 'bad', `${rpo} promised, and everything written since the failover would be lost now`),
    ],
    ...(group.point === null
      ? []
      : [
          [
            'Metadata',
            `from before the failover, ${formatAge(group.point.ageSeconds)} old: ${group.point.id}`,
          ] as [string, string],
        ]),
    ...group.replicas.map((replica, index): [string, string] => [
      index === 0 ? 'Storage' : '',
      `${clean(replica.sr)}: ${clean(replica.state)}`,
    ]),
    [
      'Failover',
      `carried out; none is possible from ${group.activeSite} until site ${group.production} is reconciled`,
    ],
    ['Last run', group.lastRun === null ? 'none' : briefText(group.lastRun)],
  ];
}

function rpoText(group: GroupStatus, rpo: string, paper: Paper): string {
  if (group.lossSeconds === null) return paint(paper, 'bad', `${rpo} promised, the actual loss is unknown`);
  const loss = formatDuration(Math.max(0, group.lossSeconds));
  return group.lossSeconds > group.rpoSeconds
    ? paint(paper, 'bad', `${rpo} promised, ${loss} would be lost now`)
    : `${rpo} promised, ${loss} would be lost now`;
}

const readinessWords: Readonly<Record<Readiness, string>> = {
  ready: 'ready',
  'ready-with-warnings': 'ready, with warnings',
  'not-ready': 'NOT ready',
  unknown: 'unknown: not everything could be seen',
};

function readinessText(readiness: Readiness, findings: readonly Finding[], paper: Paper): string {
  const tone = readiness === 'ready' ? 'good' : readiness === 'not-ready' ? 'bad' : 'warn';
  const problems = foldFindings(findings).filter((finding) => finding.severity === 'problem').length;
  return paint(
    paper,
    tone,
    `${readinessWords[readiness]}${readiness === 'not-ready' ? `: ${count(problems, 'problem')}` : ''}`,
  );
}

function currentRunText(run: NonNullable<GroupStatus['currentRun']>, paper: Paper): string {
  if (run.brokenOff === true)
    return `${paint(paper, 'bad', 'a run was broken off, and nobody goes on with it')}: ${briefText(run)}. Next: lifeboat run resume ${run.id}`;
  if (run.outcome === 'stuck')
    return `${paint(paper, 'bad', 'a run waits for a person')}: ${briefText(run)}. Next: lifeboat run show ${run.id}`;
  return `${paint(paper, 'accent', 'a run is under way')}: ${briefText(run)}`;
}

function briefText(run: RunBrief): string {
  const end = run.endedAt === null ? 'not ended' : `ended ${formatInstant(run.endedAt)}`;
  const outcome = run.outcome === null ? '' : `, ${outcomeWords[run.outcome]}`;
  return `${operationWords[run.operation]} ${run.id}, ${end}${outcome}`;
}

export function checkText(report: CheckReport, paper: Paper): string {
  const lines = [heading(paper, `Checked at ${formatInstant(report.takenAt)}`)];
  for (const group of report.groups) {
    for (const { operation, findings, forecastSeconds } of group.operations) {
      const problems = findings.filter((finding) => finding.severity === 'problem').length;
      const [tone, verdict] =
        problems > 0
          ? (['bad', 'blocked'] as const)
          : findings.length > 0
            ? (['warn', 'possible, with warnings'] as const)
            : (['good', 'possible'] as const);
      const time = forecastSeconds === null ? '' : `, about ${formatDuration(forecastSeconds)}`;
      lines.push(
        '',
        `${heading(paper, `${operationWords[operation]} of group ${group.group}`)}: ${paint(paper, tone, verdict)}${time}`,
      );
      lines.push(...findingLines(findings, paper));
    }
  }
  if (report.gaps.length > 0) lines.push('', ...gapLines(report.gaps, paper));
  return page(lines);
}

export function previewText(preview: ScopePreview, paper: Paper): string {
  const lines = [
    heading(
      paper,
      `Group ${preview.group} on pool ${clean(preview.pool)} of site ${preview.site}, ${formatInstant(preview.takenAt)}`,
    ),
    '',
    heading(paper, `In: ${count(preview.in.length, 'VM')}`),
    ...byDecision(preview.in, paper),
  ];
  const excluded = preview.out.filter(
    (verdict) => verdict.excludedBy !== null && verdict.includedBy !== null,
  );
  if (excluded.length > 0) {
    lines.push(
      '',
      heading(paper, `Excluded: ${count(excluded.length, 'VM')}`),
      ...byDecision(excluded, paper),
    );
  }
  const elsewhere = preview.out.filter((verdict) => verdict.protectedBy.length > 0);
  if (elsewhere.length > 0) {
    lines.push('', heading(paper, `In other groups: ${count(elsewhere.length, 'VM')}`));
    const byGroup = new Map<string, string[]>();
    for (const { vm, protectedBy } of elsewhere) {
      const key = protectedBy.join(', ');
      byGroup.set(key, [...(byGroup.get(key) ?? []), vm.nameLabel]);
    }
    for (const [group, vms] of byGroup)
      lines.push(...wrap(`${group}: ${names(vms, 40)}`, paper.width, '  ', '    '));
  }
  lines.push('');
  if (preview.unprotected.length === 0) lines.push('Every VM of the pool is in some group.');
  else {
    lines.push(
      paint(paper, 'warn', heading(paper, `Protected by nobody: ${count(preview.unprotected.length, 'VM')}`)),
      ...wrap(
        names(
          preview.unprotected.map((vm) => vm.nameLabel),
          200,
        ),
        paper.width,
        '  ',
      ),
    );
  }
  if (preview.shared.length > 0) {
    lines.push(
      '',
      paint(paper, 'bad', heading(paper, 'In more than one group: they would be started twice')),
    );
    for (const { vm, groups } of preview.shared) lines.push(`  ${clean(vm.nameLabel)}: ${groups.join(', ')}`);
  }
  const idle = (side: 'include' | 'exclude'): string[] =>
    preview.idleRules.filter((each) => each.side === side).map((each) => ruleText(each.rule));
  const [includes, excludes] = [idle('include'), idle('exclude')];
  if (includes.length > 0) {
    lines.push('', paint(paper, 'warn', heading(paper, 'Includes that name no VM: a typing error?')));
    for (const rule of includes) lines.push(`  ${rule}`);
  }
  if (excludes.length > 0) lines.push('', `Excludes that name no VM now: ${excludes.join(', ')}`);
  return page(lines);
}

/** VMs under the rule that decided about them, in the order of their first VM. */
function byDecision(verdicts: readonly ScopeVerdict[], paper: Paper): string[] {
  const byRule = new Map<string, string[]>();
  for (const { vm, includedBy, excludedBy } of verdicts) {
    const rule = excludedBy ?? includedBy;
    const key = rule === null ? 'no rule' : ruleText(rule);
    byRule.set(key, [...(byRule.get(key) ?? []), vm.nameLabel]);
  }
  return [...byRule].flatMap(([rule, vms]) =>
    wrap(`${rule} (${vms.length}): ${names(vms, 200)}`, paper.width, '  ', '    '),
  );
}

const ruleText = (rule: ScopeRule): string => `${rule.kind} ${clean(rule.text)}`;

export function runListText(runs: readonly RunBrief[], paper: Paper): string {
  if (runs.length === 0) return 'No run yet.\n';
  return page(
    table(
      paper,
      ['RUN', 'OPERATION', 'GROUP', 'STARTED', 'BY', 'OUTCOME'],
      runs.map((run) => [
        run.id,
        run.operation,
        run.group,
        formatInstant(run.startedAt),
        clean(run.by),
        run.outcome === null ? 'not ended' : outcomeWords[run.outcome],
      ]),
    ),
  );
}

/** The lag that was measured, and not the one that an array tells. */
function canaryRow(run: RunBrief): [string, string] {
  const lag = run.measuredLagSeconds;
  return [
    'Canary',
    `${lag === undefined ? 'not found' : `arrived after ${formatDuration(lag)}`}; ${briefText(run)}`,
  ];
}
