/**
 * What was done, kept in the cluster itself: a key-value store named `lifeboat`. Properties of the resource definition
 * would not do: a shipment into a definition without resources resets them to those of the sender.
 */
import type { Instant } from '../../../domain/time.ts';
import { answers } from './answers.ts';
import type { LinstorApi } from './api.ts';

const path = '/v1/key-value-store/lifeboat';
const volumePrefix = 'volume/';
const drillPrefix = 'drill/';

export type MarkRole =
  /** Writes are being stopped, and the last point is on its way. */
  | 'preparing'
  | 'prepared'
  | 'fenced'
  | 'demoted'
  | 'target'
  /** A point is being restored into a definition without resources. */
  | 'promoting'
  /** Resources that were there before are being rolled back to a point. */
  | 'rolling'
  | 'promoted'
  | 'reversing';

export interface Mark {
  readonly role: MarkRole;
  /** The point it is about. */
  readonly point: string | null;
}

export interface DrillMark {
  /** The resource definition that holds the copy. */
  readonly name: string;
  readonly volume: string;
  readonly drill: string;
  readonly point: string;
  readonly madeAt: Instant;
}

export interface Marks {
  readonly volumes: ReadonlyMap<string, Mark>;
  readonly drills: readonly DrillMark[];
}

const form = /^(preparing|prepared|fenced|demoted|target|promoting|rolling|promoted|reversing):(.+)$/;

export async function readMarks(api: LinstorApi, signal: AbortSignal | undefined): Promise<Marks> {
  const stores = (await api.find(answers.keyValues, path, signal)) ?? [];
  const entries = stores.flatMap(({ props }) => Object.entries(props));
  const volumes = entries.flatMap(([key, text]): [string, Mark][] => {
    const [, role, point] = form.exec(text) ?? [];
    if (!key.startsWith(volumePrefix) || role === undefined || point === undefined) return [];
    return [
      [key.slice(volumePrefix.length), { role: role as MarkRole, point: point === '-' ? null : point }],
    ];
  });
  return { volumes: new Map(volumes), drills: entries.flatMap(([key, text]) => drillMark(key, text)) };
}

export async function writeMark(
  api: LinstorApi,
  volume: string,
  mark: Mark | null,
  signal: AbortSignal | undefined,
): Promise<void> {
  const key = `${volumePrefix}${volume}`;
  await change(api, key, mark === null ? null : `${mark.role}:${mark.point ?? '-'}`, signal);
}

export async function writeDrill(
  api: LinstorApi,
  { name, volume, drill, point, madeAt }: DrillMark,
  signal: AbortSignal | undefined,
): Promise<void> {
  const words = [volume, drill, point, madeAt].map(encodeURIComponent).join(' ');
  await change(api, `${drillPrefix}${name}`, words, signal);
}

export async function forgetDrill(
  api: LinstorApi,
  name: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  await change(api, `${drillPrefix}${name}`, null, signal);
}

function drillMark(key: string, text: string): DrillMark[] {
  const [volume, drill, point, madeAt] = text.split(' ').map(decodeURIComponent);
  if (!key.startsWith(drillPrefix) || madeAt === undefined) return [];
  return [
    {
      name: key.slice(drillPrefix.length),
      volume: volume ?? '',
      drill: drill ?? '',
      point: point ?? '',
      madeAt,
    },
  ];
}

async function change(
  api: LinstorApi,
  key: string,
  value: string | null,
  signal: AbortSignal | undefined,
): Promise<void> {
  const body =
    value === null
      ? { override_props: {}, delete_props: [key], delete_namespaces: [] }
      : { override_props: { [key]: value }, delete_props: [], delete_namespaces: [] };
  await api.act('PUT', path, body, signal);
}
