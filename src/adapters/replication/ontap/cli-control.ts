/** A cluster over its CLI behind SSH, for releases before REST (storage.md C.2). */
import type { SshRemote } from '../../ssh/pool.ts';
import { cannotKeepTogether } from '../consistency-group.ts';
import { absent, already, OntapCommands } from './cli-commands.ts';
import { instantIn, lagSeconds, type Row } from './cli-text.ts';
import type {
  Asking,
  ClusterFacts,
  ExportRule,
  Igroup,
  Lun,
  OntapControl,
  Outgoing,
  Portals,
  Relationship,
  Snapshot,
  Volume,
} from './control.ts';
import { noGroups } from './groups.ts';
import type { OntapCliOptions } from './options.ts';
import { partsOf } from './options.ts';

type Parameters = Readonly<Record<string, string>>;

export class OntapCli implements OntapControl {
  readonly endpoint: OntapControl['endpoint'];
  readonly groups = noGroups;
  readonly keepsTogether = false;
  readonly #commands: OntapCommands;
  readonly #protocol: OntapCliOptions['protocol'];
  /** Of the cluster's clock, once it was read: it changes when a cluster moves house. */
  #zone: string | null = null;

  constructor(array: string, remote: SshRemote, { host, port, protocol }: OntapCliOptions) {
    this.endpoint = { array, url: `ssh://${host}:${port}` };
    this.#commands = new OntapCommands(this.endpoint, remote);
    this.#protocol = protocol;
  }

  async cluster(asking: Asking): Promise<ClusterFacts> {
    const [[about], [version], clock] = await Promise.all([
      this.#commands.table('cluster identity show', {}, ['uuid', 'name'], asking),
      this.#commands.table('cluster image show', {}, ['node', 'version'], asking),
      this.#clock(asking),
    ]);
    return {
      name: this.#commands.given(about, 'name'),
      serial: this.#commands.given(about, 'uuid'),
      version: version?.get('version') ?? '',
      clock: clock.now,
    };
  }

  async volumes(only: string | null, asking: Asking): Promise<readonly Volume[]> {
    const rows = await this.#commands.table('volume show', ofVolume(only), volumeFields, asking);
    return rows.map((row) => this.#volume(row, null));
  }

  async volumesWithComment(beginning: string, asking: Asking): Promise<readonly Volume[]> {
    const [rows, clones] = await Promise.all([
      this.#commands.table('volume show', { comment: `${beginning}*` }, volumeFields, asking),
      this.#commands.table('volume clone show', {}, ['vserver', 'flexclone', 'parent-volume'], asking),
    ]);
    const parents = new Map(
      clones.map((row) => [
        `${row.get('vserver')}:${row.get('flexclone')}`,
        row.get('parent-volume') ?? null,
      ]),
    );
    return rows.map((row) =>
      this.#volume(row, parents.get(`${row.get('vserver')}:${row.get('volume')}`) ?? null),
    );
  }

  async snapshots(only: string | null, asking: Asking): Promise<readonly Snapshot[]> {
    const fields = [
      'vserver',
      'volume',
      'snapshot',
      'create-time',
      'snapmirror-label',
      'instance-uuid',
      'version-uuid',
    ];
    const [rows, zone] = await Promise.all([
      this.#commands.table('volume snapshot show', ofVolume(only), fields, asking),
      this.#zone ?? this.#clock(asking).then((clock) => clock.zone),
    ]);
    return rows.map((row) => {
      const createTime = instantIn(zone, unquote(this.#commands.given(row, 'create-time')));
      if (createTime === null) throw this.#commands.strange('volume snapshot show', 'a time that is none');
      return {
        volume: `${this.#commands.given(row, 'vserver')}:${this.#commands.given(row, 'volume')}`,
        name: this.#commands.given(row, 'snapshot'),
        uuid: row.get('instance-uuid') ?? '',
        versionUuid: row.get('version-uuid') ?? null,
        createTime,
        label: row.get('snapmirror-label') ?? null,
      };
    });
  }

  async relationships(destination: string | null, asking: Asking): Promise<readonly Relationship[]> {
    const only: Parameters = destination === null ? {} : { 'destination-path': destination };
    const rows = await this.#commands.table('snapmirror show', only, relationshipFields, asking);
    return rows.map((row) => {
      const status = (row.get('status') ?? '').toLowerCase();
      const failed = row.get('last-transfer-error');
      const lag = row.get('lag-time');
      const reason = row.get('unhealthy-reason');
      return {
        uuid: row.get('relationship-id') ?? '',
        source: this.#commands.given(row, 'source-path'),
        sourceCluster: null,
        destination: this.#commands.given(row, 'destination-path'),
        state: stateOf(row.get('state') ?? '', status),
        transfer: {
          state: activeWords.has(status) ? 'transferring' : failed === undefined ? 'success' : 'failed',
          uuid: activeWords.has(status) ? 'active' : null,
          endTime: null,
          bytes: null,
        },
        healthy: row.get('healthy') === 'true',
        unhealthyReasons: [reason, failed].flatMap((text) => text ?? []),
        lagSeconds: lag === undefined ? null : lagSeconds(lag),
        exportedSnapshot: row.get('exported-snapshot') ?? null,
        policy: row.get('policy') ?? null,
      };
    });
  }

  async outgoing(source: string | null, asking: Asking): Promise<readonly Outgoing[]> {
    const only: Parameters = source === null ? {} : { 'source-path': source };
    const fields = ['source-path', 'destination-path', 'relationship-id'];
    const rows = await this.#commands.table('snapmirror list-destinations', only, fields, asking);
    return rows.map((row) => ({
      uuid: row.get('relationship-id') ?? '',
      source: this.#commands.given(row, 'source-path'),
      destination: this.#commands.given(row, 'destination-path'),
      destinationCluster: null,
    }));
  }

  async luns({ svm, name }: Volume, asking: Asking): Promise<readonly Lun[]> {
    const only = { vserver: svm, volume: name };
    const [luns, maps] = await Promise.all([
      this.#commands.table('lun show', only, ['path', 'serial-hex'], asking),
      this.#commands.table('lun mapping show', only, ['path', 'igroup', 'lun-id'], asking),
    ]);
    return luns.map((row) => {
      const path = this.#commands.given(row, 'path');
      return {
        path,
        serialHex: row.get('serial-hex') ?? null,
        maps: maps
          .filter((map) => map.get('path') === path)
          .map((map) => ({ igroup: this.#commands.given(map, 'igroup'), id: Number(map.get('lun-id')) })),
      };
    });
  }

  async volumesWithLuns(asking: Asking): Promise<ReadonlySet<string>> {
    const rows = await this.#commands.table('lun show', {}, ['vserver', 'volume', 'path'], asking);
    return new Set(rows.map((row) => `${row.get('vserver')}:${row.get('volume')}`));
  }

  async rules(svm: string, policy: string, asking: Asking): Promise<readonly ExportRule[] | null> {
    const only = { vserver: svm, policyname: policy };
    const [known, rows] = await Promise.all([
      this.#commands.table('vserver export-policy show', only, ['vserver', 'policyname'], asking),
      this.#commands.table(
        'vserver export-policy rule show',
        only,
        ['ruleindex', 'clientmatch', 'rwrule'],
        asking,
      ),
    ]);
    if (known.length === 0) return null;
    return rows.map((row) => ({
      index: Number(this.#commands.given(row, 'ruleindex')),
      clients: (row.get('clientmatch') ?? '').split(',').filter(Boolean),
      rw: !['never', 'none'].includes(row.get('rwrule') ?? 'never'),
    }));
  }

  async igroup(svm: string, name: string, asking: Asking): Promise<Igroup | null> {
    const [row] = await this.#commands.table(
      'lun igroup show',
      { vserver: svm, igroup: name },
      ['igroup', 'initiator'],
      asking,
    );
    if (row === undefined) return null;
    return { name, initiators: (row.get('initiator') ?? '').split(',').filter(Boolean) };
  }

  async portals(svm: string, asking: Asking): Promise<Portals> {
    const [lifs, [service]] = await Promise.all([
      this.#commands.table(
        'network interface show',
        { vserver: svm, 'status-oper': 'up' },
        ['address', 'data-protocol'],
        asking,
      ),
      this.#commands.table('vserver iscsi show', { vserver: svm }, ['vserver', 'target-name'], asking),
    ]);
    const of = (protocol: string): string[] =>
      lifs
        .filter((row) => (row.get('data-protocol') ?? '').split(',').includes(protocol))
        .flatMap((row) => row.get('address') ?? []);
    return { nfs: of('nfs'), iscsi: of('iscsi'), iqn: service?.get('target-name') ?? null };
  }

  /** What `show-delta` prints is not documented for machines: said to be unknown. */
  changedSince(): Promise<number | null> {
    return Promise.resolve(null);
  }

  comment(volume: Volume, text: string, asking: Asking): Promise<void> {
    return this.#commands.change('volume modify', { ...of(volume), comment: text }, asking);
  }

  takeSnapshot(volume: Volume, name: string, label: string, asking: Asking): Promise<void> {
    return this.#commands.change(
      'volume snapshot create',
      { ...of(volume), snapshot: name, 'snapmirror-label': label },
      asking,
    );
  }

  dropSnapshot(volume: Volume, { name }: Snapshot, asking: Asking): Promise<void> {
    return this.#commands.change('volume snapshot delete', { ...of(volume), snapshot: name }, asking, absent);
  }

  takeGroupSnapshot(group: string): Promise<void> {
    return this.#noGroups(group);
  }

  dropGroupSnapshot(group: string): Promise<void> {
    return this.#noGroups(group);
  }

  restoreGroup(group: string): Promise<void> {
    return this.#noGroups(group);
  }

  /** Releases that replicate consistency groups have REST. */
  #noGroups(group: string): Promise<void> {
    return Promise.reject(cannotKeepTogether(this.endpoint.array, group, 'over the CLI there are no groups'));
  }

  startTransfer(relationship: Relationship, snapshot: string, asking: Asking): Promise<void> {
    return this.#mirror('update', relationship, { 'source-snapshot': snapshot }, asking);
  }

  abortTransfer(relationship: Relationship, asking: Asking): Promise<void> {
    return this.#mirror('abort', relationship, {}, asking);
  }

  quiesce(relationship: Relationship, asking: Asking): Promise<void> {
    return this.#mirror('quiesce', relationship, {}, asking);
  }

  break(relationship: Relationship, snapshot: string | null, asking: Asking): Promise<void> {
    const point: Parameters = snapshot === null ? {} : { 'restore-to-snapshot': snapshot };
    return this.#mirror('break', relationship, point, asking);
  }

  resume(relationship: Relationship, asking: Asking): Promise<void> {
    return this.#mirror('resume', relationship, {}, asking);
  }

  resync(relationship: Relationship, asking: Asking): Promise<void> {
    return this.#mirror('resync', relationship, { 'source-path': relationship.source }, asking);
  }

  createRelationship(
    source: string,
    destination: string,
    policy: string | null,
    asking: Asking,
  ): Promise<void> {
    const ends = { 'source-path': source, 'destination-path': destination, type: 'XDP' };
    return this.#commands.change(
      'snapmirror create',
      policy === null ? ends : { ...ends, policy },
      asking,
      already,
    );
  }

  deleteRelationship(relationship: Relationship, asking: Asking): Promise<void> {
    return this.#mirror('delete', relationship, {}, asking, absent);
  }

  release({ source, destination, uuid }: Outgoing, asking: Asking): Promise<void> {
    const one = {
      'source-path': source,
      'destination-path': destination,
      'relationship-info-only': 'true',
      ...(uuid === '' ? {} : { 'relationship-id': uuid }),
    };
    return this.#commands.change('snapmirror release', one, asking, absent);
  }

  async clone(
    parent: Volume,
    name: string,
    snapshot: string,
    comment: string,
    asking: Asking,
  ): Promise<void> {
    const made = {
      vserver: parent.svm,
      flexclone: name,
      'parent-volume': parent.name,
      'parent-snapshot': snapshot,
      // In the same command: a copy without our mark would never be removed.
      comment,
    };
    await this.#commands.change('volume clone create', made, asking);
  }

  mount(volume: Volume, junction: string, asking: Asking): Promise<void> {
    return this.#commands.change('volume mount', { ...of(volume), 'junction-path': junction }, asking);
  }

  unmount(volume: Volume, asking: Asking): Promise<void> {
    return this.#commands.change('volume unmount', of(volume), asking);
  }

  useExportPolicy(volume: Volume, policy: string, asking: Asking): Promise<void> {
    return this.#commands.change('volume modify', { ...of(volume), policy }, asking);
  }

  takeOffline(volume: Volume, asking: Asking): Promise<void> {
    return this.#commands.change('volume offline', of(volume), asking);
  }

  deleteVolume(volume: Volume, asking: Asking): Promise<void> {
    return this.#commands.change('volume delete', of(volume), asking, absent);
  }

  createPolicy(svm: string, policy: string, asking: Asking): Promise<void> {
    return this.#commands.change(
      'vserver export-policy create',
      { vserver: svm, policyname: policy },
      asking,
      already,
    );
  }

  deletePolicy(svm: string, policy: string, asking: Asking): Promise<void> {
    return this.#commands.change(
      'vserver export-policy delete',
      { vserver: svm, policyname: policy },
      asking,
      absent,
    );
  }

  addRule(svm: string, policy: string, client: string, asking: Asking): Promise<void> {
    const rule = { protocol: 'nfs', clientmatch: client, rorule: 'sys', rwrule: 'sys', superuser: 'sys' };
    return this.#commands.change(
      'vserver export-policy rule create',
      { vserver: svm, policyname: policy, ...rule },
      asking,
    );
  }

  removeRule(svm: string, policy: string, index: number, asking: Asking): Promise<void> {
    const rule = { vserver: svm, policyname: policy, ruleindex: String(index) };
    return this.#commands.change('vserver export-policy rule delete', rule, asking, absent);
  }

  async createIgroup(
    svm: string,
    name: string,
    initiators: readonly string[],
    asking: Asking,
  ): Promise<void> {
    const igroup = { vserver: svm, igroup: name, protocol: this.#protocol, ostype: 'xen' };
    await this.#commands.change('lun igroup create', igroup, asking, already);
    for (const one of initiators) await this.addInitiator(svm, name, one, asking);
  }

  addInitiator(svm: string, igroup: string, initiator: string, asking: Asking): Promise<void> {
    return this.#commands.change('lun igroup add', { vserver: svm, igroup, initiator }, asking, already);
  }

  deleteIgroup(svm: string, name: string, asking: Asking): Promise<void> {
    return this.#commands.change('lun igroup delete', { vserver: svm, igroup: name }, asking, absent);
  }

  map(svm: string, lun: string, igroup: string, id: number | null, asking: Asking): Promise<void> {
    const mapping = { vserver: svm, path: lun, igroup, ...(id === null ? {} : { 'lun-id': String(id) }) };
    return this.#commands.change('lun mapping create', mapping, asking, already);
  }

  unmap(svm: string, lun: string, igroup: string, asking: Asking): Promise<void> {
    return this.#commands.change('lun mapping delete', { vserver: svm, path: lun, igroup }, asking, absent);
  }

  close(): Promise<void> {
    return this.#commands.close();
  }

  #mirror(
    verb: string,
    { destination }: Relationship,
    parameters: Parameters,
    asking: Asking,
    quiet?: RegExp,
  ): Promise<void> {
    return this.#commands.change(
      `snapmirror ${verb}`,
      { 'destination-path': destination, ...parameters },
      asking,
      quiet,
    );
  }

  /** The clock of a node, and its time zone, by which ONTAP prints every time. */
  async #clock(asking: Asking): Promise<{ readonly now: string; readonly zone: string }> {
    const [row] = await this.#commands.table('cluster date show', {}, ['node', 'date', 'timezone'], asking);
    const zone = this.#commands.given(row, 'timezone');
    const now = instantIn(zone, unquote(this.#commands.given(row, 'date')));
    if (now === null) throw this.#commands.strange('cluster date show', 'a time that is none');
    this.#zone = zone;
    return { now, zone };
  }

  #volume(row: Row, cloneParent: string | null): Volume {
    const svm = this.#commands.given(row, 'vserver');
    const name = this.#commands.given(row, 'volume');
    const type = (row.get('type') ?? '').toLowerCase();
    return {
      path: `${svm}:${name}`,
      uuid: row.get('instance-uuid') ?? '',
      svm,
      name,
      type: type === 'rw' || type === 'dp' ? type : 'other',
      online: row.get('state') === 'online',
      comment: row.get('comment') ?? '',
      junction: row.get('junction-path') ?? '',
      exportPolicy: row.get('policy') ?? '',
      cloneParent,
      madeAt: null,
    };
  }
}

const activeWords = new Set([
  'transferring',
  'queued',
  'preparing',
  'finalizing',
  'resyncing',
  'breaking',
  'aborting',
  'checking',
]);
const volumeFields = [
  'vserver',
  'volume',
  'instance-uuid',
  'type',
  'state',
  'comment',
  'junction-path',
  'policy',
];
const relationshipFields = [
  'source-path',
  'destination-path',
  'state',
  'status',
  'healthy',
  'unhealthy-reason',
  'lag-time',
  'exported-snapshot',
  'last-transfer-error',
  'relationship-id',
  'policy',
];

/** In the words of REST: a relationship that is quiesced is `paused` there. */
function stateOf(state: string, status: string): string {
  if (state === 'Snapmirrored' && status === 'quiesced') return 'paused';
  return state.toLowerCase().replaceAll('-', '_');
}

function ofVolume(only: string | null): Parameters {
  return only === null ? {} : of(partsOf(only));
}

function of({ svm, name }: Pick<Volume, 'svm' | 'name'>): {
  readonly vserver: string;
  readonly volume: string;
} {
  return { vserver: svm, volume: name };
}

function unquote(text: string): string {
  return text.replaceAll('"', '');
}
