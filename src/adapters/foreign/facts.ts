/** Objects of a document or of a database as the facts of a pool, by the same rules as the answers of a living one. */
import type { PoolFacts } from '../../domain/pool.ts';
import type { Instant } from '../../domain/time.ts';
import type { MetadataObject } from '../../metadata/document.ts';
import { isStruct, XmlScalar, type XmlStruct, type XmlValue } from '../../metadata/xmlvalue.ts';
import { observedClasses, poolFacts, type Records } from '../xenapi/facts.ts';
import { decode, type XapiRecord } from '../xenapi/values.ts';

/** `objectsOf` gives the objects of a class. Throws `DecodeError` for values that the data model does not know. */
export function factsOf(objectsOf: (name: string) => readonly MetadataObject[], at: Instant): PoolFacts {
  const records = Object.fromEntries(
    observedClasses.map((name) => [
      name,
      Object.fromEntries(
        objectsOf(name).map((object) => [
          object.id,
          decode(copyOf(object.fields), { kind: 'record', name }, 'xml') as XapiRecord,
        ]),
      ),
    ]),
  ) as unknown as Records;
  const facts = poolFacts(records, { observedAt: at, serverTime: at, freeMemory: new Map() });
  // A digest vouches for a document that this pool wrote; these documents were written by others.
  return { ...facts, vms: facts.vms.map(({ digest: _none, ...vm }) => vm) };
}

/** Decoding uses its input up, and the documents are still needed. */
function copyOf(value: XmlValue): XmlValue {
  if (Array.isArray(value)) return value.map(copyOf);
  if (value instanceof XmlScalar || !isStruct(value)) return value;
  const copy = Object.create(null) as XmlStruct;
  for (const [name, item] of Object.entries(value)) copy[name] = copyOf(item);
  return copy;
}
