/** YAML text → plain data that remembers where everything stands. */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  stringify,
  visit,
} from 'yaml';
import type { Place, Problem } from '../domain/errors.ts';

export type Path = readonly PropertyKey[];

export interface YamlDocument {
  readonly file: string;
  readonly data: unknown;
  /** Where the value of a path stands, or the nearest parent that is written down. */
  place(path: Path): Place;
  /** Where the key itself stands. */
  keyPlace(path: Path): Place;
}

export function readYaml(
  file: string,
  text: string,
): { readonly document: YamlDocument } | { readonly problems: readonly Problem[] } {
  const lines = new LineCounter();
  const parsed = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, line, column: col };
  };
  const faults = [...parsed.errors, ...parsed.warnings];
  if (faults.length > 0) {
    return {
      problems: faults.map((fault) => ({
        ...(advice[fault.code] ?? {
          code: 'DR-CONFIG-SYNTAX',
          what: `this is not valid YAML: ${sentence(fault.message)}`,
          next: 'correct the line; indentation is made of spaces, and every bracket and quote needs its partner',
        }),
        where: placeAt(fault.pos[0]),
      })),
    };
  }
  const impossible = impossibleKeys(parsed);
  if (impossible.length > 0) {
    return {
      problems: impossible.map((offset) => ({
        code: 'DR-CONFIG-VALUE',
        what: `${JSON.stringify(impossibleKey)} cannot be a key: it would be dropped without a word`,
        where: placeAt(offset),
        next: 'rename it, in the pool as well if it is the name of something there',
      })),
    };
  }
  let data: unknown;
  try {
    data = parsed.toJS();
  } catch (error) {
    // The reader refuses documents whose aliases unfold to an enormous tree.
    return {
      problems: [
        {
          code: 'DR-CONFIG-SYNTAX',
          what: `this file cannot be unfolded: ${sentence(error instanceof Error ? error.message : String(error))}`,
          where: { file },
          next: 'write the repeated parts out instead of using so many aliases',
        },
      ],
    };
  }
  const find = (path: Path, wanted: 'key' | 'value'): Place => {
    let node: Node | null = parsed.contents;
    let offset = node?.range?.[0] ?? 0;
    for (const [index, step] of path.entries()) {
      const resolved = isAlias(node) ? node.resolve(parsed) : node;
      if (isMap(resolved)) {
        const pair = resolved.items.find((item) => keyText(item.key) === String(step));
        if (pair === undefined) break;
        const keyOffset = isNode(pair.key) ? pair.key.range?.[0] : undefined;
        const valueOffset = isNode(pair.value) ? pair.value.range?.[0] : undefined;
        const last = index === path.length - 1;
        // A map or list begins on the line below its key: the key is what a person looks for.
        const inside = isMap(pair.value) || isSeq(pair.value);
        offset = (last && wanted === 'value' && !inside ? valueOffset : keyOffset) ?? keyOffset ?? offset;
        node = isNode(pair.value) ? pair.value : null;
      } else if (isSeq(resolved)) {
        const item = resolved.items[Number(step)];
        if (!isNode(item)) break;
        offset = item.range?.[0] ?? offset;
        node = item;
      } else {
        break;
      }
    }
    return placeAt(offset);
  };
  return {
    document: {
      file,
      data,
      place: (path) => find(path, 'value'),
      keyPlace: (path) => find(path, 'key'),
    },
  };
}

/** The one name that an object of JavaScript cannot have as a key of its own; the schemas leave it out. */
const impossibleKey = '__proto__';

/** Where it is written as a key. */
function impossibleKeys(parsed: Document.Parsed): readonly number[] {
  const offsets: number[] = [];
  visit(parsed, {
    Pair: (_, { key }) => {
      if (keyText(key).trim() === impossibleKey) offsets.push(isNode(key) ? (key.range?.[0] ?? 0) : 0);
    },
  });
  return offsets;
}

/** Lines of a value as YAML. */
export function writeYaml(value: unknown): string[] {
  return stringify(value, { lineWidth: 0 }).trimEnd().split('\n');
}

const advice: Readonly<Record<string, Omit<Problem, 'where'>>> = {
  DUPLICATE_KEY: {
    code: 'DR-CONFIG-DUPLICATE',
    what: 'this key is written a second time',
    next: 'keep one of the two',
  },
  TAB_AS_INDENT: {
    code: 'DR-CONFIG-SYNTAX',
    what: 'this line is indented with a tab',
    next: 'indent with spaces',
  },
};

const keyText = (key: unknown): string =>
  key !== null && typeof key === 'object' && 'value' in key ? String(key.value) : String(key);

/** Messages of the YAML reader begin with a capital and may end with a full stop; ours are parts of a sentence. */
function sentence(message: string): string {
  const line = message.split('\n')[0] ?? message;
  return line.charAt(0).toLowerCase() + line.slice(1).replace(/\.$/, '');
}
