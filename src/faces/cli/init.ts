/** `init`: asks for two pools, and writes a sites.yaml to review. What is not given as an option is asked for, at a terminal. */
import { dirname, join } from 'node:path';
import { type InitRequest, type InitSite, proposeSettings, refuseToOverwrite } from '../../app/init.ts';
import { type ExitCode, exitCodes, OperatorError } from '../../domain/errors.ts';
import type { SecretRef } from '../../domain/settings.ts';
import { clean, page, wrap } from '../../report/paper.ts';
import { writeOut } from './files.ts';
import { examples } from './help.ts';
import type { VerbPlace } from './runbook.ts';
import type { Session } from './session.ts';

type Role = 'production' | 'recovery';
type Flags = Readonly<Record<string, unknown>>;

export function addInit({ program, helpGroup, act }: VerbPlace): void {
  const init = program
    .command('init')
    .helpGroup(helpGroup)
    .description('ask both pools and the arrays, and write a sites.yaml to review; never overwrites');
  for (const role of ['production', 'recovery'] as const)
    init
      .option(`--${role} <url>`, `any host of the ${role} pool: https://NAME[:PORT]`)
      .option(`--${role}-name <name>`, 'a short name for the site', role)
      .option(
        `--${role}-fingerprint <sha256>`,
        'of the certificate of that host; shown and asked for without it',
      )
      .option(`--${role}-user <name>`, 'a pool-admin', 'root')
      .option(
        `--${role}-password <source>`,
        'env:NAME, file:PATH, store:NAME or command:PROGRAM; typed unseen and stored without it',
      );
  init
    .option(
      '--arrays <file>',
      'a file with `arrays:` as in sites.yaml; without it the groups stay in comments',
    )
    .addHelpText('after', `\n${examples('init')}`)
    .action(act((session, _values, flags) => initVerb(session, flags)));
}

/** 3 when a group is left to be completed, or there is none; the file is there all the same. */
async function initVerb(session: Session, flags: Flags): Promise<ExitCode> {
  const file = session.options.config;
  const setup = session.programme.setup(file);
  try {
    refuseToOverwrite(setup, file);
    const request: InitRequest = {
      file,
      production: await siteOf(session, flags, 'production'),
      recovery: await siteOf(session, flags, 'recovery'),
      arraysFile: flags['arrays'] === undefined ? null : String(flags['arrays']),
    };
    const trusts = (site: string, url: string, fingerprint: string): Promise<boolean> =>
      askTrust(session, site, url, fingerprint);
    const made = await proposeSettings(setup, request, trusts, dirname(file), session.context());
    await writeOut(session, file, made.text, { replace: false });
    session.show(() => initText(session, file, made.keyFile, made.review), {
      file,
      keyFile: join(dirname(file), made.keyFile),
      review: made.review,
    });
    return made.complete ? exitCodes.done : exitCodes.warnings;
  } finally {
    await setup.close();
  }

  async function siteOf(asking: Session, given: Flags, role: Role): Promise<InitSite> {
    const name = String(given[`${role}Name`]);
    const url = given[role] === undefined ? await askUrl(asking, role) : addressOf(String(given[role]), role);
    const fingerprint = given[`${role}Fingerprint`];
    const source = given[`${role}Password`];
    return {
      name,
      role,
      url,
      fingerprint: fingerprint === undefined ? null : String(fingerprint),
      username: String(given[`${role}User`]),
      password: async () => {
        const ref = source === undefined ? await typed(asking, name) : secretRefOf(String(source), role);
        await setup.trySecret(ref);
        return ref;
      },
    };
  }

  /** Typed unseen, and kept in the encrypted store: a password in a file would be read by somebody some day. */
  async function typed(asking: Session, site: string): Promise<SecretRef> {
    if (!asking.terminal.interactive)
      throw missing(
        `the password of site ${site}`,
        'give its source with --production-password or --recovery-password',
      );
    const password = await asking.terminal.askSecret(`Password of the pool of site ${site}: `);
    if (password === null || password === '')
      throw missing(`the password of site ${site}`, 'start again, and type it');
    const name = `pool-${site}`;
    await setup.storeSecret(name, password);
    return { from: 'store', name };
  }
}

async function askUrl(session: Session, role: Role): Promise<string> {
  if (!session.terminal.interactive)
    throw missing(`the address of the ${role} pool`, `give it with --${role}`);
  const answer = await session.terminal.ask(`Any host of the ${role} pool, such as https://host.example: `);
  if (answer === null || answer.trim() === '')
    throw missing(`the address of the ${role} pool`, 'start again, and type it');
  return addressOf(answer.trim(), role);
}

function addressOf(written: string, role: Role): string {
  const url = URL.parse(written.includes('://') ? written : `https://${written}`);
  if (url !== null && url.protocol === 'https:' && url.pathname === '/' && url.username === '')
    return `https://${url.host}`;
  throw missing(
    `an address of the ${role} pool`,
    `write it as https://NAME or https://NAME:PORT, not as ${written}`,
  );
}

async function askTrust(session: Session, site: string, url: string, fingerprint: string): Promise<boolean> {
  if (!session.terminal.interactive) return false;
  session.clearProgress();
  const printed = (fingerprint.toUpperCase().match(/../g) ?? []).join(':');
  const answer = await session.terminal.ask(
    [
      `${url} of site ${clean(site)} shows the certificate`,
      `  ${printed}`,
      'Compare it on the host: openssl x509 -in /etc/xensource/xapi-ssl.pem -noout -fingerprint -sha256',
      'Is it the same? yes/no: ',
    ].join('\n'),
  );
  return answer?.trim().toLowerCase() === 'yes';
}

function secretRefOf(written: string, role: Role): SecretRef {
  const [, from = '', rest = ''] = /^(env|file|store|command):(.+)$/s.exec(written) ?? [];
  switch (from) {
    case 'env':
    case 'store':
      return { from, name: rest };
    case 'file':
      return { from, path: rest };
    case 'command':
      return { from, argv: rest.split(/\s+/).filter((part) => part !== '') };
    default:
      // Whatever was typed may be the password itself, and is not repeated.
      throw missing(
        `the source of the password of the ${role} pool`,
        'write env:NAME, file:PATH, store:NAME or command:PROGRAM',
      );
  }
}

function missing(what: string, next: string): OperatorError {
  return new OperatorError(
    { code: 'DR-INIT-MISSING', what: `Init lacks ${what}`, next },
    { exitCode: exitCodes.usage },
  );
}

function initText(session: Session, file: string, keyFile: string, review: readonly string[]): string {
  const { width } = session.paper;
  return page([
    `${file} is written, and right as it stands. Review it: guesses and promises are marked CHECK.`,
    `The key of the catalog is ${join(dirname(file), keyFile)}.`,
    '',
    ...review.flatMap((sentence) => wrap(clean(sentence), width, '  - ', '    ')),
    '',
    'Next: lifeboat validate, lifeboat doctor, lifeboat check; then lifeboat export.',
  ]);
}
