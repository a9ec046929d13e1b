/** The options of an array of type `command` (docs/command-adapter.md). */
import { z } from 'zod';
import type { ArraySettings } from '../../../domain/settings.ts';
import { arrayOptions } from '../../ssh/options.ts';

const seconds = z.number().positive().max(86_400);

const schema = z.strictObject({
  /** The program; relative to sites.yaml. */
  program_file: z.string().startsWith('/', 'must be the path of the program'),
  /** What it is called with, each time the same; never a secret. */
  arguments: z.array(z.string()).default([]),
  /** Longest time of a call that only looks. */
  read_seconds: seconds.default(30),
  /** Longest time of a call that changes something. */
  write_seconds: seconds.default(600),
  /** Longest time of a call that carries data. */
  transfer_seconds: seconds.default(3600),
});

export type CommandOptions = z.infer<typeof schema>;

export function commandOptions(settings: ArraySettings): CommandOptions {
  return arrayOptions(
    settings,
    schema,
    'program_file, and where it needs them arguments, read_seconds, write_seconds and transfer_seconds',
  );
}
