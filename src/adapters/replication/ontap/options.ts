/** The options of arrays of type `ontap` and `ontap-cli`, and the name of a volume. */
import { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import { arrayOptions, sshOptions } from '../../ssh/options.ts';
import { restLoginOptions } from '../rest/options.ts';

const address = z.string().regex(/^[A-Za-z0-9.:_-]+$/, 'must be a name or an address');
const common = {
  /** Address by which hosts mount from this SVM; the first data LIF when absent. */
  nfs_server: address.optional(),
  /** How hosts reach LUNs. */
  protocol: z.enum(['iscsi', 'fcp']).default('iscsi'),
  /** Points with a tag of ours that are kept at the source. */
  keep_points: z.int().min(2).max(200).default(10),
  /** A transfer, a quiesce or a resync without any progress for so long is given up by us; ONTAP goes on. */
  stall_seconds: z.number().positive().default(900),
};
const rest = z.strictObject({ ...restLoginOptions, ...common });
const cli = z.strictObject({ ...sshOptions, ...common });

export type OntapRestOptions = z.infer<typeof rest>;
export type OntapCliOptions = z.infer<typeof cli>;
export type OntapOptions = Pick<OntapRestOptions, keyof typeof common>;

export function ontapRestOptions(settings: ArraySettings): OntapRestOptions {
  return arrayOptions(
    settings,
    rest,
    'url, fingerprint or ca_file, username and the secret; nfs_server, protocol, keep_points and stall_seconds where the usual ones do not fit',
  );
}

export function ontapCliOptions(settings: ArraySettings): OntapCliOptions {
  return arrayOptions(settings, cli, 'host, username, host_key and a key or secret of the cluster');
}

const shape = /^[A-Za-z0-9._-]+:[A-Za-z_][A-Za-z0-9_]{0,202}$/;

/** `svm:volume`. A name that ONTAP would read otherwise never reaches it. */
export function checkedPath(array: string, volume: string): string {
  if (shape.test(volume)) return volume;
  throw new PortError(
    'refused',
    {
      code: 'DR-ARRAY-VOLUME',
      what: `${volume} is not the name of an ONTAP volume`,
      where: { object: `array ${array}` },
      known: ['it must be SVM:VOLUME'],
      next: 'Correct the volume in sites.yaml; `snapmirror show` names both ends so',
    },
    { peerCode: 'not-found', peerParams: [volume] },
  );
}

export function partsOf(path: string): { readonly svm: string; readonly name: string } {
  const colon = path.indexOf(':');
  return { svm: path.slice(0, colon), name: path.slice(colon + 1) };
}
