/**
 * What Lifeboat remembers of a volume, written behind the site's own words in its description:
 * `words [lifeboat key=value;…]`. A description holds 256 characters.
 */
export type Notes = Readonly<Record<string, string>>;

export const longestDescription = 256;
const form = /\s?\[lifeboat ([^\]]*)\]$/;

export function notesOf(description: string | null | undefined): Notes {
  const [, text = ''] = form.exec(description ?? '') ?? [];
  return Object.fromEntries(
    text
      .split(';')
      .filter(Boolean)
      .map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  );
}

/** The description with these notes instead of those that are there; the site's words stay. */
export function withNotes(description: string | null | undefined, notes: Notes): string {
  const words = (description ?? '').replace(form, '');
  const pairs = Object.entries(notes).map(([key, value]) => `${key}=${value}`);
  if (pairs.length === 0) return words;
  return `${words}${words === '' ? '' : ' '}[lifeboat ${pairs.join(';')}]`;
}
