/** Writes the JSON schemas that editors use to complete and check sites.yaml and recovery plans. */
import { writeFileSync } from 'node:fs';
import { jsonSchemaOf } from '../src/config/load.ts';

export const schemaFiles = [
  ['sites', 'docs/sites.schema.json'],
  ['recovery-plan', 'docs/recovery-plan.schema.json'],
] as const;

export const schemaText = (kind: 'sites' | 'recovery-plan'): string =>
  `${JSON.stringify(jsonSchemaOf(kind), null, 2)}\n`;

if (import.meta.main) {
  for (const [kind, file] of schemaFiles)
    writeFileSync(new URL(`../${file}`, import.meta.url), schemaText(kind));
}
