/** What a failover takes away first: an open drill stands in the way of the SRs, and takes memory from the VMs. */
import type { RecoverDraft } from '../recover/draft.ts';
import { cleanUp } from './clean-up.ts';
import { remainsOf } from './remains.ts';

/** Returns the steps after which it is gone, as far as that was possible; nothing where nothing of a drill is known. */
export function cleanUpBefore(draft: RecoverDraft, harmless: readonly string[]): string[] {
  const { group, observation, openDrill } = draft.request;
  return remainsOf(group, observation, openDrill ?? null)
    .filter(({ vms, srs, clones }) => vms.length + srs.length + clones.length > 0)
    .flatMap((remains) =>
      cleanUp(draft, { site: group.recovery, remains, after: harmless, onFailure: 'continue', observation }),
    );
}
