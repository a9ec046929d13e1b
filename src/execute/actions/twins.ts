/** The twins at the other site: no copy is started while the other one may run (design, failover 1; invariant 1). */
import { OperatorError, PortError } from '../../domain/errors.ts';
import type { NamedVm } from '../../domain/plan.ts';
import type { VmState } from '../../ports/hypervisor.ts';
import { lossDeclared } from '../decisions.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { concernsOneObject, sentenceOf, type World } from './world.ts';

/** How long a site that answered, or did not, counts as still doing so for further VMs. */
const contactSeconds = 30;
/** How long a look at a twin may take: a site that is half dead must not hold up every single start. */
const lookSeconds = 20;

interface Contact {
  readonly at: number;
  readonly silence: Promise<string | null>;
  /** Set once the site is known to be silent. */
  silentBecause: string | null;
  renewing: boolean;
}

/**
 * Invariant 1: a VM is started only if its twin is observed halted, or a named person declared the twin's site lost.
 * A twin that is observed running stops the start in either case.
 */
export class TwinWatch {
  readonly #world: World;
  readonly #contacts = new Map<string, Contact>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Before anything is changed: without an answering site and without a person's word no VM could be started later. */
  async assertSomebodyKnows(site: string, context: StepContext): Promise<void> {
    const silence = await this.#silence(site, context);
    if (silence !== null && lossDeclared(context.decisions) === null)
      throw unknownTwin(`The twins at site ${site} cannot be looked at`, site, silence, context);
  }

  async assertNotRunning(vm: NamedVm, twinSite: string, context: StepContext): Promise<void> {
    const seen = await this.#look(vm, twinSite, context);
    if (seen.silence !== null) {
      if (lossDeclared(context.decisions) !== null) return;
      throw unknownTwin(
        `VM ${vm.nameLabel} is not started: nobody knows whether its twin at site ${twinSite} runs`,
        twinSite,
        seen.silence,
        context,
      );
    }
    const { state } = seen;
    if (state === undefined || state.powerState === 'Halted') return;
    throw new OperatorError({
      code: 'DR-TWIN-RUNNING',
      what: `VM ${vm.nameLabel} is not started: its twin at site ${twinSite} is ${state.powerState.toLowerCase()}`,
      where: { site: twinSite, object: `VM ${vm.nameLabel}` },
      next: 'Shut the twin down and block its start, then resume the run',
    });
  }

  async #look(
    vm: NamedVm,
    twinSite: string,
    context: StepContext,
  ): Promise<{ readonly silence: null; readonly state: VmState | undefined } | { readonly silence: string }> {
    const silence = await this.#silence(twinSite, context);
    if (silence !== null) return { silence };
    const limit = new AbortController();
    const timer = new AbortController();
    const late = this.#world.clock.sleep(lookSeconds, timer.signal).then(
      () => limit.abort(new Error(`no look at the twin within ${lookSeconds} s`)),
      () => null,
    );
    try {
      const hypervisor = await this.#world.hypervisor(twinSite);
      const states = await hypervisor.vmStates([vm.uuid], AbortSignal.any([limit.signal, context.signal]));
      return { silence: null, state: states.get(vm.uuid) };
    } catch (error) {
      if (context.signal.aborted) throw error;
      if (limit.signal.aborted) return this.#fellSilent(twinSite, `it did not tell within ${lookSeconds} s`);
      if (!(error instanceof PortError || error instanceof OperatorError)) throw error;
      if (concernsOneObject(error)) return { silence: sentenceOf(error) };
      return this.#fellSilent(twinSite, sentenceOf(error));
    } finally {
      timer.abort();
      await late;
    }
  }

  /** It takes connections and tells nothing: for a while nobody else waits for it. */
  #fellSilent(site: string, silence: string): { readonly silence: string } {
    const at = this.#world.clock.monotonicSeconds();
    this.#contacts.set(site, {
      at,
      silence: Promise.resolve(silence),
      silentBecause: silence,
      renewing: false,
    });
    return { silence };
  }

  /**
   * Why nothing of the site can be asked; null when a host answers. One contact serves all VMs for a while. Where a
   * person declared a silent site lost, nobody waits for it again: it is asked beside the work.
   */
  #silence(site: string, context: StepContext): Promise<string | null> {
    const now = this.#world.clock.monotonicSeconds();
    const known = this.#contacts.get(site);
    if (known !== undefined && now - known.at < contactSeconds) return known.silence;
    if (known?.silentBecause != null && lossDeclared(context.decisions) !== null) {
      if (!known.renewing) {
        known.renewing = true;
        this.#begin(site, () => undefined);
      }
      return known.silence;
    }
    return this.#begin(site, (contact) => this.#contacts.set(site, contact));
  }

  /** `register` at once, for others to wait with us; the answer replaces whatever is known by then. */
  #begin(site: string, register: (contact: Contact) => void): Promise<string | null> {
    const silence = this.#contact(site);
    register({ at: this.#world.clock.monotonicSeconds(), silence, silentBecause: null, renewing: false });
    silence.then(
      (silentBecause) => {
        const at = this.#world.clock.monotonicSeconds();
        this.#contacts.set(site, { at, silence, silentBecause, renewing: false });
      },
      () => this.#contacts.delete(site),
    );
    return silence;
  }

  async #contact(site: string): Promise<string | null> {
    try {
      const hypervisor = await this.#world.hypervisor(site);
      // Without the step's signal: an asker that is stopped must not make the site look silent to the others.
      const endpoints = await hypervisor.contact();
      if (endpoints.some((endpoint) => endpoint.answered)) return null;
      return endpoints.map((endpoint) => `${endpoint.url}: ${endpoint.detail}`).join('; ');
    } catch (error) {
      if (!(error instanceof PortError || error instanceof OperatorError)) throw error;
      return sentenceOf(error);
    }
  }
}

function unknownTwin(what: string, site: string, silence: string, context: StepContext): OperatorError {
  return new OperatorError({
    code: 'DR-TWIN-UNKNOWN',
    what,
    where: { site },
    known: [silence, 'nobody has declared the site lost'],
    next: `If the site is lost, say so: \`lifeboat run resume ${context.run} --declare-lost "REASON"\`; else make it reachable and resume the run`,
  });
}

/** Why the site was taken for lost goes into the journal; a failover must know about the twins before it begins. */
export async function recordEvidence(
  twins: TwinWatch,
  action: ActionOf<'record-evidence'>,
  context: StepContext,
): Promise<ActResult> {
  if (context.plan.operation === 'failover') await twins.assertSomebodyKnows(action.site, context);
  return { output: { site: action.site, evidence: [...action.evidence] }, warnings: [] };
}
