/** REST 2.26 of a FlashArray over TLS on loopback. */
import {
  type DoubleAnswer,
  type DoubleRequest,
  type HttpsDouble,
  lost,
  startHttpsDouble,
} from '../https-double.ts';
import { type FlashArray, PurityError } from './flash-array.ts';
import type { Pods } from './pods.ts';

export interface Fault {
  readonly matches: (request: DoubleRequest) => boolean;
  /** `lose`: done, and nobody hears of it. `die`: the connection breaks before anything is done. */
  readonly effect: 'lose' | 'die';
}

export interface PureServer {
  readonly web: HttpsDouble;
  readonly token: string;
  /** Each happens once. */
  readonly faults: Fault[];
  /** Answers of a path that are not those of the array. */
  readonly overrides: Map<string, DoubleAnswer>;
  /** Items of a page at most. */
  pageSize: number;
  expireSessions(): void;
}

const root = '/api/2.26';

export async function startPure(array: FlashArray): Promise<PureServer> {
  const token = `token-of-${array.name}-not-to-be-told`;
  const sessions = new Set<string>();
  const faults: Fault[] = [];
  const overrides = new Map<string, DoubleAnswer>();
  let logins = 0;

  const answered = (request: DoubleRequest): DoubleAnswer => {
    if (request.path === `${root}/login`) {
      if (request.headers['api-token'] !== token) return refused(401, '', 'Invalid API token.');
      logins += 1;
      const session = `session-${array.name}-${logins}`;
      sessions.add(session);
      return {
        status: 200,
        body: { items: [{ username: 'lifeboat' }] },
        headers: { 'x-auth-token': session },
      };
    }
    if (!sessions.has(String(request.headers['x-auth-token']))) return refused(401, '', 'Unauthorized');
    const path = request.path.slice(root.length);
    const override = overrides.get(`${request.method} ${path}`);
    if (override !== undefined) return override;
    try {
      const items = route(array, request, path);
      return { status: 200, body: paged(items, request.query, server.pageSize) };
    } catch (error) {
      if (error instanceof PurityError) return refused(400, error.context, error.message);
      throw error;
    }
  };

  const web = await startHttpsDouble((request) => {
    const at = faults.findIndex((fault) => fault.matches(request));
    const [fault] = at === -1 ? [] : faults.splice(at, 1);
    if (fault?.effect === 'die') return lost;
    const answer = answered(request);
    return fault?.effect === 'lose' ? lost : answer;
  });
  const server: PureServer = {
    web,
    token,
    faults,
    overrides,
    pageSize: 1000,
    expireSessions: () => sessions.clear(),
  };
  return server;
}

function refused(status: number, context: string, message: string): DoubleAnswer {
  return { status, body: { errors: [{ context, message }] } };
}

function paged(items: readonly unknown[], query: URLSearchParams, most: number): object {
  const from = Number(query.get('continuation_token') ?? 0);
  const end = from + Math.min(Number(query.get('limit') ?? 1000), most);
  const more = end < items.length;
  return {
    items: items.slice(from, end),
    more_items_remaining: more,
    continuation_token: more ? String(end) : null,
  };
}

function route(array: FlashArray, { method, query, body }: DoubleRequest, path: string): readonly unknown[] {
  const names = query.get('names') ?? '';
  const given = (body ?? {}) as {
    readonly suffix?: string;
    readonly destroyed?: boolean;
    readonly source?: { readonly name: string };
    readonly requested_promotion_state?: string;
  };
  const filter = wildcard(query.get('filter'));
  const done: readonly unknown[] = [];
  switch (`${method} ${path}`) {
    case 'GET /arrays':
      return [
        { id: `id-${array.name}`, name: array.name, os: 'Purity//FA', version: '6.6.2', _as_of: array.now() },
      ];
    case 'GET /array-connections':
      return [
        { remote: { name: array.other?.name }, status: array.connected() ? 'connected' : 'connecting' },
      ];
    case 'GET /protection-groups':
      return [...array.groups.keys()].map((name) => ({ name }));
    case 'GET /protection-groups/volumes':
      return [...array.groups].flatMap(([group, { members }]) =>
        [...members].map((member) => ({ group: { name: group }, member: { name: member } })),
      );
    case 'POST /protection-groups':
      array.addGroup(names);
      return done;
    case 'POST /protection-groups/volumes':
      array.mustVolume(query.get('member_names') ?? '');
      array.mustGroup(query.get('group_names') ?? '').members.add(query.get('member_names') ?? '');
      return done;
    case 'POST /protection-groups/targets': {
      const { targets } = array.mustGroup(query.get('group_names') ?? '');
      const target = query.get('member_names') ?? '';
      if (targets.has(target)) throw new PurityError(target, 'Target already exists in the group.');
      targets.add(target);
      return done;
    }
    case 'GET /protection-group-snapshots':
      return array.snapshots
        .filter(({ destroyed }) => !destroyed)
        .map(({ name, created }) => ({ name, created }));
    case 'GET /protection-group-snapshots/transfer':
      return array.transfers;
    case 'POST /protection-group-snapshots':
      array.snapshot(
        query.get('source_names') ?? '',
        given.suffix ?? '',
        query.get('replicate_now') === 'true',
      );
      return done;
    case 'PATCH /protection-group-snapshots':
      for (const one of array.snapshots) if (one.name === names) one.destroyed = given.destroyed === true;
      return done;
    case 'GET /volume-snapshots':
      return array.snapshots
        .flatMap(({ name, contents }) => [...contents.keys()].map((member) => `${name}.${member}`))
        .filter((name) => filter.test(name))
        .map((name) => ({ name, created: 0 }))
        .concat(podSnapshots(array).filter(({ name }) => filter.test(name)));
    case 'PATCH /volume-snapshots':
      return removeSnapshot(array, names);
    case 'POST /volume-snapshots': {
      const source = query.get('source_names') ?? '';
      if (source.includes('::')) {
        array.pods?.snapshot(array, source.split(','), given.suffix ?? '');
        return done;
      }
      const files = new Map(array.mustVolume(source).files);
      array.volumeSnapshots.push({ name: `${source}.${given.suffix}`, files });
      return done;
    }
    case 'GET /volumes':
      return [...array.volumes.values()]
        .filter(({ name, destroyed }) => !destroyed && filter.test(name) && (names === '' || names === name))
        .map(({ name, serial, created }) => ({ name, serial, created }));
    case 'GET /pods':
      return podRows(array).filter(({ name }) => names === '' || names === name);
    case 'GET /pod-replica-links':
      return linkRows(array);
    case 'PATCH /pods': {
      const pod = mustPods(array).must(array, names);
      if (given.requested_promotion_state === 'promoted')
        mustPods(array).promote(pod, query.get('promote_from'));
      else
        mustPods(array).demote(pod, {
          quiesce: query.get('quiesce') === 'true',
          skip: query.get('skip_quiesce') === 'true',
        });
      return done;
    }
    case 'POST /pods': {
      const from = given.source?.name ?? '';
      const pod = mustPods(array).must(array, from.replace('.undo-demote', ''));
      if (!from.endsWith('.undo-demote') || pod.undo === null)
        throw new PurityError(from, 'Pod does not exist.');
      pod.kept.push(pod.undo);
      return done;
    }
    case 'DELETE /pods': {
      const pod = mustPods(array).must(array, names.replace('.undo-demote', ''));
      if (!names.endsWith('.undo-demote') || pod.undo === null)
        throw new PurityError(names, 'Pod does not exist.');
      pod.undo = null;
      return done;
    }
    case 'POST /volumes': {
      if (given.source === undefined) {
        array.addVolume(names);
        return done;
      }
      const files = array.contentOf(given.source.name);
      if (query.get('overwrite') === 'true') array.mustVolume(names).files = new Map(files);
      else array.addVolume(names, files);
      return done;
    }
    case 'PATCH /volumes':
      array.destroy(names);
      return done;
    case 'DELETE /volumes':
      array.eradicate(names);
      return done;
    case 'GET /volumes/tags':
      return array.tags.map(({ volume, key, value }) => ({ resource: { name: volume }, key, value }));
    case 'PUT /volumes/tags/batch': {
      const volume = query.get('resource_names') ?? '';
      array.mustVolume(volume);
      // What lies in a pod is replicated, and a replica is changed by nobody.
      if (volume.includes('::')) throw new PurityError(volume, 'Volumes in replicated pods take no tags.');
      for (const { key, value } of body as readonly { readonly key: string; readonly value: string }[]) {
        array.tags = array.tags.filter((tag) => tag.volume !== volume || tag.key !== key);
        array.tags.push({ volume, key, value });
      }
      return done;
    }
    case 'DELETE /volumes/tags': {
      const keys = (query.get('keys') ?? '').split(',');
      const volume = query.get('resource_names');
      array.tags = array.tags.filter((tag) => tag.volume !== volume || !keys.includes(tag.key));
      return done;
    }
    case 'GET /hosts':
      return array.hosts;
    case 'GET /ports':
      return [
        { iqn: `iqn.2010-06.com.purestorage:flasharray.${array.name}`, portal: '10.3.0.5:3260' },
        { wwn: '52:4A:93:70:00:00:00:01', iqn: null, portal: null },
      ];
    case 'GET /connections':
      return array.connections
        .filter(({ volume }) => volume === query.get('volume_names'))
        .map(({ host, volume, lun }) => ({ host: { name: host }, volume: { name: volume }, lun }));
    case 'POST /connections':
    case 'DELETE /connections':
      return connection(array, method, query.get('host_names') ?? '', query.get('volume_names') ?? '');
    default:
      throw new PurityError(`${method} ${path}`, 'Path is not known.');
  }
}

function mustPods({ pods }: FlashArray): Pods {
  if (pods === null) throw new PurityError('', 'Path is not known.');
  return pods;
}

function podRows(array: FlashArray): { readonly name: string; readonly [key: string]: unknown }[] {
  array.pods?.look();
  return (array.pods?.at(array) ?? []).flatMap((pod) => [
    { name: pod.name, destroyed: false, promotion_status: pod.status },
    ...(pod.undo === null
      ? []
      : [{ name: `${pod.name}.undo-demote`, destroyed: true, promotion_status: 'demoted' }]),
  ]);
}

function linkRows(array: FlashArray): readonly unknown[] {
  array.pods?.look();
  return (array.pods?.at(array) ?? []).flatMap((pod) => {
    const link = array.pods?.linkOf(pod);
    if (link === undefined) return [];
    const remote = link.from === pod ? link.to : link.from;
    return [
      {
        local_pod: { name: pod.name },
        remote_pod: { name: remote.name },
        direction: link.from === pod ? 'outbound' : 'inbound',
        status: link.status(),
        paused: false,
        lag: link.lying ? 0 : 1000,
        recovery_point: link.lying ? link.from.array.now() : link.recoveryPoint,
      },
    ];
  });
}

function podSnapshots(array: FlashArray): { readonly name: string; readonly created: number }[] {
  array.pods?.look();
  return (array.pods?.at(array) ?? []).flatMap((pod) =>
    pod.snapshots.flatMap(({ suffix, created, contents }) =>
      [...contents.keys()].map((volume) => ({ name: `${pod.name}::${volume}.${suffix}`, created })),
    ),
  );
}

function removeSnapshot(array: FlashArray, name: string): readonly unknown[] {
  const [podName = '', rest = ''] = name.split('::');
  const pod = mustPods(array).must(array, podName);
  if (pod.status !== 'promoted') throw new PurityError(name, 'Pod is demoted.');
  const suffix = rest.slice(rest.lastIndexOf('.') + 1);
  if (!pod.snapshots.some((one) => one.suffix === suffix))
    throw new PurityError(name, 'Volume snapshot does not exist.');
  pod.snapshots = pod.snapshots.filter((one) => one.suffix !== suffix);
  return [];
}

function connection(array: FlashArray, method: string, host: string, volume: string): readonly unknown[] {
  const there = array.connections.find((one) => one.host === host && one.volume === volume);
  if (method === 'DELETE') {
    if (there === undefined) throw new PurityError(volume, 'Connection does not exist.');
    array.connections = array.connections.filter((one) => one !== there);
    return [];
  }
  array.mustVolume(volume);
  if (there !== undefined) throw new PurityError(volume, 'Connection already exists.');
  const used = new Set(array.connections.filter((one) => one.host === host).map(({ lun }) => lun));
  let lun = 1;
  while (used.has(lun)) lun += 1;
  array.connections.push({ host, volume, lun });
  return [];
}

/** `name='a*b'` as a pattern; everything without a filter. */
function wildcard(filter: string | null): RegExp {
  const text = /^name='(.*)'$/.exec(filter ?? '')?.[1] ?? '*';
  const escaped = text.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${escaped.join('.*')}$`);
}
