/** The options by which a filer behind SSH shows its volumes as LUNs. */
import { z } from 'zod';
import type { ArraySettings } from '../../../../domain/settings.ts';
import { badOptions } from '../../../ssh/options.ts';

export const lunOptions = {
  /** Which target software of the filer: asked of it, LIO (`targetcli`), or tgt (`tgtadm`). */
  target_software: z.enum(['auto', 'lio', 'tgt']).default('auto'),
  /** The first part of the IQN of every target: the naming authority of the site. LIO wants two labels at least. */
  target_iqn: z
    .string()
    .regex(/^iqn\.\d{4}-[01]\d(\.[a-z0-9-]+){2,}$/, 'must be like iqn.2026-01.com.example.filer')
    .optional(),
  /** Where hosts log in: `ADDRESS` or `ADDRESS:PORT`, one for each path; `host` when absent. */
  target_portals: z
    .array(z.string().regex(/^(\[[0-9a-fA-F:]+\]|[^:\s,]+)(:\d+)?$/))
    .min(1)
    .optional(),
  /** Number of the LUN in its target. */
  lun: z.int().min(1).max(255).default(1),
  /** The file that is the LUN, as a path inside a volume that is a file system. Options called `…_file` are paths of ours. */
  lun_image: z
    .string()
    .regex(
      /^[A-Za-z0-9_][A-Za-z0-9_.@+-]*(\/[A-Za-z0-9_][A-Za-z0-9_.@+-]*)*$/,
      'must be a path inside the volume',
    )
    .optional(),
  /** CHAP: the user, and under which name of the encrypted store the password lies. The SR's own, as in production. */
  chap_user: z
    .string()
    .regex(/^[A-Za-z0-9_.:@-]+$/)
    .optional(),
  chap_stored_as: z.string().min(1).optional(),
  /** The control port of tgtd (`-C`), and where its settings are kept for its next start; an empty text: nowhere. */
  tgt_control_port: z.int().min(0).max(32_767).default(0),
  tgt_conf_directory: z.union([z.string().startsWith('/'), z.literal('')]).default('/etc/tgt/conf.d'),
};

export interface LunOptions {
  readonly host: string;
  readonly target_software: 'auto' | 'lio' | 'tgt';
  readonly target_iqn?: string | undefined;
  readonly target_portals?: readonly string[] | undefined;
  readonly lun: number;
  readonly lun_image?: string | undefined;
  readonly chap_user?: string | undefined;
  readonly chap_stored_as?: string | undefined;
  readonly tgt_control_port: number;
  readonly tgt_conf_directory: string;
}

const usualPort = 3260;

/** `ADDRESS:PORT`, each way of the hosts to the target. */
export function portalsOf({ host, target_portals }: LunOptions): readonly string[] {
  return (target_portals ?? [host]).map((portal) =>
    /:\d+$/.test(portal) && !portal.endsWith(']') ? portal : `${portal}:${usualPort}`,
  );
}

/** @throws OperatorError DR-ARRAY-OPTIONS for what a schema cannot see */
export function checkLunOptions(settings: ArraySettings, expose: string, options: LunOptions): void {
  if (expose !== 'iscsi') return;
  const ports = new Set(portalsOf(options).map((portal) => portal.slice(portal.lastIndexOf(':'))));
  const lacks = [
    ...(options.target_iqn === undefined ? ['target_iqn is not given'] : []),
    // A PBD knows one port for all its targets (xapi.md 7.4).
    ...(ports.size > 1 ? ['target_portals have several ports, and an SR has one for all of them'] : []),
    ...(options.chap_stored_as !== undefined && options.chap_user === undefined
      ? ['chap_stored_as is given without chap_user']
      : []),
  ];
  if (lacks.length > 0) throw badOptions(settings, lacks, 'what LUNs need (README of send-receive/luns)');
}
