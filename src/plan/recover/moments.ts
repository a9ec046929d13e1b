/** Prompts and callouts of the recovery plan, put in at their moment: first what is asked, then what is called. */
import { calloutPauseSeconds, type Occasion } from '../../domain/actions/guests.ts';
import { globExpression } from '../../domain/glob.ts';
import type { CalloutSettings, Moment, PromptSettings } from '../../domain/recovery-plan.ts';
import type { PointVm } from '../../domain/recovery-point.ts';
import { formatDuration } from '../../domain/time.ts';
import type { RecoverDraft } from './draft.ts';

/** A moment that has come; `after-start` is that of one VM. */
export type Point =
  | Exclude<Moment, { readonly at: 'after-start' }>
  | { readonly at: 'after-start'; readonly vm: PointVm };

/** What a step needs beside the waiting itself: to be written down, and to kill a program that goes on too long. */
const marginSeconds = 60;

/**
 * Adds what the plan wants at this point, one after the other. Returns the last of these steps, for those that come
 * later; an empty list when nothing is wanted. `needs`: those of `after` without which it makes no sense.
 */
export function atMoment(
  draft: RecoverDraft,
  point: Point,
  after: readonly string[],
  needs: readonly string[] = [],
): string[] {
  const { prompts = [], callouts = [] } = draft.request.group.plan;
  const isWanted = ({ moment, inDrill }: PromptSettings | CalloutSettings): boolean =>
    isNow(moment, point) && (inDrill || draft.operation !== 'drill');
  const occasion = occasionOf(draft, point);
  let last: readonly string[] = [];
  const behind = () => ({
    after: last.length === 0 ? after : last,
    // An answer or a failure that stops the run stops it by itself; one that does not must hold up nobody.
    needs: last.length === 0 ? needs : [],
  });
  for (const prompt of prompts.filter(isWanted)) last = [ask(draft, prompt, occasion, behind())];
  for (const callout of callouts.filter(isWanted)) last = [callOut(draft, callout, occasion, behind())];
  return [...last];
}

interface Behind {
  readonly after: readonly string[];
  readonly needs: readonly string[];
}

function ask(draft: RecoverDraft, prompt: PromptSettings, occasion: Occasion, behind: Behind): string {
  const { name, question, timeoutSeconds, byDefault } = prompt;
  return draft.add({
    id: draft.ids.of('ask', stepName(name, occasion)),
    ...behind,
    action: { do: 'ask', name, question, occasion, answerWithinSeconds: timeoutSeconds, byDefault },
    repeatable: true,
    timeoutSeconds: timeoutSeconds + marginSeconds,
    why: `The recovery plan asks ${occasion.when}; without an answer in ${formatDuration(timeoutSeconds)} it is ${byDefault === 'continue' ? 'yes' : 'no'}`,
  });
}

function callOut(draft: RecoverDraft, callout: CalloutSettings, occasion: Occasion, behind: Behind): string {
  const { name, argv, timeoutSeconds, retries, repeatable, onFailure } = callout;
  return draft.add({
    id: draft.ids.of('call', stepName(name, occasion)),
    ...behind,
    action: {
      do: 'call-out',
      name,
      site: draft.request.group.recovery,
      occasion,
      argv,
      tryWithinSeconds: timeoutSeconds,
      retries,
    },
    repeatable,
    onFailure,
    timeoutSeconds: (retries + 1) * (timeoutSeconds + calloutPauseSeconds) + marginSeconds,
    forecastSeconds: 1,
    why: `The recovery plan calls it ${occasion.when}; if it fails, the run ${onFailure === 'stop' ? 'stops' : 'goes on'}${retries === 0 ? '' : ` after ${retries + 1} tries`}`,
  });
}

function stepName(name: string, { vm }: Occasion): string {
  return vm === null ? name : `${name}-${vm}`;
}

function isNow(moment: Moment, point: Point): boolean {
  if (moment.at === 'after-start')
    return point.at === 'after-start' && globExpression(moment.vm).test(point.vm.nameLabel);
  if (moment.at === 'before-tier' || moment.at === 'after-tier')
    return point.at === moment.at && point.tier === moment.tier;
  return point.at === moment.at;
}

function occasionOf(draft: RecoverDraft, point: Point): Occasion {
  const { at } = point;
  switch (point.at) {
    case 'before-promotion':
      return { at, when: 'before the replica is promoted', tier: null, vm: null };
    case 'after-storage':
      return { at, when: 'when the storage is attached', tier: null, vm: null };
    case 'before-tier':
      return { at, when: `before tier ${point.tier}`, tier: point.tier, vm: null };
    case 'after-tier':
      return { at, when: `after tier ${point.tier}`, tier: point.tier, vm: null };
    case 'after-start': {
      const { nameLabel } = draft.member(point.vm);
      return { at, when: `after the start of ${nameLabel}`, tier: null, vm: nameLabel };
    }
    case 'end':
      return { at, when: 'at the end', tier: null, vm: null };
  }
}
