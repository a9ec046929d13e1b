/** The options of an array of type `ceph`, and the name of an RBD image. */
import { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import { arrayOptions, sshOptions } from '../../ssh/options.ts';

const schema = z.strictObject({
  ...sshOptions,
  /** ceph.conf on the admin host; its usual place when absent. */
  conf: z.string().startsWith('/').optional(),
  /** The cephx user, without `client.`. */
  ceph_user: z
    .string()
    .regex(/^[A-Za-z0-9._-]+$/, 'is the name without "client."')
    .default('admin'),
  keyring: z.string().startsWith('/').optional(),
  /** Addresses of the peer's rbd-mirror hosts, separated by commas: they may watch an image that is prepared. */
  mirror_hosts: z.string().default(''),
  /** Points with a tag of ours that are kept at the source. */
  keep_points: z.int().min(2).max(50).default(3),
  /** A transfer that makes no progress for so long is given up by us; Ceph goes on. */
  stall_seconds: z.number().positive().default(300),
});
export type CephOptions = z.infer<typeof schema>;

export function cephOptions(settings: ArraySettings): CephOptions {
  return arrayOptions(
    settings,
    schema,
    'host, username, host_key and a key or secret of the admin host, and conf and ceph_user where they are not the usual ones',
  );
}

export interface Image {
  readonly pool: string;
  /** Empty for the default namespace. */
  readonly namespace: string;
  readonly name: string;
}

const part = /^[A-Za-z0-9._][A-Za-z0-9._ -]*$/;

/** `pool/image` or `pool/namespace/image`. A name that Ceph would read otherwise never reaches it. */
export function parseImage(array: string, volume: string): Image {
  const parts = volume.split('/');
  const [pool, middle, last] = parts;
  const sound = parts.every((text) => part.test(text)) && (parts.length === 2 || parts.length === 3);
  if (!sound || pool === undefined || middle === undefined)
    throw new PortError(
      'refused',
      {
        code: 'DR-ARRAY-VOLUME',
        what: `${volume} is not the name of an RBD image`,
        where: { object: `array ${array}` },
        known: ['it must be pool/image or pool/namespace/image'],
        next: 'Correct the volume in sites.yaml; `rbd mirror pool status --verbose POOL` shows the names',
      },
      { peerCode: 'not-found', peerParams: [volume] },
    );
  return last === undefined ? { pool, namespace: '', name: middle } : { pool, namespace: middle, name: last };
}

export function poolSpec({ pool, namespace }: Pick<Image, 'pool' | 'namespace'>): string {
  return namespace === '' ? pool : `${pool}/${namespace}`;
}

export function imageSpec(image: Image, name = image.name): string {
  return `${poolSpec(image)}/${name}`;
}
