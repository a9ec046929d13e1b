/** The catalog's answers as text: listings, one point, proofs, differences, clean-ups. */
import type { CatalogListing, PruneResult, TargetOutcome, VerifyResult } from '../domain/catalog.ts';
import type { PointDiff } from '../domain/point-diff.ts';
import type { RecoveryPoint } from '../domain/recovery-point.ts';
import { formatBytes } from '../domain/time.ts';
import { problemLines } from './findings.ts';
import { originText } from './foreign.ts';
import { clean, count, facts, heading, names, type Paper, page, paint, table, wrap } from './paper.ts';
import { formatInstant } from './words.ts';

export function catalogText(listing: CatalogListing, paper: Paper): string {
  const lines: string[] = [];
  if (listing.points.length === 0)
    lines.push(
      listing.targets.some((target) => !target.ok)
        ? 'No recovery point could be read: not every target of the catalog can be opened.'
        : 'The catalog holds no recovery point.',
    );
  else {
    lines.push(
      ...table(
        paper,
        ['POINT', 'TAKEN', 'VMS', 'SIZE', 'STATE', 'TARGETS'],
        listing.points.map((point) => [
          point.id,
          formatInstant(point.takenAt),
          String(point.vmCount),
          formatBytes(point.bytes),
          point.good
            ? paint(paper, 'good', 'good')
            : paint(
                paper,
                'warn',
                point.failureCount > 0 ? `${count(point.failureCount, 'VM')} missing` : 'not good',
              ),
          point.targets.join(', '),
        ]),
        { right: [2, 3] },
      ),
    );
  }
  if (listing.damaged.length > 0) {
    lines.push('', paint(paper, 'bad', heading(paper, `Damaged: ${listing.damaged.length}`)));
    for (const { id, target, reason } of listing.damaged) {
      lines.push(...wrap(`${clean(id)} in ${target}: ${clean(reason)}`, paper.width, '  - ', '    '));
    }
  }
  lines.push(...targetLines(listing.targets, paper));
  return page(lines);
}

function targetLines(targets: readonly TargetOutcome[], paper: Paper): string[] {
  const failed = targets.filter((target) => !target.ok);
  if (failed.length === 0) return [];
  return [
    '',
    paint(
      paper,
      'bad',
      heading(paper, `Targets that failed: ${failed.map((target) => target.target).join(', ')}`),
    ),
    ...failed.flatMap((target) => (target.problem === null ? [] : problemLines([target.problem], paper))),
  ];
}

export function pointText(point: RecoveryPoint, paper: Paper): string {
  const lines = [
    heading(paper, `Recovery point ${point.id}`),
    ...facts(paper, [
      ['Group', point.group],
      ['Taken', formatInstant(point.takenAt)],
      [
        'From',
        `pool ${clean(point.poolName)} of site ${point.site}, ${clean(point.productBrand)} ${clean(point.productVersion)} (xapi ${clean(point.xapiBuild.text)})`,
      ],
      ...(point.foreign === undefined
        ? []
        : [['Made from', originText(point.foreign)] satisfies [string, string]]),
      ['SRs', names(point.srs.map((sr) => sr.nameLabel))],
      ['Networks', names(point.networks.map((network) => network.nameLabel))],
      [
        'vApps',
        point.appliances.length === 0 ? 'none' : names(point.appliances.map((each) => each.nameLabel)),
      ],
      ['Database', point.database === null ? 'not saved' : formatBytes(point.database.bytes)],
      ...point.replication.map((replica, index): [string, string] => [
        index === 0 ? 'Replica' : '',
        `${clean(point.srs.find((sr) => sr.uuid === replica.srUuid)?.nameLabel ?? replica.srUuid)}: ${
          replica.newestPoint === null
            ? `unknown${replica.gap === null ? '' : `, ${clean(replica.gap)}`}`
            : `newest complete point ${formatInstant(replica.newestPoint.takenAt)}`
        }`,
      ]),
    ]),
    '',
    heading(paper, count(point.vms.length, 'VM')),
    ...table(
      paper,
      ['NAME', 'UUID', 'STATE', 'MEMORY', 'VCPUS', 'DISKS'],
      [...point.vms]
        .sort((a, b) => (a.nameLabel < b.nameLabel ? -1 : 1))
        .map((vm) => [
          clean(vm.nameLabel),
          vm.uuid,
          vm.powerState,
          formatBytes(vm.memoryStaticMax),
          String(vm.vcpusAtStartup),
          String(vm.vdiUuids.length),
        ]),
      { right: [3, 4, 5] },
    ),
  ];
  if (point.failures.length > 0) {
    lines.push('', paint(paper, 'bad', heading(paper, `Not saved: ${count(point.failures.length, 'VM')}`)));
    for (const failure of point.failures) {
      lines.push(
        ...wrap(`${clean(failure.nameLabel)}: ${clean(failure.reason)}`, paper.width, '  - ', '    '),
      );
    }
  }
  return page(lines);
}

export function verifyText(result: VerifyResult, paper: Paper): string {
  const read = `${count(result.pointsChecked, 'recovery point')}, ${count(result.objectsChecked, 'object')}, ${formatBytes(result.bytesRead)} read`;
  const failed = result.targets.filter((target) => !target.ok);
  const lines: string[] = [];
  if (result.damage.length === 0 && failed.length === 0) {
    lines.push(paint(paper, 'good', `The catalog is whole: ${read}.`));
  } else if (result.damage.length === 0) {
    lines.push(`What could be read is whole: ${read}.`);
  } else {
    lines.push(
      paint(paper, 'bad', heading(paper, `${count(result.damage.length, 'damage')} found; ${read}`)),
    );
    for (const damage of result.damage) {
      const point = damage.point === null ? '' : ` (recovery point ${clean(damage.point)})`;
      lines.push(
        ...wrap(
          `${damage.target}: ${clean(damage.file)}${point}: ${clean(damage.what)}`,
          paper.width,
          '  - ',
          '    ',
        ),
      );
    }
    lines.push('Next: export again, so that a whole point is there, and look at the disk under the target.');
  }
  lines.push(...targetLines(result.targets, paper));
  return page(lines);
}

export function diffText(diff: PointDiff, paper: Paper): string {
  const lines = [heading(paper, `From ${diff.from} to ${diff.to}`)];
  const list = (title: string, items: readonly { readonly nameLabel: string }[]): void => {
    if (items.length === 0) return;
    lines.push(
      ...facts(paper, [
        [
          title,
          names(
            items.map((item) => item.nameLabel),
            40,
          ),
        ],
      ]),
    );
  };
  list('VMs added', diff.added);
  list('VMs gone', diff.removed);
  for (const vm of diff.changed) {
    const fields = vm.fields.map(
      ({ field, from, to }) => `${field} ${clean(from) || 'none'} → ${clean(to) || 'none'}`,
    );
    lines.push(
      ...facts(paper, [
        [
          'VM changed',
          `${clean(vm.nameLabel)}: ${fields.length === 0 ? 'its metadata document' : fields.join('; ')}`,
        ],
      ]),
    );
  }
  list('SRs added', diff.srsAdded);
  list('SRs gone', diff.srsRemoved);
  list('Networks added', diff.networksAdded);
  list('Networks gone', diff.networksRemoved);
  lines.push(`  ${count(diff.unchanged, 'VM')} unchanged`);
  return page(lines);
}

export function pruneText(group: string, result: PruneResult, dryRun: boolean, paper: Paper): string {
  const lines = [
    heading(
      paper,
      `Group ${group}: ${dryRun ? 'would remove' : 'removed'} ${count(result.removed.length, 'recovery point')}, ${
        dryRun ? 'freeing' : 'freed'
      } ${formatBytes(result.bytesFreed)}; ${result.kept.length} kept`,
    ),
    ...result.removed.map((point) => `  - ${point.id}`),
  ];
  if (result.kept.length > 0) {
    lines.push(
      ...table(
        paper,
        ['KEPT', 'TAKEN', 'BECAUSE'],
        result.kept.map((point) => [point.id, formatInstant(point.takenAt), point.reasons.join(', ')]),
      ),
    );
  }
  return page(lines);
}
