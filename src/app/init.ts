/**
 * `lifeboat init`: asks both pools and the arrays, and proposes a sites.yaml to review. It reads and never writes at either
 * site; what it proposes is read back as settings before anybody sees it.
 */
import { join } from 'node:path';
import { readFingerprint } from '../config/fields.ts';
import { loadArrays, loadSettings } from '../config/load.ts';
import { proposal } from '../config/proposal.ts';
import { exitCodes, OperatorError, PortError } from '../domain/errors.ts';
import type { Proposal, ProposedArray, ProposedSite } from '../domain/proposal.ts';
import type { SecretRef } from '../domain/settings.ts';
import type { Setup } from '../ports/setup.ts';
import type { Context } from './app.ts';

export interface InitRequest {
  /** Where sites.yaml goes. */
  readonly file: string;
  readonly production: InitSite;
  readonly recovery: InitSite;
  /** A file with `arrays:` as sites.yaml has them; null for none. */
  readonly arraysFile: string | null;
}

export interface InitSite {
  readonly name: string;
  /** For the names of options in what is said. */
  readonly role: 'production' | 'recovery';
  /** Address of a host of the pool: `https://NAME[:PORT]`. */
  readonly url: string;
  /** SHA-256 of its certificate, as openssl or a person writes it; null when a person is asked. */
  readonly fingerprint: string | null;
  readonly username: string;
  /** Asked for after the certificate was trusted, and never before. */
  password(): Promise<SecretRef>;
}

/** Whether the certificate is the right one: answered by a person who has compared it. */
export type Trusts = (site: string, url: string, fingerprint: string) => Promise<boolean>;

const keyFile = '.lifeboat/catalog.key';

export interface Initiated extends Proposal {
  readonly keyFile: string;
}

export async function proposeSettings(
  setup: Setup,
  request: InitRequest,
  trusts: Trusts,
  directory: string,
  context: Context = {},
): Promise<Initiated> {
  refuseToOverwrite(setup, request.file);
  const described = request.arraysFile === null ? [] : loadArrays(request.arraysFile, setup.readText);
  const production = await surveySite(setup, request.production, trusts, context);
  const recovery = await surveySite(setup, request.recovery, trusts, context);
  if (production.pool.uuid === recovery.pool.uuid) throw samePool(production);
  const arrays: ProposedArray[] = [];
  for (const { array, lines } of described) {
    context.onProgress?.(`Asking array ${array.name}`);
    arrays.push({ name: array.name, site: array.site, lines, pairs: await pairsOf(setup, array, context) });
  }
  const proposed = proposal({ production, recovery, arrays, schema: setup.schemaFile, keyFile });
  checkProposal(setup, request.file, proposed.text);
  const made = await setup.makeKey(join(directory, keyFile));
  return {
    ...proposed,
    keyFile,
    review: made
      ? proposed.review
      : [...proposed.review, `The key file ${keyFile} was there already, and is used as it is`],
  };
}

export function refuseToOverwrite(setup: Pick<Setup, 'exists'>, file: string): void {
  if (!setup.exists(file)) return;
  throw new OperatorError(
    {
      code: 'DR-INIT-EXISTS',
      what: `${file} exists already, and is never overwritten`,
      next: 'Name another place: lifeboat --config FILE init; or move the file away',
    },
    { exitCode: exitCodes.usage },
  );
}

async function surveySite(
  setup: Setup,
  site: InitSite,
  trusts: Trusts,
  context: Context,
): Promise<ProposedSite> {
  context.onProgress?.(`Asking site ${site.name}`);
  const first = await trusted(setup, site, site.url, site.fingerprint, trusts);
  const elsewhere = await setup.coordinatorOf(site.name, first);
  const coordinator =
    elsewhere === null ? first : await trusted(setup, site, withAddress(site.url, elsewhere), null, trusts);
  const password = await site.password();
  const { pool, hosts } = await setup.survey(
    site.name,
    {
      hosts: [coordinator],
      username: site.username,
      password,
      poolUuid: null,
      caFile: null,
      transport: 'auto',
      maxRequests: 2,
    },
    context.signal,
  );
  const master = pool.hosts.find(({ uuid }) => uuid === pool.masterUuid)?.address;
  const listed = hosts.map(({ address, fingerprint, nameLabel }) =>
    address === master
      ? { url: coordinator.url, fingerprint: coordinator.fingerprint, nameLabel }
      : { url: withAddress(site.url, address), fingerprint, nameLabel },
  );
  return {
    name: site.name,
    pool,
    hosts: [...listed].sort((a, b) => Number(b.url === coordinator.url) - Number(a.url === coordinator.url)),
    username: site.username,
    password,
  };
}

/** The host with a certificate that somebody has vouched for. */
async function trusted(
  setup: Setup,
  site: InitSite,
  url: string,
  pinned: string | null,
  trusts: Trusts,
): Promise<{ readonly url: string; readonly fingerprint: string }> {
  const wanted = pinned === null ? null : fingerprintIn(pinned, site);
  const seen = await setup.certificateAt(url);
  if (wanted !== null && wanted !== seen)
    throw new OperatorError({
      code: 'DR-INIT-CERTIFICATE',
      what: `${url} shows another certificate than was given for site ${site.name}: nothing was sent`,
      known: [`given was ${asPrinted(wanted)}`, `it shows ${asPrinted(seen)}`],
      next: 'Compare with `openssl x509 -in /etc/xensource/xapi-ssl.pem -noout -fingerprint -sha256` on the host itself',
    });
  if (wanted === null && !(await trusts(site.name, url, seen)))
    throw new OperatorError(
      {
        code: 'DR-INIT-CERTIFICATE',
        what: `Nobody vouched for the certificate of ${url}: nothing was sent`,
        known: [`it shows ${asPrinted(seen)}`],
        next: `Compare it on the host itself, and give it with --${site.role}-fingerprint, or answer yes`,
      },
      { exitCode: exitCodes.usage },
    );
  return { url, fingerprint: seen };
}

const asPrinted = (fingerprint: string): string => (fingerprint.toUpperCase().match(/../g) ?? []).join(':');

function fingerprintIn(written: string, { role }: InitSite): string {
  const read = readFingerprint(written);
  if ('digits' in read) return read.digits;
  throw new OperatorError(
    { code: 'DR-INIT-MISSING', what: `--${role}-fingerprint: ${read.what}`, next: read.next },
    { exitCode: exitCodes.usage },
  );
}

function withAddress(url: string, address: string): string {
  const port = URL.parse(url)?.port ?? '';
  const host = address.includes(':') ? `[${address}]` : address;
  return `https://${host}${port === '' ? '' : `:${port}`}`;
}

/** An array that does not answer must not hide what the pools say. */
async function pairsOf(
  setup: Setup,
  array: Parameters<Setup['array']>[0],
  context: Context,
): Promise<ProposedArray['pairs']> {
  try {
    const open = await setup.array(array);
    return await open.discover(context.signal);
  } catch (error) {
    context.signal?.throwIfAborted();
    if (error instanceof PortError || error instanceof OperatorError) return null;
    throw error;
  }
}

/** What is wrong with a proposal is our mistake, and must not become a file. */
function checkProposal(setup: Setup, file: string, text: string): void {
  loadSettings(file, (path) => (path === file ? text : setup.readText(path)));
}

function samePool({ pool, name }: ProposedSite): OperatorError {
  return new OperatorError(
    {
      code: 'DR-INIT-SAME-POOL',
      what: 'Both addresses belong to the same pool',
      known: [`pool ${pool.nameLabel}, ${pool.uuid}`],
      next: `Give a host of another pool than that of site ${name}`,
    },
    { exitCode: exitCodes.usage },
  );
}
