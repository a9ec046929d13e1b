/** Import analysis against merely parsing: the documents of a point, rewritten and held against the import rules. */
import { join } from 'node:path';
import type { PoolFacts } from '../../src/domain/pool.ts';
import { parseArchive } from '../../src/metadata/document.ts';
import { ImportRehearsal } from '../../src/metadata/import-rules.ts';
import { rewriteForRecovery } from '../../src/metadata/recovery.ts';
import { exportOnce } from './export.ts';
import { atMost, type Bench, type Figure, ratioOf, spread } from './figures.ts';
import { openHouse } from './house.ts';
import { BenchLab } from './lab.ts';
import { networkNames, recoveryNetworkOf } from './world.ts';

export async function measureRules(bench: Bench): Promise<Figure[]> {
  const { archives, pool } = await documentsOf(bench);
  const networks = networkNames.map((production) => {
    const nameLabel = recoveryNetworkOf(production);
    const found = pool.networks.find((network) => network.nameLabel === nameLabel);
    if (found === undefined) throw new Error(`there is no network ${nameLabel}`);
    return { production, recovery: { uuid: found.uuid, nameLabel, bridge: found.bridge } };
  });
  const parse = (): number =>
    archives.reduce((sum, archive) => sum + parseArchive(archive).objects.length, 0);
  const analyse = (): number => {
    // A copy, so that nothing that was worked out for an earlier round is known already.
    const rehearsal = new ImportRehearsal({ ...pool }, { restore: true, attaching: new Map() });
    for (const archive of archives) rehearsal.add(parseArchive(archive));
    return rehearsal.result().perVm.length;
  };
  const rehearse = (): number => {
    const rehearsal = new ImportRehearsal({ ...pool }, { restore: true, attaching: new Map() });
    for (const archive of archives)
      rehearsal.add(
        rewriteForRecovery(parseArchive(archive), { networks, pool, haltSuspended: true }).document,
      );
    const { perVm } = rehearsal.result();
    const refused = perVm.filter(({ outcome }) => outcome === 'refuse');
    if (refused.length > 0)
      throw new Error(`${refused.length} VMs would be refused: ${refused[0]?.error?.code}`);
    return perVm.length;
  };
  const parsing: number[] = [];
  const analysing: number[] = [];
  const rehearsing: number[] = [];
  for (let round = -2; round < 3 * bench.repetitions; round += 1) {
    const took = [parse, analyse, rehearse].map(secondsOf);
    if (round < 0) continue;
    for (const [index, list] of [parsing, analysing, rehearsing].entries())
      list.push(took[index] ?? Number.NaN);
  }
  return [
    atMost(
      `import analysis of ${archives.length} documents against parsing`,
      ratioOf(analysing, parsing),
      1.5,
      `parsing and rules ${spread(analysing)}; parsing ${spread(parsing)}; parsing, rewriting and rules ${spread(rehearsing)} (${ratioOf(rehearsing, parsing).toFixed(2)} times)`,
    ),
  ];
}

function secondsOf(work: () => number): number {
  const began = performance.now();
  work();
  return (performance.now() - began) / 1000;
}

async function documentsOf(bench: Bench): Promise<{ archives: readonly Uint8Array[]; pool: PoolFacts }> {
  const lab = await BenchLab.start({
    world: { vms: bench.vms, firstTier: 10, recoveries: ['recovery'] },
    storage: join(bench.directory, 'lab-rules'),
    costs: false,
    skipping: false,
  });
  const house = openHouse({
    lab,
    recovery: 'recovery',
    stateDirectory: join(bench.directory, 'state-rules'),
    catalogDirectory: join(bench.directory, 'catalog-rules'),
  });
  try {
    await exportOnce(house);
    const [newest] = (await house.catalog.list(house.group.name)).points;
    if (newest === undefined) throw new Error('the export left no point');
    const point = await house.catalog.read(newest.id);
    const archives: Uint8Array[] = [];
    for (const vm of point.vms) archives.push(await house.catalog.get(vm.document));
    return { archives, pool: await house.hypervisor('recovery').observe() };
  } finally {
    await house.close();
    await lab.stop();
  }
}
