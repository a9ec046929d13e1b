/** A terminal that writes everything down, and an application that plays a story: what the command line is tried with. */
import type { App, FiledPlan, PlannedRun, Programme } from '../../src/app/app.ts';
import { filedPlanOf } from '../../src/app/plan-file.ts';
import type { CatalogListing } from '../../src/domain/catalog.ts';
import type { LedgerEntry } from '../../src/domain/drift.ts';
import { type ExitCode, exitCodes, OperatorError } from '../../src/domain/errors.ts';
import type { Finding } from '../../src/domain/finding.ts';
import type { GroupState } from '../../src/domain/group.ts';
import { foldRun, type Run, type RunEvent } from '../../src/domain/run.ts';
import { previewScope } from '../../src/domain/scope.ts';
import type { SelfRehearsal } from '../../src/domain/self-rehearsal.ts';
import type { Settings } from '../../src/domain/settings.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { runCli } from '../../src/faces/cli/cli.ts';
import type { Output, Terminal } from '../../src/faces/cli/terminal.ts';
import type { Setup } from '../../src/ports/setup.ts';
import { digest, eventsOf, exportPlan, failoverPlan, type Story } from '../report/a-run.ts';
import { disaster, now, pointOf, productionPool, quiet, shop } from '../support/two-sites.ts';

export const settings: Settings = {
  file: 'sites.yaml',
  digest: 'c0ffee'.padEnd(64, '0'),
  stateDirectory: '.lifeboat',
  sites: ['osaka', 'tokyo'].map((name) => ({
    name,
    title: name,
    pool: {
      hosts: [{ url: `https://${name}.example`, fingerprint: 'ab'.repeat(32) }],
      username: 'root',
      password: { from: 'env', name: 'PASSWORD' },
      poolUuid: null,
      caFile: null,
      transport: 'auto',
      maxRequests: 2,
    },
  })),
  arrays: [],
  groups: [shop],
  catalog: {
    targets: [{ type: 'directory', name: 'here', path: 'catalog' }],
    encryption: { keyFile: 'key' },
  },
  secretsFile: '.lifeboat/secrets',
};

export interface World {
  findings?: readonly Finding[];
  story?: Story;
  /** Thrown by every verb that reaches the application. */
  broken?: Error;
  /** Thrown by `open` and `validate`. */
  misconfigured?: Error;
  secrets?: Map<string, string>;
  listing?: CatalogListing;
  /** What `init` asks. */
  setup?: Setup;
  /** Called when the run has begun: the moment for a Ctrl-C. */
  duringRun?: () => void;
}

export interface Typed {
  /** What is typed at each question, in turn; null for the end of the input. */
  readonly answers?: readonly (string | null)[];
  readonly piped?: string;
  /** Files that can be read. */
  readonly files?: ReadonlyMap<string, string>;
  readonly screen?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

export interface Called {
  readonly code: ExitCode;
  readonly out: string;
  readonly err: string;
  readonly files: ReadonlyMap<string, string>;
  /** What the application was asked, in turn. */
  readonly asked: readonly string[];
  readonly secretsTyped: readonly string[];
}

export async function call(words: readonly string[], world: World = {}, typed: Typed = {}): Promise<Called> {
  let out = '';
  let err = '';
  const files = new Map<string, string>();
  const asked: string[] = [];
  const secretsTyped: string[] = [];
  const answers = [...(typed.answers ?? [])];
  const listeners = new Set<() => void>();
  const output = (write: (text: string) => void): Output => ({
    write,
    isTerminal: typed.screen === true,
    columns: 80,
    rows: 24,
  });
  const ask = async (question: string): Promise<string | null> => {
    const answer = answers.shift();
    if (answer === undefined) throw new Error(`nobody answers ${question}`);
    out += `${question}${answer ?? ''}\n`;
    return answer;
  };
  const terminal: Terminal = {
    out: output((text) => {
      out += text;
    }),
    err: output((text) => {
      err += text;
    }),
    env: typed.env ?? {},
    user: 'night-shift',
    interactive: typed.answers !== undefined,
    now: () => addSeconds(now, 60),
    every: (_seconds, action) => {
      action();
      return action;
    },
    ask,
    askSecret: async (question) => {
      secretsTyped.push(question);
      const answer = answers.shift();
      return answer ?? null;
    },
    readInput: async () => typed.piped ?? '',
    readFile: async (path) => {
      const text = typed.files?.get(path);
      if (text !== undefined) return text;
      throw Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), { code: 'ENOENT' });
    },
    writeFile: async (path, content, options) => {
      if (files.has(path) && options?.replace !== true) {
        throw Object.assign(new Error(`EEXIST: file already exists, open '${path}'`), { code: 'EEXIST' });
      }
      files.set(path, typeof content === 'string' ? content : Buffer.from(content).toString('utf8'));
    },
    makeDirectory: async () => undefined,
    onInterrupt: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    exitNow: (code) => {
      throw new Error(`the process ended with ${code}`);
    },
  };
  const interrupt = (): void => {
    for (const listener of listeners) listener();
  };
  const code = await runCli(words, terminal, programme(world, asked, interrupt));
  return { code, out, err, files, asked, secretsTyped };
}

const difference: LedgerEntry = {
  id: 'mtu-4f1c2a',
  aspect: 'mtu',
  sites: ['osaka', 'tokyo'],
  object: 'Tokyo LAN',
  what: 'Network Production LAN has an MTU of 9000 at site osaka, and Tokyo LAN one of 1500 at site tokyo',
  evidence: [],
  breaks: false,
  vms: [{ group: 'shop', names: ['web-01'] }],
  codes: ['DR-NETWORK-MTU'],
  next: 'Make them alike.',
  firstSeenAt: now,
  lastSeenAt: now,
  accepted: null,
  goneAt: null,
};

const unscheduled = async (): Promise<never> => {
  throw new Error('nothing is done on a clock in this story');
};

const stoppedByAPerson = { outcome: 'stopped', exitCode: 130, summary: 'stopped by a person' } as const;

/** What a run tells when the mark on the old site is taken away again. */
const undoEvents: readonly RunEvent[] = [
  { event: 'RunResumed', at: now, by: 'night-shift', version: '0.1.0' },
  { event: 'Decision', at: now, by: 'night-shift', decision: 'undo-run', reason: 'wrong group' },
  { event: 'UndoStarted', at: now, step: 'tombstone-osaka', attempt: 1 },
  {
    event: 'UndoSucceeded',
    at: now,
    step: 'tombstone-osaka',
    ...{ changed: true, output: null, warnings: [] },
  },
  { event: 'RunEnded', at: now, outcome: 'undone', exitCode: 1, summary: '1 step was taken back' },
];

/** As the night shift likes it. */
const rehearsed: SelfRehearsal = {
  takenAt: now,
  version: '0.1.0',
  tookSeconds: 4,
  outcome: 'able',
  sections: [
    {
      about: 'site tokyo',
      checks: [{ verb: 'log in', outcome: 'ok', says: ['the password is right'], problem: null }],
    },
  ],
  groups: [
    {
      group: 'shop',
      lostSite: 'osaka',
      recovery: 'tokyo',
      outcome: 'ready',
      steps: 80,
      pointId: 'shop/20260314T015000Z-0001',
      lossSeconds: 240,
      rpoSeconds: 900,
      forecastSeconds: 600,
      rtoSeconds: 3600,
      findings: [],
    },
  ],
};

const groupState: GroupState = {
  group: 'shop',
  phase: 'protected',
  generation: 4,
  activeSite: 'osaka',
  roles: 'as-configured',
  currentRun: null,
  changedAt: now,
  frozen: null,
  tombstone: null,
  drill: null,
};

function programme(world: World, asked: string[], interrupt: () => void): Programme {
  const open = (): void => {
    if (world.misconfigured !== undefined) throw world.misconfigured;
  };
  return {
    version: '0.1.0',
    procedures: async () => [
      { file: 'checks.md', text: '# When a check stands in the way\n\n## DR-NETWORK-MISSING\n\nMake it.\n' },
      { file: 'moving.md', text: '# Moving a group\n' },
    ],
    validate: async (file) => {
      asked.push(`validate ${file}`);
      open();
      return { ...settings, file };
    },
    setup: () => {
      if (world.setup === undefined) throw new Error('nobody begins anew here');
      return world.setup;
    },
    open: async (file) => {
      asked.push(`open ${file}`);
      open();
      return app(world, asked, interrupt);
    },
    lab: async (words, { json }) => {
      asked.push(`lab ${words.join(' ')}${json ? ' as JSON' : ''}`);
      return exitCodes.done;
    },
  };
}

function app(world: World, asked: string[], interrupt: () => void): App {
  const note = (what: string): void => {
    asked.push(what);
    if (world.broken !== undefined) throw world.broken;
  };
  const secrets = world.secrets ?? new Map<string, string>();
  const point = pointOf(productionPool(), addSeconds(now, -600));
  const play = async (
    plan: Parameters<typeof eventsOf>[0],
    onEvent: (event: RunEvent) => void,
  ): Promise<Run> => {
    const events = eventsOf(plan, {
      end: {
        outcome: 'done',
        exitCode: 0,
        summary: `${plan.expects.tiers.flatMap((tier) => tier.vms).length} VMs are ready`,
      },
      ...world.story,
    });
    for (const [index, event] of events.entries()) {
      onEvent(event);
      if (index === 0) world.duringRun?.();
    }
    return foldRun(events);
  };
  const stored = (): Run =>
    foldRun(
      eventsOf(failoverPlan(), {
        end: { outcome: 'stopped', exitCode: 130, summary: 'stopped by a person' },
        ...world.story,
      }),
    );
  return {
    settings,
    status: async ({ groups }) => {
      note(`status ${groups.join(' ')}`);
      return { takenAt: now, sites: [], groups: [], gaps: [] };
    },
    check: async ({ groups }, context) => {
      context?.onProgress?.('Looking at the sites');
      note(`check ${groups.join(' ')}`);
      return {
        takenAt: now,
        groups: [
          {
            group: 'shop',
            operations: [{ operation: 'failover', findings: world.findings ?? [], forecastSeconds: 34 }],
          },
        ],
        gaps: [],
      };
    },
    preview: async ({ group }) => {
      note(`preview ${group}`);
      return previewScope(productionPool(), [shop], group);
    },
    plan: async (request): Promise<PlannedRun> => {
      note(`plan ${JSON.stringify(request)}`);
      const failover = request.operation === 'failover';
      return {
        plan: failover ? failoverPlan() : exportPlan(),
        digest,
        findings: world.findings ?? [],
        observation: failover ? disaster() : quiet(),
        decisions: failover ? request.decisions : [],
        confirm: failover ? { site: 'tokyo', title: 'Tokyo', pool: 'tokyo-pool' } : null,
      };
    },
    run: async (planned, { by, onEvent, signal, automatic }) => {
      note(`run ${planned.plan.operation} by ${by}${automatic === true ? ', unattended' : ''}`);
      if (world.duringRun === interruptHere) interrupt();
      if (signal?.aborted === true) {
        const events = eventsOf(planned.plan, {
          until: 'promote-tier1-copy',
          end: { outcome: 'stopped', exitCode: 130, summary: 'stopped by a person' },
        });
        for (const event of events) onEvent(event);
        return foldRun(events);
      }
      return play(planned.plan, onEvent);
    },
    filed: filedPlanOf,
    openPlanFile: async (text, file, { acceptAge }) => {
      note(`open plan ${file}${acceptAge === null ? '' : ` although old: ${acceptAge.reason}`}`);
      return JSON.parse(text) as FiledPlan;
    },
    doctor: async () => {
      note('doctor');
      return { takenAt: now, sections: rehearsed.sections };
    },
    rehearseSelf: async () => {
      note('rehearse');
      return rehearsed;
    },
    watching: {
      drift: async ({ groups }) => {
        note(`drift ${groups.join(' ')}`.trim());
        return { takenAt: now, entries: [difference], unseen: [] };
      },
      accept: async ({ id, until, by, reason }) => {
        note(`accept ${id} until ${until} by ${by}: ${reason}`);
        return { ...difference, accepted: { at: now, until: addSeconds(now, 86_400), by, reason } };
      },
      revoke: async (id, { by, reason }) => {
        note(`revoke ${id} by ${by}: ${reason}`);
        return difference;
      },
      alarms: async () => ({ at: now, open: [], closed: [], channels: [] }),
      deliver: async () => undefined,
      testChannels: async (channel) => {
        note(`test channel ${channel ?? 'all'}`);
        return [{ channel: channel ?? 'oncall', type: 'mail', problem: null }];
      },
    },
    testArray: async (array) => {
      note(`test array ${array}`);
      const failed = array.startsWith('broken');
      const problem = {
        code: 'DR-ARRAY-UNREACHABLE' as const,
        what: 'Array does not answer',
        next: 'Check power',
      };
      return {
        array,
        type: 'command',
        checks: [
          { verb: 'identify', outcome: 'ok', says: ['Acme 9, serial 7'], problem: null },
          failed
            ? { verb: 'observe', outcome: 'failed', says: [], problem }
            : { verb: 'observe', outcome: 'warning', says: ['target, link down'], problem: null },
        ],
      };
    },
    freeze: async (group, by) => {
      note(`freeze ${group} by ${by.by}: ${by.reason}`);
      return { ...groupState, frozen: { at: now, ...by } };
    },
    unfreeze: async (group, by) => {
      note(`unfreeze ${group} by ${by.by}: ${by.reason}`);
      return groupState;
    },
    stopDrill: async (group, by) => {
      note(`stop drill of ${group} by ${by.by}: ${by.reason}`);
      return group === 'shop' ? 'run-0040' : null;
    },
    breakLock: async (group, by) => {
      note(`break lock of ${group} by ${by.by}: ${by.reason}`);
      return ['run-0041'];
    },
    audit: async ({ group }) => {
      note(`audit ${group ?? 'all'}`);
      return [{ at: now, group: 'shop', did: 'freeze', by: 'Ada', reason: 'works on the filer', detail: '' }];
    },
    runs: {
      list: async ({ group }) => {
        note(`runs of ${group ?? 'all'}`);
        return [
          {
            id: 'run-0042',
            operation: 'failover',
            group: 'shop',
            by: 'night-shift',
            startedAt: now,
            endedAt: null,
            outcome: null,
            summary: null,
          },
        ];
      },
      read: async (id) => {
        note(`read ${id}`);
        return stored();
      },
      follow: async (id, { onEvent }) => {
        note(`follow ${id}`);
        return play(failoverPlan(), onEvent);
      },
      resume: async (id, { answers, by, decisions = [] }) => {
        const decided = decisions.map(({ decision, reason }) => ` ${decision}: ${reason}`).join('');
        note(`resume ${id} by ${by} ${JSON.stringify(answers)}${decided}`);
        return foldRun(
          eventsOf(failoverPlan(), { end: { outcome: 'done', exitCode: 0, summary: '24 VMs are ready' } }),
        );
      },
      abandon: async (id, { by, reason }) => {
        note(`abandon ${id} by ${by}: ${reason}`);
        return foldRun(
          eventsOf(failoverPlan(), { end: { outcome: 'abandoned', exitCode: 1, summary: reason } }),
        );
      },
      undo: async (id, { by, reason, onEvent }) => {
        note(`undo ${id} by ${by}: ${reason}`);
        for (const event of undoEvents) onEvent(event);
        return foldRun([
          ...eventsOf(failoverPlan(), { until: 'promote-tier1-copy', end: stoppedByAPerson }),
          ...undoEvents,
        ]);
      },
      tell: async (id, message) => note(`tell ${id} ${JSON.stringify(message)}`),
      news: () => async () => [],
      journalPath: (id) => `.lifeboat/runs/${id}.jsonl`,
      journalHash: async () => 'e'.repeat(64),
    },
    foreign: {
      import: () => Promise.reject(new Error('no backup is imported here')),
      forXe: () => Promise.reject(new Error('nothing is made for xe here')),
    },
    catalog: {
      list: async (group) => {
        note(`list ${group ?? 'all'}`);
        return (
          world.listing ?? {
            points: [
              {
                id: point.id,
                group: 'shop',
                takenAt: point.takenAt,
                vmCount: 24,
                failureCount: 0,
                good: true,
                targets: ['here'],
                bytes: 720_000,
              },
            ],
            damaged: [],
            targets: [{ target: 'here', ok: true, problem: null }],
          }
        );
      },
      read: async (id) => {
        note(`read point ${id}`);
        return {
          ...point,
          srs: point.srs.map((sr) => ({ ...sr, secretDeviceConfig: { chappassword: 'open-sesame' } })),
        };
      },
      get: async () => new TextEncoder().encode('a document'),
      verify: async (options) => {
        note(`verify ${options.group ?? 'all'} ${options.pointId ?? ''}`.trim());
        return { pointsChecked: 1, objectsChecked: 25, bytesRead: 720_000, damage: [], targets: [] };
      },
      prune: async (group, rules, { dryRun }) => {
        note(`prune ${group} last ${rules.last}${dryRun ? ', only say' : ''}`);
        return { removed: [], kept: [], bytesFreed: 0 };
      },
    },
    schedules: {
      standings: unscheduled,
      turns: unscheduled,
      claim: unscheduled,
      begin: unscheduled,
      takeUp: unscheduled,
      carryOut: unscheduled,
      tidy: unscheduled,
    },
    look: unscheduled,
    secrets: {
      list: async () => [...secrets.keys()],
      set: async (name, value) => {
        note(`set secret ${name}`);
        secrets.set(name, value);
      },
      remove: async (name) => secrets.delete(name),
    },
    close: async () => {
      asked.push('close');
    },
  };
}

/** A marker: Ctrl-C is pressed as soon as the run begins. */
export const interruptHere = (): void => undefined;

export const lockHeld = new OperatorError(
  {
    code: 'DR-RUN-LOCKED',
    what: 'Group shop is held by run run-0041',
    known: ['process 4711 since 02:00'],
    next: 'Watch it: lifeboat run follow run-0041',
  },
  { exitCode: exitCodes.locked },
);
