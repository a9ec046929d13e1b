/** Both clusters behind SSH, and the adapter for them. */
import type { Test } from 'tap';
import { openOntapCli } from '../../../../../src/adapters/replication/ontap/open.ts';
import type { ArraySettings } from '../../../../../src/domain/settings.ts';
import { startSshServer } from '../../../../support/ssh-server.ts';
import type { Side, Verb } from '../../rig.ts';
import { answerLine } from './cli.ts';
import { type Clusters, clockOf, type Face, resetClusters, volumes } from './rig.ts';

/** The command after which nothing but the answer is left of a verb. */
const lastOf: Readonly<Partial<Record<Verb, RegExp>>> = {
  syncNow: /volume snapshot create/,
  prepare: /volume modify .*last\\":\\"/,
  promote: /snapmirror break/,
  demote: /volume modify .*demoted\\":true/,
  reverse: /volume snapshot create/,
  drillStart: /volume mount/,
  drillStop: /volume delete/,
  fence: /volume modify .*-policy lifeboat_closed/,
};
const firstOf = {
  promote: /snapmirror quiesce/,
  prepare: /volume modify .*closed/,
  reverse: /snapmirror delete/,
  drillStart: /volume clone create/,
} as const;

export async function startCliFace(t: Pick<Test, 'teardown'>, clusters: Clusters) {
  const losing: Record<Side, RegExp | null> = { source: null, target: null };
  const serve = (side: Side) =>
    startSshServer(t as Test, {
      refuseChannel: () => !clusters[side].up,
      command: (line, channel) => {
        const printed = answerLine(clusters[side], line);
        if (losing[side]?.test(line) === true) {
          losing[side] = null;
          servers[side].cut();
          return;
        }
        channel.write(printed);
        channel.exit(0);
        channel.end();
      },
    });
  const servers = { source: await serve('source'), target: await serve('target') };
  const clock = clockOf(clusters);
  const settings = (side: Side, changes: { password?: string; trust?: string } = {}): ArraySettings => ({
    name: clusters[side].name,
    site: side,
    type: 'ontap-cli',
    options: {
      host: '127.0.0.1',
      port: servers[side].port,
      username: servers[side].username,
      host_key: changes.trust ?? servers[side].hostKey,
    },
    secret: { from: 'env', name: changes.password ?? servers[side].password },
  });
  const face: Face = {
    open: (side, changes) => {
      const other = side === 'source' ? 'target' : 'source';
      const adapter = openOntapCli(settings(side, changes), {
        secrets: { resolve: (ref) => Promise.resolve('name' in ref ? ref.name : '') },
        clock,
        peers: new Map([[volumes[side], { array: settings(other), volume: volumes[other] }]]),
        pace: { firstSeconds: 0.002, longestSeconds: 0.05 },
      });
      t.teardown(() => adapter.close());
      return adapter;
    },
    reset: () => {
      resetClusters(clusters);
      losing.source = null;
      losing.target = null;
    },
    powerOff: async (side) => {
      clusters[side].up = false;
      servers[side].cut();
    },
    powerOn: async (side) => {
      clusters[side].up = true;
    },
    lose: (side, verb) => {
      losing[side] = lastOf[verb] ?? null;
    },
    dieHalfway: (side, verb) => {
      losing[side] = firstOf[verb];
    },
    requests: (side) => servers[side].commands.length,
    secrets: ['wrong-password'],
    wrongTrust: 'A'.repeat(43),
  };
  return { face, servers };
}
