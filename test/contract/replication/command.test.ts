/** The contract of the replication port over the sample program of runbooks/samples, called as a site's program is. */
import { openCommandRig } from './command/rig.ts';
import { replicationSuite } from './suite.ts';

replicationSuite('command', openCommandRig, {
  cannot: {
    wrongTrust: 'the sample reaches its array through the file system: there is no identity to pin',
    bytesCarried: 'the sample says that its way back is a full copy',
  },
});
