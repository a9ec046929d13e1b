/** What a recovery plan asks for beside starting VMs: pauses, questions, calls, and what is different about a VM. */
import type { Uuid } from '../pool.ts';
import type { MemoryOverride, Moment, PromptAnswer, StaticAddress } from '../recovery-plan.ts';

/** Between two tries of a callout. */
export const calloutPauseSeconds = 5;

interface VmRef {
  readonly uuid: Uuid;
  readonly nameLabel: string;
}

/** What a VM is to be like before it starts; what is null stays as it was imported. */
export interface Adjustment {
  readonly memory: MemoryOverride | null;
  readonly vcpus: number | null;
  /** The host to be preferred. */
  readonly host: { readonly uuid: Uuid; readonly nameLabel: string } | null;
}

/** Where in the plan a question is asked or a program called: the tier or VM, for those who read or script. */
export interface Occasion {
  readonly at: Moment['at'];
  /** In words, such as `before tier web`. */
  readonly when: string;
  readonly tier: string | null;
  readonly vm: string | null;
}

export type GuestAction =
  | { readonly do: 'pause'; readonly seconds: number; readonly tier: string }
  | {
      readonly do: 'ask';
      readonly name: string;
      readonly question: string;
      readonly occasion: Occasion;
      readonly answerWithinSeconds: number;
      readonly byDefault: PromptAnswer;
    }
  | {
      readonly do: 'call-out';
      readonly name: string;
      readonly site: string;
      readonly occasion: Occasion;
      readonly argv: readonly string[];
      /** Seconds for one try. */
      readonly tryWithinSeconds: number;
      readonly retries: number;
    }
  | {
      readonly do: 'adjust-vm';
      readonly site: string;
      readonly vm: VmRef;
      readonly adjustment: Adjustment;
    }
  | {
      readonly do: 'set-addresses';
      readonly site: string;
      readonly vm: VmRef;
      readonly addresses: readonly StaticAddress[];
    };

export type GuestCondition =
  | {
      readonly is: 'vm-adjusted';
      readonly site: string;
      readonly vm: VmRef;
      readonly adjustment: Adjustment;
    }
  | {
      readonly is: 'addresses-set';
      readonly site: string;
      readonly vm: VmRef;
      readonly addresses: readonly StaticAddress[];
    };
