/**
 * Makes src/metadata/datamodel/datamodel.json, the table of XenAPI classes that the client, the lab and the metadata
 * document share, from the toolstack's published description of its data model (xenapi.json).
 *
 *     node tools/datamodel.ts xenapi.json
 *
 * Only facts are kept: names, types, qualifiers, defaults and the release in which an item came or went.
 */
import { readFileSync, writeFileSync } from 'node:fs';

interface Transition {
  transition: string;
  release: string;
}
interface Item {
  name: string;
  lifecycle: { state: string; transitions: Transition[] };
}
interface Field extends Item {
  type: string;
  qualifier: string;
  default?: string;
}
interface Message extends Item {
  result: string | [string, string];
  params: { name: string; type: string; required: boolean; default?: string }[];
}
interface Class extends Item {
  fields: Field[];
  messages: Message[];
  enums: { name: string; values: { name: string }[] }[];
}

const qualifiers: Record<string, string> = { 'RO/runtime': 'RO', 'RO/constructor': 'C', RW: 'RW' };

const since = (item: Item): string =>
  item.lifecycle.transitions.find((t) => t.transition === 'published')?.release ?? '';
const removed = (item: Item): string =>
  item.lifecycle.transitions.find((t) => t.transition === 'removed')?.release ?? '';

const [, , source] = process.argv;
if (source === undefined) {
  console.error('usage: node tools/datamodel.ts xenapi.json');
  process.exit(2);
}
const classes = JSON.parse(readFileSync(source, 'utf8')) as Class[];
const enums = new Map<string, string[]>();
const lines = classes.map((c) => {
  for (const e of c.enums)
    enums.set(
      e.name,
      e.values.map((v) => v.name),
    );
  return `    ${JSON.stringify(c.name)}: ${JSON.stringify({
    state: c.lifecycle.state.replace(/_s$/, ''),
    fields: c.fields.map((f) => [
      f.name,
      f.type,
      qualifiers[f.qualifier] ?? f.qualifier,
      f.default ?? null,
      since(f),
      removed(f),
    ]),
    messages: c.messages.map((m) => [
      m.name,
      Array.isArray(m.result) ? m.result[0] : m.result,
      m.params.filter((p) => p.name !== 'session_id').map((p) => [p.name, p.type, p.required ? 1 : 0]),
      since(m),
      removed(m),
      m.params.some((p) => p.name === 'session_id') ? 1 : 0,
    ]),
  })}`;
});
const enumLines = [...enums].map(
  ([name, values]) => `    ${JSON.stringify(name)}: ${JSON.stringify(values)}`,
);
writeFileSync(
  new URL('../src/metadata/datamodel/datamodel.json', import.meta.url),
  `{\n  "classes": {\n${lines.join(',\n')}\n  },\n  "enums": {\n${enumLines.join(',\n')}\n  }\n}\n`,
);
