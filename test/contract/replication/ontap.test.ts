/** The ONTAP adapter over REST against clusters in memory: the contract, and what goes wrong with ONTAP itself. */
import t from 'tap';
import { startRestFace } from './doubles/ontap/rest-face.ts';
import { makeClusters, ontapRig, together } from './doubles/ontap/rig.ts';
import { replicationSuite } from './suite.ts';

const clusters = makeClusters();
const { face } = await startRestFace(t, clusters);
face.reset();
const adapters = { source: face.open('source'), target: face.open('target') };

replicationSuite(
  'ontap',
  async () => {
    for (const side of ['source', 'target'] as const) if (!clusters[side].up) await face.powerOn(side);
    face.reset();
    return { ...ontapRig(clusters, face, adapters), together: async () => together(clusters, face) };
  },
  { cannot: { readKept: 'a resync takes the place of what was there: nothing is kept aside' } },
);
