/** What the schema found, in the words of an operator, each at its line and column. */
import type { z } from 'zod';
import type { ErrorCode, Problem } from '../domain/errors.ts';
import { nearest } from '../domain/nearest.ts';
import type { Path, YamlDocument } from './document.ts';
import type { Advice } from './fields.ts';
import { clearSecret } from './fields.ts';

type Issue = z.core.$ZodIssue;
/** A node of a JSON schema, as far as it tells which keys are known. */
interface Shape {
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly additionalProperties?: Shape | boolean;
  readonly items?: Shape;
  readonly anyOf?: readonly Shape[];
  readonly oneOf?: readonly Shape[];
}

/** `schema` is the JSON schema of the file: it knows the keys that a misspelt one may have meant. */
export function describeIssues(issues: readonly Issue[], document: YamlDocument, schema: unknown): Problem[] {
  const problems = issues.flatMap((issue) => describeIssue(issue, [], document, schema as Shape));
  // A misspelt key is one mistake, not two: what it was meant to be is not missing.
  const meant = new Set(
    problems.flatMap((problem) => (problem.code === 'DR-CONFIG-KEY-UNKNOWN' ? problem.stands : [])),
  );
  return problems
    .filter(
      (problem) => problem.code !== 'DR-CONFIG-MISSING' || !problem.stands.some((path) => meant.has(path)),
    )
    .map(({ stands: _, ...problem }) => problem);
}

/** A problem with the path that it is about: the missing one, or the one that a misspelt key was meant to be. */
type PathProblem = Problem & { readonly stands: readonly string[] };

function describeIssue(issue: Issue, above: Path, document: YamlDocument, schema: Shape): PathProblem[] {
  const path = [...above, ...issue.path];
  const at = pathText(path);
  const where = document.place(path);
  const problem = (code: ErrorCode, what: string, next: string): PathProblem[] => [
    { code, what: at === '' ? what : `${at}: ${what}`, where, next, stands: [] },
  ];
  if (issue.message === clearSecret.what) {
    const advice = adviceOf(issue);
    return problem(clearSecret.code, clearSecret.what, advice?.next ?? clearSecret.next);
  }
  switch (issue.code) {
    case 'custom': {
      const advice = adviceOf(issue);
      return problem(advice?.code ?? 'DR-CONFIG-VALUE', issue.message, advice?.next ?? 'correct the value');
    }
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey(key, path, document, schema));
    case 'invalid_union':
      return describeUnion(issue, path, document, schema);
    case 'invalid_key':
      return [
        {
          code: 'DR-CONFIG-VALUE',
          what: `${at}: a name has letters, digits, - _ . and at most 63 characters, and begins with a letter or digit`,
          where: document.keyPlace(path),
          next: 'choose a shorter or plainer name; a title may say the rest',
          stands: [],
        },
      ];
    case 'invalid_type':
      if (valueAt(document.data, path) === undefined || valueAt(document.data, path) === null) {
        return [missing(path, document)];
      }
      if (Object.hasOwn(unitAdvice, issue.message)) {
        return problem('DR-CONFIG-VALUE', issue.message, unitAdvice[issue.message] ?? '');
      }
      return problem(
        'DR-CONFIG-VALUE',
        `this must be ${kindOf(issue.expected)}, and it is ${kindOf(typeName(valueAt(document.data, path)))}`,
        issue.expected === 'string' ? 'write it in quotes' : `write ${kindOf(issue.expected)}`,
      );
    case 'invalid_value': {
      const allowed = issue.values.map(String);
      const written = valueAt(document.data, path);
      if (written === undefined) return [missing(path, document)];
      const meant = typeof written === 'string' ? nearest(written, allowed) : null;
      return problem(
        'DR-CONFIG-VALUE',
        `${JSON.stringify(written)} is not known here${meant === null ? '' : `; did you mean ${meant}?`}`,
        `write ${anyOf(allowed)}`,
      );
    }
    case 'too_small':
    case 'too_big':
      return problem('DR-CONFIG-VALUE', limit(issue), limitAdvice(issue));
    case 'invalid_format':
      return problem('DR-CONFIG-VALUE', format(issue.format), 'correct the value');
    default:
      return problem('DR-CONFIG-VALUE', issue.message, 'correct the value');
  }
}

/** Numbers without a unit are a frequent slip, and would be read by everybody in another way. */
const unitAdvice: Readonly<Record<string, string>> = {
  'a duration needs its unit': 'write it as 30s, 15min, 1h30m or 2d',
  'a size needs its unit': 'write it as 512MiB or 8GiB',
};

function adviceOf(issue: Issue): Advice | undefined {
  return issue.code === 'custom' ? (issue.params as Advice | undefined) : undefined;
}

function missing(path: Path, document: YamlDocument): PathProblem {
  const key = String(path.at(-1) ?? '');
  const parent = path.slice(0, -1);
  const written = valueAt(document.data, path) === null;
  return {
    code: 'DR-CONFIG-MISSING',
    what:
      path.length === 0
        ? 'the file is empty'
        : written
          ? `${pathText(path)}: nothing is written here`
          : `${pathText(parent) || 'the file'} has no ${key}`,
    where: written ? document.place(path) : document.keyPlace(parent),
    next: path.length === 0 ? 'start from the sample sites.yaml' : `write ${key}: with its value`,
    stands: [pathText(path)],
  };
}

function unknownKey(key: string, path: Path, document: YamlDocument, schema: Shape): PathProblem {
  const known = keysAt(schema, path, document.data);
  const written = valueAt(document.data, path);
  const present = written !== null && typeof written === 'object' ? Object.keys(written) : [];
  const free = known.filter((candidate) => !present.includes(candidate));
  const meant = nearest(key, free) ?? nearest(key, known);
  const place = pathText(path) === '' ? '' : ` in ${pathText(path)}`;
  return {
    code: 'DR-CONFIG-KEY-UNKNOWN',
    what: `unknown key '${key}'${place}${meant === null ? '' : `; did you mean ${meant}?`}`,
    where: document.keyPlace([...path, key]),
    next:
      meant === null
        ? known.length === 0
          ? 'remove it'
          : `remove it, or use one of ${[...known].sort().join(', ')}`
        : `write ${meant}, or remove the key`,
    stands: meant === null ? [] : [pathText([...path, meant])],
  };
}

/** Of several shapes, the one that the person most likely had in mind; when none is close, all are named. */
function describeUnion(
  issue: Extract<Issue, { code: 'invalid_union' }>,
  path: Path,
  document: YamlDocument,
  schema: Shape,
): PathProblem[] {
  const written = valueAt(document.data, path);
  if (issue.errors.length === 0) {
    if (written === undefined || written === null) return [missing(path, document)];
    const options = 'options' in issue && Array.isArray(issue.options) ? issue.options.map(String) : [];
    const meant = typeof written === 'string' ? nearest(written, options) : null;
    return [
      {
        code: 'DR-CONFIG-VALUE',
        what: `${pathText(path)}: ${JSON.stringify(written)} is not known here${meant === null ? '' : `; did you mean ${meant}?`}`,
        where: document.place(path),
        next: `write ${anyOf(options)}`,
        stands: [],
      },
    ];
  }
  if (written === undefined || written === null) return [missing(path, document)];
  const distance = (branch: readonly Issue[]): number =>
    branch.reduce((sum, each) => {
      const wrongKind =
        each.code === 'invalid_type' || (each.code === 'invalid_value' && typeof written === 'object');
      if (wrongKind && each.path.length === 0) return sum + 100;
      // A key that is unknown further inside says that the outer ones were right.
      if (each.code === 'unrecognized_keys') return sum + (each.path.length > 0 ? 1 : 3) * each.keys.length;
      if (each.code === 'invalid_type' && valueAt(written, each.path) === undefined) return sum + 2;
      return sum + 1;
    }, 0);
  const ranked = [...issue.errors].sort((a, b) => distance(a) - distance(b));
  const best = ranked[0] ?? [];
  return best.flatMap((each) => describeIssue(each, path, document, schema));
}

/** The keys that the schema knows at this path; alternatives are put together. */
function keysAt(schema: Shape, path: Path, data: unknown): string[] {
  const step = (shapes: readonly Shape[], key: PropertyKey): Shape[] =>
    flatten(shapes).flatMap((shape) => {
      const next =
        shape.properties?.[String(key)] ??
        (typeof shape.additionalProperties === 'object' ? shape.additionalProperties : undefined) ??
        shape.items;
      return next === undefined ? [] : [next];
    });
  const shapes = flatten(path.reduce<readonly Shape[]>(step, [schema]));
  const written = valueAt(data, path);
  const type =
    written !== null && typeof written === 'object' && 'type' in written ? written.type : undefined;
  const fitting = shapes.filter((shape) => {
    const constant = (shape.properties?.['type'] as { const?: unknown } | undefined)?.const;
    return constant === undefined || type === undefined || constant === type;
  });
  return [...new Set(fitting.flatMap((shape) => Object.keys(shape.properties ?? {})))];
}

function flatten(shapes: readonly Shape[]): Shape[] {
  return shapes.flatMap((shape) => [shape, ...flatten([...(shape.anyOf ?? []), ...(shape.oneOf ?? [])])]);
}

export function valueAt(data: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      value !== null && typeof value === 'object' ? (value as Record<PropertyKey, unknown>)[key] : undefined,
    data,
  );
}

/** `groups.shop.storage[0].sr` */
export function pathText(path: Path): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    const word = /^[\w-]+$/.test(String(key)) ? String(key) : `"${String(key)}"`;
    return text === '' ? word : `${text}.${word}`;
  }, '');
}

function typeName(value: unknown): string {
  return Array.isArray(value) ? 'array' : typeof value;
}

function kindOf(type: string): string {
  const words: Record<string, string> = {
    string: 'a text',
    number: 'a number',
    int: 'a whole number',
    boolean: 'true or false',
    array: 'a list',
    object: 'a block of keys',
    record: 'a block of keys',
  };
  return words[type] ?? type;
}

function limit(issue: Extract<Issue, { code: 'too_small' | 'too_big' }>): string {
  const bound = issue.code === 'too_small' ? issue.minimum : issue.maximum;
  if (issue.origin === 'array')
    return issue.code === 'too_small' ? 'this list is empty' : `this list is longer than ${bound}`;
  if (issue.origin === 'string')
    return issue.code === 'too_small' ? 'this text is empty' : 'this text is too long';
  return issue.code === 'too_small' ? `this must be ${bound} or more` : `this must be ${bound} or less`;
}

function limitAdvice(issue: Extract<Issue, { code: 'too_small' | 'too_big' }>): string {
  if (issue.origin === 'array' && issue.code === 'too_small')
    return 'write at least one entry, each after a dash';
  if (issue.origin === 'string' && issue.code === 'too_small') return 'write the value';
  const bound = issue.code === 'too_small' ? issue.minimum : issue.maximum;
  return `write a number that is ${issue.code === 'too_small' ? 'at least' : 'at most'} ${bound}`;
}

function format(kind: string): string {
  if (kind === 'cidrv4' || kind === 'cidrv6') return 'this is not a subnet such as 10.2.0.0/24';
  return 'this value has the wrong form';
}

export function anyOf(words: readonly string[]): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}
