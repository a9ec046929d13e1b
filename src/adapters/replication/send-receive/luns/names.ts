/**
 * What a LUN is called. All of it follows from the filer and the volume, so that a LUN that is shown again is the same
 * one to its hosts, and a copy beside it, or the same volume on the other filer, is another.
 */
import { createHash } from 'node:crypto';

export interface LunNames {
  /** For whatever has a short name on the filer: a backstore, a file of settings. */
  readonly short: string;
  /** The IQN of its target. */
  readonly target: string;
  /** 32 hexadecimal digits: the unit serial number. */
  readonly serial: string;
  /** The NAA identifier, 32 hexadecimal digits. */
  readonly naa: string;
  /** What XenServer calls the LUN: `3`, the type of the designator, and the NAA identifier (storage.md C.0). */
  readonly scsiId: string;
}

/**
 * @param base - the naming authority of the site, `iqn.2026-01.com.example.filer`
 * @param filer - what tells this filer from all others: the GUID of its pool, the UUID of its file system
 */
export function lunNames(base: string, filer: string, volume: string): LunNames {
  const serial = createHash('sha256').update(`${filer}\n${volume}`).digest('hex').slice(0, 32);
  const short = shortNameOf(volume);
  const naa = naaOf(serial);
  return { short, target: `${base}:${short}`, serial, naa, scsiId: `3${naa}` };
}

/**
 * The identifier that LIO makes of a serial: NAA 6, its company id, and the first 25 hexadecimal digits. tgt is told the
 * same one, so that it does not matter which of the two shows the LUN.
 */
export function naaOf(serial: string): string {
  const digits = serial.toLowerCase().replaceAll(/[^0-9a-f]/g, '');
  return `6001405${digits.slice(0, 25)}`.padEnd(32, '0');
}

/** Targets have short names in lower case; the digest keeps two volumes apart. */
export function shortNameOf(volume: string): string {
  const digest = createHash('sha256').update(volume).digest('hex').slice(0, 8);
  const readable = volume
    .toLowerCase()
    .replaceAll(/[^a-z0-9.-]+/g, '-')
    .slice(-40);
  return `lifeboat-${readable}-${digest}`;
}

const initiator = /^(?:iqn|eui|naa)\.[A-Za-z0-9.:-]+$/;

/** Nothing else is ever put into a command of a target's software, which reads words of its own out of its arguments. */
export function isInitiator(text: string): boolean {
  return initiator.test(text);
}

/** Initiator names are the same in any case (RFC 3722). */
export function isSameInitiator(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

export function without(all: readonly string[], gone: readonly string[]): string[] {
  return all.filter((one) => !gone.some((other) => isSameInitiator(one, other)));
}

export function union(some: readonly string[], more: readonly string[]): string[] {
  return [...some, ...without([...new Set(more)], some)].sort();
}
