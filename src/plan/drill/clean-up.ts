/**
 * What takes a drill away again, in the order of xapi.md 7.9 and 8.7: the copies, then the SR on every host, and only
 * then the clone on the array. Only what bears the mark of the drill is touched, and no disk is ever destroyed.
 */
import type { Inventory } from '../../domain/actions/drill.ts';
import type { DrillRemains } from '../../domain/drill.ts';
import type { Observation } from '../../domain/observation.ts';
import type { Step } from '../../domain/plan.ts';
import { askPerson, handedOff } from '../hand-offs.ts';
import type { StepList } from '../steps.ts';

export interface CleanUp {
  readonly site: string;
  readonly remains: DrillRemains;
  /** Steps that must have ended before, whatever came of them. */
  readonly after: readonly string[];
  readonly onFailure: Step['onFailure'];
  /** Which SRs the clones carry is found out on the way: every one with the mark of the drill is forgotten. */
  readonly isFound?: boolean;
  /** What the arrays can do: a copy that a person has made a person takes away. */
  readonly observation: Pick<Observation, 'arrays'>;
}

/** Returns the steps after which nothing of the drill is left. */
export function cleanUp(list: StepList, wanted: CleanUp): string[] {
  const { site, remains, after, onFailure, observation } = wanted;
  const { drill, vms, srs, clones } = remains;
  const removed = list.add({
    id: list.ids.of('remove', vms.length === 0 ? 'copies' : `${vms.length} copies`),
    after,
    needs: [],
    action: { do: 'remove-copies', site, drill, vms },
    holdsWhen: { is: 'copies-gone', site, drill, vms },
    repeatable: true,
    onFailure,
    uses: [`start:${site}`],
    timeoutSeconds: 600 + 10 * vms.length,
    forecastSeconds: 0.5 * vms.length,
    why: 'Switched off and removed, without their disks: those go with the clone',
  });
  const forgotten =
    wanted.isFound === true
      ? [forgetFound(list, wanted, removed)]
      : srs.map((sr) =>
          list.add({
            id: list.ids.of('forget', sr.nameLabel),
            after: [removed],
            action: { do: 'forget-clone', site, drill, srUuid: sr.uuid, nameLabel: sr.nameLabel },
            holdsWhen: { is: 'clone-forgotten', site, drill, srUuid: sr.uuid },
            repeatable: true,
            onFailure,
            uses: [`sr:${site}`],
            timeoutSeconds: 900,
            forecastSeconds: 2,
            why: 'Unplugged on every host, the coordinator last: a volume that vanishes while plugged hangs the hosts',
          }),
        );
  const beforeClones = forgotten.length === 0 ? [removed] : forgotten;
  const stopped = clones.map((target) =>
    list.add({
      id: list.ids.of('stop-clone', target.volume),
      after: removedByHand(list, { observation, target, drill, after: beforeClones, onFailure }),
      action: { do: 'stop-clone', drill, target },
      holdsWhen: { is: 'clone-stopped', drill, target },
      repeatable: true,
      onFailure,
      uses: [`array:${target.array}`],
      timeoutSeconds: 900,
      forecastSeconds: 2,
      why: `The clone goes; the replica ${target.volume} stays as it is`,
    }),
  );
  return stopped.length === 0 ? beforeClones : stopped;
}

function forgetFound(
  list: StepList,
  { site, remains: { drill }, onFailure }: CleanUp,
  removed: string,
): string {
  return list.add({
    id: list.ids.of('forget', 'clones'),
    after: [removed],
    action: { do: 'forget-found-clones', site, drill },
    holdsWhen: { is: 'found-clones-forgotten', site, drill },
    repeatable: true,
    onFailure,
    uses: [`sr:${site}`],
    timeoutSeconds: 900,
    forecastSeconds: 2,
    why: 'Whatever SR bears the mark of this run: a volume that vanishes while plugged hangs the hosts',
  });
}

/** The step in which a person removes the copy; `after` itself where the array does. */
function removedByHand(
  list: StepList,
  {
    observation,
    target,
    drill,
    after,
    onFailure,
  }: Pick<CleanUp, 'observation' | 'after' | 'onFailure'> & {
    readonly target: DrillRemains['clones'][number];
    readonly drill: string;
  },
): readonly string[] {
  const sentence = handedOff(observation, target.array, 'drillStop');
  if (sentence === null) return after;
  const why = `Array ${target.array} is worked by hand: who made the copy takes it away`;
  return [
    askPerson(
      list,
      { target, sentence, names: { drill }, at: 'end', verb: 'remove-clone' },
      { after, onFailure, why },
    ),
  ];
}

export interface Comparison {
  readonly site: string;
  readonly group: string;
  readonly arrays: readonly string[];
  readonly after: readonly string[];
  readonly recordedBy: string | null;
  readonly before: Inventory | null;
}

export function compareInventory(list: StepList, { after, ...action }: Comparison): string {
  return list.add({
    id: list.ids.of('compare-inventory', action.site),
    after,
    needs: [],
    action: { do: 'compare-inventory', ...action },
    onFailure: 'finish',
    timeoutSeconds: 300,
    forecastSeconds: 0.5,
    why: 'Before equals after: the proof that nothing of the drill was left behind',
  });
}
