/** CPU feature sets as XenAPI writes them: words of 32 bits in hexadecimal digits, joined by dashes (`17cbfbff-f7fa3223`). */

function words(features: string): number[] {
  return features.split('-').map((word) => Number.parseInt(word, 16) >>> 0);
}

/** What all of these sets have in common; a shorter one lacks what it does not mention. */
export function commonFeatures(sets: readonly string[]): string {
  const [first = [], ...rest] = sets.map(words);
  return first
    .map((word, index) => rest.reduce((common, other) => (common & (other[index] ?? 0)) >>> 0, word))
    .map((word) => word.toString(16).padStart(8, '0'))
    .join('-');
}

/** How many features of `wanted` are not in `offered`. */
export function missingFeatures(wanted: string, offered: string): number {
  if (wanted === offered) return 0;
  const here = words(offered);
  return words(wanted).reduce((sum, word, index) => sum + bits((word & ~(here[index] ?? 0)) >>> 0), 0);
}

function bits(word: number): number {
  let rest = word;
  let count = 0;
  while (rest !== 0) {
    count += rest & 1;
    rest >>>= 1;
  }
  return count;
}
