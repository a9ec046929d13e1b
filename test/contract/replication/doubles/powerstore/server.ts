/** The REST API of a PowerStore over TLS on loopback. */
import {
  type DoubleAnswer,
  type DoubleRequest,
  type HttpsDouble,
  lost,
  startHttpsDouble,
} from '../https-double.ts';
import {
  type GroupSnapshot,
  type PowerStore,
  Refusal,
  type Volume,
  type VolumeGroup,
} from './power-store.ts';

export interface Fault {
  readonly matches: (request: DoubleRequest) => boolean;
  /** `lose`: done, and nobody hears of it. `die`: the connection breaks before anything is done. */
  readonly effect: 'lose' | 'die';
}

export interface PowerStoreServer {
  readonly web: HttpsDouble;
  readonly password: string;
  /** Each happens once. */
  readonly faults: Fault[];
  /** Answers of a request that are not those of the array. */
  readonly overrides: Map<string, DoubleAnswer>;
  /** Items of a page at most. */
  pageSize: number;
  expireSessions(): void;
}

export const root = '/api/rest';
export const username = 'lifeboat';

export async function startPowerStore(array: PowerStore): Promise<PowerStoreServer> {
  const password = `password-of-${array.name}-not-to-be-told`;
  const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  const tokens = new Set<string>();
  const faults: Fault[] = [];
  const overrides = new Map<string, DoubleAnswer>();
  let logins = 0;

  const answered = (request: DoubleRequest): DoubleAnswer => {
    const path = request.path.slice(root.length);
    if (path === '/login_session') {
      if (request.headers['authorization'] !== basic) return refused(401, '0xE09040030002', 'Unauthorized.');
      logins += 1;
      const token = `token-${array.name}-${logins}`;
      tokens.add(token);
      const headers = {
        'dell-emc-token': token,
        'set-cookie': `auth_cookie=cookie-${token}; Path=/; Secure`,
      };
      return { status: 200, body: [{ id: String(logins), user: username }], headers };
    }
    const token = String(request.headers['dell-emc-token']);
    if (!tokens.has(token) || request.headers['cookie'] !== `auth_cookie=cookie-${token}`)
      return refused(403, '0xE09040030001', 'Forbidden.');
    const override = overrides.get(`${request.method} ${path}`);
    if (override !== undefined) return override;
    try {
      if (request.method !== 'GET') return { status: 200, body: act(array, request, path.split('/')) };
      return paged(filtered(rows(array, path), request.query), request.query, server.pageSize);
    } catch (error) {
      if (error instanceof Refusal) return refused(error.status, error.code, error.message);
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
  const server: PowerStoreServer = {
    web,
    password,
    faults,
    overrides,
    pageSize: 1000,
    expireSessions: () => tokens.clear(),
  };
  return server;
}

export function refused(status: number, code: string, words: string): DoubleAnswer {
  return { status, body: { messages: [{ code, severity: 'Error', message_l10n: words }] } };
}

type Row = Readonly<Record<string, unknown>>;

function rows(array: PowerStore, path: string): readonly Row[] {
  switch (path) {
    case '/cluster':
      return [
        { id: '0', name: array.name, global_id: `PS-${array.name}`, system_time: instant(array.now()) },
      ];
    case '/volume':
      return [...array.volumes.values()].map((one) => volumeRow(one));
    case '/replication_session':
      return array.look().map(({ id, kind, local, remote, pairs, role, state, lastSync }) => ({
        id,
        state: array.lying ? 'OK' : state,
        role,
        resource_type: kind,
        local_resource_id: local,
        remote_resource_id: remote,
        remote_system_id: `remote-${array.other?.name}`,
        last_sync_timestamp: instant(array.lying ? array.now() : lastSync),
        storage_element_pairs: pairs.map(({ volume, remoteVolume }) => ({
          local_storage_element_id: volume,
          remote_storage_element_id: remoteVolume,
        })),
      }));
    case '/volume_group':
      return [...array.groups.map(groupRow), ...array.groupSnapshots.map(groupSnapshotRow)];
    case '/remote_system': {
      const state = array.reaches() ? 'OK' : 'Complete_Data_Connection_Loss';
      return [{ id: `remote-${array.other?.name}`, name: array.other?.name, data_connection_state: state }];
    }
    case '/host_volume_mapping':
      return array.mappings.map(({ id, host, volume, lun }) => ({
        id,
        host_id: host,
        host_group_id: null,
        volume_id: volume,
        logical_unit_number: lun,
      }));
    case '/host':
      return array.hosts.map(({ id, iqns }) => ({
        id,
        host_group_id: null,
        host_initiators: iqns.map((port_name) => ({ port_name, port_type: 'iSCSI' })),
      }));
    case '/ip_pool_address':
      return [
        {
          id: 'IP1',
          address: '10.3.0.5',
          purposes: ['Storage_Iscsi_Target'],
          ip_port: { target_iqn: `iqn.2015-10.com.dell:dellemc-powerstore-${array.name}` },
        },
      ];
    default:
      throw new Refusal(404, '0xE04040020009', `Resource ${path} was not found.`);
  }
}

function volumeRow({ id, name, description, type, wwn, created, sourceId, sourceTime }: Volume): Row {
  return {
    id,
    name,
    description,
    type,
    state: 'Ready',
    wwn,
    creation_timestamp: instant(created),
    protection_data:
      type === 'Primary'
        ? null
        : { source_id: sourceId, source_timestamp: sourceTime === null ? null : instant(sourceTime) },
  };
}

function groupRow({ id, name, members, ordered = true }: VolumeGroup): Row {
  return {
    id,
    name,
    type: 'Primary',
    is_write_order_consistent: ordered,
    creation_timestamp: instant(0),
    protection_data: null,
    volumes: [...members].map((member) => ({ id: member })),
  };
}

function groupSnapshotRow({ id, name, group, created, sourceTime, members }: GroupSnapshot): Row {
  return {
    id,
    name,
    type: 'Snapshot',
    is_write_order_consistent: true,
    creation_timestamp: instant(created),
    protection_data: { source_id: group, source_timestamp: instant(sourceTime) },
    volumes: members.map((member) => ({ id: member })),
  };
}

function instant(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace('Z', '+00:00');
}

/** `eq.`, `neq.`, `like.` with `*`, and `cs.{}`. */
function filtered(all: readonly Row[], query: URLSearchParams): readonly Row[] {
  let left = all;
  for (const [field, condition] of query) {
    if (['select', 'order', 'limit', 'offset'].includes(field)) continue;
    const at = condition.indexOf('.');
    const [operator, value] = [condition.slice(0, at), condition.slice(at + 1)];
    const parts = value.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
    const pattern = new RegExp(`^${parts.join('.*')}$`);
    left = left.filter((row) => {
      const found = row[field];
      if (operator === 'eq') return found === value;
      if (operator === 'neq') return found !== value;
      if (operator === 'like') return pattern.test(String(found));
      return Array.isArray(found) && value === `{${found.join(',')}}`;
    });
  }
  return left;
}

function paged(items: readonly Row[], query: URLSearchParams, most: number): DoubleAnswer {
  const from = Number(query.get('offset') ?? 0);
  const page = items.slice(from, from + Math.min(Number(query.get('limit') ?? 100), most));
  if (page.length === items.length) return { status: 200, body: page };
  const range = `${from}-${from + page.length - 1}/${items.length}`;
  return { status: 206, body: page, headers: { 'content-range': range } };
}

interface Sent {
  readonly name?: string;
  readonly description?: string;
  readonly volume_id?: string;
  readonly is_planned?: boolean;
  readonly from_snap_id?: string;
  readonly create_backup_snap?: boolean;
  readonly backup_snap_profile?: { readonly name: string };
}

function act(array: PowerStore, { method, body }: DoubleRequest, path: readonly string[]): unknown {
  const sent = (body ?? {}) as Sent;
  const [, resource = '', id = '', verb = ''] = path;
  switch (`${method} ${resource} ${verb}`.trim()) {
    case 'POST logout':
      return undefined;
    case 'PATCH volume': {
      const volume = array.mustBeChangeable(id);
      if ((sent.description ?? '').length > 256)
        throw new Refusal(422, '0xE04040010001', 'The description is too long.');
      volume.description = sent.description ?? volume.description;
      return undefined;
    }
    case 'POST volume snapshot':
      return { id: array.snapshot(array.must(id), sent.name ?? '').id };
    case 'POST volume clone': {
      const more = { description: sent.description ?? '', sourceId: id };
      return { id: array.add(sent.name ?? '', 'Clone', array.must(id).files, more).id };
    }
    case 'POST volume_group snapshot':
      return { id: array.snapshotGroup(array.mustGroup(id), sent.name ?? '').id };
    case 'POST volume_group restore': {
      const backup = sent.create_backup_snap === true ? (sent.backup_snap_profile?.name ?? 'backup') : null;
      array.restoreGroup(array.mustGroup(id), sent.from_snap_id ?? '', backup);
      return undefined;
    }
    case 'DELETE volume_group':
      array.removeGroupSnapshot(id);
      return undefined;
    case 'POST volume restore': {
      const volume = array.mustBeChangeable(id);
      if (array.isInGroup(id))
        throw new Refusal(422, '0xE0A080010030', 'The volume is a member of a volume group.');
      const snapshot = array.must(sent.from_snap_id ?? '');
      if (snapshot.sourceId !== id)
        throw new Refusal(422, '0xE0A060010020', 'The snapshot is not one of this volume.');
      if (array.mappings.some((one) => one.volume === id))
        throw new Refusal(422, '0xE0A080020001', 'The volume is attached to a host.');
      if (sent.create_backup_snap === true)
        array.snapshot(volume, sent.backup_snap_profile?.name ?? 'backup');
      volume.files = new Map(snapshot.files);
      return undefined;
    }
    case 'DELETE volume':
      array.remove(id);
      return undefined;
    case 'POST host attach':
      array.map(id, array.must(sent.volume_id ?? '').id);
      return undefined;
    case 'POST host detach':
      array.unmap(id, sent.volume_id ?? '');
      return undefined;
    case 'POST replication_session sync':
      array.sync(array.mustSession(id));
      return undefined;
    case 'POST replication_session failover':
      array.failOver(array.mustSession(id), sent.is_planned === true);
      return undefined;
    case 'POST replication_session reprotect':
      array.reprotect(array.mustSession(id));
      return undefined;
    default:
      throw new Refusal(404, '0xE04040020009', `${method} ${path.join('/')} was not found.`);
  }
}
