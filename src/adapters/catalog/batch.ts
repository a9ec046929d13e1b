/** Writing many objects into several targets: packed once, compressed once, synced once. */
import type { ObjectRef } from '../../domain/recovery-point.ts';
import { Sha256 } from './hash.ts';
import { compress } from './pack.ts';
import type { PackSession } from './session.ts';
import type { Target } from './target.ts';

export interface Branch {
  readonly target: Target;
  readonly session: PackSession;
  failure: unknown;
}

/** A target that fails is left out from then on; its error is kept. The batch fails when no target is left. */
export class Batch {
  readonly branches: readonly Branch[];
  readonly #explain: (branches: readonly Branch[]) => Error;
  #queue: Promise<unknown> = Promise.resolve();
  #ended = false;

  constructor(targets: readonly Target[], explain: (branches: readonly Branch[]) => Error) {
    this.branches = targets.map((target) => ({ target, session: target.session(), failure: null }));
    this.#explain = explain;
  }

  put(bytes: Uint8Array): Promise<ObjectRef> {
    return this.#inTurn(async () => {
      const sha256 = new Sha256().update(bytes).digest();
      const lacking = this.#alive().filter(
        ({ target, session }) => !target.holds(sha256) && !session.has(target.nameOf(sha256)),
      );
      if (lacking.length > 0) {
        const compressed = await compress(bytes);
        await this.#each(lacking, ({ target, session }) =>
          session.add(target.nameOf(sha256), compressed, bytes.length),
        );
      }
      return { sha256, bytes: bytes.length };
    });
  }

  /** A large object, compressed already, in chunks of at most 1 MiB; `clear` is known when the chunks have ended. */
  putChunks(
    chunks: AsyncIterable<{ readonly bytes: Uint8Array; readonly last: boolean }>,
    clear: () => ObjectRef,
  ): Promise<ObjectRef> {
    return this.#inTurn(async () => {
      for await (const { bytes, last } of chunks)
        await this.#each(this.#alive(), ({ session }) => session.chunk(bytes, last));
      const object = clear();
      await this.#each(this.#alive(), async ({ target, session }) => {
        // Known only now that this target has it already: what was written for it is taken back.
        if (target.holds(object.sha256)) await session.abort();
        else await session.end(target.nameOf(object.sha256), object.bytes);
      });
      return object;
    });
  }

  commit(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#each(this.#alive(), ({ session }) => session.commit());
      this.#end();
    });
  }

  /** Never throws. */
  async abort(): Promise<void> {
    await Promise.allSettled([this.#queue]);
    await Promise.allSettled(this.branches.map(({ session }) => session.abort()));
    this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const { target } of this.branches) target.release();
  }

  #alive(): Branch[] {
    return this.branches.filter(({ failure }) => failure === null);
  }

  async #each(branches: readonly Branch[], action: (branch: Branch) => Promise<void>): Promise<void> {
    await Promise.all(
      branches.map(async (branch) => {
        try {
          await action(branch);
        } catch (error) {
          branch.failure = error;
          await branch.session.abort();
        }
      }),
    );
    if (this.#alive().length === 0) throw this.#explain(this.branches);
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(action);
    this.#queue = turn.catch(() => null);
    return turn;
  }
}
