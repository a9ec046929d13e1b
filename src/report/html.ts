/** A run as one self-contained HTML page: for the file of an auditor, and to be printed. No script, nothing fetched. */
import type { Run } from '../domain/run.ts';
import { formatDuration, type Instant } from '../domain/time.ts';
import { evidenceFacts, evidenceOf, vmEvidenceText } from './evidence.ts';
import { clean } from './paper.ts';
import { outcomeTone, verdictWords } from './run.ts';
import { headFacts, nextSteps } from './run-end.ts';
import { runFacts } from './run-facts.ts';
import { describeAction, formatInstant, outcomeWords, titleOf } from './words.ts';

const style = `
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d9dee3;vertical-align:top}
th{font-weight:600}dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{color:#57606a}dd{margin:0}
.good{color:#116329}.warn{color:#7d4e00}.bad{color:#a40e26;font-weight:600}.r{text-align:right}
pre{white-space:pre-wrap;font:12px/1.4 ui-monospace,monospace;background:#f6f8fa;padding:.8rem;border-radius:4px}
@media print{pre{background:none;padding:0}h2.chapter{break-before:page}body{margin:0;max-width:none}tr{break-inside:avoid}}
`;

export function runHtml(run: Run, now: Instant, journalHash: string | null = null): string {
  const known = runFacts(run, now);
  const outcome = run.outcome === null ? 'not ended' : outcomeWords[run.outcome];
  const title = titleOf(run.plan);
  const steps = run.plan.steps.map((step) => {
    const state = run.steps.get(step.id);
    const took =
      state?.startedAt == null || state.endedAt === null
        ? ''
        : formatDuration((Date.parse(state.endedAt) - Date.parse(state.startedAt)) / 1000);
    const bad = state?.status === 'failed' || state?.status === 'unknown';
    const remark = [state?.problem?.what, state?.reason, ...(state?.warnings ?? [])].filter(
      (part) => part != null,
    );
    return `<tr><td>${text(describeAction(step.action))}${step.pointOfNoReturn ? ' <span class="bad">point of no return</span>' : ''}</td><td${bad ? ' class="bad"' : ''}>${text(state?.status ?? '')}</td><td class="r">${text(formatDuration(step.forecastSeconds))}</td><td class="r">${text(took)}</td><td>${text(remark.join('; '))}</td></tr>`;
  });
  const vms = known.vms.map(
    (vm) =>
      `<tr><td>${text(vm.nameLabel)}</td><td>${text(vm.tier)}</td><td class="${vm.verdict === 'ready' ? 'good' : 'bad'}">${text(verdictWords[vm.verdict])}</td><td class="r">${duration(vm.readySeconds)}</td><td class="r">${duration(vm.forecastSeconds)}</td><td class="r">${duration(vm.lossSeconds)}</td><td>${text(vm.detail ?? '')}</td></tr>`,
  );
  const decisions = run.decisions.map(
    ({ at, by, decision, reason }) =>
      `<li>${text(`${formatInstant(at)} ${by}: ${decision}, because ${reason}`)}</li>`,
  );
  const leftOut = run.plan.expects.leftOut.map(
    ({ nameLabel, reason }) => `<li>${text(`${nameLabel}: ${reason}`)}</li>`,
  );
  return htmlPage(
    `${title}: ${outcome}`,
    `<h1>${text(title)}: <span class="${outcomeTone(run)}">${text(outcome)}</span></h1>
${run.summary === null ? '' : `<p>${text(run.summary)}</p>`}
<dl>${headFacts(run, known, now)
      .map(([label, value]) => `<dt>${text(label)}</dt><dd>${text(value)}</dd>`)
      .join('\n')}
<dt>Plan digest</dt><dd>${text(run.planDigest)}</dd></dl>
${evidenceSection(run, journalHash)}
${section('What to do next', list(nextSteps(run, known).map((step) => `<li>${text(step)}</li>`)))}
${section('Decisions', list(decisions))}
${section('Left out by the plan', list(leftOut))}
${vms.length === 0 ? '' : section('VMs', grid(['VM', 'Tier', 'Result', 'Ready after', 'Forecast', 'Loss', ''], vms))}
${section('Steps', grid(['Step', 'Result', 'Forecast', 'Took', ''], steps))}`,
  );
}

/** A page that needs nothing else: no script, nothing fetched. */
export function htmlPage(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${text(title)}</title><style>${style}</style></head><body>
${body}
</body></html>
`;
}

const duration = (seconds: number | null): string => (seconds === null ? '' : text(formatDuration(seconds)));

function evidenceSection(run: Run, journalHash: string | null): string {
  const evidence = evidenceOf(run, journalHash);
  if (evidence === null) return '';
  const rows = evidence.vms.map(
    (vm) =>
      `<tr><td>${text(vm.nameLabel)}</td><td>${text(vm.original)}</td><td class="${vm.proven ? 'good' : 'bad'}">${vm.proven ? 'proven' : 'NOT proven'}</td><td>${text(vmEvidenceText(vm))}</td></tr>`,
  );
  const pairs = evidenceFacts(evidence).map(
    ([label, value]) => `<dt>${text(label)}</dt><dd>${text(value)}</dd>`,
  );
  return section(
    'Evidence',
    `<dl>${pairs.join('\n')}</dl>${grid(['Copy', 'Original', 'Result', 'Checks'], rows)}`,
  );
}

const section = (title: string, body: string): string =>
  body === '' ? '' : `<h2>${text(title)}</h2>\n${body}`;
const list = (items: readonly string[]): string => (items.length === 0 ? '' : `<ul>${items.join('\n')}</ul>`);
const grid = (headings: readonly string[], rows: readonly string[]): string =>
  `<table><thead><tr>${headings.map((each) => `<th>${text(each)}</th>`).join('')}</tr></thead><tbody>\n${rows.join('\n')}\n</tbody></table>`;

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Names come from other people's systems: nothing of them may become markup. */
export function text(value: string): string {
  return clean(value).replace(/[&<>"']/g, (character) => entities[character] ?? character);
}
