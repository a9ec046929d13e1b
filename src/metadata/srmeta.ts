/** SRMETA.xml of a metadata backup: names of every SR and disk of the pool (xapi.md 5.5), since file-based SRs keep none. */
import { SaxesParser } from 'saxes';
import { OperatorError } from '../domain/errors.ts';
import type { Uuid } from '../domain/pool.ts';

export interface Named {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  readonly nameDescription: string;
}

export interface NamedSr extends Named {
  readonly vdis: readonly Named[];
}

const uuidShape = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Throws `OperatorError` DR-SRMETA-UNREADABLE. What has no uuid is left out: nothing could be done with it. */
export function parseSrMeta(text: string): NamedSr[] {
  const srs: (Named & { vdis: Named[] })[] = [];
  const open: string[] = [];
  let failure: string | null = null;
  const parser = new SaxesParser({});
  parser.on('error', (error) => {
    failure ??= error.message;
  });
  // Entities of its own would be the one way for a small file to become large.
  parser.on('doctype', () => {
    failure ??= 'it has a document type';
  });
  parser.on('opentag', ({ name, attributes }) => {
    open.push(name);
    const { uuid = '', name_label: nameLabel = '', name_description: nameDescription = '' } = attributes;
    if (!uuidShape.test(uuid)) return;
    const path = open.join('/');
    if (path === 'meta/sr') srs.push({ uuid, nameLabel, nameDescription, vdis: [] });
    else if (path === 'meta/sr/vdi') srs.at(-1)?.vdis.push({ uuid, nameLabel, nameDescription });
  });
  parser.on('closetag', () => {
    open.pop();
  });
  parser.write(text).close();
  if (failure === null) return srs;
  throw new OperatorError({
    code: 'DR-SRMETA-UNREADABLE',
    what: 'The names of SRs and disks in the metadata backup cannot be read',
    known: [failure],
    next: 'Nothing is needed for a failover: the documents of the VMs name their own disks. Use another date if you miss names',
  });
}

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\n': '&#10;',
  '\r': '&#13;',
  '\t': '&#9;',
};
/** XML 1.0 cannot hold other control characters at all. */
function isSpeakable(sign: string): boolean {
  const code = sign.charCodeAt(0);
  return code >= 0x20 ? code !== 0xfffe && code !== 0xffff : sign in escapes;
}

/** One line, as the host's script writes it; what XML cannot say becomes U+FFFD. */
export function formatSrMeta(srs: readonly NamedSr[]): string {
  const quote = (text: string): string =>
    [...text.toWellFormed()].map((sign) => escapes[sign] ?? (isSpeakable(sign) ? sign : '\ufffd')).join('');
  const named = ({ uuid, nameLabel, nameDescription }: Named): string =>
    `uuid="${quote(uuid)}" name_label="${quote(nameLabel)}" name_description="${quote(nameDescription)}"`;
  const body = srs.map(
    (sr) => `<sr ${named(sr)}>${sr.vdis.map((vdi) => `<vdi ${named(vdi)}/>`).join('')}</sr>`,
  );
  return `<meta>${body.join('')}</meta>`;
}
