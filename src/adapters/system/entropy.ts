import { randomBytes, randomUUID } from 'node:crypto';
import type { Entropy } from '../../ports/system.ts';

export const systemEntropy: Entropy = {
  uuid: () => randomUUID(),
  hex: (bytes) => randomBytes(bytes).toString('hex'),
};
