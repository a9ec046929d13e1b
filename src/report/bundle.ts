/** The first page of a rescue bundle: what lies in it, and how to go on with Lifeboat and without it. */
import type { Instant } from '../domain/time.ts';
import { facts, page, plainPaper, wrap } from './paper.ts';
import { formatInstant } from './words.ts';

export interface BundleContents {
  readonly at: Instant;
  readonly version: string;
  readonly groups: readonly {
    readonly name: string;
    readonly pointId: string;
    readonly takenAt: Instant;
    readonly vms: number;
  }[];
  /** What could not be put in, in sentences. */
  readonly missing: readonly string[];
  /** Where the catalog is kept, one line each. */
  readonly catalogs: readonly string[];
}

const paper = { ...plainPaper, width: 78 };

export function bundleReadme(contents: BundleContents): string {
  const items = (list: readonly string[], first = '- '): string[] =>
    list.flatMap((text) => wrap(text, paper.width, first, ' '.repeat(first.length)));
  return page([
    'Rescue bundle of Lifeboat',
    '',
    ...facts(
      paper,
      [
        ['Made', `${formatInstant(contents.at)}, by Lifeboat ${contents.version}`],
        ...contents.groups.map(({ name, pointId, takenAt, vms }): [string, string] => [
          `Group ${name}`,
          `${vms} VMs, recovery point ${pointId} of ${formatInstant(takenAt)}`,
        ]),
      ],
      0,
    ),
    ...(contents.missing.length === 0 ? [] : ['', 'Missing here:', ...items(contents.missing)]),
    '',
    'What lies here',
    ...facts(paper, [
      ['settings/', 'sites.yaml and the recovery plans; they name secrets and hold none'],
      ['GROUP/runbook.html', 'the plans of the day, to be printed'],
      ['GROUP/documents/', 'the metadata document of each VM, without its disks'],
      ['GROUP/point.txt', 'which VM has which disks, networks and SRs; point.json says it to programs'],
      ['runbooks/', 'what each error code means, and what to do'],
      ['SHA256SUMS', 'sha256sum -c SHA256SUMS tells whether everything is whole'],
    ]),
    '',
    'With Lifeboat',
    ...items(
      [
        `Install Lifeboat ${contents.version} on a machine that reaches the recovery site, and put settings/ beside it.`,
        'Bring the key of the catalog and the secrets that sites.yaml names: they are not in this bundle, on purpose.',
        'lifeboat --config settings/sites.yaml status shows how every group stands; GROUP/runbook.txt has the rest.',
        ...contents.catalogs.map((place) => `The catalog is kept in ${place}`),
      ],
      '- ',
    ),
    '',
    'Without Lifeboat, on the coordinator of the recovery pool',
    ...items([
      'Make sure that nothing of the group runs at the old site any more, and cut it off from the storage.',
      'Promote the replica by the means of the array, and attach its SR: xe sr-introduce with the uuid of point.txt, xe pbd-create for each host, xe pbd-plug, on the coordinator first.',
      'Make networks of the same names as in point.txt beforehand: an import makes those that it does not find.',
      'For each VM: xe vm-import metadata=true preserve=true filename=GROUP/documents/VM.xva, then look at its networks, then xe vm-start.',
      'Newer documents than these: lifeboat catalog extract GROUP/latest --to DIRECTORY, on any machine with the catalog and its key.',
    ]),
  ]);
}
