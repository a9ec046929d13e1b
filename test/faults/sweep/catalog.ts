/** The catalog of the model: at a third place, so that it outlives both sites. */
import { createHash } from 'node:crypto';
import type { ObjectRef, RecoveryPoint } from '../../../src/domain/recovery-point.ts';
import type { Catalog } from '../../../src/ports/catalog.ts';
import { refused } from './pool.ts';
import type { ModelWorld } from './state.ts';

const outcomes = [{ target: 'third', ok: true, problem: null }];

export class ModelCatalog implements Catalog {
  readonly #world: ModelWorld;

  constructor(world: ModelWorld) {
    this.#world = world;
  }

  async put(bytes: Uint8Array): Promise<ObjectRef> {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    this.#world.state.objects[sha256] ??= Buffer.from(bytes).toString('base64');
    return { sha256, bytes: bytes.length };
  }
  async putStream(stream: AsyncIterable<Uint8Array>): Promise<ObjectRef> {
    const parts: Uint8Array[] = [];
    for await (const part of stream) parts.push(part);
    return this.put(Buffer.concat(parts));
  }
  async get(object: ObjectRef): Promise<Uint8Array> {
    const found = this.#world.state.objects[object.sha256];
    if (found === undefined) throw refused('NO_OBJECT', `object ${object.sha256} is gone`);
    return Buffer.from(found, 'base64');
  }
  async seal(point: RecoveryPoint) {
    if (this.#world.state.points[point.id] === undefined) {
      this.#world.state.points[point.id] = point;
      this.#world.did(`seal ${point.id}`);
    }
    return outcomes;
  }
  async list(group: string | null) {
    const points = Object.values(this.#world.state.points)
      .filter((point) => group === null || point.group === group)
      .sort((a, b) => (a.takenAt < b.takenAt ? 1 : -1))
      .map((point) => ({
        ...{ id: point.id, group: point.group, takenAt: point.takenAt },
        ...{ vmCount: point.vms.length, failureCount: point.failures.length },
        ...{ good: point.failures.length === 0, targets: ['third'], bytes: 1 },
      }));
    return { points, damaged: [], targets: outcomes };
  }
  async read(pointId: string): Promise<RecoveryPoint> {
    const point = this.#world.state.points[pointId];
    if (point === undefined) throw refused('NO_POINT', `no point ${pointId}`);
    return structuredClone(point);
  }
  async verify(options: { readonly pointId?: string }) {
    const known = options.pointId === undefined || this.#world.state.points[options.pointId] !== undefined;
    return { pointsChecked: known ? 1 : 0, objectsChecked: 1, bytesRead: 1, damage: [], targets: outcomes };
  }
  async prune() {
    return { removed: [], kept: [], bytesFreed: 0 };
  }
  async close(): Promise<void> {
    return undefined;
  }
}
