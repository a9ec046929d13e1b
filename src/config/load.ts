/**
 * sites.yaml and the recovery plans that it names → Settings. Pure: files come through `read`. Every problem of all
 * files is told at once, in the order of the lines.
 */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { z } from 'zod';
import { canonicalJson } from '../domain/canonical.ts';
import { exitCodes, OperatorError, type Problem } from '../domain/errors.ts';
import type {
  ArraySettings,
  CatalogSettings,
  CatalogTargetSettings,
  GroupSettings,
  PoolSshSettings,
  RecoveryPlanSettings,
  RetentionSettings,
  SecretRef,
  Settings,
  SiteSettings,
  VolumeSettings,
} from '../domain/settings.ts';
import { block } from './blocks.ts';
import { daemonSettings } from './daemon-schema.ts';
import { readYaml, writeYaml, type YamlDocument } from './document.ts';
import { readFingerprint } from './fields.ts';
import { describeIssues, valueAt } from './issues.ts';
import { alarmSettings, noticeSettings } from './notices.ts';
import { checkPlan } from './plan-references.ts';
import { type PlanFile, planSchema } from './plan-schema.ts';
import { planSettings } from './plan-settings.ts';
import { checkReferences } from './references.ts';
import { arraysSchema, type SitesFile, sitesSchema } from './sites-schema.ts';

/** Text of a file. An error it throws becomes a problem at the place that names the file. */
export type ReadText = (file: string) => string;

/** JSON Schema for editors (docs/*.schema.json). */
export function jsonSchemaOf(kind: 'sites' | 'recovery-plan'): unknown {
  return z.toJSONSchema(kind === 'sites' ? sitesSchema : planSchema, { io: 'input', target: 'draft-7' });
}

/** Throws `OperatorError` (exit code 2) with every problem, each at its file, line and column. */
export function loadSettings(file: string, read: ReadText): Settings {
  const problems: Problem[] = [];
  const sites = readOne(file, read, sitesSchema, 'sites', problems);
  if (sites.document !== null) problems.push(...checkReferences(sites.document));
  const plans =
    sites.document === null ? new Map<string, PlanFile>() : readPlans(sites.document, read, problems);
  const fingerprints =
    sites.value === null || sites.document === null
      ? new Map<string, string>()
      : readFingerprints(sites.value, sites.document, read, problems);
  if (problems.length > 0 || sites.value === null) {
    throw new OperatorError(inOrder(file, problems), { exitCode: exitCodes.usage });
  }
  return settle(file, sites.value, plans, fingerprints);
}

/** Reads one recovery plan alone, for editors and `validate`. */
export function loadRecoveryPlan(file: string, read: ReadText): RecoveryPlanSettings {
  const problems: Problem[] = [];
  const plan = readOne(file, read, planSchema, 'recovery-plan', problems);
  if (plan.document !== null) problems.push(...checkPlan(plan.document, null));
  if (problems.length > 0 || plan.value === null) {
    throw new OperatorError(inOrder(file, problems), { exitCode: exitCodes.usage });
  }
  return planSettings(plan.value, { file, directory: path.dirname(file), recovery: '' });
}

function readOne<Schema extends z.ZodType>(
  file: string,
  read: ReadText,
  schema: Schema,
  kind: 'sites' | 'recovery-plan',
  problems: Problem[],
  namedAt?: Problem['where'],
): { readonly document: YamlDocument | null; readonly value: z.output<Schema> | null } {
  let text: string;
  try {
    text = read(file);
  } catch (error) {
    problems.push({
      code: 'DR-CONFIG-FILE',
      what: `cannot read ${file}`,
      where: namedAt ?? { file },
      known: [error instanceof Error ? error.message : String(error)],
      next:
        kind === 'sites'
          ? 'name the file with --config, or let `lifeboat init` propose one'
          : 'write the recovery plan, or correct its path',
    });
    return { document: null, value: null };
  }
  const parsed = readYaml(file, text);
  if ('problems' in parsed) {
    problems.push(...parsed.problems);
    return { document: null, value: null };
  }
  const result = schema.safeParse(parsed.document.data);
  if (result.success) return { document: parsed.document, value: result.data };
  problems.push(...describeIssues(result.error.issues, parsed.document, jsonSchemaOf(kind)));
  return { document: parsed.document, value: null };
}

/** Reads `arrays:` alone, for `init`; with the lines that say the same in sites.yaml. */
export function loadArrays(
  file: string,
  read: ReadText,
): readonly { readonly array: ArraySettings; readonly lines: readonly string[] }[] {
  const problems: Problem[] = [];
  const { value, document } = readOne(file, read, arraysSchema, 'sites', problems);
  if (problems.length > 0 || value === null || document === null)
    throw new OperatorError(inOrder(file, problems), { exitCode: exitCodes.usage });
  const written = block(block(document.data)['arrays']);
  return Object.entries(value.arrays).map(([name, { site, type, options, secret }]) => ({
    array: { name, site, type, options: pathsBeside(file, options), secret: secret ?? null },
    lines: writeYaml({ [name]: written[name] }).map((line) => `  ${line}`),
  }));
}

/** Every recovery plan that a group names, once; by the path as written. */
function readPlans(sites: YamlDocument, read: ReadText, problems: Problem[]): ReadonlyMap<string, PlanFile> {
  const plans = new Map<string, PlanFile>();
  const seen = new Set<string>();
  const known = Object.keys(block(valueAt(sites.data, ['sites'])));
  for (const group of Object.keys(block(valueAt(sites.data, ['groups'])))) {
    const at = ['groups', group, 'recovery_plan'];
    const named = valueAt(sites.data, at);
    if (typeof named !== 'string' || named === '' || seen.has(named)) continue;
    seen.add(named);
    const file = beside(sites.file, named);
    const plan = readOne(file, read, planSchema, 'recovery-plan', problems, sites.place(at));
    if (plan.document !== null) problems.push(...checkPlan(plan.document, known));
    if (plan.value !== null) plans.set(named, plan.value);
  }
  return plans;
}

/** Fingerprints that stand in files of their own, by the path as written. */
function readFingerprints(
  written: SitesFile,
  document: YamlDocument,
  read: ReadText,
  problems: Problem[],
): ReadonlyMap<string, string> {
  const fingerprints = new Map<string, string>();
  for (const [site, { pool }] of Object.entries(written.sites)) {
    for (const [index, { fingerprint }] of pool.hosts.entries()) {
      if (typeof fingerprint !== 'object') continue;
      const where = document.place(['sites', site, 'pool', 'hosts', index, 'fingerprint', 'file']);
      const file = beside(document.file, fingerprint.file);
      let text: string;
      try {
        text = read(file);
      } catch (error) {
        problems.push({
          code: 'DR-CONFIG-FINGERPRINT-FILE',
          what: `cannot read the fingerprint of a host of ${site} from ${file}`,
          where,
          known: [error instanceof Error ? error.message : String(error)],
          next: 'write the fingerprint itself, or correct the path',
        });
        continue;
      }
      const result = readFingerprint(text);
      if ('digits' in result) fingerprints.set(fingerprint.file, result.digits);
      else
        problems.push({ code: 'DR-CONFIG-VALUE', what: `${file}: ${result.what}`, where, next: result.next });
    }
  }
  return fingerprints;
}

/** Two passes may find the same fault; sites.yaml comes first, then the plans by name. */
function inOrder(file: string, problems: readonly Problem[]): Problem[] {
  const rank = (problem: Problem): string => {
    const { file: at = '', line = 0, column = 0 } = problem.where ?? {};
    const pad = (value: number): string => String(value).padStart(9, '0');
    return `${at === file ? '' : at}\u0000${pad(line)}\u0000${pad(column)}\u0000${problem.what}`;
  };
  const byRank = new Map(problems.map((problem) => [rank(problem), problem]));
  return [...byRank].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, problem]) => problem);
}

/** Paths in a file are relative to that file, so that the working directory never matters. */
function beside(file: string, written: string): string {
  return path.isAbsolute(written) ? written : path.join(path.dirname(file), written);
}

/** Options of an array whose name ends in `_file` are paths. */
function pathsBeside(file: string, options: ArraySettings['options']): ArraySettings['options'] {
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => [
      key,
      key.endsWith('_file') && typeof value === 'string' ? beside(file, value) : value,
    ]),
  );
}

function settle(
  file: string,
  written: SitesFile,
  plans: ReadonlyMap<string, PlanFile>,
  fingerprints: ReadonlyMap<string, string>,
): Settings {
  const secretAt = (secret: SecretRef): SecretRef =>
    secret.from === 'file' ? { ...secret, path: beside(file, secret.path) } : secret;
  const stateDirectory = beside(file, written.state);
  const canonical = canonicalJson({
    sites: withoutClocks(written),
    plans: Object.fromEntries(plans),
    fingerprints: Object.fromEntries(fingerprints),
  });
  return {
    file,
    digest: createHash('sha256').update(canonical).digest('hex'),
    stateDirectory,
    secretsFile:
      written.secrets_file === undefined
        ? path.join(stateDirectory, 'secrets')
        : beside(file, written.secrets_file),
    sites: Object.entries(written.sites).map(
      ([name, site]): SiteSettings => ({
        name,
        title: site.title ?? name,
        pool: {
          hosts: site.pool.hosts.map(({ url, fingerprint }) => ({
            url,
            fingerprint:
              typeof fingerprint === 'object'
                ? (fingerprints.get(fingerprint.file) ?? null)
                : (fingerprint ?? null),
          })),
          username: site.pool.username,
          password: secretAt(site.pool.password),
          poolUuid: site.pool.pool_uuid ?? null,
          caFile: site.pool.ca_file === undefined ? null : beside(file, site.pool.ca_file),
          transport: site.pool.transport,
          maxRequests: site.pool.max_requests,
          ...(site.pool.old_tls ? { oldTls: true as const } : {}),
          ...(site.pool.ssh === undefined ? {} : { ssh: sshSettings(file, site.pool.ssh, secretAt) }),
        },
      }),
    ),
    arrays: Object.entries(written.arrays).map(
      ([name, array]): ArraySettings => ({
        name,
        site: array.site,
        type: array.type,
        options: pathsBeside(file, array.options),
        secret: array.secret === undefined ? null : secretAt(array.secret),
      }),
    ),
    groups: Object.entries(written.groups).map(([name, group]): GroupSettings => {
      const plan = group.recovery_plan === undefined ? undefined : plans.get(group.recovery_plan);
      const home = { recovery: group.recovery };
      return {
        name,
        production: group.production,
        recovery: group.recovery,
        scope: group.vms,
        storage: group.storage.map(({ sr, source, target }) => ({
          sr,
          source: volumeOf(source),
          target: volumeOf(target),
        })),
        rpoSeconds: group.rpo,
        rtoSeconds: group.rto,
        networks: Object.entries(group.networks).map(([production, network]) => ({
          production,
          recovery: typeof network === 'string' ? network : network.recovery,
          drill: typeof network === 'string' ? null : (network.drill ?? null),
          drillAtProduction: typeof network === 'string' ? null : (network.drill_at_production ?? null),
        })),
        plan:
          plan === undefined || group.recovery_plan === undefined
            ? planSettings(planSchema.parse({}), { ...home, file: null, directory: '.' })
            : planSettings(plan, {
                ...home,
                file: group.recovery_plan,
                directory: path.dirname(beside(file, group.recovery_plan)),
              }),
        retention: retentionSettings(group.retention),
        ...backupSettings(group.metadata_backup),
      };
    }),
    catalog: catalogSettings(file, written.catalog, secretAt),
    daemon: daemonSettings(written, { file, stateDirectory }),
    alarms: alarmSettings(written.alarms),
    notices: noticeSettings(written.notices, { secretAt, beside: (path) => beside(file, path) }),
  };
}

/** When something is done and who hears of it says nothing about how: a plan made before such a change is as good as ever. */
function withoutClocks({
  schedules: _schedules,
  daemon: _daemon,
  alarms: _alarms,
  notices: _notices,
  groups,
  ...rest
}: SitesFile): unknown {
  const withoutOwn = ({ schedules: _own, ...group }: SitesFile['groups'][string]) => group;
  return {
    ...rest,
    groups: Object.fromEntries(Object.entries(groups).map(([name, group]) => [name, withoutOwn(group)])),
  };
}

/** Absent where it is not written, so that the settings of a file that does not know it have the digest that they had. */
function volumeOf(written: SitesFile['groups'][string]['storage'][number]['source']): VolumeSettings {
  const { array, volume, consistency_group: consistencyGroup } = written;
  return { array, volume, ...(consistencyGroup === undefined ? {} : { consistencyGroup }) };
}

function sshSettings(
  file: string,
  written: NonNullable<SitesFile['sites'][string]['pool']['ssh']>,
  secretAt: (secret: SecretRef) => SecretRef,
): PoolSshSettings {
  return {
    username: written.username,
    privateKeyFile: written.private_key_file === undefined ? null : beside(file, written.private_key_file),
    password: written.password === undefined ? null : secretAt(written.password),
    hosts: written.hosts.map(({ host, address, port, host_key: hostKey }) => ({
      host,
      address: address ?? null,
      port,
      hostKey,
    })),
  };
}

function backupSettings(
  written: SitesFile['groups'][string]['metadata_backup'],
): Pick<GroupSettings, 'metadataBackup'> {
  if (written === undefined || written.method === 'none') return {};
  const { method, every, history, dumps, size_mib: sizeMib } = written;
  return {
    metadataBackup: {
      method,
      everySeconds: every,
      history,
      dumps: dumps ?? history,
      bytes: sizeMib * 1024 ** 2,
    },
  };
}

function retentionSettings(written: SitesFile['groups'][string]['retention']): RetentionSettings {
  const { max_age: maxAgeSeconds, ...counts } = written;
  return { ...counts, maxAgeSeconds: maxAgeSeconds ?? null };
}

function placeOf({
  name,
  site,
}: SitesFile['catalog']['targets'][number]): Pick<CatalogTargetSettings, 'name' | 'site'> {
  return site === undefined ? { name } : { name, site };
}

function catalogSettings(
  file: string,
  written: SitesFile['catalog'],
  secretAt: (secret: SecretRef) => SecretRef,
): CatalogSettings {
  return {
    targets: written.targets.map((target) =>
      target.type === 'directory'
        ? { type: target.type, ...placeOf(target), path: beside(file, target.path) }
        : {
            type: target.type,
            ...placeOf(target),
            host: target.host,
            port: target.port,
            username: target.username,
            path: target.path,
            hostKey: target.host_key,
            privateKeyFile:
              target.private_key_file === undefined ? null : beside(file, target.private_key_file),
            password: target.password === undefined ? null : secretAt(target.password),
          },
    ),
    encryption:
      'keyFile' in written.encryption
        ? { keyFile: beside(file, written.encryption.keyFile) }
        : { passphrase: secretAt(written.encryption.passphrase) },
  };
}
