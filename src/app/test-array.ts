/** `lifeboat array test NAME`: every verb of an array that only looks, tried on the real thing; nothing is changed. */
import type { ArrayTest } from '../domain/array-test.ts';
import { exitCodes, OperatorError, PortError } from '../domain/errors.ts';
import { nearest } from '../domain/nearest.ts';
import type { Capabilities, FoundPair, PairView, ReplicaPoint } from '../domain/replication.ts';
import type { ArraySettings, Settings } from '../domain/settings.ts';
import { formatDuration, secondsBetween } from '../domain/time.ts';
import type { ArrayIdentity, Replication } from '../ports/replication.ts';
import type { Context } from './app.ts';
import type { AppPorts } from './ports.ts';
import { type Said, Trials } from './trials.ts';

/** Clocks that differ by more make ages of points wrong by as much. */
const clockOffsetSeconds = 60;
/** No array holds it, and every adapter must say so. */
const absentVolume = 'lifeboat-no-such-volume';

type Attempt = <T>(verb: string, ask: () => Promise<T>, judge: (answer: T) => Said) => Promise<unknown>;

export async function testArray(
  ports: Pick<AppPorts, 'settings' | 'array' | 'clock'>,
  name: string,
  context: Context = {},
): Promise<ArrayTest> {
  const known = arrayNamed(ports.settings, name);
  const array = await ports.array(name);
  const { signal } = context;
  const trials = new Trials(`array ${name}`, context);
  const attempt: Attempt = (verb, ask, judge) => trials.attempt(verb, ask, judge);
  const volumes = volumesOf(ports.settings, name);
  await attempt(
    'identify',
    () => array.identify(signal),
    (identity) => judgeIdentity(identity, ports.clock.now()),
  );
  const can = await trials.attempt('capabilities', () => array.capabilities(signal), judgeCapabilities);
  await attempt(
    'discover',
    () => array.discover(signal),
    (found) => judgePairs(found, volumes),
  );
  await observeEach(array, volumes, attempt, signal);
  for (const { volume, side } of volumes)
    if (side === 'target') await attempt(`points ${volume}`, () => array.points(volume, signal), judgePoints);
  if (can?.expose === 'lun') await describeEach(array, volumes, attempt, signal);
  await attempt(
    'drillList',
    () => array.drillList(signal),
    (drills) => ({
      outcome: 'ok',
      says: drills.map((drill) => `${drill.name}: copy of volume ${drill.volume} for drill ${drill.drill}`),
    }),
  );
  return { array: name, type: known.type, checks: trials.checks };
}

function arrayNamed({ arrays, file }: Settings, name: string): ArraySettings {
  const found = arrays.find((array) => array.name === name);
  if (found !== undefined) return found;
  const names = arrays.map((array) => array.name);
  const close = nearest(name, names);
  throw new OperatorError(
    {
      code: 'DR-ARRAY-UNKNOWN',
      what: `There is no array ${name}`,
      where: { file },
      known: [`the arrays are ${names.join(', ')}`],
      next: close === null ? 'Name one of them.' : `Did you mean ${close}?`,
    },
    { exitCode: exitCodes.usage },
  );
}

interface NamedVolume {
  readonly volume: string;
  readonly side: 'source' | 'target';
}

function volumesOf({ groups }: Settings, name: string): NamedVolume[] {
  const found = new Map<string, NamedVolume>();
  for (const storage of groups.flatMap((group) => group.storage))
    for (const side of ['source', 'target'] as const)
      if (storage[side].array === name)
        found.set(storage[side].volume, { volume: storage[side].volume, side });
  return [...found.values()];
}

function judgeIdentity(identity: ArrayIdentity, now: string): Said {
  const { vendor, model, serial, clock } = identity;
  const offBySeconds = secondsBetween(now, clock);
  const who = [vendor, model].filter(Boolean).join(' ');
  const says = [`${who}, serial ${serial}`];
  if (Math.abs(offBySeconds) <= clockOffsetSeconds) return { outcome: 'ok', says };
  const how = `${formatDuration(Math.abs(offBySeconds))} ${offBySeconds < 0 ? 'behind' : 'ahead of'}`;
  return {
    outcome: 'warning',
    says: [...says, `its clock is ${how} ours: ages of points are wrong by that`],
  };
}

function judgeCapabilities(can: Capabilities): Said {
  const verbs = [
    ...(['syncNow', 'prepare', 'restore', 'fence', 'promoteToPoint'] as const).filter((verb) => can[verb]),
    ...(can.drill === 'none' ? [] : [`drill (${can.drill})`]),
    ...(can.reverse === 'none' ? [] : [`reverse (${can.reverse})`]),
    ...(can.expose === 'none' ? [] : [`expose (${can.expose})`]),
    ...(can.consistencyGroups ? ['consistency groups'] : []),
  ];
  const byHand = Object.keys(can.handOffs ?? {});
  return {
    outcome: 'ok',
    says: [
      verbs.length === 0 ? 'nothing by itself' : verbs.join(', '),
      ...(byHand.length === 0 ? [] : [`by a person: ${byHand.join(', ')}`]),
    ],
  };
}

function judgePairs(found: readonly FoundPair[], volumes: readonly NamedVolume[]): Said {
  const listed = new Set(found.map(({ volume }) => volume));
  const absent = volumes.filter(({ volume }) => !listed.has(volume)).map(({ volume }) => volume);
  const says = [`${found.length} pairs`];
  return absent.length === 0
    ? { outcome: 'ok', says }
    : {
        outcome: 'warning',
        says: [...says, `not among them, though sites.yaml names it: ${absent.join(', ')}`],
      };
}

async function observeEach(
  array: Replication,
  volumes: readonly NamedVolume[],
  attempt: Attempt,
  signal: AbortSignal | undefined,
): Promise<void> {
  const names = [...volumes.map(({ volume }) => volume), absentVolume];
  let views: ReadonlyMap<string, PairView | PortError> = new Map();
  await attempt(
    'observe',
    async () => {
      views = await array.observeAll(names, signal);
      return views.get(absentVolume);
    },
    (absent) =>
      absent instanceof PortError || absent?.role === 'unknown'
        ? { outcome: 'ok', says: [`${volumes.length} volumes of sites.yaml`] }
        : { outcome: 'warning', says: ['a volume that cannot be there is shown as if it were'] },
  );
  if (views.size === 0) return;
  for (const { volume, side } of volumes)
    await attempt(
      `observe ${volume}`,
      async () => viewOf(views, volume),
      (view) => judgeView(view, side),
    );
}

async function describeEach(
  array: Replication,
  volumes: readonly NamedVolume[],
  attempt: Attempt,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (array.describe === undefined) return;
  for (const { volume } of volumes)
    await attempt(
      `lun ${volume}`,
      async () => array.describe?.(volume, signal),
      (described = {}) => ({
        outcome: 'ok',
        says: Object.entries(described).map(([name, value]) => `${name} ${value}`),
      }),
    );
}

function viewOf(views: ReadonlyMap<string, PairView | PortError>, volume: string): PairView {
  const view = views.get(volume);
  if (view instanceof PortError) throw view;
  if (view !== undefined) return view;
  throw new OperatorError({
    code: 'DR-ARRAY-PROTOCOL',
    what: `Nothing is said about volume ${volume}`,
    next: 'Correct the adapter: each volume that is asked for has a view or an error of its own',
  });
}

function judgeView({ role, link, health, newestComplete }: PairView, side: NamedVolume['side']): Said {
  const says = [
    `${role}, link ${link}, health ${health.level}`,
    ...health.reasons,
    ...(newestComplete === null ? [] : [`newest complete point of ${newestComplete.takenAt}`]),
  ];
  return { outcome: role === side && health.level === 'ok' ? 'ok' : 'warning', says };
}

function judgePoints(points: readonly ReplicaPoint[]): Said {
  const complete = points.filter((point) => point.complete);
  const says = [`${complete.length} complete of ${points.length}`];
  if (new Set(points.map(({ ref }) => ref)).size < points.length)
    return { outcome: 'warning', says: [...says, 'two of them go by one name'] };
  return complete.length > 0
    ? { outcome: 'ok', says }
    : { outcome: 'warning', says: [...says, 'nothing could be promoted'] };
}
