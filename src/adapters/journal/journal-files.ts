/**
 * Journals as files: `<directory>/<run id>.jsonl`, one line per event, mode 0600 in a directory of mode 0700. A line
 * is on the disk (fdatasync) before `append` returns; the directory is synced when a file is made.
 */
import { type FileHandle, mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { OperatorError } from '../../domain/errors.ts';
import type { RunEvent } from '../../domain/run.ts';
import type { Journal, Journals } from '../../ports/system.ts';
import { chainStart, journalLine, readJournalLine } from './lines.ts';

const suffix = '.jsonl';
const lostSector = Buffer.alloc(512);

export class JournalFiles implements Journals {
  readonly #directory: string;

  /** `directory` is made when it is missing. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  pathOf(runId: string): string {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(runId)) {
      throw new OperatorError({
        code: 'DR-RUN-ID',
        what: `"${runId}" is not a run id`,
        next: 'Choose one that `lifeboat run list` shows',
      });
    }
    return join(this.#directory, `${runId}${suffix}`);
  }

  async create(runId: string): Promise<Journal> {
    const path = this.pathOf(runId);
    try {
      const made = await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      // O_EXCL: two runs never share a file.
      const file = await open(path, 'ax', 0o600);
      await syncDirectory(this.#directory);
      if (made !== undefined) await syncDirectory(dirname(made));
      return new JournalFile(path, file, 0, chainStart);
    } catch (error) {
      throw cannot('make', path, error);
    }
  }

  async open(
    runId: string,
  ): Promise<{ readonly journal: Journal; readonly events: readonly RunEvent[]; readonly torn: boolean }> {
    const path = this.pathOf(runId);
    const { events, last, wholeBytes, torn } = await readChain(path, runId);
    const file = await openExisting(path);
    try {
      if (torn) {
        await file.truncate(wholeBytes);
        await file.datasync();
      }
    } catch (error) {
      await file.close();
      throw cannot('repair', path, error);
    }
    return { journal: new JournalFile(path, file, events.length, last), events, torn };
  }

  async read(runId: string): Promise<readonly RunEvent[]> {
    return (await readChain(this.pathOf(runId), runId)).events;
  }

  async hashOf(runId: string): Promise<string> {
    return (await readChain(this.pathOf(runId), runId)).last;
  }

  async remove(runId: string): Promise<void> {
    const path = this.pathOf(runId);
    try {
      await rm(path, { force: true });
    } catch (error) {
      throw cannot('remove', path, error);
    }
  }

  async list(): Promise<readonly string[]> {
    try {
      const names = await readdir(this.#directory);
      return names
        .filter((name) => name.endsWith(suffix))
        .map((name) => name.slice(0, -suffix.length))
        .sort()
        .reverse();
    } catch (error) {
      if (isMissing(error)) return [];
      throw cannot('list', this.#directory, error);
    }
  }
}

class JournalFile implements Journal {
  readonly #path: string;
  readonly #file: FileHandle;
  #seq: number;
  #last: string;
  #queue: Promise<void> = Promise.resolve();
  #failed: unknown = null;

  constructor(path: string, file: FileHandle, seq: number, last: string) {
    this.#path = path;
    this.#file = file;
    this.#seq = seq;
    this.#last = last;
  }

  append(event: RunEvent): Promise<void> {
    const written = this.#queue.then(() => this.#write(event));
    this.#queue = written.catch((error: unknown) => {
      this.#failed = error;
    });
    return written;
  }

  async close(): Promise<void> {
    await this.#queue;
    await this.#file.close();
  }

  async #write(event: RunEvent): Promise<void> {
    // After a failed write nobody knows what is on the disk: a later line must not stand behind a torn one.
    if (this.#failed !== null) throw this.#failed;
    const line = journalLine(event, this.#seq + 1, this.#last);
    try {
      await this.#file.appendFile(`${line.text}\n`);
      await this.#file.datasync();
    } catch (error) {
      throw cannot('write', this.#path, error);
    }
    this.#seq += 1;
    this.#last = line.sha256;
  }
}

async function readChain(
  path: string,
  runId: string,
): Promise<{
  readonly events: readonly RunEvent[];
  readonly last: string;
  readonly wholeBytes: number;
  readonly torn: boolean;
}> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if (isMissing(error)) {
      throw new OperatorError(
        {
          code: 'DR-RUN-UNKNOWN',
          what: `There is no run ${runId}`,
          where: { file: path },
          next: 'List the runs with `lifeboat run list`',
        },
        { cause: error },
      );
    }
    throw cannot('read', path, error);
  }
  const events: RunEvent[] = [];
  let last = chainStart;
  let from = 0;
  while (from < bytes.length) {
    const end = bytes.indexOf(0x0a, from);
    // A line without its line feed was never acknowledged; a sector of zeros is what a power cut leaves of one.
    const isLast = end === bytes.length - 1;
    if (end === -1 || (isLast && bytes.subarray(from, end).includes(lostSector)))
      return { events, last, wholeBytes: from, torn: true };
    const reading = checkedLine(bytes.subarray(from, end).toString('utf8'), events.length + 1, last);
    if (!reading.ok) {
      throw new OperatorError({
        code: 'DR-JOURNAL-BROKEN',
        what: `The journal of run ${runId} is damaged`,
        where: { file: path, line: events.length + 1 },
        known: [reading.reason, `${events.length} lines before it are whole`],
        next: 'Keep the file as it is, look at the world with `lifeboat status`, and make a new plan; a damaged journal is never resumed',
      });
    }
    events.push(reading.event);
    last = reading.sha256;
    from = end + 1;
  }
  return { events, last, wholeBytes: from, torn: false };
}

function checkedLine(text: string, seq: number, prev: string): ReturnType<typeof readJournalLine> {
  try {
    return readJournalLine(text, seq, prev);
  } catch (error) {
    return {
      ok: false,
      reason: `the line is not JSON (${error instanceof Error ? error.message : 'unreadable'})`,
    };
  }
}

async function openExisting(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'a', 0o600);
  } catch (error) {
    throw cannot('open', path, error);
  }
}

/** A new name in a directory is durable only when the directory itself is synced. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function cannot(verb: string, path: string, error: unknown): OperatorError {
  const reason = error instanceof Error ? error.message : String(error);
  return new OperatorError(
    {
      code: 'DR-JOURNAL-IO',
      what: `Cannot ${verb} the journal`,
      where: { file: path },
      known: [reason],
      next: 'Free space or repair the directory of the state, then resume the run with `lifeboat run resume`',
    },
    { cause: error },
  );
}
