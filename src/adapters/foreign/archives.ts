/** Archives of metadata as one backup: a document per VM, and what they together tell of their pool. */
import { problemOf } from '../../domain/errors.ts';
import type { Uuid } from '../../domain/pool.ts';
import type { Instant } from '../../domain/time.ts';
import { type MetadataDocument, packDocument, parseArchiveTolerantly } from '../../metadata/document.ts';
import { merge, split } from '../../metadata/split.ts';
import type { ForeignBackup } from '../../ports/foreign.ts';
import { xapiBuild } from '../xenapi/facts.ts';
import { DecodeError } from '../xenapi/values.ts';
import { factsOf } from './facts.ts';

export interface Archive {
  readonly file: string;
  readonly bytes: Uint8Array;
}

type Told = Pick<ForeignBackup, 'pool' | 'documents' | 'failures' | 'remarks'>;

interface Single {
  readonly file: string;
  readonly document: MetadataDocument;
  readonly bytes: Uint8Array;
}

export function backupOfArchives(archives: readonly Archive[], at: Instant): Told {
  const failures: { file: string; reason: string }[] = [];
  const remarks: string[] = [];
  const singles = new Map<Uuid, Single>();
  for (const { file, bytes } of archives) {
    try {
      const { document, repaired } = parseArchiveTolerantly(bytes);
      if (repaired.length > 0)
        remarks.push(`${file} holds map keys that were not escaped; they were repaired`);
      for (const { uuid, document: one } of split(document)) {
        const single = { file, document: one, bytes: packDocument(one) };
        // The facts of this one alone: values that nobody understands cost this VM and no other.
        factsOf((name) => one.ofClass(name), at);
        const known = singles.get(uuid);
        if (known === undefined) singles.set(uuid, single);
        else if (!Buffer.from(known.bytes).equals(Buffer.from(single.bytes)))
          failures.push({ file, reason: `it holds VM ${uuid} in another state than ${known.file} does` });
      }
    } catch (error) {
      const problem = problemOf(error);
      if (problem === null && !(error instanceof DecodeError)) throw error;
      const reason =
        problem === null ? (error as Error).message : [problem.what, ...(problem.known ?? [])].join('; ');
      failures.push({ file, reason });
    }
  }
  return {
    pool: poolOf(
      [...singles.values()].map(({ document }) => document),
      at,
    ),
    documents: new Map([...singles].map(([uuid, { bytes }]) => [uuid, bytes])),
    failures,
    remarks,
  };
}

/** Archives know no pool; product and build are those that signed them. */
function poolOf(documents: readonly MetadataDocument[], at: Instant): Told['pool'] {
  const whole = merge(documents);
  const facts = factsOf((name) => whole.ofClass(name), at);
  const said = (name: string): string => {
    const text = whole.version[name];
    return typeof text === 'string' ? text : '';
  };
  const productVersion = said('product_version');
  return {
    ...facts,
    productBrand: said('product_brand'),
    productVersion,
    xapiBuild: xapiBuild({ product_version: productVersion, xapi_build: whole.build.text }),
  };
}
