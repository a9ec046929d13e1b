/** Names of the database's columns, which the data model's name spaces make differ from the fields. */
import { classes } from '../../metadata/datamodel/index.ts';

/** Name spaces of the data model are joined with two underscores: `name__label`. */
export function columnOf(cls: string, field: string): string {
  const space = /^(name|memory|VCPUs|actions_after|PV|HVM|API_version|qos)_(.+)$/.exec(field);
  if (space === null) return field;
  const [, prefix = '', rest = ''] = space;
  const siblings = [...(classes.get(cls)?.fields.keys() ?? [])].filter((name) =>
    name.startsWith(`${prefix}_`),
  );
  if (siblings.length < 2) return field;
  return prefix === 'actions_after' ? `actions__after_${rest}` : `${prefix}__${rest}`;
}
