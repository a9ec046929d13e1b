/** The verbs of the control API: their bodies, and what they do to the array. */
import { z } from 'zod';
import type { LabArray } from './array.ts';
import { divergenceView, drillView, identityView, labCapabilities, pointView, volumeView } from './view.ts';
import { refuse } from './volume.ts';

const text = z.string().min(1);
const nothing = z.strictObject({});
const tagged = z.strictObject({ tag: text });
const hosts = z.strictObject({ addresses: z.array(text) });
const discarding = z.strictObject({ discard: z.boolean(), confirm: z.string() });

type Verb = (array: LabArray, volume: string, body: unknown) => unknown;

/** Reading verbs of a volume. The empty one is the volume itself. */
const reading: Readonly<Record<string, { readonly verb: string; readonly run: Verb }>> = {
  '': { verb: 'observe', run: (array, name) => volumeView(array, array.volume(name)) },
  points: { verb: 'points', run: (array, name) => ({ points: array.points(name).map(pointView) }) },
  divergence: {
    verb: 'divergence',
    run: (array, name) => divergenceView(array.directions.divergence(name)),
  },
};

const acting: Readonly<Record<string, Verb>> = {
  syncNow: (array, name, body) => sent(array.sync(name, tagged.parse(body).tag)),
  prepare: (array, name, body) => sent(array.promotions.prepare(name, tagged.parse(body).tag)),
  unprepare: (array, name, body) => {
    nothing.parse(body);
    return array.promotions.unprepare(name);
  },
  promote: (array, name, body) =>
    array.promote(
      name,
      z
        .strictObject({ mode: z.enum(['planned', 'unplanned']), point: text, confirm: z.string() })
        .parse(body),
    ),
  demote: (array, name, body) => array.directions.demote(name, discarding.parse(body)),
  reverse: (array, name, body) => {
    const { tag, ...given } = discarding.extend({ tag: text }).parse(body);
    return sent(array.directions.reverse(name, tag, given));
  },
  restore: (array, name, body) => array.directions.restore(name, discarding.parse(body)),
  expose: (array, name, body) => array.expose(name, hosts.parse(body).addresses),
  conceal: (array, name, body) => array.conceal(name, hosts.parse(body).addresses),
  drillStart: (array, name, body) =>
    array.drills.start(name, hosts.extend({ drill: text, point: text }).parse(body)),
  drillStop: (array, name, body) =>
    array.drills.stop(name, z.strictObject({ drill: text }).parse(body).drill),
  fence: (array, name, body) => {
    nothing.parse(body);
    return array.promotions.fence(name);
  },
};

const ofTheArray: Readonly<
  Record<string, { readonly verb: string; readonly run: (array: LabArray) => unknown }>
> = {
  '/identity': { verb: 'identify', run: identityView },
  '/capabilities': { verb: 'capabilities', run: () => labCapabilities },
  '/volumes': {
    verb: 'discover',
    run: (array) => ({ volumes: [...array.volumes.values()].map((volume) => volumeView(array, volume)) }),
  },
  '/drills': { verb: 'drillList', run: (array) => ({ drills: array.drills.list().map(drillView) }) },
};

function sent({ point }: { readonly point: Parameters<typeof pointView>[0] }) {
  return { point: pointView(point) };
}

/** A request whose path is known: the port's name of the verb, and the work. */
export interface KnownCall {
  readonly verb: string;
  readonly volume: string | null;
  run(array: LabArray, body: unknown): unknown;
}

/** @throws ArrayRefusal for a path that is not there */
export function callOf(method: string | undefined, path: string): KnownCall {
  const whole = method === 'GET' ? ofTheArray[path] : undefined;
  if (whole !== undefined) return { verb: whole.verb, volume: null, run: whole.run };
  const match = /^\/volumes\/([^/]+)(?:\/([a-zA-Z]+))?$/.exec(path);
  const [volume, name] = [decodeURIComponent(match?.[1] ?? ''), match?.[2] ?? ''];
  const read = method === 'GET' ? reading[name] : undefined;
  const act = method === 'POST' ? acting[name] : undefined;
  if (match !== null && read !== undefined)
    return { verb: read.verb, volume, run: (array, body) => read.run(array, volume, body) };
  if (match !== null && act !== undefined)
    return { verb: name, volume, run: (array, body) => act(array, volume, body) };
  refuse('not-found', `no such path: ${method} ${path}`);
}
