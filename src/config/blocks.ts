/** Data as written, shape errors and all: looked into without believing that it is what it should be. */

export type Block = Readonly<Record<string, unknown>>;

export function isBlock(value: unknown): value is Block {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
export function block(value: unknown): Block {
  return isBlock(value) ? value : {};
}
export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
