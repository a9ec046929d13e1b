/** The shape of `schedules` and `daemon` in sites.yaml, and the jobs that follow from it. */
import path from 'node:path';
import { z } from 'zod';
import { assertTimeZone, cronOf } from '../domain/calendar.ts';
import type { JobKind } from '../domain/jobs.ts';
import type { DaemonSettings, JobSettings } from '../domain/settings.ts';
import { complain, duration, text } from './fields.ts';

const timeZone = text
  .describe('IANA name of the time zone of the schedules, such as Europe/Zurich')
  .transform((written, context) => {
    try {
      assertTimeZone(written);
      return written;
    } catch {
      return complain(
        context,
        `there is no time zone ${JSON.stringify(written)}`,
        'write it as in Europe/Zurich, or UTC; `timedatectl list-timezones` shows them',
      );
    }
  });

const examples = ['every 15min', 'daily at 02:30', 'monthly on the first Tuesday at 14:00', '30 2 * * 1-5'];

const when = text
  .describe(
    'every 15min, hourly, daily at 02:30, weekly on Monday at 07:00, monthly on the first Tuesday at 14:00, never; or five fields as cron has them',
  )
  .meta({ examples })
  .transform((written, context) => {
    try {
      return { words: written.trim().replace(/\s+/g, ' '), cron: cronOf(written) };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return complain(
        context,
        `${JSON.stringify(written)} is no schedule: ${error.message}`,
        `write one as ${examples.map((example) => `\`${example}\``).join(', ')} or \`never\``,
      );
    }
  });

const schedule = z.union([
  when,
  z.strictObject({
    when,
    timezone: timeZone.optional().describe('Another time zone than that of the other schedules'),
    catch_up: z
      .boolean()
      .default(true)
      .describe('Whether a turn that was missed is made up for, once, as soon as possible'),
  }),
]);

const ofGroup = {
  export: schedule.optional().describe('A recovery point is saved'),
  verify: schedule.optional().describe('The promise is proved: replicas, points, what a failover would meet'),
  drill: schedule
    .optional()
    .describe('A failover is rehearsed on clones, with a clean-up; needs networks for drills'),
  catalog_check: schedule.optional().describe('Every byte of the recovery points is read back'),
  report: schedule.optional().describe('How the group stands is written to a file'),
};

export const groupSchedules = z.strictObject({ timezone: timeZone.optional(), ...ofGroup });

export const schedules = z.strictObject({
  timezone: timeZone.default('UTC'),
  ...ofGroup,
  rehearsal: schedule.optional().describe('Lifeboat proves that it could work without the production site'),
});

/** `127.0.0.1:9617`, `[::1]:9617` or `localhost:9617`. */
const listen = text
  .describe(
    'ADDRESS:PORT where /metrics, /healthz and /readyz are shown, without a password; closed when absent',
  )
  .meta({ examples: ['127.0.0.1:9617', '[::1]:9617'] })
  .transform((written, context) => {
    const [, bracketed, bare, digits] =
      /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s[\]]+)):(\d{1,5})$/.exec(written) ?? [];
    const host = bracketed ?? bare;
    const port = Number(digits);
    if (host !== undefined && port <= 65_535) return { host, port };
    return complain(
      context,
      `${JSON.stringify(written)} is no address to listen on`,
      'write ADDRESS:PORT, such as 127.0.0.1:9617, or [::1]:9617',
    );
  });

export const daemon = z.strictObject({
  watch_every: duration.prefault('5min').describe('How often the world is looked at between the jobs'),
  jobs_per_pool: z.int().min(1).max(16).default(2).describe('Jobs at once that ask the same pool'),
  spread: duration
    .prefault('1min')
    .describe('Jobs that fall due in the same minute begin spread over this time'),
  finish_within: duration
    .prefault('1min')
    .describe('How long a stop waits for exports and verifications that are under way'),
  keep_journals: duration
    .prefault('30d')
    .describe('How long the journals of exports and verifications are kept; those of all other runs stay'),
  listen: listen.optional(),
  reports: text
    .optional()
    .describe('Directory of the reports; `reports` in the state directory unless named'),
});

type Schedules = z.output<typeof schedules>;
type GroupSchedules = z.output<typeof groupSchedules>;
type Written = NonNullable<Schedules['export']>;

/** What is done where nothing is said. */
const usual: Readonly<Record<JobKind, string>> = {
  export: 'every 15min',
  verify: 'hourly',
  drill: 'never',
  'catalog-check': 'daily',
  report: 'weekly',
  rehearsal: 'daily',
};

const jobsOfGroup = {
  export: 'export',
  verify: 'verify',
  drill: 'drill',
  'catalog-check': 'catalog_check',
  report: 'report',
} as const;

export function daemonSettings(
  written: {
    readonly daemon: z.output<typeof daemon>;
    readonly schedules: Schedules;
    readonly groups: Readonly<Record<string, { readonly schedules?: GroupSchedules | undefined }>>;
  },
  at: { readonly file: string; readonly stateDirectory: string },
): DaemonSettings {
  const { daemon: told, schedules: forAll } = written;
  const reports = told.reports ?? path.join(at.stateDirectory, 'reports');
  const jobs = Object.entries(written.groups).flatMap(([group, { schedules: own = {} }]) =>
    Object.entries(jobsOfGroup).map(([job, key]) =>
      jobOf(job as JobKind, group, own[key] ?? forAll[key], own.timezone ?? forAll.timezone),
    ),
  );
  return {
    watchEverySeconds: told.watch_every,
    jobsPerPool: told.jobs_per_pool,
    spreadSeconds: told.spread,
    finishWithinSeconds: told.finish_within,
    keepJournalsSeconds: told.keep_journals,
    reportsDirectory: path.isAbsolute(reports) ? reports : path.join(path.dirname(at.file), reports),
    ...(told.listen === undefined ? {} : { listen: told.listen }),
    jobs: [...jobs, jobOf('rehearsal', null, forAll.rehearsal, forAll.timezone)].filter(
      (job) => job !== null,
    ),
  };
}

function jobOf(
  job: JobKind,
  group: string | null,
  written: Written | undefined,
  zone: string,
): JobSettings | null {
  const told = written ?? { words: usual[job], cron: cronOf(usual[job]) };
  const { words, cron } = 'when' in told ? told.when : told;
  if (cron === null) return null;
  const own = 'when' in told ? told : { timezone: undefined, catch_up: true };
  return {
    job,
    group,
    calendar: { words, cron, timeZone: own.timezone ?? zone },
    catchUp: own.catch_up,
  };
}
