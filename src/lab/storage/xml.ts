/** Probe answers: XML as the storage manager's drivers print it, indented with tabs (xapi.md 7.4). */
import { escapeXml } from '../../metadata/xmlvalue.ts';

export interface Element {
  readonly name: string;
  readonly content: string | readonly Element[];
}

export function element(name: string, content: string | readonly Element[]): Element {
  return { name, content };
}

export function xmlDocument(root: Element): string {
  return `<?xml version="1.0" ?>\n${print(root, 0)}`;
}

function print(node: Element, depth: number): string {
  const indent = '\t'.repeat(depth);
  if (node.content.length === 0) return `${indent}<${node.name}/>\n`;
  if (typeof node.content === 'string')
    return `${indent}<${node.name}>${escapeXml(node.content)}</${node.name}>\n`;
  const inner = node.content.map((child) => print(child, depth + 1)).join('');
  return `${indent}<${node.name}>\n${inner}${indent}</${node.name}>\n`;
}
