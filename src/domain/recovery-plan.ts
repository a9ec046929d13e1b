/**
 * A recovery plan (runbooks/NAME.yaml) after reading: who starts when, what is waited for, what is asked and called on
 * the way, and what is different at the other site. What is absent was not written, and changes nothing.
 */
import type { ScopeMatch } from './scope-rules.ts';

export interface RecoveryPlanSettings {
  readonly file: string | null;
  readonly tiers: readonly TierSettings[];
  /** VMs that no tier names: by their XenServer `order` and vApps (`by-order`), all in one last tier, or left halted. */
  readonly others: 'by-order' | 'last' | 'leave-halted';
  /** Whether VMs sleep their own `start_delay` inside VM.start (xapi.md 8.1); else it is taken off for the start. */
  readonly honourStartDelay: boolean;
  readonly dependencies?: readonly DependencySettings[];
  /** VMs that are imported and not started. */
  readonly leaveOff?: ScopeMatch;
  readonly overrides?: readonly VmOverride[];
  readonly callouts?: readonly CalloutSettings[];
  readonly prompts?: readonly PromptSettings[];
}

export interface TierSettings {
  readonly name: string;
  readonly vms: ScopeMatch;
  readonly ready: readonly ReadinessGate[];
  /** Gates of a drill, whose isolated network hides the guests from probes; `ready` when absent. */
  readonly readyInDrill?: readonly ReadinessGate[];
  readonly timeoutSeconds: number;
  /** What happens when a VM of the tier is not ready in time. */
  readonly onTimeout: 'stop' | 'continue';
  /** Slept after the tier before is ready. */
  readonly delaySeconds?: number;
  /** How many VMs of the tier may be on their way up at once: the next starts when an earlier one is ready. */
  readonly atOnce?: number;
}

/** Each VM of `vms` starts when every VM of `needs` is ready, whichever tiers they are in. */
export interface DependencySettings {
  readonly vms: ScopeMatch;
  readonly needs: ScopeMatch;
  /** What becomes of a VM when one that it needs is not ready in time. */
  readonly ifNotReady: 'start' | 'leave-halted';
}

export type ReadinessGate =
  | { readonly gate: 'running' }
  | { readonly gate: 'guest-agent' }
  /** An address in one of these subnets: sites differ. */
  | { readonly gate: 'address'; readonly subnets: readonly string[] }
  | { readonly gate: 'tcp'; readonly port: number }
  | HttpGate
  | CommandGate;

export interface HttpGate {
  readonly gate: 'http';
  readonly port: number;
  /** Path and query, from the slash on. */
  readonly path: string;
  readonly tls: boolean;
  /** Name for the Host header, SNI and the certificate; the guest's address when null. */
  readonly host: string | null;
  /** False only where the plan says that the certificate is not looked at. */
  readonly verify: boolean;
  /** CA certificates in PEM; those of the system when null. */
  readonly caFile: string | null;
  readonly status: readonly number[];
  /** Text that the answer must hold. */
  readonly contains: string | null;
}

/** A program inside the guest, over SSH, by arguments and never through a text that a shell takes apart. */
export interface CommandGate {
  readonly gate: 'command';
  readonly user: string;
  readonly port: number;
  readonly keyFile: string;
  readonly hostKey: HostKeySource;
  readonly argv: readonly string[];
  readonly exitCode: number;
}

/** How the guest proves who it is. Guests restored from a replica keep their host keys. */
export type HostKeySource =
  /** Base64 SHA-256 as `ssh-keygen -lf` prints it. */
  | { readonly pinned: string }
  /** A file in the form of OpenSSH's known_hosts; the guest is looked up by its name label and by its address. */
  | { readonly knownHostsFile: string };

/** What is different about some VMs when they are brought up at one site. The first that says something decides. */
export interface VmOverride {
  readonly vms: ScopeMatch;
  /** Site at which it applies: addresses and hosts of one site mean nothing at the other. */
  readonly site: string;
  /** Production network → network here, instead of the group's mapping. Never used in a drill. */
  readonly networks: readonly { readonly production: string; readonly here: string }[];
  readonly addresses: readonly StaticAddress[];
  /** Whether a drill sets the addresses as well. */
  readonly addressesInDrill: boolean;
  readonly memory: MemoryOverride | null;
  readonly vcpus: number | null;
  /** Name label of the host to be preferred. */
  readonly host: string | null;
}

/** For `VIF.configure_ipv4/6` (xapi.md 8.6): `device` is the VIF's number, addresses carry their prefix length. */
export interface StaticAddress {
  readonly device: string;
  readonly ipv4: AddressAndGateway | null;
  readonly ipv6: AddressAndGateway | null;
}
export interface AddressAndGateway {
  readonly address: string;
  /** Empty for none. */
  readonly gateway: string;
}
/** Bytes. */
export interface MemoryOverride {
  readonly staticMax: number;
  readonly dynamicMax: number;
  readonly dynamicMin: number;
}

export type Moment =
  | { readonly at: 'before-promotion' }
  | { readonly at: 'after-storage' }
  | { readonly at: 'before-tier'; readonly tier: string }
  | { readonly at: 'after-tier'; readonly tier: string }
  /** Right after the start of each VM that this glob names, before its readiness is waited for. */
  | { readonly at: 'after-start'; readonly vm: string }
  | { readonly at: 'end' };

/** A local program, called by its arguments. */
export interface CalloutSettings {
  readonly name: string;
  readonly moment: Moment;
  readonly argv: readonly string[];
  readonly timeoutSeconds: number;
  /** What a failure means for the run. */
  readonly onFailure: 'stop' | 'continue';
  /** Tries after the first; more than 0 only for a repeatable one. */
  readonly retries: number;
  /** The operator's word that running it twice does no harm. */
  readonly repeatable: boolean;
  /** Whether drills call it: what it changes is most often real. */
  readonly inDrill: boolean;
}

export type PromptAnswer = 'continue' | 'stop';

export interface PromptSettings {
  readonly name: string;
  readonly moment: Moment;
  readonly question: string;
  readonly timeoutSeconds: number;
  /** What counts when nobody answers in time. */
  readonly byDefault: PromptAnswer;
  readonly inDrill: boolean;
}
