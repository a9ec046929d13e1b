/** The REST interface of a LINSTOR controller over `cluster.ts`: paths, shapes, return codes, tokens. */
import { type DoubleAnswer, type DoubleRequest, lost } from '../https-double.ts';
import { type Cluster, type Definition, type Props, Refusal, type Snap } from './cluster.ts';

/** The two highest bits of the signed 64-bit mask: an error; one bit: information. */
const errorCode = -(2 ** 62) + 2 ** 40;
const doneCode = 2 ** 62;

export interface Trap {
  /** The request that it waits for. */
  matches(request: DoubleRequest): boolean;
  /** `lose`: the effect is there, the answer is not. `die`: answered, and the next change is not even begun. */
  readonly effect: 'lose' | 'die';
}

export class Controller {
  cluster: Cluster;
  readonly token: string;
  traps: Trap[] = [];
  /** The next change breaks off before its effect. */
  dying = false;

  constructor(cluster: Cluster, token: string) {
    this.cluster = cluster;
    this.token = token;
  }

  answer(request: DoubleRequest): DoubleAnswer | typeof lost {
    const date = { date: new Date(this.cluster.now()).toUTCString() };
    if (request.headers['authorization'] !== `Bearer ${this.token}`)
      return { ...results(errorCode, 'Invalid or missing API token.', 401), headers: date };
    if (request.method === 'GET') return { ...this.#look(request), headers: date };
    if (this.dying) {
      this.dying = false;
      return lost;
    }
    const trap = this.traps.find(({ matches }) => matches(request));
    this.traps = this.traps.filter((one) => one !== trap);
    const answer = this.#refusing(() => {
      this.#change(request);
      return results(doneCode, 'SUCCESS', request.method === 'POST' ? 201 : 200);
    });
    if (trap?.effect === 'lose') return lost;
    if (trap?.effect === 'die') this.dying = true;
    return { ...answer, headers: date };
  }

  #refusing(work: () => DoubleAnswer): DoubleAnswer {
    try {
      return work();
    } catch (error) {
      if (error instanceof Refusal) return results(errorCode, error.message, error.status);
      throw error;
    }
  }

  #look({ path, query }: DoubleRequest): DoubleAnswer {
    this.cluster.advance();
    for (const other of this.cluster.remotes.values()) other.advance();
    const only = query.get('resources') ?? query.get('resource_definitions');
    const asked = [...this.cluster.definitions.values()].filter(({ name }) => only === null || name === only);
    switch (path) {
      case '/v1/controller/version':
        return { status: 200, body: { version: '1.33.2', rest_api_version: '1.28.0' } };
      case '/v1/controller/properties':
        return { status: 200, body: { 'Cluster/LocalID': this.cluster.id } };
      case '/v1/resource-definitions':
        return { status: 200, body: asked.map(({ name, uuid, props }) => ({ name, uuid, props })) };
      case '/v1/view/resources':
        return { status: 200, body: asked.flatMap(resourcesOf) };
      case '/v1/view/snapshots':
        return {
          status: 200,
          body: asked.flatMap((one) => [...one.snaps.values()].map((snap) => snapshotOf(one, snap))),
        };
      case '/v1/nodes':
        return {
          status: 200,
          body: [...this.cluster.nodes].map(([name, address]) => ({
            name,
            net_interfaces: [{ name: 'default', address }],
          })),
        };
      default:
        return this.#store(path);
    }
  }

  #store(path: string): DoubleAnswer {
    const [, name = ''] = /^\/v1\/key-value-store\/([^/]+)$/.exec(path) ?? [];
    const props = this.cluster.keyValues.get(name);
    return props === undefined
      ? results(errorCode, `Could not find ${path}.`, 404)
      : { status: 200, body: [{ name, props }] };
  }

  #change({ method, path, body }: DoubleRequest): void {
    const { cluster } = this;
    const fields = (body ?? {}) as Readonly<Record<string, unknown>>;
    const [, kind = '', first = '', verb = '', second = '', last = ''] = path
      .replace(/^\/v1/, '')
      .split('/')
      .map(decodeURIComponent);
    const to = String(fields['to_resource']);
    switch ([method, kind, verb, last].filter((word) => word !== '').join(' ')) {
      case 'PUT key-value-store': {
        const props = cluster.keyValues.get(first) ?? {};
        cluster.keyValues.set(first, props);
        modify(props, fields);
        return;
      }
      case 'POST resource-definitions': {
        const { name } = fields['resource_definition'] as { name: string };
        cluster.define(name);
        return;
      }
      case 'PUT resource-definitions':
        modify(cluster.definition(first).props, fields);
        return;
      case 'DELETE resource-definitions':
        cluster.remove(first);
        return;
      case 'POST resource-definitions snapshots':
        cluster.cut(first, String(fields['name']), (fields['snapshot_definition_props'] ?? {}) as Props);
        return;
      case 'DELETE resource-definitions snapshots':
        cluster.deleteSnapshot(first, second);
        return;
      case 'POST resource-definitions snapshot-restore-volume-definition':
        cluster.restoreVolumes(first, second, to);
        return;
      case 'POST resource-definitions snapshot-restore-resource':
        cluster.restore(first, second, to);
        return;
      case 'POST resource-definitions snapshot-rollback':
        cluster.rollBack(first, second);
        return;
      case 'POST resource-definitions resources make-available':
        cluster.makeAvailable(first, second);
        return;
      case 'DELETE resource-definitions resources':
        cluster.removeResource(first, second);
        return;
      case 'POST remotes backups':
        cluster.ship(first, fields);
        return;
      default:
        throw new Refusal(404, `There is no ${method} ${path}.`);
    }
  }
}

function resourcesOf({ name, nodes, files }: Definition): unknown[] {
  const minor = 1000 + [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 50_000, 7);
  return [...nodes].map(([node, { diskless, inUse }]) => ({
    name,
    node_name: node,
    flags: diskless ? ['DISKLESS', 'DRBD_DISKLESS'] : [],
    state: { in_use: inUse },
    volumes: [{ volume_number: 0, device_path: `/dev/drbd${minor}`, allocated_size_kib: files?.size ?? 0 }],
  }));
}

function snapshotOf({ name }: Definition, snap: Snap): unknown {
  return {
    name: snap.name,
    resource_name: name,
    uuid: snap.uuid,
    flags: ['SUCCESSFUL'],
    snapshot_definition_props: snap.props,
    snapshots: [
      { snapshot_name: snap.name, node_name: 'a', create_timestamp: Math.round(snap.madeAt * 1000) / 1000 },
    ],
  };
}

function modify(props: Props, fields: Readonly<Record<string, unknown>>): void {
  Object.assign(props, fields['override_props'] as Props);
  for (const key of fields['delete_props'] as string[]) delete props[key];
}

function results(code: number, message: string, status: number): DoubleAnswer {
  return { status, body: [{ ret_code: code, message }] };
}
