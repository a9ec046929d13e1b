/** The methods of the API over a filer, by their names; each answers or throws a `CallError`. */
import { CallError, type Dataset, type Filer, type PushDefinition, type Snapshot } from './filer.ts';

type Row = Record<string, unknown>;
type Method = (params: readonly never[]) => unknown;

export interface Shares {
  readonly nfs: Row[];
  readonly extents: Row[];
  readonly targets: Row[];
  readonly links: Row[];
  readonly initiators: Row[];
}

export function emptyShares(): Shares {
  return { nfs: [], extents: [], targets: [], links: [], initiators: [] };
}

export function methodsOf(filer: Filer, shares: Shares): Readonly<Record<string, Method>> {
  return {
    ...systemMethods(filer),
    ...datasetMethods(filer),
    ...snapshotMethods(filer),
    ...jobMethods(filer),
    ...table('sharing.nfs', shares.nfs, (row) => ({ hosts: [], networks: [], ...row })),
    ...table('iscsi.initiator', shares.initiators, (row) => row),
    ...table(
      'iscsi.target',
      shares.targets,
      (row) => row,
      (row) => {
        remove(shares.links, (link) => link['target'] === row['id']);
      },
    ),
    ...table(
      'iscsi.extent',
      shares.extents,
      (row) => ({
        naa: `0x6589cfc000000${String(row['id']).padStart(19, '0')}`,
        ...row,
      }),
      (row) => {
        if (shares.links.some((link) => link['extent'] === row['id']))
          throw new CallError('EBUSY', 'Extent is in use by a target');
      },
    ),
    ...table('iscsi.targetextent', shares.links, (row) => row),
    'iscsi.global.config': () => ({ basename: `iqn.2005-10.org.freenas.ctl`, listen_port: 3260 }),
    'iscsi.portal.query': ([filters]: readonly (readonly unknown[])[]) =>
      matching([{ id: 1, listen: [{ ip: '0.0.0.0' }] }], filters),
  } as Readonly<Record<string, Method>>;
}

function systemMethods(filer: Filer): Readonly<Record<string, unknown>> {
  return {
    'system.info': () => ({
      version: '25.10.1',
      system_product: 'TRUENAS-M50',
      datetime: { $date: filer.nowMilliseconds() },
    }),
    'pool.query': ([filters]: readonly (readonly unknown[])[]) =>
      matching(
        [{ id: 1, name: filer.pool, guid: `1000${filer.name.length}${filer.name.charCodeAt(0)}` }],
        filters,
      ),
    'keychaincredential.query': ([filters]: readonly (readonly unknown[])[]) =>
      matching([{ id: 4, name: 'to the other site', type: 'SSH_CREDENTIALS' }], filters),
  };
}

function datasetMethods(filer: Filer): Readonly<Record<string, unknown>> {
  return {
    'pool.dataset.query': ([filters]: readonly (readonly unknown[])[]) =>
      matching([...filer.datasets.values()].map(datasetRow), filters),
    'pool.dataset.update': ([name, change]: readonly [string, Row]) => {
      const dataset = filer.must(name);
      for (const key of Object.keys(change))
        if (!['readonly', 'user_properties_update'].includes(key))
          throw new CallError('EINVAL', `${key}: Extra inputs are not permitted`);
      if (change['readonly'] !== undefined) dataset.readonly = change['readonly'] === 'ON';
      for (const { key, value, remove } of (change['user_properties_update'] ?? []) as readonly {
        readonly key: string;
        readonly value?: string;
        readonly remove?: boolean;
      }[])
        if (remove === true) dataset.properties.delete(key);
        else dataset.properties.set(key, value ?? '');
      return datasetRow(dataset);
    },
    'pool.dataset.delete': ([name]: readonly [string]) => {
      filer.destroy(name);
      return true;
    },
    'pool.dataset.promote': ([name]: readonly [string]) => filer.promote(name),
    'pool.dataset.rename': ([name, options]: readonly [string, { new_name: string; force?: boolean }]) => {
      if (options.force !== true) throw new CallError('EINVAL', 'options.force: the dataset may be in use');
      filer.rename(name, options.new_name);
    },
  };
}

function snapshotMethods(filer: Filer): Readonly<Record<string, unknown>> {
  return {
    'pool.snapshot.query': ([filters]: readonly (readonly unknown[])[]) =>
      matching([...filer.datasets.values()].flatMap(snapshotRows), filters),
    'pool.snapshot.create': ([{ dataset, name }]: readonly { dataset: string; name: string }[] &
      [{ dataset: string; name: string }]) => {
      filer.snapshot(dataset, name);
      return { id: `${dataset}@${name}` };
    },
    'pool.snapshot.delete': ([id, options]: readonly [string, { defer?: boolean }?]) => {
      filer.destroySnapshot(id, options?.defer === true);
      return true;
    },
    'pool.snapshot.hold': ([id]: readonly [string]) => {
      const [, snapshot] = filer.mustSnapshot(id);
      if (snapshot.held) throw new CallError('EFAULT', 'tag already exists on this dataset');
      snapshot.held = true;
    },
    'pool.snapshot.release': ([id]: readonly [string]) => {
      const [, snapshot] = filer.mustSnapshot(id);
      if (!snapshot.held) throw new CallError('EFAULT', 'no such tag on this dataset');
      snapshot.held = false;
    },
    'pool.snapshot.clone': ([{ snapshot, dataset_dst, dataset_properties }]: readonly [
      { snapshot: string; dataset_dst: string; dataset_properties: Record<string, string> },
    ]) => {
      filer.clone(snapshot, dataset_dst, dataset_properties);
      return true;
    },
  };
}

function jobMethods(filer: Filer): Readonly<Record<string, unknown>> {
  return {
    'core.get_jobs': ([filters]: readonly (readonly unknown[])[]) =>
      matching(
        filer.jobs.map((job) => ({ ...job })),
        filters,
      ),
    'core.job_abort': ([id]: readonly [number]) => {
      const job = filer.jobs.find((one) => one.id === id);
      if (job?.state === 'RUNNING') job.state = 'ABORTED';
    },
    'replication.query': () => [],
    'replication.run_onetime': ([definition]: readonly [PushDefinition & { ssh_credentials: number }]) => {
      if (definition.ssh_credentials !== 4)
        throw new CallError('EINVAL', 'ssh_credentials: Credentials do not exist');
      return filer.push(definition).id;
    },
  };
}

/** `NAME.query`, `.create`, `.update` and `.delete` over rows with an id. */
function table(
  name: string,
  rows: Row[],
  fresh: (row: Row) => Row,
  beforeDelete: (row: Row) => void = () => undefined,
): Readonly<Record<string, unknown>> {
  let ids = 0;
  const must = (id: unknown): Row => {
    const found = rows.find((row) => row['id'] === id);
    if (found === undefined) throw new CallError('ENOENT', `${name} ${String(id)} does not exist`);
    return found;
  };
  return {
    [`${name}.query`]: ([filters]: readonly (readonly unknown[])[]) => matching(rows, filters),
    [`${name}.create`]: ([row]: readonly [Row]) => {
      ids += 1;
      const made = fresh({ ...row, id: ids });
      rows.push(made);
      return made;
    },
    [`${name}.update`]: ([id, change]: readonly [number, Row]) => Object.assign(must(id), change),
    [`${name}.delete`]: ([id]: readonly [number]) => {
      const row = must(id);
      beforeDelete(row);
      remove(rows, (one) => one === row);
      return true;
    },
  };
}

function remove(rows: Row[], which: (row: Row) => boolean): void {
  for (let i = rows.length - 1; i >= 0; i -= 1) if (which(rows[i] ?? {})) rows.splice(i, 1);
}

function datasetRow({ name, type, readonly, origin, properties }: Dataset): Row {
  return {
    id: name,
    name,
    pool: name.split('/')[0],
    type,
    readonly: { rawvalue: readonly ? 'on' : 'off', value: readonly ? 'ON' : 'OFF', source: 'LOCAL' },
    origin: { rawvalue: origin, value: origin, source: 'NONE' },
    mountpoint: type === 'FILESYSTEM' ? `/mnt/${name}` : null,
    user_properties: Object.fromEntries(
      [...properties].map(([key, value]) => [key, { value, rawvalue: value, source: 'LOCAL' }]),
    ),
  };
}

function snapshotRows({ name: dataset, snapshots }: Dataset): Row[] {
  return snapshots.map((one: Snapshot) => ({
    id: `${dataset}@${one.name}`,
    dataset,
    createtxg: String(one.txg),
    properties: {
      guid: { rawvalue: one.guid },
      creation: { rawvalue: String(one.creation) },
      written: { rawvalue: String(one.written) },
    },
  }));
}

/** Query filters: `[field, "=", value]` and `[field, "in", values]`, all of which must hold. */
function matching(rows: readonly Row[], filters: readonly unknown[] = []): readonly Row[] {
  return rows.filter((row) =>
    (filters as readonly (readonly [string, string, unknown])[]).every(([field, operator, value]) => {
      if (operator === '=') return row[field] === value;
      if (operator === 'in') return (value as readonly unknown[]).includes(row[field]);
      throw new CallError('EINVAL', `Invalid operation: ${operator}`);
    }),
  );
}
