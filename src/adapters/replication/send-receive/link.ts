/** What a sending filer can tell of its link and of the other side: one login over the link for each other filer. */
import { PortError } from '../../../domain/errors.ts';
import type { Side } from './carry.ts';
import type { Filer } from './filer.ts';
import { type LinkView, linkUnknown } from './views.ts';

/** The exit code of ssh when it is ssh itself that fails. */
const sshFailed = 255;

interface Pair {
  readonly volume: string;
  readonly peer: Side;
}

export async function readLink(
  filer: Filer,
  pairs: readonly Pair[],
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, LinkView>> {
  const others = new Set(pairs.map(({ peer }) => peer.filer));
  const views = await Promise.all(
    [...others].map((other) =>
      readOne(
        filer,
        pairs.filter(({ peer }) => peer.filer === other),
        signal,
      ),
    ),
  );
  return new Map(views.flatMap((view) => [...view]));
}

async function readOne(
  filer: Filer,
  pairs: readonly Pair[],
  signal: AbortSignal | undefined,
): Promise<Map<string, LinkView>> {
  const [first] = pairs;
  if (first === undefined) return new Map();
  const { store, filer: other } = first.peer;
  const program = store.marksProgram(pairs.map(({ peer }) => peer.volume));
  const marks = await asked(filer, other, program, signal);
  return new Map(
    pairs.map(({ volume, peer }) => [
      volume,
      marks === null
        ? { ...linkUnknown, link: 'down' }
        : { link: 'up', peerPromoted: store.readMarks(marks).get(peer.volume)?.role === 'promoted' },
    ]),
  );
}

/** What the program prints at the other filer; null when the link is down. */
async function asked(
  filer: Filer,
  other: Filer,
  program: readonly string[],
  signal: AbortSignal | undefined,
): Promise<string | null> {
  try {
    const { code, stdout } =
      filer.options.via === 'filer'
        ? await filer.ask(filer.linkArgv(other, program), signal)
        : await other.ask(program, signal);
    return code === sshFailed ? null : stdout;
  } catch (error) {
    if (error instanceof PortError && error.kind === 'unreachable' && filer.options.via === 'lifeboat')
      return null;
    throw error;
  }
}
