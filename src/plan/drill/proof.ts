/** The evidence of a drill: taken from the copies while they stand. */
import type { Step } from '../../domain/plan.ts';
import type { RecoverDraft } from '../recover/draft.ts';
import type { StartOrder } from '../tiers.ts';
import { lastOf } from './on-failure.ts';

export function recordProof(draft: RecoverDraft, drill: string, order: StartOrder): string {
  const steps = draft.steps;
  const vms = order.tiers.flatMap((tier) =>
    tier.vms.map((vm) => {
      const copy = draft.member(vm);
      const startedBy = stepOf(steps, 'start-vm', copy.uuid);
      return {
        uuid: copy.uuid,
        nameLabel: copy.nameLabel,
        original: vm.uuid,
        tier: tier.name,
        gates: tier.ready,
        startedBy: startedBy?.id ?? '',
        readyBy: stepOf(steps, 'await-ready', copy.uuid)?.id ?? null,
      };
    }),
  );
  const site = draft.request.group.recovery;
  return draft.add({
    id: draft.ids.of('evidence', site),
    after: lastOf(steps),
    needs: [],
    action: { do: 'record-proof', site, drill, pointId: draft.choice.point.id, vms },
    onFailure: 'finish',
    timeoutSeconds: 300,
    forecastSeconds: 0.5,
    why: 'What was proven, for which VM, with which point and by which checks: looked at while the copies run',
  });
}

function stepOf(steps: readonly Step[], kind: 'start-vm' | 'await-ready', uuid: string): Step | undefined {
  return steps.find(({ action }) => action.do === kind && action.vm.uuid === uuid);
}
