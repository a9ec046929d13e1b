/** A cluster of `model.ts` behind the clustershell: `set …; command`, tables with a separator, `Error:` in the text, exit status always 0. */
import { type OntapCluster, OntapError } from './model.ts';

type Parameters = ReadonlyMap<string, string>;
type Row = Readonly<Record<string, string | null>>;

/** What the shell prints for one line. */
export function answerLine(cluster: OntapCluster, line: string): string {
  const commands = split(line);
  let separator: string | null = null;
  let printed = '';
  for (const words of commands) {
    const { command, parameters } = parsed(words);
    if (command === 'set') {
      separator = parameters.get('showseparator') ?? separator;
      if (parameters.get('confirmations') !== 'off') return 'Warning: Do you want to continue? {y|n}: ';
    } else printed += run(cluster, command, parameters, separator);
  }
  return printed;
}

/** Words between blanks or double quotes, commands between semicolons. */
function split(line: string): string[][] {
  const commands: string[][] = [[]];
  for (const [whole, quoted] of line.matchAll(/"((?:[^"\\]|\\.)*)"|;|[^\s;"]+/g)) {
    if (whole === ';') commands.push([]);
    else commands.at(-1)?.push(quoted === undefined ? whole : `\0${quoted.replaceAll(/\\(.)/g, '$1')}`);
  }
  return commands;
}

function parsed(words: readonly string[]): { readonly command: string; readonly parameters: Parameters } {
  const first = words.findIndex((word) => word.startsWith('-'));
  const end = first < 0 ? words.length : first;
  const parameters = new Map<string, string>();
  for (let at = end; at < words.length; at += 2)
    parameters.set((words[at] ?? '').slice(1), (words[at + 1] ?? '').replace(/^\0/, ''));
  return { command: words.slice(0, end).join(' '), parameters };
}

function run(cluster: OntapCluster, command: string, given: Parameters, separator: string | null): string {
  try {
    const rows = tables[command]?.(cluster);
    if (rows !== undefined) return table(rows, given, separator ?? ' ');
    const verb = verbs[command];
    if (verb === undefined) return `\nError: "${command}" is not a recognized command\n`;
    verb(cluster, (name) => given.get(name) ?? '', given);
    return `Operation succeeded: ${command}.\n`;
  } catch (error) {
    if (error instanceof OntapError) return `\nError: command failed: ${error.message}\n`;
    throw error;
  }
}

function table(rows: readonly Row[], given: Parameters, separator: string): string {
  const fields = (given.get('fields') ?? '').split(',');
  const fits = (row: Row): boolean =>
    [...given].every(([name, wanted]) => {
      if (name === 'fields') return true;
      const value = row[name] ?? '';
      return wanted.endsWith('*') ? value.startsWith(wanted.slice(0, -1)) : value === wanted;
    });
  const found = rows.filter(fits);
  if (found.length === 0) return 'There are no entries matching your query.\n';
  const unknown = fields.find((field) => rows[0] !== undefined && !(field in rows[0]));
  if (unknown !== undefined) return `\nError: invalid argument "-fields ${unknown}"\n`;
  const lineOf = (cells: readonly string[]): string => `${cells.join(separator)}${separator}\n`;
  const people = fields.map((field) => field.replaceAll('-', ' '));
  return [
    lineOf(fields),
    lineOf(people),
    ...found.map((row) => lineOf(fields.map((field) => (row[field] === '' ? '-' : (row[field] ?? '-'))))),
  ].join('');
}

const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
/** Nine hours ahead of UTC the whole year, as the clock of a Japanese site is. */
const zone = { name: 'Asia/Tokyo', aheadMilliseconds: 9 * 3_600_000 };

function printedTime(instant: number): string {
  const local = new Date(instant + zone.aheadMilliseconds);
  const time = local.toISOString().slice(11, 19);
  return `${days[local.getUTCDay()]} ${months[local.getUTCMonth()]} ${String(local.getUTCDate()).padStart(2, '0')} ${time} ${local.getUTCFullYear()}`;
}

function printedDate(instant: number): string {
  const [year, month, day] = new Date(instant + zone.aheadMilliseconds).toISOString().slice(0, 10).split('-');
  return `${month}/${day}/${year} ${new Date(instant + zone.aheadMilliseconds).toISOString().slice(11, 19)}`;
}

const tables: Readonly<Record<string, (cluster: OntapCluster) => Row[]>> = {
  'cluster identity show': ({ name }) => [{ uuid: `cluster-${name}`, name }],
  'cluster image show': () => [{ node: 'node-1', version: '9.5P13' }],
  'cluster date show': (cluster) => [
    { node: 'node-1', date: printedDate(cluster.now()), timezone: zone.name },
  ],
  'volume show': ({ volumes }) =>
    [...volumes.values()].map((one) => ({
      vserver: one.svm,
      volume: one.name,
      'instance-uuid': one.uuid,
      type: one.type.toUpperCase(),
      state: one.state,
      comment: one.comment,
      'junction-path': one.junction,
      policy: one.policy,
    })),
  'volume clone show': ({ volumes }) =>
    [...volumes.values()].flatMap(({ svm, name, clone }) =>
      clone === null ? [] : [{ vserver: svm, flexclone: name, 'parent-volume': clone.parent }],
    ),
  'volume snapshot show': ({ volumes }) =>
    [...volumes.values()].flatMap(({ svm, name, snapshots }) =>
      snapshots.map((one) => ({
        vserver: svm,
        volume: name,
        snapshot: one.name,
        'create-time': printedTime(one.createTime),
        'snapmirror-label': one.label,
        'instance-uuid': one.uuid,
        'version-uuid': one.versionUuid,
      })),
    ),
  'snapmirror show': (cluster) => {
    cluster.look();
    return cluster.relationships.map((one) => relationshipRow(cluster, one));
  },
  'snapmirror list-destinations': ({ outgoing }) =>
    outgoing.map(({ uuid, source, destination }) => ({
      'source-path': source,
      'destination-path': destination,
      'relationship-id': uuid,
    })),
  'lun show': ({ volumes }) =>
    [...volumes.values()].flatMap(({ svm, name, luns }) =>
      luns.map((one) => ({ vserver: svm, volume: name, path: one.name, 'serial-hex': one.serialHex })),
    ),
  'lun mapping show': ({ volumes }) =>
    [...volumes.values()].flatMap(({ svm, name, luns }) =>
      luns.flatMap((lun) =>
        lun.maps.map(({ igroup, id }) => ({
          vserver: svm,
          volume: name,
          path: lun.name,
          igroup,
          'lun-id': String(id),
        })),
      ),
    ),
  'vserver export-policy show': ({ policies }) =>
    policies.filter(({ name }) => name !== '').map(({ svm, name }) => ({ vserver: svm, policyname: name })),
  'vserver export-policy rule show': ({ policies }) =>
    policies.flatMap(({ svm, name, rules }) =>
      rules.map(({ index, client }) => ({
        vserver: svm,
        policyname: name,
        ruleindex: String(index),
        clientmatch: client,
        rwrule: 'sys',
      })),
    ),
  'lun igroup show': ({ igroups }) =>
    igroups.map(({ svm, name, initiators }) => ({
      vserver: svm,
      igroup: name,
      initiator: initiators.join(','),
    })),
  'network interface show': () =>
    ['svm1', 'svm2'].flatMap((vserver) => [
      { vserver, 'status-oper': 'up', address: '192.0.2.11', 'data-protocol': 'nfs,cifs' },
      { vserver, 'status-oper': 'up', address: '192.0.2.12', 'data-protocol': 'iscsi' },
    ]),
  'vserver iscsi show': ({ name }) =>
    ['svm1', 'svm2'].map((vserver) => ({ vserver, 'target-name': `iqn.1992-08.com.netapp:${name}` })),
};

const words: Readonly<Record<string, string>> = {
  snapmirrored: 'Snapmirrored',
  paused: 'Snapmirrored',
  broken_off: 'Broken-off',
  uninitialized: 'Uninitialized',
};

function relationshipRow(cluster: OntapCluster, one: OntapCluster['relationships'][number]): Row {
  const active = one.transfer?.state === 'transferring';
  const healthy = cluster.lies || one.healthy;
  return {
    'source-path': one.source,
    'destination-path': one.destination,
    state: words[one.state] ?? one.state,
    status: active ? 'Transferring' : one.state === 'paused' ? 'Quiesced' : 'Idle',
    healthy: String(healthy),
    'unhealthy-reason': healthy ? null : (one.reasons[0]?.message ?? null),
    'lag-time': cluster.lies ? '0:0:0' : '1:2:3',
    'exported-snapshot': one.exported,
    'last-transfer-error': one.transfer?.state === 'failed' && !cluster.lies ? 'Transfer failed.' : null,
    'relationship-id': one.uuid,
    policy: one.policy,
  };
}

type Given = (name: string) => string;

const at = (given: Given): string => `${given('vserver')}:${given('volume')}`;
const ofDestination = (cluster: OntapCluster, given: Given): string => {
  const found = cluster.relationships.find(({ destination }) => destination === given('destination-path'));
  if (found === undefined) throw new OntapError('4', "entry doesn't exist");
  return found.uuid;
};

const verbs: Readonly<Record<string, (cluster: OntapCluster, given: Given, all: Parameters) => void>> = {
  'volume modify': (cluster, given, all) => {
    const volume = cluster.volume(at(given));
    if (all.has('comment')) volume.comment = given('comment');
    if (all.has('policy')) cluster.usePolicy(at(given), given('policy'));
  },
  'volume snapshot create': (cluster, given) =>
    cluster.snapshot(at(given), given('snapshot'), given('snapmirror-label') || null),
  'volume snapshot delete': (cluster, given) => {
    const one = cluster.volume(at(given)).snapshots.find(({ name }) => name === given('snapshot'));
    cluster.dropSnapshot(at(given), one?.uuid ?? '');
  },
  'volume clone create': (cluster, given) =>
    cluster.clone(
      given('vserver'),
      given('flexclone'),
      given('parent-volume'),
      given('parent-snapshot'),
      given('comment'),
    ),
  'volume mount': (cluster, given) => cluster.mount(at(given), given('junction-path')),
  'volume unmount': (cluster, given) => cluster.mount(at(given), ''),
  'volume offline': (cluster, given) => {
    cluster.volume(at(given)).state = 'offline';
  },
  'volume delete': (cluster, given) => cluster.deleteVolume(at(given)),
  'snapmirror update': (cluster, given) =>
    cluster.transfer(ofDestination(cluster, given), given('source-snapshot')),
  'snapmirror abort': (cluster, given) => cluster.abort(ofDestination(cluster, given)),
  'snapmirror quiesce': (cluster, given) => cluster.change(ofDestination(cluster, given), 'paused', null),
  'snapmirror break': (cluster, given) =>
    cluster.change(ofDestination(cluster, given), 'broken_off', given('restore-to-snapshot') || null),
  'snapmirror resume': (cluster, given) =>
    cluster.change(ofDestination(cluster, given), 'snapmirrored', null),
  'snapmirror resync': (cluster, given) =>
    cluster.change(ofDestination(cluster, given), 'snapmirrored', null),
  'snapmirror create': (cluster, given) =>
    void cluster.relate(given('source-path'), given('destination-path'), given('policy')),
  'snapmirror delete': (cluster, given) => cluster.unrelate(ofDestination(cluster, given)),
  'snapmirror release': (cluster, given) => cluster.forget(given('relationship-id')),
  'vserver export-policy create': (cluster, given) =>
    void cluster.addPolicy(given('vserver'), given('policyname')),
  'vserver export-policy delete': (cluster, given) =>
    cluster.dropPolicy(cluster.policy(given('vserver'), given('policyname'))),
  'vserver export-policy rule create': (cluster, given) =>
    cluster.addRule(cluster.policy(given('vserver'), given('policyname')), given('clientmatch')),
  'vserver export-policy rule delete': (cluster, given) => {
    const policy = cluster.policy(given('vserver'), given('policyname'));
    policy.rules = policy.rules.filter(({ index }) => String(index) !== given('ruleindex'));
  },
  'lun igroup create': (cluster, given) => cluster.addIgroup(given('vserver'), given('igroup'), []),
  'lun igroup add': (cluster, given) => {
    const found = cluster.igroups.find(
      ({ svm, name }) => svm === given('vserver') && name === given('igroup'),
    );
    if (found === undefined) throw new OntapError('4', "entry doesn't exist");
    found.initiators.push(given('initiator'));
  },
  'lun igroup delete': (cluster, given) => {
    const before = cluster.igroups.length;
    cluster.igroups = cluster.igroups.filter(({ name }) => name !== given('igroup'));
    if (cluster.igroups.length === before) throw new OntapError('4', "entry doesn't exist");
  },
  'lun mapping create': (cluster, given, all) =>
    cluster.map(
      given('vserver'),
      given('path'),
      given('igroup'),
      all.has('lun-id') ? Number(given('lun-id')) : null,
    ),
  'lun mapping delete': (cluster, given) => cluster.unmap(given('vserver'), given('path'), given('igroup')),
};
