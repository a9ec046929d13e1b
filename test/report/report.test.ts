import t from 'tap';
import type { Finding } from '../../src/domain/finding.ts';
import type { Plan, Step } from '../../src/domain/plan.ts';
import { diffPoints } from '../../src/domain/point-diff.ts';
import { applyEvent, beginRun, foldRun, type Run } from '../../src/domain/run.ts';
import { nothing, previewScope } from '../../src/domain/scope.ts';
import type { GroupStatus, RunBrief, StatusReport } from '../../src/domain/status.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { catalogText, diffText, pointText, pruneText, verifyText } from '../../src/report/catalog.ts';
import { problemLines } from '../../src/report/findings.ts';
import { runHtml } from '../../src/report/html.ts';
import { runJson } from '../../src/report/json.ts';
import { eventLine, liveLines, waitReason } from '../../src/report/live.ts';
import { clean, type Paper, plainPaper, widthOf, wrap } from '../../src/report/paper.ts';
import { planText } from '../../src/report/plan.ts';
import { runText } from '../../src/report/run.ts';
import { runFacts } from '../../src/report/run-facts.ts';
import { previewText, statusText } from '../../src/report/status.ts';
import { driftText } from '../../src/report/watch.ts';
import { chapterIn, describeAction, formatStopwatch } from '../../src/report/words.ts';
import {
  deadProduction,
  disaster,
  now,
  pairs,
  pointOf,
  productionPool,
  replicaPoint,
  shop,
} from '../support/two-sites.ts';
import { digest, eventsOf, exportPlan, failoverPlan, noMemory } from './a-run.ts';
import { golden } from './golden.ts';

const old: Finding = {
  severity: 'problem',
  code: 'DR-REPLICA-OLD',
  about: 'array',
  name: 'filer-tokyo tier1-copy',
  what: 'The replica of SR Tier 1 is 41 min old, the RPO is 15 min',
  evidence: ['newest complete point p-1'],
  vms: [],
  next: 'If this much may be lost, say so: add --accept-loss "REASON".',
};
const iso: Finding = {
  severity: 'warning',
  code: 'DR-ISO-ABSENT',
  about: 'vm',
  name: 'web-01',
  what: 'A disc is inserted that the recovery pool does not have',
  evidence: [],
  vms: ['web-01', 'web-02'],
  next: 'Nothing: it is ejected.',
};
const point = (age: number) => pointOf(productionPool(), addSeconds(now, -age));

t.test('a plan reads like a runbook', (t) => {
  golden(
    t,
    'cases/failover-plan.txt',
    import.meta.url,
    planText({ plan: failoverPlan(), digest, findings: [iso] }, plainPaper),
  );
  golden(
    t,
    'cases/export-plan.txt',
    import.meta.url,
    planText({ plan: exportPlan(), digest, findings: [] }, plainPaper),
  );
  t.end();
});

t.test('a plan that cannot run says why before anything else could be done', (t) => {
  const observation = disaster({
    pairs: pairs([]),
    sites: { osaka: deadProduction, tokyo: { ...deadProduction, site: 'tokyo' } },
  });
  const text = planText({ plan: failoverPlan(observation), digest, findings: [old, iso] }, plainPaper);
  t.match(text, /cannot run: it waits for\n {2}- the pool of site tokyo/);
  t.match(text, /1 problem\n {2}✗ The replica of SR Tier 1 is 41 min old.*\n\n1 warning/s);
  t.notMatch(text, /^Steps/m);
  t.end();
});

t.test('a full plan names every step with its limits', (t) => {
  const plan = failoverPlan();
  const text = planText({ plan, digest, findings: [] }, plainPaper, 'full');
  for (const step of plan.steps) t.ok(text.includes(`  ${step.id}  `), step.id);
  t.equal(
    text.split('Point of no return').length - 1,
    plan.steps.filter((step) => step.pointOfNoReturn).length,
  );
  t.end();
});

t.test('every step of every operation has a chapter, and none is lost in the runbook', (t) => {
  for (const plan of [failoverPlan(), exportPlan()]) {
    const text = planText({ plan, digest, findings: [] }, plainPaper);
    for (const step of plan.steps) t.ok(text.includes(chapterIn(plan, step.action)), step.id);
    for (const tier of plan.expects.tiers) for (const vm of tier.vms) t.ok(text.includes(vm.nameLabel));
  }
  t.end();
});

const failed = { 'start-app-02': noMemory };
const ended = (story = {}): Run =>
  foldRun(
    eventsOf(failoverPlan(), {
      failing: failed,
      warnings: { 'compare-tier-2': ['disk 9 is larger than in the recovery point'] },
      end: { outcome: 'done-with-warnings', exitCode: 3, summary: '23 of 24 VMs are ready' },
      ...story,
    }),
  );

t.test('a report of a run: what came of it, loss, time, each VM, what to do', (t) => {
  golden(t, 'cases/failover-run.txt', import.meta.url, runText(ended(), now, plainPaper));
  golden(
    t,
    'cases/export-run.txt',
    import.meta.url,
    runText(
      foldRun(eventsOf(exportPlan(), { end: { outcome: 'done', exitCode: 0, summary: '24 VMs are saved' } })),
      now,
      plainPaper,
    ),
  );
  t.end();
});

t.test('the whole report has each VM and each step, forecast beside fact', (t) => {
  golden(t, 'cases/failover-report.txt', import.meta.url, runText(ended(), now, plainPaper, null, 'full'));
  const text = runText(ended(), now, { ...plainPaper, width: 80 }, null, 'full');
  for (const step of failoverPlan().steps) t.ok(text.includes(describeAction(step.action)), step.id);
  const vms = runFacts(ended(), now).vms;
  for (const vm of vms.filter(({ verdict }) => verdict === 'ready')) {
    t.ok((vm.forecastSeconds ?? 0) > 0, `${vm.nameLabel} was to be ready at some time`);
    t.equal(vm.lossSeconds, 240, 'the age of the replica that its disk is on');
  }
  t.end();
});

t.test('loss of a VM is the age of the oldest replica that one of its disks is on', (t) => {
  const plan = failoverPlan();
  const aged = {
    ...plan,
    expects: {
      ...plan.expects,
      replicas: plan.expects.replicas.map((replica, index) => ({
        ...replica,
        ageSeconds: 100 + 500 * index,
      })),
    },
  };
  const run = foldRun(eventsOf(aged, { end: { outcome: 'done', exitCode: 0, summary: 'x' } }));
  const losses = new Map(runFacts(run, now).vms.map((vm) => [vm.nameLabel, vm.lossSeconds]));
  t.same(new Set(losses.values()), new Set([100, 600]));
  for (const { action } of plan.steps) {
    if (action.do !== 'compare-disks') continue;
    const index = plan.steps
      .filter((step) => step.action.do === 'compare-disks')
      .map((step) => step.action)
      .indexOf(action);
    for (const disk of action.disks)
      for (const vm of disk.usedBy) t.equal(losses.get(vm), 100 + 500 * index, vm);
  }
  t.end();
});

t.test('the report of every operation states loss, time, forecast and what to do', (t) => {
  const plan = failoverPlan();
  const swap: Step = {
    id: 'swap',
    after: [],
    action: { do: 'swap-roles', group: 'shop', activeSite: 'tokyo', roles: 'swapped' } as Step['action'],
    holdsWhen: null,
    pointOfNoReturn: false,
    repeatable: true,
    timeoutSeconds: 10,
    forecastSeconds: 1,
    uses: [],
    onFailure: 'continue',
    why: 'x',
  };
  const operations = [
    'export',
    'verify',
    'drill',
    'drill-cleanup',
    'migrate',
    'failover',
    'reprotect',
    'failback',
  ] as const;
  const next = new Map<string, string>();
  for (const operation of operations) {
    const turned = ['migrate', 'reprotect', 'failback'].includes(operation);
    const steps = turned ? [...plan.steps, swap] : plan.steps;
    const made: Plan = operation === 'export' ? exportPlan() : { ...plan, operation, steps };
    const run = foldRun(eventsOf(made, { end: { outcome: 'done', exitCode: 0, summary: 'x' } }));
    const text = runText(run, now, plainPaper);
    t.match(text, /\n {2}Loss .*RPO of 15 min|\n {2}Loss .*RPO is 15 min/s, operation);
    t.match(text, /\n {2}Recovery time .*RTO (of|is) 1 h/, operation);
    t.match(text, /\n {2}Duration .*the forecast was /, operation);
    const told = (text.split('\nNext\n')[1] ?? '').replace(/\s+/g, ' ');
    t.match(told, /lifeboat /, `${operation} has a next step`);
    next.set(operation, told);
    t.match(runHtml(run, now), /<dt>Loss<\/dt>.*<dt>Recovery time<\/dt>/s, operation);
    const { facts } = JSON.parse(JSON.stringify(runJson(run, now)));
    t.match(facts, { rpoSeconds: 900, rtoSeconds: 3600, forecastSeconds: Number, next: [String] }, operation);
    t.ok(Object.hasOwn(facts, 'lossSeconds') && facts.steps.length === made.steps.length, operation);
  }
  t.match(next.get('migrate'), /no data was lost.*is protected from site \S+ to site \S+ now/);
  t.notMatch(next.get('migrate'), /how much was lost|must not start/);
  t.match(next.get('failback'), /is protected from site/);
  t.match(next.get('reprotect'), /plan failback shop/);
  t.match(next.get('failover'), /lifeboat reprotect shop/);
  t.end();
});

t.test('an export says what a disaster at its end would have cost, and who was not saved', (t) => {
  const plan = exportPlan();
  const saving = plan.steps.find(({ action }) => action.do === 'save-documents');
  const recording = plan.steps.find(({ action }) => action.do === 'record-replication');
  if (saving?.action.do !== 'save-documents' || recording === undefined) throw new Error('an export saves');
  const [first] = saving.action.vms;
  const outputs: Readonly<Record<string, unknown>> = {
    [saving.id]: { vms: [], failures: [{ ...first, reason: 'the export was refused' }] },
    [recording.id]: [{ newestPoint: replicaPoint(addSeconds(now, -1200)) }],
  };
  const events = eventsOf(plan, { end: { outcome: 'done-with-warnings', exitCode: 3, summary: 'x' } }).map(
    (event) =>
      event.event === 'StepSucceeded' && outputs[event.step] !== undefined
        ? { ...event, output: outputs[event.step] as never }
        : event,
  );
  const run = foldRun(events);
  const text = runText(run, now, plainPaper).replace(/\s+/g, ' ');
  t.match(text, /Loss none; a disaster at the end of it would have cost 20 min[^;]* of data: MORE than the/);
  t.match(text, new RegExp(`VMs: 23 of 24 saved.*${first?.nameLabel} FAILED: the export was refused`, 's'));
  t.end();
});

t.test('recovery time counts until the last VM is ready, and only when all are', (t) => {
  t.equal(runFacts(ended(), now).recoverySeconds, null);
  const whole = ended({ failing: {} });
  const facts = runFacts(whole, now);
  t.equal(
    facts.recoverySeconds,
    Math.max(...facts.vms.map((vm) => (Date.parse(vm.at ?? '') - Date.parse(now)) / 1000)),
  );
  t.match(runText(whole, now, plainPaper), /all VMs ready after .*within the RTO of 1 h/);
  const verdicts = runFacts(ended(), now).vms;
  t.equal(verdicts.find((vm) => vm.nameLabel === 'app-02')?.verdict, 'failed');
  t.equal(verdicts.filter((vm) => vm.verdict === 'ready').length, 23);
  t.end();
});

t.test('each outcome has its next step', (t) => {
  const next = (end: {
    outcome: 'stuck' | 'stopped' | 'failed' | 'abandoned';
    exitCode: 12 | 130 | 1;
  }): string => runText(ended({ end: { ...end, summary: 'x' } }), now, plainPaper).split('\nNext\n')[1] ?? '';
  t.match(next({ outcome: 'stopped', exitCode: 130 }), /run resume run-0042/);
  t.match(next({ outcome: 'failed', exitCode: 1 }), /Put right.*run resume run-0042/s);
  t.match(next({ outcome: 'stuck', exitCode: 12 }), /--retry .*--skip .*run abandon/s);
  t.match(next({ outcome: 'abandoned', exitCode: 1 }), /Nothing was undone/);
  const open = foldRun(eventsOf(failoverPlan(), { until: 'attach-tier-1' }));
  t.match(runText(open, now, plainPaper), /run follow run-0042/);
  t.end();
});

t.test('the live view keeps within its screen, whatever the size', (t) => {
  const plan = failoverPlan();
  const events = eventsOf(plan, { failing: failed });
  for (let seen = 1; seen <= events.length; seen += 7) {
    for (const [width, rows] of [
      [20, 3],
      [40, 8],
      [100, 24],
      [200, 60],
    ] as const) {
      const run = foldRun(events.slice(0, seen));
      const lines = liveLines(run, addSeconds(now, 30), { width, colour: seen % 2 === 0 }, rows);
      t.ok(lines.length <= rows, `${seen} events on ${width}x${rows}: ${lines.length} lines`);
      t.ok(
        lines.every((line) => widthOf(line) <= width),
        `${seen} events on ${width}x${rows}`,
      );
    }
  }
  const run = foldRun(eventsOf(plan, { failing: failed, until: 'start-web-03' }));
  golden(
    t,
    'cases/live.txt',
    import.meta.url,
    `${liveLines(run, addSeconds(now, 62), { width: 90, colour: false }, 20).join('\n')}\n`,
  );
  t.end();
});

t.test('what waits says for what: another step, or its turn', (t) => {
  const plan = failoverPlan();
  const run = foldRun(eventsOf(plan, { until: 'record-tier1-copy' }));
  const step = (id: string) => plan.steps.find((each) => each.id === id) ?? plan.steps[0];
  const reason = (id: string): string => {
    const found = step(id);
    return found === undefined ? '' : waitReason(run, found);
  };
  t.equal(reason('record-tier2-copy'), 'waits until array:filer-tokyo is free');
  t.match(reason('attach-tier-1'), /^waits for expose-tier1-copy$/);
  t.equal(reason('read-back-recovery-point'), 'about to start');
  t.end();
});

t.test('elsewhere each event is one line', (t) => {
  const events = eventsOf(failoverPlan(), {
    failing: failed,
    end: { outcome: 'done-with-warnings', exitCode: 3, summary: '23 of 24 VMs are ready' },
  });
  const [first, ...rest] = events;
  if (first === undefined) throw new Error('no events');
  let run = beginRun(first);
  const lines = [eventLine(first, run, plainPaper)];
  for (const event of rest) {
    run = applyEvent(run, event);
    lines.push(eventLine(event, run, plainPaper));
  }
  t.ok(lines.every((line) => /^\d\d:\d\d:\d\d {2}\S/.test(line) && !line.includes('\n')));
  golden(t, 'cases/events.txt', import.meta.url, `${lines.join('\n')}\n`);
  t.end();
});

t.test('the page of a run takes no markup from names', (t) => {
  const plan = failoverPlan();
  const evil = '<script>alert("x")</script>\u001b[2J';
  const run = foldRun(
    eventsOf(
      {
        ...plan,
        expects: { ...plan.expects, leftOut: [{ nameLabel: evil, reason: '"&\'' }] },
      },
      { end: { outcome: 'done', exitCode: 0, summary: evil } },
    ),
  );
  const html = runHtml(run, now);
  t.notMatch(html, '<script');
  t.notMatch(html, '\u001b');
  t.match(html, '&lt;script&gt;');
  t.notMatch(html, /(src|href)=/, 'nothing is fetched');
  for (const vm of ['db-01', 'web-12']) t.match(html, vm);
  t.end();
});

t.test('a run as JSON has its steps and its figures', (t) => {
  const json = JSON.parse(JSON.stringify(runJson(ended(), now)));
  t.equal(json.steps['start-app-02'].status, 'failed');
  t.equal(json.facts.counts.failed, 1);
  t.equal(json.facts.vms.length, 24);
  t.end();
});

t.test('status shows what was promised and what is', (t) => {
  const report: StatusReport = {
    takenAt: now,
    sites: [
      {
        site: 'osaka',
        title: 'Osaka',
        reachable: false,
        pool: null,
        hosts: null,
        hostsLive: null,
        detail: 'No host of pool osaka answers',
      },
      {
        site: 'tokyo',
        title: 'Tokyo',
        reachable: true,
        pool: 'tokyo-pool',
        hosts: 3,
        hostsLive: 2,
        detail: null,
      },
    ],
    groups: [
      {
        group: 'shop',
        production: 'osaka',
        recovery: 'tokyo',
        phase: 'protected',
        activeSite: 'osaka',
        generation: 3,
        frozen: null,
        rpoSeconds: 900,
        rtoSeconds: 3600,
        point: { id: point(600).id, takenAt: point(600).takenAt, ageSeconds: 600, vmCount: 24 },
        replicas: [
          { sr: 'Tier 1', point: replicaPoint(addSeconds(now, -2460)), ageSeconds: 2460, state: 'link down' },
          { sr: 'Tier 2', point: null, ageSeconds: null, state: 'the array does not answer' },
        ],
        lossSeconds: null,
        skewSeconds: 1860,
        vmCount: null,
        readiness: 'not-ready',
        findings: [old, iso],
        currentRun: null,
        lastRun: {
          id: 'run-0041',
          operation: 'export',
          group: 'shop',
          by: 'timer',
          startedAt: addSeconds(now, -600),
          endedAt: addSeconds(now, -590),
          outcome: 'done',
          summary: null,
        },
        lastDrill: null,
      },
    ],
    gaps: [
      {
        source: 'site osaka',
        problem: {
          code: 'DR-POOL-UNREACHABLE',
          what: 'No host of pool osaka answers',
          next: 'Check the network and the hosts.',
        },
      },
    ],
  };
  golden(t, 'cases/status.txt', import.meta.url, statusText(report, plainPaper));

  const [group] = report.groups;
  if (group?.lastRun == null) throw new Error('the report has a group with a run');
  const open: RunBrief = {
    ...group.lastRun,
    id: 'run-0042',
    operation: 'failover',
    endedAt: null,
    outcome: null,
  };
  const saysNow = (currentRun: GroupStatus['currentRun']): string =>
    statusText({ ...report, groups: [{ ...group, currentRun }] }, plainPaper).replace(/\s+/g, ' ');
  t.match(saysNow(open), /Now a run is under way: Failover run-0042, not ended/);
  t.match(
    saysNow({ ...open, brokenOff: true }),
    /a run was broken off, and nobody goes on with it: .* Next: lifeboat run resume run-0042/,
  );
  t.match(saysNow({ ...open, outcome: 'stuck' }), /waits for a person: .* Next: lifeboat run show run-0042/);
  t.end();
});

t.test('the preview shows who is in by which rule, and whom nobody protects', (t) => {
  const facts = productionPool();
  const groups = [
    {
      ...shop,
      scope: {
        include: { ...nothing, names: ['db-*', 'wbe-*'], srs: ['Tier 1'] },
        exclude: { ...nothing, names: ['db-04'] },
      },
    },
    {
      ...shop,
      name: 'front',
      scope: { include: { ...nothing, names: ['web-0?', 'db-01'] }, exclude: nothing },
    },
  ];
  golden(
    t,
    'cases/preview.txt',
    import.meta.url,
    previewText(previewScope(facts, groups, 'shop'), plainPaper),
  );
  t.end();
});

t.test('the catalog tells what it holds, what is damaged, and what changed', (t) => {
  const before = point(1200);
  const after = {
    ...point(600),
    vms: point(600)
      .vms.filter((vm) => vm.nameLabel !== 'web-12')
      .map((vm) =>
        vm.nameLabel === 'db-01'
          ? { ...vm, memoryStaticMax: 8 * 1024 ** 3, document: { sha256: 'e'.repeat(64), bytes: 1 } }
          : vm,
      ),
  };
  const summary = {
    id: after.id,
    group: 'shop',
    takenAt: after.takenAt,
    vmCount: 23,
    failureCount: 0,
    good: true,
    targets: ['here', 'away'],
    bytes: 123_456,
  };
  const text = [
    catalogText(
      {
        points: [
          summary,
          {
            ...summary,
            id: before.id,
            takenAt: before.takenAt,
            good: false,
            failureCount: 1,
            targets: ['here'],
          },
        ],
        damaged: [{ id: 'shop/x', target: 'away', reason: 'its signature is wrong' }],
        targets: [
          { target: 'here', ok: true, problem: null },
          {
            target: 'away',
            ok: false,
            problem: { code: 'DR-CATALOG-FULL', what: 'The disk is full', next: 'Make room.' },
          },
        ],
      },
      plainPaper,
    ),
    diffText(diffPoints(before, after), plainPaper),
    verifyText(
      {
        pointsChecked: 2,
        objectsChecked: 50,
        bytesRead: 5_000_000,
        damage: [
          {
            target: 'here',
            file: 'objects/ab/cd',
            point: after.id,
            what: 'its bytes do not match their name',
          },
        ],
        targets: [],
      },
      plainPaper,
    ),
    verifyText(
      { pointsChecked: 2, objectsChecked: 50, bytesRead: 5_000_000, damage: [], targets: [] },
      plainPaper,
    ),
    pruneText(
      'shop',
      {
        removed: [{ id: before.id, takenAt: before.takenAt }],
        kept: [{ id: after.id, takenAt: after.takenAt, reasons: ['last', 'daily'] }],
        bytesFreed: 4096,
      },
      true,
      plainPaper,
    ),
    pointText({ ...after, vms: after.vms.slice(0, 2) }, plainPaper),
  ].join('\n---\n');
  golden(t, 'cases/catalog.txt', import.meta.url, text);
  t.end();
});

t.test('two equal points do not differ', (t) => {
  const diff = diffPoints(point(600), point(300));
  t.match(diff, { added: [], removed: [], changed: [], unchanged: 24 });
  t.end();
});

t.test('errors are sentences with a place, what is known, and a next step', (t) => {
  const lines = problemLines(
    [
      {
        code: 'DR-CONFIG-VALUE',
        what: 'this is not a duration',
        where: { file: 'sites.yaml', line: 3, column: 7 },
        next: 'write 15min',
      },
      {
        code: 'DR-POOL-PASSWORD',
        what: 'cannot log in',
        where: { site: 'tokyo' },
        known: ['user root'],
        next: 'Check the password.',
      },
    ],
    plainPaper,
  );
  t.same(lines, [
    '✗ sites.yaml:3:7: This is not a duration. [DR-CONFIG-VALUE]',
    '  Next: Write 15min.',
    '✗ site tokyo: Cannot log in. [DR-POOL-PASSWORD]',
    '  - user root',
    '  Next: Check the password.',
  ]);
  t.end();
});

t.test('paper: nothing breaks out of its line, colours take no room', (t) => {
  t.equal(widthOf('\u001b[31mred\u001b[39m'), 3);
  t.equal(widthOf('日本'), 4);
  t.equal(clean('a\u001b[2Jb\nc'), 'a\uFFFD[2Jb\uFFFDc');
  for (const line of wrap('one two three four five six', 10, '- ', '  ')) t.ok(widthOf(line) <= 10, line);
  t.equal(formatStopwatch(3725), '1:02:05');
  const narrow: Paper = { width: 80, colour: true };
  const text = planText({ plan: failoverPlan(), digest, findings: [old] }, narrow);
  t.ok(
    text.split('\n').every((line) => widthOf(line) <= 80),
    'a plan keeps within a narrow paper',
  );
  t.match(text, '\u001b[31m');
  t.notMatch(planText({ plan: failoverPlan(), digest, findings: [old] }, plainPaper), '\u001b');
  t.end();
});

t.test('sites that nobody saw are not said to fit together', (t) => {
  const report = { takenAt: now, entries: [], unseen: [] };
  t.match(driftText(report, plainPaper), /The sites fit together/);
  const unseen = driftText({ ...report, unseen: [['osaka', 'tokyo']] }, plainPaper);
  t.notMatch(unseen, /fit together/);
  t.match(unseen, /Sites osaka and tokyo were not both seen/);
  t.end();
});
