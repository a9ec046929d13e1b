/** The report of a drill as evidence: as text, as a page, as JSON. */
import t from 'tap';
import { foldRun, type Run, type RunEvent } from '../../src/domain/run.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { planDrill } from '../../src/plan/drill.ts';
import { evidenceOf } from '../../src/report/evidence.ts';
import { runHtml } from '../../src/report/html.ts';
import { runJson } from '../../src/report/json.ts';
import { plainPaper } from '../../src/report/paper.ts';
import { runText } from '../../src/report/run.ts';
import { drillRequest, peace } from '../plans/drill-world.ts';
import { now } from '../support/two-sites.ts';
import { eventsOf, noMemory, type Story } from './a-run.ts';
import { golden } from './golden.ts';

const hash = 'e'.repeat(64);

/** A drill of three VMs; what the copies looked like is put into the journal as the executor would. */
function drillRun(story: Story = {}, keep = false): Run {
  const plan = planDrill(drillRequest(peace(), { vms: ['db-01', 'app-01', 'web-01'], keep }));
  const failing = new Set(Object.keys(story.failing ?? {}));
  const vms = plan.steps.flatMap(({ action }) => (action.do === 'record-proof' ? action.vms : []));
  const looked = {
    vms: vms.map((vm) => {
      const proven = !failing.has(vm.startedBy);
      return {
        uuid: vm.uuid,
        original: vm.original,
        nameLabel: vm.nameLabel,
        proven,
        reason: proven ? null : 'its copy is halted',
        host: proven ? 'tokyo-1' : null,
        addresses: proven ? ['10.99.0.7'] : [],
        disks: [{ uuid: 'a-disk', nameLabel: 'disk <0>', bytes: 20 * 2 ** 30 }],
        networks: ['Drill LAN'],
      };
    }),
  };
  const compared = { equal: true, before: now, after: addSeconds(now, 60), differences: [] };
  const outputs: Record<string, unknown> = { 'evidence-tokyo': looked, 'compare-inventory-tokyo': compared };
  const events = eventsOf(plan, story).map((event) =>
    event.event === 'StepSucceeded' && outputs[event.step] !== undefined
      ? ({ ...event, output: outputs[event.step] } as RunEvent)
      : event,
  );
  return foldRun(events);
}

const done: Story['end'] = { outcome: 'done', exitCode: 0, summary: 'drill of shop: all steps succeeded' };

t.test('a drill that proved what it should', (t) => {
  const run = drillRun({ end: done });
  golden(t, 'cases/drill.report.txt', import.meta.url, runText(run, now, plainPaper, hash));
  const page = runHtml(run, now, hash);
  golden(t, 'cases/drill.report.html', import.meta.url, page);
  t.notMatch(page, /disk <0>/, 'names become no markup');
  t.match(runJson(run, now, hash), { evidence: { inventory: 'equal', cleanedUp: 'yes', journalHash: hash } });
  t.end();
});

t.test('a drill in which one VM did not start', (t) => {
  const run = drillRun({
    failing: { 'start-app-01': noMemory },
    end: { outcome: 'done-with-warnings', exitCode: 3, summary: 'drill of shop: one step failed' },
  });
  golden(t, 'cases/drill-unproven.report.txt', import.meta.url, runText(run, now, plainPaper, hash));
  const evidence = evidenceOf(run, hash);
  t.strictSame(
    evidence?.vms.map((vm) => vm.proven),
    [true, false, true],
  );
  t.end();
});

t.test('evidence never says more than the journal', (t) => {
  const cut = evidenceOf(drillRun({ until: 'evidence-tokyo' }));
  t.match(cut, { cleanedUp: 'no', inventory: 'not compared', journalHash: null });
  t.notOk(
    cut?.vms.some((vm) => vm.proven),
    'started, but nobody looked',
  );
  const failed = drillRun({
    failing: { 'forget-tier-1': noMemory },
    end: { outcome: 'failed', exitCode: 1, summary: 'drill of shop: the clean-up failed' },
  });
  t.match(evidenceOf(failed), { cleanedUp: 'no' });
  t.match(runText(failed, now, plainPaper), /lifeboat drill cleanup shop/);
  t.equal(evidenceOf(drillRun({ end: done }, true))?.cleanedUp, 'kept on purpose');
  const gone = drillRun({ failing: { 'evidence-tokyo': noMemory }, end: done });
  t.notOk(
    evidenceOf(gone)?.vms.some((vm) => vm.proven),
    'a proof that was not recorded is none',
  );
  t.end();
});
