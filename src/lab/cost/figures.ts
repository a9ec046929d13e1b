/**
 * What a call costs on a real xapi, in seconds of its one core and in seconds spent elsewhere (storage driver,
 * PAM, stunnel, the event batch). Figures: performance.md, measured in milliseconds on xapi 26.17; the section of
 * each figure stands beside it. Where only a span was measured, its middle is used.
 */

/** What a request costs: `cpu` is served one after the other by the pool's core, `elsewhere` runs beside it. */
export interface Cost {
  readonly cpuSeconds: number;
  readonly elsewhereSeconds: number;
}

/** What the model needs to know about the pool when a request arrives or has been carried out. */
export interface PoolSize {
  /** VM records that are not default templates. */
  readonly vms: number;
  readonly vdis: number;
}

const ms = 0.001;

export const figures = {
  /** A small call over a kept connection, 0.48 ms in all (3). */
  call: 0.4 * ms,
  /** A call that writes one row: VBD.create 0.8 ms CPU (5.4), VM.create and VIF.create 1 to 2 ms (1). */
  write: 0.8 * ms,
  /** One record returned: 0.32 s CPU for the 6,509 objects of seven classes; XML-RPC takes a sixth more (2, 3). */
  object: 0.05 * ms,
  /** One ref in a list. A list of 1,000 is a fraction of a millisecond; estimate. */
  reference: 0.001 * ms,
  /** A TLS handshake in stunnel, beside xapi's core, once for each connection: 4 to 5 ms (2). */
  handshake: 4.5 * ms,
  /** Login: a remote xe with password took 240 ms longer than one without (4); PAM works outside xapi's core. */
  loginElsewhere: 200 * ms,
  /** Single export: 2.5 ms CPU with 200 VMs in the pool, 7.5 ms with 1,000 (0, 2). */
  exportBase: 1.25 * ms,
  exportPerPoolVm: 0.00625 * ms,
  /** `all=true`: 1.0 ms CPU for each VM (2). */
  exportAllPerVm: 1 * ms,
  /** `/pool/xmldbdump`: 0.2 ms for each VM of the pool (2). */
  dumpPerVm: 0.2 * ms,
  /** Import of one document: 3.3 ms for each VM, 0.03 ms for each pair of imported VDI and VDI in the target (5.3). */
  importPerVm: 3.3 * ms,
  importPerVdiPair: 0.03 * ms,
  /** On top for each request: 5 ms, and 0.15 ms for each VM already there, read by the MAC-seed check (5.3). */
  importBase: 5 * ms,
  importPerPoolVm: 0.15 * ms,
  /** A dry run costs 85 % of the real thing (5.2). */
  dryRunShare: 0.85,
  /** VM.start: 98 ms with 130 VMs, 158 ms with 1,000, and no more of them for more at once (6). */
  startBase: 88 * ms,
  startPerPoolVm: 0.07 * ms,
  /** VM.hard_shutdown: 45 to 82 ms (6). The way down of a guest that cooperates was not measured. */
  shutdown: 60 * ms,
  /** VM.destroy: 2.6 to 3.2 s for 1,000 (6). */
  vmDestroy: 2.9 * ms,
  /** VM.power_state_reset of a halted VM (6). */
  powerStateReset: 1.2 * ms,
  /** PBD.plug: 0.5 s with 90 VDIs, 6.1 s with 1,500, of it 2.5 s CPU (5.3, 6). */
  plugCpuPerVdi: 1.67 * ms,
  plugElsewhere: 200 * ms,
  plugElsewherePerVdi: 2.27 * ms,
  /** SR.scan: 3.5 s with 1,500 VDIs, of it 0.2 s CPU (6). */
  scanCpuPerVdi: 0.13 * ms,
  scanElsewhere: 50 * ms,
  scanElsewherePerVdi: 2.17 * ms,
  /** SR.probe 0.11 s, SR.introduce 1 ms, PBD.create 2 ms, PBD.unplug 0.1 s, SR.forget 0.7 s with 1,500 VDIs (6). */
  probeElsewhere: 110 * ms,
  introduce: 1 * ms,
  pbdCreate: 2 * ms,
  unplugElsewhere: 100 * ms,
  forgetPerVdi: 0.47 * ms,
  /** VDI.create 0.1 s, in the storage driver (1). */
  vdiCreateElsewhere: 100 * ms,
  /** An idle event.from hears of a change after 6 ms (6). The batching of 50 ms (2) is part of the lab without costs. */
  eventLatency: 6 * ms,
  /** Each further request in hand makes all of them dearer: import 77 ms at one, 85 to 89 at 8 to 16 (5.2). */
  contentionPerRequest: 0.01,
  contentionLimit: 0.15,
} as const;

/** `Class.method` of calls with a price of their own. `vdis` are those of the SR that the call is about. */
const special: Readonly<Record<string, (pool: PoolSize, vdisOfSr: number) => Cost>> = {
  'session.login_with_password': () => both(figures.write, figures.loginElsewhere),
  'VM.start': startCost,
  'VM.start_on': startCost,
  'VM.hard_shutdown': () => both(figures.shutdown, 0),
  'VM.clean_shutdown': () => both(figures.shutdown, 0),
  'VM.shutdown': () => both(figures.shutdown, 0),
  'VM.destroy': () => both(figures.vmDestroy, 0),
  'VM.power_state_reset': () => both(figures.powerStateReset, 0),
  'PBD.plug': (_, vdis) =>
    both(figures.plugCpuPerVdi * vdis, figures.plugElsewhere + figures.plugElsewherePerVdi * vdis),
  'SR.scan': (_, vdis) =>
    both(
      figures.call + figures.scanCpuPerVdi * vdis,
      figures.scanElsewhere + figures.scanElsewherePerVdi * vdis,
    ),
  'SR.probe': () => both(figures.call, figures.probeElsewhere),
  'SR.probe_ext': () => both(figures.call, figures.probeElsewhere),
  'SR.introduce': () => both(figures.introduce, 0),
  'PBD.create': () => both(figures.pbdCreate, 0),
  'PBD.unplug': () => both(figures.call, figures.unplugElsewhere),
  'SR.forget': (_, vdis) => both(figures.call + figures.forgetPerVdi * vdis, 0),
  'VDI.create': () => both(figures.write, figures.vdiCreateElsewhere),
  'VDI.copy': () => both(figures.write, figures.vdiCreateElsewhere),
  'VDI.clone': () => both(figures.write, figures.vdiCreateElsewhere),
  'VDI.snapshot': () => both(figures.write, figures.vdiCreateElsewhere),
  'VDI.destroy': () => both(figures.write, figures.vdiCreateElsewhere),
  'event.from': () => both(figures.call, figures.eventLatency),
};

function both(cpuSeconds: number, elsewhereSeconds: number): Cost {
  return { cpuSeconds, elsewhereSeconds };
}

function startCost(pool: PoolSize): Cost {
  return both(figures.startBase + figures.startPerPoolVm * pool.vms, 0);
}

/**
 * What a call costs apart from the objects that it returns.
 *
 * @param method `Class.method`, without `Async.`
 * @param vdisOfSr VDIs of the SR or PBD that the call names, else 0
 */
export function callCost(method: string, pool: PoolSize, vdisOfSr: number): Cost {
  const known = special[method];
  if (known !== undefined) return known(pool, vdisOfSr);
  return both(reads(method) ? figures.call : figures.write, 0);
}

function reads(method: string): boolean {
  return /\.(get_|assert_|list|session|retrieve_|compute_)/.test(method);
}

/** What the objects of an answer cost. `objects` counts records and events, `references` bare refs. */
export function answerCost(objects: number, references: number): number {
  return objects * figures.object + references * figures.reference;
}

/** `GET /export_metadata` of one VM with whatever belongs to it. */
export function exportOneCost(pool: PoolSize): Cost {
  return both(figures.exportBase + figures.exportPerPoolVm * pool.vms, 0);
}

/** `GET /export_metadata?all=true`. */
export function exportAllCost(vmsInDocument: number): Cost {
  return both(figures.exportAllPerVm * vmsInDocument, 0);
}

export function dumpCost(pool: PoolSize): Cost {
  return both(figures.dumpPerVm * pool.vms, 0);
}

/**
 * `PUT /import_metadata`.
 *
 * @param pool the target before the import
 * @param vdis VDI records in the document
 */
export function importCost(
  pool: PoolSize,
  document: { readonly vms: number; readonly vdis: number },
  options: { readonly restore: boolean; readonly dryRun: boolean },
): Cost {
  const work =
    figures.importPerVm * document.vms +
    figures.importPerVdiPair * document.vdis * pool.vdis +
    figures.importBase +
    (options.restore ? figures.importPerPoolVm * pool.vms : 0);
  return both(options.dryRun ? work * figures.dryRunShare : work, 0);
}
