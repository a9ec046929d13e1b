/**
 * A world of two sites as one JSON value: pools, replicated volumes with what each VM has written to them, recovery
 * points. It notes by itself what must never happen, at the moment in which it does.
 */

import type { PoolFacts, SrFacts, VmFacts } from '../../../src/domain/pool.ts';
import type { RecoveryPoint } from '../../../src/domain/recovery-point.ts';
import type { ReplicaPoint, Role } from '../../../src/domain/replication.ts';
import type { Mutable } from '../../execute/fake-sites.ts';
import { productionPool, recoveryPool } from '../../support/two-sites.ts';
import { networkTwin } from './networks.ts';

/** How often each VM has written: a copy that has less than it should has lost data. */
export type Content = Record<string, number>;

export type ModelPoint = ReplicaPoint & { readonly content: Content };

export interface ModelVolume {
  readonly site: string;
  readonly array: string;
  readonly sr: string;
  /** `array/volume` of the other side. */
  readonly peer: string;
  role: Role;
  content: Content;
  /** Newest first, as the target holds them. */
  points: ModelPoint[];
  /** The point that both sides held last: what is behind it is on one side alone. */
  common: string | null;
  /** Clones by drill. */
  drills: Record<string, Content>;
}

export interface ModelSite {
  up: boolean;
  pool: Mutable<PoolFacts>;
}

export interface ModelState {
  readonly sites: Record<string, ModelSite>;
  /** By `array/volume`. */
  readonly volumes: Record<string, ModelVolume>;
  /** Bytes by SHA-256, in base64. */
  readonly objects: Record<string, string>;
  readonly points: Record<string, RecoveryPoint>;
  /** How often each VM has written since it began, wherever it ran: what a move must bring over. */
  latest: Content;
  /** VMs as they were made: an import gives back what its document says of them. */
  readonly originals: Record<string, VmFacts>;
  /** Every change that reached the world, in order. */
  deeds: string[];
  violations: string[];
  /** Makes refs of points and the like. */
  counter: number;
}

const runningGuest = { networks: { '0/ip': '192.0.2.77' }, driversDetected: true, live: true };

/** What goes with the power of a VM: its devices are attached while it runs, and its guest reports. */
export function setPower(vm: Mutable<VmFacts>, on: boolean, host: string | null): void {
  vm.powerState = on ? 'Running' : 'Halted';
  vm.residentOn = host;
  vm.guest = on ? runningGuest : null;
  vm.vbds = vm.vbds.map((vbd) => ({ ...vbd, attached: on }));
  vm.vifs = vm.vifs.map((vif) => ({ ...vif, attached: on }));
}

const drillNetwork = (facts: PoolFacts, number: number): PoolFacts => ({
  ...facts,
  networks: [...facts.networks, networkTwin(facts, number)],
});

/** Osaka runs the VMs of these names, Tokyo holds the replicas; nothing has been exported yet. */
export function firstState(names: readonly string[]): ModelState {
  const whole = productionPool();
  const vms = whole.vms
    .filter((vm) => names.includes(vm.nameLabel))
    .map((vm, index) => ({
      ...vm,
      ...{ guest: runningGuest, residentOn: whole.masterUuid },
      vifs: vm.vifs.map((vif) => ({ ...vif, mac: `02:00:00:00:01:${String(index).padStart(2, '0')}` })),
    }));
  const disks = new Set(vms.flatMap((vm) => vm.vbds.map((vbd) => vbd.vdiUuid)));
  const srs = whole.srs.map((sr, index) => at(sr, 'filer-osaka', `tier${index + 1}`));
  const osaka = drillNetwork(
    {
      ...whole,
      vms,
      srs,
      // Free memory of the model stands still: it has to do for those that come back as well.
      hosts: whole.hosts.map((host) => ({ ...host, memoryFree: host.memoryTotal })),
      vdis: whole.vdis.filter((vdi) => disks.has(vdi.uuid)),
      appliances: whole.appliances.map((vapp) => ({
        ...vapp,
        vmUuids: vapp.vmUuids.filter((id) => vms.some((vm) => vm.uuid === id)),
      })),
    },
    91,
  );
  const volumes: Record<string, ModelVolume> = {};
  srs.forEach((sr, index) => {
    const pair = [`filer-osaka/tier${index + 1}`, `filer-tokyo/tier${index + 1}-copy`] as const;
    const volume = (site: string, array: string, peer: string, role: Role): ModelVolume => ({
      ...{ site, array, sr: sr.uuid, peer, role, common: null },
      ...{ content: {}, points: [], drills: {} },
    });
    volumes[pair[0]] = volume('osaka', 'filer-osaka', pair[1], 'source');
    volumes[pair[1]] = volume('tokyo', 'filer-tokyo', pair[0], 'target');
  });
  return {
    sites: {
      osaka: { up: true, pool: osaka },
      tokyo: { up: true, pool: drillNetwork(recoveryPool(), 92) },
    },
    volumes,
    objects: {},
    points: {},
    latest: {},
    originals: Object.fromEntries(vms.map((vm) => [vm.uuid, vm])),
    deeds: [],
    violations: [],
    counter: 0,
  };
}

function at(sr: SrFacts, server: string, volume: string): SrFacts {
  const deviceConfig = { server, serverpath: `/${volume}` };
  return { ...sr, pbds: sr.pbds.map((pbd) => ({ ...pbd, deviceConfig })) };
}

/** The state, and the hands that change it. `onChange` is called after each change, with the world as it is then. */
export class ModelWorld {
  readonly state: ModelState;
  onChange: () => void = () => undefined;
  now: () => string;

  constructor(state: ModelState, now: () => string) {
    this.state = state;
    this.now = now;
  }

  did(deed: string): void {
    this.state.deeds.push(deed);
    this.judge();
    this.onChange();
  }

  violation(what: string): void {
    if (!this.state.violations.includes(what)) this.state.violations.push(what);
  }

  next(): number {
    this.state.counter += 1;
    return this.state.counter;
  }

  site(name: string): ModelSite {
    const site = this.state.sites[name];
    if (site === undefined) throw new Error(`no site ${name}`);
    return site;
  }

  /** What must hold at every moment, whoever is at work: invariant 1, and 3 as far as a drill could write. */
  judge(): void {
    const runs = new Map<string, string>();
    for (const [name, { up, pool }] of Object.entries(this.state.sites)) {
      if (!up) continue;
      for (const vm of pool.vms) {
        if (vm.powerState !== 'Running') continue;
        const elsewhere = runs.get(vm.uuid);
        if (elsewhere !== undefined)
          this.violation(`twin running: ${vm.nameLabel} at ${elsewhere} and ${name}`);
        runs.set(vm.uuid, name);
      }
    }
  }

  /** Every VM that runs writes once to each of its disks. */
  write(): void {
    for (const [name, { up, pool }] of Object.entries(this.state.sites)) {
      if (!up) continue;
      for (const vm of pool.vms.filter((each) => each.powerState === 'Running'))
        this.#writeOf(name, pool, vm);
    }
  }

  #writeOf(site: string, pool: PoolFacts, vm: VmFacts): void {
    const content = this.contentOf(site, pool, vm);
    if (content === null) this.violation(`disk lost: ${vm.nameLabel} runs at ${site} without its disk`);
    else if (content === 'read-only') this.violation(`wrote to a replica: ${vm.nameLabel} at ${site}`);
    else {
      content[vm.uuid] = (content[vm.uuid] ?? 0) + 1;
      // A copy for a drill writes to its clone: nothing of that is ever missed.
      if (this.state.originals[vm.uuid] !== undefined) this.state.latest[vm.uuid] = content[vm.uuid] ?? 0;
    }
  }

  /** What the first disk of a VM holds; null without it. */
  contentOf(site: string, pool: PoolFacts, vm: VmFacts): Content | 'read-only' | null {
    const disk = vm.vbds.find((vbd) => vbd.type === 'Disk')?.vdiUuid;
    const vdi = pool.vdis.find((each) => each.uuid === disk);
    const sr = pool.srs.find((each) => each.uuid === vdi?.srUuid);
    const config = sr?.pbds.find((pbd) => pbd.attached)?.deviceConfig;
    if (config === undefined) return null;
    return this.at(site, config['server'] ?? '', config['serverpath'] ?? '')?.content ?? null;
  }

  /** What is exported under this path: a volume, or the clone of a drill. */
  at(
    site: string,
    server: string,
    path: string,
  ): { readonly volume: ModelVolume; readonly content: Content | 'read-only' } | null {
    const drill = /^\/drills\/([^/]+)\/(.+)$/.exec(path);
    const name = drill?.[2] ?? path.replace(/^\//, '');
    const volume = this.state.volumes[`${server}/${name}`];
    if (volume === undefined || volume.site !== site) return null;
    if (drill !== null) {
      const clone = volume.drills[drill[1] ?? ''];
      return clone === undefined ? null : { volume, content: clone };
    }
    const writable = volume.role === 'source' || volume.role === 'promoted';
    return { volume, content: writable ? volume.content : 'read-only' };
  }

  /** The power fails: nothing runs there any more. */
  kill(name: string): void {
    const site = this.site(name);
    site.up = false;
    for (const vm of site.pool.vms as Mutable<VmFacts>[]) setPower(vm, false, null);
    this.did(`${name} dies`);
  }

  /** The power is back, and with it the storage plugged as it was; VMs stay halted until somebody starts them. */
  revive(name: string): void {
    this.site(name).up = true;
    this.did(`${name} is back`);
  }

  /** What an ordinary schedule of the arrays does: the newest writes arrive at the other side. */
  replicate(): void {
    for (const [key, volume] of Object.entries(this.state.volumes)) {
      const peer = this.state.volumes[volume.peer];
      if (volume.role !== 'source' || peer?.role !== 'target') continue;
      if (!this.site(volume.site).up || !this.site(peer.site).up) continue;
      this.send(key, `schedule-${this.next()}`);
    }
  }

  /** Cuts a point with this tag and brings it over; the same tag twice is one point. */
  send(key: string, tag: string): ReplicaPoint {
    const volume = this.state.volumes[key];
    const peer = this.state.volumes[volume?.peer ?? ''];
    if (volume === undefined || peer === undefined) throw new Error(`no pair ${key}`);
    const known = peer.points.find((point) => point.tag === tag);
    if (known !== undefined) return plain(known);
    const point: ModelPoint = {
      ref: `p${this.next()}`,
      tag,
      takenAt: this.now(),
      clock: 'source',
      complete: true,
      consistency: 'crash',
      content: { ...volume.content },
    };
    peer.points = [point, ...peer.points].slice(0, 5);
    volume.common = point.ref;
    peer.common = point.ref;
    return plain(point);
  }
}

export function plain({ content: _content, ...point }: ModelPoint): ReplicaPoint {
  return point;
}
