/** Both clusters behind REST, and the adapter for them. */
import type { Test } from 'tap';
import { openOntap } from '../../../../../src/adapters/replication/ontap/open.ts';
import type { ArraySettings } from '../../../../../src/domain/settings.ts';
import type { Side, Verb } from '../../rig.ts';
import type { DoubleRequest } from '../https-double.ts';
import { otherOf, peersOf } from '../pair.ts';
import { restPassword, restUser, startRestDouble } from './rest.ts';
import { type Clusters, clockOf, type Face, resetClusters, volumes } from './rig.ts';

type Fits = (request: DoubleRequest) => boolean;

const comment =
  (part: string): Fits =>
  ({ method, body }) =>
    method === 'PATCH' && JSON.stringify(body).includes(part);
const route =
  (start: string): Fits =>
  ({ method, path }) =>
    `${method} ${path}`.startsWith(start);
const state =
  (wanted: string): Fits =>
  ({ body }) =>
    (body as { state?: string } | null)?.state === wanted;
const cutting: Fits = ({ method, path }) => method === 'POST' && path.endsWith('/snapshots');

/** The request after which nothing but the answer is left of a verb. */
const lastOf: Readonly<Partial<Record<Verb, Fits>>> = {
  syncNow: cutting,
  prepare: comment(String.raw`\"last\":\"`),
  promote: state('broken_off'),
  demote: comment(String.raw`\"demoted\":true`),
  reverse: cutting,
  drillStart: comment('"path":"/lifeboat_drill_'),
  drillStop: route('DELETE /api/storage/volumes/'),
  fence: comment('"export_policy":{"name":"lifeboat_closed"}'),
};
const firstOf = {
  promote: state('paused'),
  prepare: comment(String.raw`\"closed\":`),
  reverse: route('DELETE /api/snapmirror/relationships/'),
  drillStart: route('POST /api/storage/volumes'),
} as const;

export async function startRestFace(t: Pick<Test, 'teardown'>, clusters: Clusters) {
  const doubles = {
    source: await startRestDouble(clusters.source),
    target: await startRestDouble(clusters.target),
  };
  t.teardown(async () => {
    await Promise.all(Object.values(doubles).map(({ server }) => server.stop()));
  });
  const clock = clockOf(clusters);
  const settings = (side: Side, changes: { password?: string; trust?: string } = {}): ArraySettings => {
    const { url, certificate } = doubles[side].server;
    return {
      name: clusters[side].name,
      site: side,
      type: 'ontap',
      options: { url, fingerprint: changes.trust ?? certificate.sha256, username: restUser },
      secret: { from: 'env', name: changes.password ?? restPassword },
    };
  };
  const face: Face = {
    open: (side, changes, pairs = [{ volumes }]) => {
      const other = otherOf(side);
      const adapter = openOntap(settings(side, changes), {
        // The name of the secret is its value here: nothing is looked up.
        secrets: { resolve: (ref) => Promise.resolve('name' in ref ? ref.name : '') },
        clock,
        peers: peersOf(side, settings(other), pairs),
        pace: { firstSeconds: 0.002, longestSeconds: 0.05 },
      });
      t.teardown(() => adapter.close());
      return adapter;
    },
    reset: () => {
      resetClusters(clusters);
      for (const double of Object.values(doubles)) double.reset();
    },
    powerOff: async (side) => {
      clusters[side].up = false;
      await doubles[side].server.powerOff();
    },
    powerOn: async (side) => {
      clusters[side].up = true;
      await doubles[side].server.powerOn();
    },
    lose: (side, verb) => doubles[side].lose(lastOf[verb] ?? (() => false)),
    dieHalfway: (side, verb) => doubles[side].lose(firstOf[verb]),
    requests: (side) => doubles[side].server.requests.length,
    secrets: [restPassword, 'wrong-password'],
    wrongTrust: '00'.repeat(32),
  };
  return { face, doubles };
}
