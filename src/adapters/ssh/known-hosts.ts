/** OpenSSH's known_hosts: which host key belongs to a guest. Plain and hashed names; patterns and `@` lines are not used. */
import { createHash, createHmac } from 'node:crypto';

/** Base64 SHA-256 of the keys that the file holds for one of these names, in the order of the file, each once. */
export function hostKeysOf(text: string, names: readonly string[], port: number): string[] {
  const wanted = names.flatMap((name) => (port === 22 ? [name, `[${name}]:22`] : [`[${name}]:${port}`]));
  const found = text.split('\n').flatMap((line) => {
    const [hosts = '', , key = ''] = line.trim().split(/\s+/);
    if (hosts === '' || hosts.startsWith('#') || hosts.startsWith('@') || key === '') return [];
    const isNamed = hosts.split(',').some((pattern) => wanted.some((name) => matches(pattern, name)));
    return isNamed ? [fingerprint(key)] : [];
  });
  return [...new Set(found)];
}

/** `|1|salt|hash`: HMAC-SHA1 of the name, as `ssh-keygen -H` writes it. */
function matches(pattern: string, name: string): boolean {
  const [, hashed, salt, hash] = /^\|(1)\|([^|]+)\|([^|]+)$/.exec(pattern) ?? [];
  if (hashed === undefined) return pattern.toLowerCase() === name.toLowerCase();
  const key = Buffer.from(salt ?? '', 'base64');
  return createHmac('sha1', key).update(name.toLowerCase()).digest('base64') === hash;
}

function fingerprint(key: string): string {
  return createHash('sha256').update(Buffer.from(key, 'base64')).digest('base64').replace(/=+$/, '');
}
