/** A cluster over the ONTAP REST API, 9.8 and later (storage.md C.1). A write answers 202 with a job, which is followed to its end. */
import { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
import { notUnderstood, refusedByArray } from '../rest/errors.ts';
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
import { type Groups, groupParts } from './groups.ts';
import type { OntapOptions } from './options.ts';
import { partsOf } from './options.ts';
import {
  igroupRecord,
  lunRecord,
  outgoingRecord,
  relationshipFields,
  relationshipRecord,
  ruleRecord,
  snapshotFields,
  snapshotRecord,
  volumeFields,
  volumeRecord,
} from './rest-answers.ts';
import type { OntapRequests, Query } from './rest-requests.ts';

export class OntapRest implements OntapControl {
  readonly endpoint: OntapControl['endpoint'];
  readonly #requests: OntapRequests;
  readonly #protocol: OntapOptions['protocol'];
  readonly groups: Groups;
  readonly keepsTogether = true;

  constructor(requests: OntapRequests, protocol: OntapOptions['protocol'], groups: Groups) {
    this.groups = groups;
    this.endpoint = requests.endpoint;
    this.#requests = requests;
    this.#protocol = protocol;
  }

  async cluster(asking: Asking): Promise<ClusterFacts> {
    const about = z.object({
      name: z.string(),
      uuid: z.string(),
      version: z.object({
        full: z.string(),
        generation: z.number().optional(),
        major: z.number().optional(),
      }),
    });
    const [answer, nodes] = await Promise.all([
      this.#requests.ask('/api/cluster', { fields: 'name,uuid,version' }, asking),
      this.#requests.list('/api/cluster/nodes', { fields: 'date' }, z.object({ date: z.string() }), asking),
    ]);
    const { name, uuid, version } = this.#requests.read(about, answer.body, '/api/cluster');
    const [node] = nodes;
    if (node === undefined) throw notUnderstood(this.endpoint, 'names no node whose clock could be read');
    const [, release] = /Release ([^:\s]+)/.exec(version.full) ?? [];
    return { name, serial: uuid, version: release ?? version.full, clock: new Date(node.date).toISOString() };
  }

  volumes(only: string | null, asking: Asking): Promise<readonly Volume[]> {
    return this.#requests.list(
      '/api/storage/volumes',
      { ...ofVolume(only, 'name'), fields: volumeFields },
      volumeRecord,
      asking,
    );
  }

  volumesWithComment(beginning: string, asking: Asking): Promise<readonly Volume[]> {
    return this.#requests.list(
      '/api/storage/volumes',
      { comment: `${beginning}*`, fields: volumeFields },
      volumeRecord,
      asking,
    );
  }

  /** `*` for the volume asks all of them at once. */
  snapshots(only: string | null, asking: Asking): Promise<readonly Snapshot[]> {
    const query = { ...ofVolume(only, 'volume.name'), fields: snapshotFields };
    return this.#requests.list('/api/storage/volumes/*/snapshots', query, snapshotRecord, asking);
  }

  relationships(destination: string | null, asking: Asking): Promise<readonly Relationship[]> {
    const query = {
      ...(destination === null ? {} : { 'destination.path': destination }),
      fields: relationshipFields,
    };
    return this.#requests.list(snapmirror, query, relationshipRecord, asking);
  }

  outgoing(source: string | null, asking: Asking): Promise<readonly Outgoing[]> {
    const query = {
      list_destinations_only: 'true',
      ...(source === null ? {} : { 'source.path': source }),
      fields: 'uuid,source.path,destination.path,destination.cluster.name',
    };
    return this.#requests.list(snapmirror, query, outgoingRecord, asking);
  }

  luns({ svm, name }: Volume, asking: Asking): Promise<readonly Lun[]> {
    const query = {
      'svm.name': svm,
      'location.volume.name': name,
      fields: 'name,serial_number_hex,lun_maps',
    };
    return this.#requests.list('/api/storage/luns', query, lunRecord, asking);
  }

  async volumesWithLuns(asking: Asking): Promise<ReadonlySet<string>> {
    const record = z.object({
      svm: z.object({ name: z.string() }),
      location: z.object({ volume: z.object({ name: z.string() }) }),
    });
    const query = { fields: 'svm.name,location.volume.name' };
    const luns = await this.#requests.list('/api/storage/luns', query, record, asking);
    return new Set(luns.map(({ svm, location }) => `${svm.name}:${location.volume.name}`));
  }

  async rules(svm: string, policy: string, asking: Asking): Promise<readonly ExportRule[] | null> {
    const id = await this.#policyId(svm, policy, asking);
    if (id === null) return null;
    const query = { fields: 'index,clients,rw_rule' };
    return this.#requests.list(`/api/protocols/nfs/export-policies/${id}/rules`, query, ruleRecord, asking);
  }

  async igroup(svm: string, name: string, asking: Asking): Promise<Igroup | null> {
    return (await this.#igroup(svm, name, asking)) ?? null;
  }

  async portals(svm: string, asking: Asking): Promise<Portals> {
    const lif = z.object({
      ip: z.object({ address: z.string() }),
      services: z.array(z.string()).default([]),
    });
    const service = z.object({ target: z.object({ name: z.string() }).optional() });
    const [lifs, services] = await Promise.all([
      this.#requests.list(
        '/api/network/ip/interfaces',
        { 'svm.name': svm, state: 'up', fields: 'ip.address,services' },
        lif,
        asking,
      ),
      this.#requests.list(
        '/api/protocols/san/iscsi/services',
        { 'svm.name': svm, fields: 'target.name' },
        service,
        asking,
      ),
    ]);
    const of = (kind: string): string[] =>
      lifs.filter((one) => one.services.includes(kind)).map(({ ip }) => ip.address);
    return { nfs: of('data_nfs'), iscsi: of('data_iscsi'), iqn: services[0]?.target?.name ?? null };
  }

  /** Since 9.12; older releases refuse the field or leave it out. */
  async changedSince({ uuid }: Volume, snapshot: string, asking: Asking): Promise<number | null> {
    const record = z.object({ delta: z.object({ size_consumed: z.number() }).optional() });
    try {
      const query = { name: snapshot, fields: 'delta' };
      const [found] = await this.#requests.list(
        `/api/storage/volumes/${uuid}/snapshots`,
        query,
        record,
        asking,
      );
      return found?.delta?.size_consumed ?? null;
    } catch (error) {
      if (error instanceof PortError && error.kind === 'refused') return null;
      throw error;
    }
  }

  comment(volume: Volume, text: string, asking: Asking): Promise<void> {
    return this.#requests.change('PATCH', volumeAt(volume), { comment: text }, asking);
  }

  takeSnapshot(volume: Volume, name: string, label: string, asking: Asking): Promise<void> {
    return this.#requests.change(
      'POST',
      `${volumeAt(volume)}/snapshots`,
      { name, snapmirror_label: label },
      asking,
    );
  }

  dropSnapshot(volume: Volume, snapshot: Snapshot, asking: Asking): Promise<void> {
    return this.#requests.change(
      'DELETE',
      `${volumeAt(volume)}/snapshots/${snapshot.uuid}`,
      undefined,
      asking,
    );
  }

  async takeGroupSnapshot(group: string, name: string, label: string, asking: Asking): Promise<void> {
    const body = { name, snapmirror_label: label, consistency_type: 'crash' };
    await this.#requests.change('POST', `${await this.#groupAt(group, asking)}/snapshots`, body, asking);
  }

  async dropGroupSnapshot(group: string, name: string, asking: Asking): Promise<void> {
    const at = `${await this.#groupAt(group, asking)}/snapshots`;
    const found = await this.#requests.list(at, { name, fields: 'uuid' }, withUuid, asking);
    for (const { uuid } of found) await this.#requests.change('DELETE', `${at}/${uuid}`, undefined, asking);
  }

  async restoreGroup(group: string, snapshot: string, asking: Asking): Promise<void> {
    const body = { restore_to: { snapshot: { name: snapshot } } };
    await this.#requests.change('PATCH', await this.#groupAt(group, asking), body, asking);
  }

  startTransfer({ uuid }: Relationship, snapshot: string, asking: Asking): Promise<void> {
    return this.#requests.change(
      'POST',
      `${snapmirror}/${uuid}/transfers`,
      { source_snapshot: snapshot },
      asking,
    );
  }

  async abortTransfer({ uuid, transfer }: Relationship, asking: Asking): Promise<void> {
    if (transfer.uuid === null) return;
    await this.#requests.change(
      'PATCH',
      `${snapmirror}/${uuid}/transfers/${transfer.uuid}`,
      { state: 'aborted' },
      asking,
    );
  }

  quiesce(relationship: Relationship, asking: Asking): Promise<void> {
    return this.#state(relationship, { state: 'paused' }, asking);
  }

  break(relationship: Relationship, snapshot: string | null, asking: Asking): Promise<void> {
    const point = snapshot === null ? {} : { restore_to_snapshot: snapshot };
    return this.#state(relationship, { state: 'broken_off', ...point }, asking);
  }

  resume(relationship: Relationship, asking: Asking): Promise<void> {
    return this.#state(relationship, { state: 'snapmirrored' }, asking);
  }

  resync(relationship: Relationship, asking: Asking): Promise<void> {
    return this.#state(relationship, { state: 'snapmirrored' }, asking);
  }

  createRelationship(
    source: string,
    destination: string,
    policy: string | null,
    asking: Asking,
    members?: { readonly source: readonly string[]; readonly destination: readonly string[] },
  ): Promise<void> {
    const end = (path: string, volumes: readonly string[] | undefined) =>
      volumes === undefined
        ? { path }
        : { path, consistency_group_volumes: volumes.map((one) => ({ name: partsOf(one).name })) };
    const body = {
      source: end(source, members?.source),
      destination: end(destination, members?.destination),
      ...(policy === null ? {} : { policy: { name: policy } }),
    };
    return this.#requests.change('POST', snapmirror, body, asking);
  }

  deleteRelationship({ uuid }: Relationship, asking: Asking): Promise<void> {
    return this.#requests.change('DELETE', `${snapmirror}/${uuid}?destination_only=true`, undefined, asking);
  }

  release({ uuid }: Outgoing, asking: Asking): Promise<void> {
    return this.#requests.change('DELETE', `${snapmirror}/${uuid}?source_info_only=true`, undefined, asking);
  }

  clone(parent: Volume, name: string, snapshot: string, comment: string, asking: Asking): Promise<void> {
    const body = {
      name,
      svm: { name: parent.svm },
      clone: {
        is_flexclone: true,
        parent_volume: { name: parent.name },
        parent_snapshot: { name: snapshot },
      },
      comment,
    };
    return this.#requests.change('POST', '/api/storage/volumes', body, asking);
  }

  mount(volume: Volume, junction: string, asking: Asking): Promise<void> {
    return this.#requests.change('PATCH', volumeAt(volume), { nas: { path: junction } }, asking);
  }

  unmount(volume: Volume, asking: Asking): Promise<void> {
    return this.#requests.change('PATCH', volumeAt(volume), { nas: { path: '' } }, asking);
  }

  useExportPolicy(volume: Volume, policy: string, asking: Asking): Promise<void> {
    return this.#requests.change(
      'PATCH',
      volumeAt(volume),
      { nas: { export_policy: { name: policy } } },
      asking,
    );
  }

  takeOffline(volume: Volume, asking: Asking): Promise<void> {
    return this.#requests.change('PATCH', volumeAt(volume), { state: 'offline' }, asking);
  }

  deleteVolume(volume: Volume, asking: Asking): Promise<void> {
    return this.#requests.change('DELETE', volumeAt(volume), undefined, asking);
  }

  createPolicy(svm: string, policy: string, asking: Asking): Promise<void> {
    return this.#requests.change('POST', policies, { name: policy, svm: { name: svm } }, asking);
  }

  async deletePolicy(svm: string, policy: string, asking: Asking): Promise<void> {
    const id = await this.#policyId(svm, policy, asking);
    if (id !== null) await this.#requests.change('DELETE', `${policies}/${id}`, undefined, asking);
  }

  async addRule(svm: string, policy: string, client: string, asking: Asking): Promise<void> {
    const body = {
      clients: [{ match: client }],
      protocols: ['nfs'],
      ro_rule: ['sys'],
      rw_rule: ['sys'],
      superuser: ['sys'],
    };
    await this.#requests.change(
      'POST',
      `${policies}/${await this.#policyOf(svm, policy, asking)}/rules`,
      body,
      asking,
    );
  }

  async removeRule(svm: string, policy: string, index: number, asking: Asking): Promise<void> {
    const id = await this.#policyOf(svm, policy, asking);
    await this.#requests.change('DELETE', `${policies}/${id}/rules/${index}`, undefined, asking);
  }

  createIgroup(svm: string, name: string, initiators: readonly string[], asking: Asking): Promise<void> {
    const body = {
      name,
      svm: { name: svm },
      protocol: this.#protocol,
      os_type: 'xen',
      initiators: initiators.map((one) => ({ name: one })),
    };
    return this.#requests.change('POST', igroups, body, asking);
  }

  async addInitiator(svm: string, igroup: string, initiator: string, asking: Asking): Promise<void> {
    const found = await this.#igroup(svm, igroup, asking);
    if (found === undefined) throw refusedByArray(this.endpoint, `no igroup ${igroup}`, 'not-found');
    await this.#requests.change('POST', `${igroups}/${found.uuid}/initiators`, { name: initiator }, asking);
  }

  async deleteIgroup(svm: string, name: string, asking: Asking): Promise<void> {
    const found = await this.#igroup(svm, name, asking);
    if (found !== undefined)
      await this.#requests.change('DELETE', `${igroups}/${found.uuid}`, undefined, asking);
  }

  map(svm: string, lun: string, igroup: string, id: number | null, asking: Asking): Promise<void> {
    const body = {
      svm: { name: svm },
      lun: { name: lun },
      igroup: { name: igroup },
      ...(id === null ? {} : { logical_unit_number: id }),
    };
    return this.#requests.change('POST', '/api/protocols/san/lun-maps', body, asking);
  }

  async unmap(svm: string, lun: string, igroup: string, asking: Asking): Promise<void> {
    const query = { 'svm.name': svm, 'lun.name': lun, 'igroup.name': igroup, fields: 'lun.uuid,igroup.uuid' };
    const ids = z.object({ lun: z.object({ uuid: z.string() }), igroup: z.object({ uuid: z.string() }) });
    const [found] = await this.#requests.list('/api/protocols/san/lun-maps', query, ids, asking);
    if (found === undefined) return;
    const at = `/api/protocols/san/lun-maps/${found.lun.uuid}/${found.igroup.uuid}`;
    await this.#requests.change('DELETE', at, undefined, asking);
  }

  close(): Promise<void> {
    return this.#requests.close();
  }

  #state({ uuid }: Relationship, body: unknown, asking: Asking): Promise<void> {
    return this.#requests.change('PATCH', `${snapmirror}/${uuid}`, body, asking);
  }

  async #groupAt(group: string, asking: Asking): Promise<string> {
    const { svm, name } = groupParts(group);
    const query = { 'svm.name': svm, name, fields: 'uuid' };
    const [found] = await this.#requests.list(consistencyGroups, query, withUuid, asking);
    if (found === undefined)
      throw refusedByArray(this.endpoint, `no consistency group ${group}`, 'not-found');
    return `${consistencyGroups}/${found.uuid}`;
  }

  async #igroup(svm: string, name: string, asking: Asking) {
    const [found] = await this.#requests.list(
      igroups,
      { 'svm.name': svm, name, fields: 'uuid,name,initiators' },
      igroupRecord,
      asking,
    );
    return found;
  }

  async #policyId(svm: string, policy: string, asking: Asking): Promise<number | null> {
    const record = z.object({ id: z.number() });
    const [found] = await this.#requests.list(
      policies,
      { 'svm.name': svm, name: policy, fields: 'id' },
      record,
      asking,
    );
    return found?.id ?? null;
  }

  async #policyOf(svm: string, policy: string, asking: Asking): Promise<number> {
    const id = await this.#policyId(svm, policy, asking);
    if (id === null) throw refusedByArray(this.endpoint, `no export policy ${policy} at ${svm}`, 'not-found');
    return id;
  }
}

const withUuid = z.object({ uuid: z.string() });
const consistencyGroups = '/api/application/consistency-groups';
const snapmirror = '/api/snapmirror/relationships';
const policies = '/api/protocols/nfs/export-policies';
const igroups = '/api/protocols/san/igroups';

function volumeAt({ uuid }: Volume): string {
  return `/api/storage/volumes/${uuid}`;
}

function ofVolume(only: string | null, key: string): Query {
  if (only === null) return {};
  const { svm, name } = partsOf(only);
  return { [key]: name, 'svm.name': svm };
}
