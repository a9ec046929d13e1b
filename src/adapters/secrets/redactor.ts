/** Takes known secret values out of any text before it is shown or written. */
const shortestSecret = 4;

export class Redactor {
  readonly #values = new Set<string>();

  /** Remembers a value and its usual disguises (JSON, URL, Base64). Very short values are not searched for: they are in every text. */
  add(value: string): void {
    if (value.length < shortestSecret) return;
    for (const form of [
      value,
      JSON.stringify(value).slice(1, -1),
      encodeURIComponent(value),
      Buffer.from(value, 'utf8').toString('base64'),
      xmlEscaped(value),
    ]) {
      this.#values.add(form);
    }
  }

  redact(text: string): string {
    let result = text;
    // Longest first: a secret may be a part of another one.
    for (const value of [...this.#values].sort((a, b) => b.length - a.length))
      result = result.replaceAll(value, '***');
    return result;
  }
}

function xmlEscaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
