/**
 * What storage drivers say to a probe (xapi.md 7.4): the list of SRs, or a refusal that carries the choices of the
 * next rung (targets, LUNs, exports). The text nodes have white space around them, and newer drivers write lower case.
 */
import { SaxesParser } from 'saxes';
import { PortError } from '../../domain/errors.ts';
import type { Uuid } from '../../domain/pool.ts';

interface Element {
  readonly name: string;
  readonly children: Element[];
  text: string;
}

/** The tree of a driver's XML; null when the text is no XML. Names are lower case, texts trimmed. */
function parse(xml: string): Element | null {
  const root: Element = { name: '', children: [], text: '' };
  const path: Element[] = [root];
  let broken = false;
  const parser = new SaxesParser({});
  parser.on('error', () => {
    broken = true;
  });
  parser.on('opentag', (node) => {
    const element: Element = { name: node.name.toLowerCase(), children: [], text: '' };
    path.at(-1)?.children.push(element);
    path.push(element);
  });
  parser.on('text', (text) => {
    const top = path.at(-1);
    if (top !== undefined) top.text += text;
  });
  parser.on('closetag', () => {
    const closed = path.pop();
    if (closed !== undefined) closed.text = closed.text.trim();
  });
  parser.write(xml.trim());
  if (!broken) parser.close();
  return broken ? null : root;
}

function* all(element: Element, name: string): Generator<Element> {
  for (const child of element.children) {
    if (child.name === name) yield child;
    yield* all(child, name);
  }
}

function textOf(element: Element, name: string): string {
  return element.children.find((child) => child.name === name)?.text ?? '';
}

/** Uuids of the SRs in a probe's answer; null when the answer is not understood. Empty text means none (linstor). */
export function srUuids(answer: string): readonly Uuid[] | null {
  if (answer.trim() === '') return [];
  const root = parse(answer);
  if (root === null || ![...all(root, 'srlist')].length) return null;
  return [...all(root, 'sr')].map((sr) => textOf(sr, 'uuid').toLowerCase()).filter((uuid) => uuid !== '');
}

/** The choices that a refused probe offers, one short text each: IQNs, LUNs, exports, devices. */
export function probeChoices(details: string): readonly string[] {
  const root = parse(details);
  if (root === null) return [];
  const choices: string[] = [];
  for (const target of all(root, 'tgt')) {
    const iqn = textOf(target, 'targetiqn');
    // The last entry stands for all targets.
    if (iqn !== '*') choices.push(`target ${iqn} at ${textOf(target, 'ipaddress')}`);
  }
  for (const lun of [...all(root, 'lun'), ...all(root, 'blockdevice')]) {
    const scsiId = textOf(lun, 'scsiid');
    if (scsiId === '') continue;
    const parts = [textOf(lun, 'vendor'), textOf(lun, 'serial') && `serial ${textOf(lun, 'serial')}`].filter(
      Boolean,
    );
    const size = textOf(lun, 'size');
    if (size !== '') parts.push(`${size} bytes`);
    choices.push(`LUN ${scsiId}${parts.length > 0 ? ` (${parts.join(', ')})` : ''}`);
  }
  for (const entry of all(root, 'export')) choices.push(`export ${textOf(entry, 'path')}`);
  return choices;
}

export interface SeenLun {
  readonly scsiId: string;
  /** As the driver prints it; empty where it does not. */
  readonly size: string;
}

/** The LUNs that a refused probe offers; null when the refusal lists none. */
export function offeredLuns(details: string): readonly SeenLun[] | null {
  const root = parse(details);
  if (root === null || ![...all(root, 'iscsi-target'), ...all(root, 'devlist')].length) return null;
  const luns = [...all(root, 'lun'), ...all(root, 'blockdevice')];
  return luns
    .map((lun) => ({ scsiId: textOf(lun, 'scsiid'), size: textOf(lun, 'size') }))
    .filter(({ scsiId }) => scsiId !== '');
}

/** A refused probe, with the choices instead of the driver's XML. */
export function explainProbe(error: PortError): PortError {
  const details = error.peerParams[2] ?? '';
  const choices = probeChoices(details);
  const reason = error.peerParams[1];
  const known = [
    ...(error.problem.known?.slice(0, 1) ?? []),
    ...(reason === undefined || reason === '' ? [] : [reason]),
    ...(choices.length > 0 ? [`the host sees: ${choices.join('; ')}`] : []),
  ];
  if (!error.peerCode?.startsWith('SR_BACKEND_FAILURE')) return error;
  return new PortError(
    error.kind,
    { ...error.problem, known },
    { peerCode: error.peerCode, peerParams: error.peerParams, cause: error },
  );
}
