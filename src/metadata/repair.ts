/**
 * xapi does not escape the keys of maps (xapi.md 1.3): one `other_config` key with `<` or `&`, which any user may set,
 * makes the whole archive malformed. Here such keys are found in the raw text and escaped, where that is unambiguous.
 */
import { escapeXml } from './xmlvalue.ts';

export interface HostileKey {
  readonly key: string;
  readonly field: string;
  readonly class: string;
  /** Name label of the object, else its uuid, else its id. */
  readonly name: string;
}

const entity = /&(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);/g;
/** A key that looks like the grammar itself could be read in two ways: hands off. */
const grammar =
  /<\/?(?:name|value|member|struct|array|data|boolean|double|int|i4|i8|string|nil|base64|dateTime)/;

/**
 * The text with every malformed key escaped, and the list of them. Null when a key cannot be told from the grammar
 * around it, so that no repair is safe.
 */
export function repairKeys(
  text: string,
): { readonly text: string; readonly keys: readonly HostileKey[] } | null {
  const parts: string[] = [];
  const keys: HostileKey[] = [];
  let copied = 0;
  for (let at = text.indexOf('<name>'); at >= 0; at = text.indexOf('<name>', at + 6)) {
    const start = at + 6;
    const end = text.indexOf('</name>', start);
    if (end < 0) return null;
    const key = text.slice(start, end);
    if (!key.includes('<') && !key.includes(']]>') && !key.replace(entity, '').includes('&')) continue;
    if (grammar.test(key) || !text.startsWith('<value>', end + 7)) return null;
    keys.push({ key, ...placeOf(text, at) });
    parts.push(text.slice(copied, start), escapeXml(key));
    copied = end;
  }
  parts.push(text.slice(copied));
  return { text: parts.join(''), keys };
}

function placeOf(text: string, at: number): { field: string; class: string; name: string } {
  const after = (marker: string, from: number, to: number): string | null => {
    const found = text.indexOf(marker, from);
    if (found < 0 || found >= to) return null;
    const start = found + marker.length;
    return text.slice(start, text.indexOf('<', start));
  };
  const mapOpens = text.lastIndexOf('</name><value><struct>', at);
  const field = mapOpens < 0 ? 'a map' : text.slice(text.lastIndexOf('>', mapOpens - 1) + 1, mapOpens);
  const objectOpens = Math.max(0, text.lastIndexOf('<name>class</name><value>', at));
  const next = text.indexOf('<name>class</name><value>', at);
  const objectEnds = next < 0 ? text.length : next;
  return {
    field,
    class: after('<name>class</name><value>', objectOpens, objectEnds) ?? 'object',
    name:
      after('<name>name_label</name><value>', objectOpens, objectEnds) ||
      after('<name>uuid</name><value>', objectOpens, objectEnds) ||
      after('<name>id</name><value>', objectOpens, objectEnds) ||
      'of unknown name',
  };
}
