/** A cluster of `model.ts` behind the REST API of ONTAP: 202 and jobs that run for a few polls, pages, filters, codes. */
import {
  type DoubleAnswer,
  type DoubleRequest,
  type HttpsDouble,
  lost,
  startHttpsDouble,
} from '../https-double.ts';
import {
  type ModelGroup,
  type ModelIgroup,
  type ModelPolicy,
  type ModelRelationship,
  type ModelVolume,
  type OntapCluster,
  OntapError,
} from './model.ts';

export const restUser = 'lifeboat';
export const restPassword = 'right-password';

export interface RestDouble {
  readonly server: HttpsDouble;
  /** Loses the answer of the next request that fits, after its effect. */
  lose(fits: (request: DoubleRequest) => boolean): void;
  /** Answers the next request that fits with this instead of doing it. */
  instead(fits: (request: DoubleRequest) => boolean, answer: DoubleAnswer): void;
  /** Longest page, whatever is asked for. */
  pageRecords: number;
  /** Fields of later releases are left out, as 9.8 does. */
  old: boolean;
  release: string;
  reset(): void;
}

interface Job {
  polls: number;
  readonly run: () => void;
  error: { code: string; message: string } | null;
}

type Json = Record<string, unknown>;

export async function startRestDouble(cluster: OntapCluster): Promise<RestDouble> {
  const jobs = new Map<string, Job>();
  let losing: ((request: DoubleRequest) => boolean) | null = null;
  let replaced: { fits: (request: DoubleRequest) => boolean; answer: DoubleAnswer } | null = null;
  const server = await startHttpsDouble((request) => {
    const expected = `Basic ${Buffer.from(`${restUser}:${restPassword}`).toString('base64')}`;
    if (request.headers['authorization'] !== expected)
      return { status: 401, body: { error: { code: '6691623', message: 'User is not authorized.' } } };
    if (replaced?.fits(request) === true) {
      const { answer } = replaced;
      replaced = null;
      return answer;
    }
    const answer = answered(request);
    if (losing?.(request) !== true) return answer;
    losing = null;
    for (const job of jobs.values()) finish(job);
    return lost;
  });

  function answered(request: DoubleRequest): DoubleAnswer {
    try {
      return request.method === 'GET' ? get(request) : change(request);
    } catch (error) {
      if (!(error instanceof OntapError)) throw error;
      return { status: error.status, body: { error: { code: error.code, message: error.message } } };
    }
  }

  function get(request: DoubleRequest): DoubleAnswer {
    const { path, query } = request;
    if (path === '/api/cluster')
      return ok({
        name: cluster.name,
        uuid: `cluster-${cluster.name}`,
        version: { full: `NetApp Release ${double.release}: Fri Feb 23 2024`, generation: 9, major: 14 },
      });
    const jobId = /^\/api\/cluster\/jobs\/(.+)$/.exec(path)?.[1];
    if (jobId !== undefined) return ok(polled(jobId));
    const records = listed(path, query);
    if (records === null) throw new OntapError('3', `API not found: ${path}`, 404);
    return ok(paged(request, records));
  }

  function polled(id: string): Json {
    const job = jobs.get(id);
    if (job === undefined) throw new OntapError('4', "entry doesn't exist", 404);
    if (job.polls > 0) {
      job.polls -= 1;
      return { uuid: id, state: 'running' };
    }
    finish(job);
    return job.error === null
      ? { uuid: id, state: 'success', code: 0, message: 'success' }
      : {
          uuid: id,
          state: 'failure',
          code: Number(job.error.code),
          message: job.error.message,
          error: job.error,
        };
  }

  function finish(job: Job): void {
    if (job.polls < 0) return;
    job.polls = -1;
    try {
      job.run();
    } catch (error) {
      if (!(error instanceof OntapError)) throw error;
      job.error = { code: error.code, message: error.message };
    }
  }

  function paged({ path, query }: DoubleRequest, all: readonly Json[]): Json {
    const start = Number(query.get('start.index') ?? 0);
    const size = Math.min(Number(query.get('max_records') ?? 10_000), double.pageRecords);
    const records = all.slice(start, start + size);
    const next = new URLSearchParams(query);
    next.set('start.index', String(start + size));
    const more = start + size < all.length;
    return {
      records,
      num_records: records.length,
      _links: more ? { next: { href: `${path}?${next}` } } : {},
    };
  }

  function listed(path: string, query: URLSearchParams): Json[] | null {
    const fits = (key: string, value: string): boolean => {
      const wanted = query.get(key);
      if (wanted === null) return true;
      return wanted.endsWith('*') ? value.startsWith(wanted.slice(0, -1)) : value === wanted;
    };
    const volumes = [...cluster.volumes.values()];
    if (path === '/api/cluster/nodes')
      return [{ uuid: 'node-1', name: 'node-1', date: new Date(cluster.now()).toISOString() }];
    if (path === '/api/storage/volumes')
      return volumes
        .filter((one) => fits('name', one.name) && fits('svm.name', one.svm) && fits('comment', one.comment))
        .map(volumeJson);
    const within = /^\/api\/storage\/volumes\/([^/]+)\/snapshots$/.exec(path)?.[1];
    if (within !== undefined)
      return volumes
        .filter(
          (one) =>
            (within === '*' || one.uuid === within) &&
            fits('volume.name', one.name) &&
            fits('svm.name', one.svm),
        )
        .flatMap((volume) =>
          volume.snapshots
            .filter(({ name }) => fits('name', name))
            .map((one) => snapshotJson(volume, one, query)),
        );
    if (path === '/api/snapmirror/relationships') {
      if (query.get('list_destinations_only') === 'true')
        return cluster.outgoing
          .filter(({ source }) => fits('source.path', source))
          .map(({ uuid, source, destination }) => ({
            uuid,
            source: { path: source },
            destination: { path: destination, cluster: { name: cluster.peer.name } },
          }));
      cluster.look();
      return cluster.relationships
        .filter((one) => fits('destination.path', one.destination))
        .map(relationshipJson);
    }
    if (path === '/api/application/consistency-groups')
      return cluster.groups
        .filter((one) => fits('svm.name', partsOf(one).svm) && fits('name', partsOf(one).name))
        .map((one) => ({ uuid: one.uuid, ...partsOf(one) }));
    const grouped = /^\/api\/application\/consistency-groups\/([^/]+)\/snapshots$/.exec(path)?.[1];
    if (grouped !== undefined) {
      const [first = ''] = cluster.group(grouped).volumes;
      return cluster
        .volume(first)
        .snapshots.filter(({ name }) => fits('name', name))
        .map(({ name, uuid }) => ({ name, uuid }));
    }
    if (path === '/api/storage/luns')
      return volumes
        .filter((one) => fits('svm.name', one.svm) && fits('location.volume.name', one.name))
        .flatMap((volume) => volume.luns.map((lun) => ({ volume, lun })))
        .map(({ volume, lun: { name, serialHex, maps } }) => ({
          name,
          svm: { name: volume.svm },
          location: { volume: { name: volume.name } },
          serial_number_hex: serialHex,
          lun_maps: maps.map(({ igroup, id }) => ({ igroup: { name: igroup }, logical_unit_number: id })),
        }));
    if (path === '/api/protocols/nfs/export-policies')
      return cluster.policies
        .filter((one) => one.name !== '' && fits('svm.name', one.svm) && fits('name', one.name))
        .map(({ id, name }) => ({ id, name }));
    const policy = /^\/api\/protocols\/nfs\/export-policies\/(\d+)\/rules$/.exec(path)?.[1];
    if (policy !== undefined)
      return policyOf(policy).rules.map(({ index, client }) => ({
        index,
        clients: [{ match: client }],
        rw_rule: ['sys'],
      }));
    if (path === '/api/protocols/san/igroups')
      return cluster.igroups
        .filter((one) => fits('svm.name', one.svm) && fits('name', one.name))
        .map(({ uuid, name, initiators }) => ({
          uuid,
          name,
          initiators: initiators.map((each) => ({ name: each })),
        }));
    if (path === '/api/protocols/san/lun-maps') return mapsJson(fits);
    if (path === '/api/protocols/san/iscsi/services')
      return [{ target: { name: `iqn.1992-08.com.netapp:${cluster.name}` } }];
    if (path === '/api/network/ip/interfaces')
      return [
        { ip: { address: '192.0.2.10' }, services: ['management_https'] },
        { ip: { address: '192.0.2.11' }, services: ['data_nfs'] },
        { ip: { address: '192.0.2.12' }, services: ['data_iscsi'] },
      ];
    return null;
  }

  function mapsJson(fits: (key: string, value: string) => boolean): Json[] {
    return [...cluster.volumes.values()].flatMap(({ svm, luns }) =>
      luns.flatMap((lun) =>
        lun.maps
          .filter(
            ({ igroup }) =>
              fits('svm.name', svm) && fits('lun.name', lun.name) && fits('igroup.name', igroup),
          )
          .map(({ igroup }) => ({
            lun: { uuid: lun.uuid, name: lun.name },
            igroup: { uuid: igroupOf(svm, igroup).uuid, name: igroup },
          })),
      ),
    );
  }

  function igroupOf(svm: string, name: string): ModelIgroup {
    const found = cluster.igroups.find((one) => one.svm === svm && one.name === name);
    if (found === undefined) throw new OntapError('5374852', `Igroup ${name} does not exist.`, 404);
    return found;
  }

  function policyOf(id: string): ModelPolicy {
    const found = cluster.policies.find((one) => String(one.id) === id && one.name !== '');
    if (found === undefined) throw new OntapError('1703954', 'The export policy does not exist.', 404);
    return found;
  }

  function snapshotJson(
    volume: ModelVolume,
    one: ModelVolume['snapshots'][number],
    query: URLSearchParams,
  ): Json {
    const wantsDelta = query.get('fields')?.split(',').includes('delta') === true;
    if (wantsDelta && double.old)
      throw new OntapError('262197', 'The value "delta" is invalid for field "fields".');
    const changed = [...volume.files].filter(([name, text]) => one.files.get(name) !== text);
    const bytes = changed.reduce((sum, [, text]) => sum + text.length, 0);
    return {
      uuid: one.uuid,
      name: one.name,
      ...(double.old ? {} : { version_uuid: one.versionUuid }),
      create_time: new Date(one.createTime).toISOString().replace('.000Z', '+00:00'),
      ...(one.label === null ? {} : { snapmirror_label: one.label }),
      volume: { name: volume.name },
      svm: { name: volume.svm },
      ...(wantsDelta ? { delta: { size_consumed: bytes, time_elapsed: 'PT1M' } } : {}),
    };
  }

  function relationshipJson(one: ModelRelationship): Json {
    const healthy = cluster.lies || one.healthy;
    const { transfer } = one;
    const active = transfer?.state === 'transferring';
    return {
      uuid: one.uuid,
      source: { path: one.source, cluster: { name: cluster.peer.name } },
      destination: { path: one.destination },
      state: cluster.lies ? 'snapmirrored' : one.state,
      healthy,
      ...(healthy ? {} : { unhealthy_reason: one.reasons }),
      ...(one.exported === null
        ? {}
        : { exported_snapshot: one.exported, lag_time: cluster.lies ? 'PT0S' : 'PT1H2M3S' }),
      policy: { name: one.policy },
      ...(transfer === null
        ? {}
        : {
            transfer: {
              state: transfer.state,
              bytes_transferred: transfer.bytes,
              ...(active ? { uuid: transfer.uuid } : {}),
            },
          }),
    };
  }

  function change(request: DoubleRequest): DoubleAnswer {
    const run = effectOf(request);
    const id = cluster.fabric.id();
    jobs.set(id, { polls: 1, run, error: null });
    return {
      status: 202,
      body: { job: { uuid: id, _links: { self: { href: `/api/cluster/jobs/${id}` } } } },
    };
  }

  /** What a request is to do once its job runs; a path that is not there is refused at once. */
  function effectOf({ method, path, query, body }: DoubleRequest): () => void {
    const sent = (body ?? {}) as Json;
    const text = (...keys: string[]): string =>
      String(keys.reduce<unknown>((at, key) => (at as Json | undefined)?.[key], sent) ?? '');
    const route = `${method} ${path.replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID').replaceAll(/\/\d+(?=\/|$)/g, '/N')}`;
    const ids = path.match(/[0-9a-f]{8}-[0-9a-f-]{27}/g) ?? [];
    const [first = '', second = ''] = ids;
    const numbers = path.match(/(?<=\/)\d+(?=\/|$)/g) ?? [];
    const [policy = '', rule = ''] = numbers;
    const initiators = ((sent['initiators'] ?? []) as { name: string }[]).map(({ name }) => name);
    const effects: Record<string, () => () => void> = {
      'PATCH /api/storage/volumes/ID': () => () => patchVolume(volumeOf(first), sent),
      'DELETE /api/storage/volumes/ID': () => () => cluster.deleteVolume(pathOf(volumeOf(first))),
      'POST /api/storage/volumes': () => () =>
        cluster.clone(
          text('svm', 'name'),
          text('name'),
          text('clone', 'parent_volume', 'name'),
          text('clone', 'parent_snapshot', 'name'),
          text('comment'),
        ),
      'POST /api/storage/volumes/ID/snapshots': () => () =>
        cluster.snapshot(pathOf(volumeOf(first)), text('name'), text('snapmirror_label') || null),
      'DELETE /api/storage/volumes/ID/snapshots/ID': () => () =>
        cluster.dropSnapshot(pathOf(volumeOf(first)), second),
      'POST /api/snapmirror/relationships': () => () =>
        void cluster.relate(
          text('source', 'path'),
          text('destination', 'path'),
          text('policy', 'name') || 'Asynchronous',
          groupPairs(sent),
        ),
      'PATCH /api/application/consistency-groups/ID': () => () =>
        cluster.restoreGroup(first, text('restore_to', 'snapshot', 'name')),
      'POST /api/application/consistency-groups/ID/snapshots': () => () =>
        cluster.snapshotGroup(first, text('name'), text('snapmirror_label') || null),
      'DELETE /api/application/consistency-groups/ID/snapshots/ID': () => () => {
        const [member = ''] = cluster.group(first).volumes;
        const found = cluster.volume(member).snapshots.find(({ uuid }) => uuid === second);
        if (found === undefined) throw new OntapError('4', "entry doesn't exist", 404);
        cluster.dropGroupSnapshot(first, found.name);
      },
      'PATCH /api/snapmirror/relationships/ID': () => () =>
        cluster.change(first, text('state'), text('restore_to_snapshot') || null),
      'DELETE /api/snapmirror/relationships/ID': () => () =>
        query.get('source_info_only') === 'true' ? cluster.forget(first) : cluster.unrelate(first),
      'POST /api/snapmirror/relationships/ID/transfers': () => () =>
        cluster.transfer(first, text('source_snapshot')),
      'PATCH /api/snapmirror/relationships/ID/transfers/ID': () => () => cluster.abort(first),
      'POST /api/protocols/nfs/export-policies': () => () =>
        void cluster.addPolicy(text('svm', 'name'), text('name')),
      'DELETE /api/protocols/nfs/export-policies/N': () => () => cluster.dropPolicy(policyOf(policy)),
      'POST /api/protocols/nfs/export-policies/N/rules': () => () =>
        cluster.addRule(policyOf(policy), (sent['clients'] as { match: string }[])[0]?.match ?? ''),
      'DELETE /api/protocols/nfs/export-policies/N/rules/N': () => () => {
        const one = policyOf(policy);
        one.rules = one.rules.filter(({ index }) => String(index) !== rule);
      },
      'POST /api/protocols/san/igroups': () => () =>
        cluster.addIgroup(text('svm', 'name'), text('name'), initiators),
      'POST /api/protocols/san/igroups/ID/initiators': () => () =>
        void cluster.igroups.find(({ uuid }) => uuid === first)?.initiators.push(text('name')),
      'DELETE /api/protocols/san/igroups/ID': () => () => {
        cluster.igroups = cluster.igroups.filter(({ uuid }) => uuid !== first);
      },
      'POST /api/protocols/san/lun-maps': () => () => {
        const id = sent['logical_unit_number'];
        igroupOf(text('svm', 'name'), text('igroup', 'name'));
        cluster.map(
          text('svm', 'name'),
          text('lun', 'name'),
          text('igroup', 'name'),
          typeof id === 'number' ? id : null,
        );
      },
      'DELETE /api/protocols/san/lun-maps/ID/ID': () => () => {
        const igroup = cluster.igroups.find(({ uuid }) => uuid === second)?.name ?? '';
        for (const { svm, luns } of cluster.volumes.values())
          for (const lun of luns) if (lun.uuid === first) cluster.unmap(svm, lun.name, igroup);
      },
    };
    const effect = effects[route];
    if (effect === undefined) throw new OntapError('3', `API not found: ${route}`, 404);
    return effect();
  }

  function patchVolume(volume: ModelVolume, sent: Json): void {
    const nas = (sent['nas'] ?? {}) as { path?: string; export_policy?: { name: string } };
    if (typeof sent['comment'] === 'string') {
      if (sent['comment'].length > 1023) throw new OntapError('918701', 'The comment is too long.');
      volume.comment = sent['comment'];
    }
    if (nas.path !== undefined) cluster.mount(pathOf(volume), nas.path);
    if (nas.export_policy !== undefined) cluster.usePolicy(pathOf(volume), nas.export_policy.name);
    if (sent['state'] === 'offline') volume.state = 'offline';
  }

  function volumeOf(uuid: string): ModelVolume {
    const found = [...cluster.volumes.values()].find((one) => one.uuid === uuid);
    if (found === undefined) throw new OntapError('917927', 'The volume does not exist.', 404);
    return found;
  }

  const double: RestDouble = {
    server,
    lose: (fits) => {
      losing = fits;
    },
    instead: (fits, answer) => {
      replaced = { fits, answer };
    },
    pageRecords: 10_000,
    old: false,
    release: '9.14.1P2',
    reset: () => {
      jobs.clear();
      losing = null;
      replaced = null;
      double.pageRecords = 10_000;
      double.old = false;
      double.release = '9.14.1P2';
    },
  };
  return double;
}

/** A relationship of groups must name the volumes of both, in pairs. */
function groupPairs(sent: Json): ModelRelationship['pairs'] | undefined {
  type End = { path?: string; consistency_group_volumes?: { name: string }[] };
  const ends = [sent['source'], sent['destination']] as readonly (End | undefined)[];
  const [from = [], to = []] = ends.map((end) => {
    const svm = end?.path?.split(':')[0];
    return (end?.consistency_group_volumes ?? []).map(({ name }) => `${svm}:${name}`);
  });
  if (ends[0]?.path?.includes(':/cg/') !== true) return undefined;
  if (from.length === 0 || from.length !== to.length)
    throw new OntapError('13303900', 'The volumes of both consistency groups must be given.');
  return from.map((source, index) => ({ source, destination: to[index] ?? '' }));
}

function partsOf({ path }: ModelGroup): { readonly svm: string; readonly name: string } {
  const [svm = '', name = ''] = path.split(':/cg/');
  return { svm, name };
}

function ok(body: unknown): DoubleAnswer {
  return { status: 200, body };
}

function pathOf({ svm, name }: ModelVolume): string {
  return `${svm}:${name}`;
}

function volumeJson(one: ModelVolume): Json {
  return {
    uuid: one.uuid,
    name: one.name,
    svm: { name: one.svm },
    type: one.type,
    state: one.state,
    ...(one.comment === '' ? {} : { comment: one.comment }),
    create_time: '2026-01-01T00:00:00+00:00',
    nas: { ...(one.junction === '' ? {} : { path: one.junction }), export_policy: { name: one.policy } },
    clone:
      one.clone === null
        ? { is_flexclone: false }
        : { is_flexclone: true, parent_volume: { name: one.clone.parent } },
  };
}
