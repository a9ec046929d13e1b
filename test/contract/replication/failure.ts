/** The failure that a verb is expected to end with. Anything else, a success included, fails the test as what it is. */
import { PortError } from '../../../src/domain/errors.ts';

export async function failureOf(work: Promise<unknown>): Promise<PortError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof PortError) return error;
    throw error;
  }
  throw new Error('it succeeded');
}
