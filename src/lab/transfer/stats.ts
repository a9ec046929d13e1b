/** How large a transfer was, for whoever puts a price on it (src/lab/cost). */
import type { Row } from '../core/database.ts';

export interface DocumentSize {
  readonly vms: number;
  readonly vdis: number;
}

const sizes = new WeakMap<Row, DocumentSize>();

/** Notes the document that a task writes or reads. */
export function noteSize(task: Row, size: DocumentSize): void {
  sizes.set(task, size);
}

export function sizeOf(task: Row): DocumentSize | null {
  return sizes.get(task) ?? null;
}
