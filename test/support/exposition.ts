/**
 * The text format of Prometheus, read by its specification (prometheus.io/docs/instrumenting/exposition_formats) and not
 * by the library that writes it: every line must be right, every sample must follow the TYPE of its family, no series twice.
 */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Family {
  readonly type: string;
  readonly help: string;
}

export interface Exposition {
  readonly families: ReadonlyMap<string, Family>;
  readonly samples: readonly Sample[];
  /** The value of the one series with at least these labels; null where there is none. */
  value(name: string, labels?: Readonly<Record<string, string>>): number | null;
}

const metricName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

export function readExposition(text: string): Exposition {
  if (!text.endsWith('\n')) throw new Error('the last line must end with a line feed');
  const families = new Map<string, { type: string; help: string }>();
  const samples: Sample[] = [];
  const seen = new Set<string>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const described = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (described !== null) {
      const [, kind = '', name = '', rest = ''] = described;
      if (!metricName.test(name)) throw new Error(`no name of a metric: ${line}`);
      const family = families.get(name) ?? { type: '', help: '' };
      if (kind === 'TYPE' && family.type !== '') throw new Error(`a second TYPE: ${line}`);
      families.set(name, kind === 'TYPE' ? { ...family, type: rest } : { ...family, help: rest });
      continue;
    }
    if (line.startsWith('#')) continue;
    const sample = readSample(line);
    const family = familyOf(sample.name, families);
    if (family === null) throw new Error(`no TYPE before ${line}`);
    const key = JSON.stringify([sample.name, Object.entries(sample.labels).sort()]);
    if (seen.has(key)) throw new Error(`the same series twice: ${line}`);
    seen.add(key);
    samples.push(sample);
  }
  return {
    families,
    samples,
    value(name, labels = {}) {
      const found = samples.filter(
        (sample) =>
          sample.name === name &&
          Object.entries(labels).every(([key, wanted]) => sample.labels[key] === wanted),
      );
      if (found.length > 1) throw new Error(`${found.length} series of ${name} have these labels`);
      return found[0]?.value ?? null;
    },
  };
}

function familyOf(name: string, families: ReadonlyMap<string, Family>): Family | null {
  const plain = families.get(name);
  if (plain !== undefined) return plain;
  const owner = families.get(name.replace(/_(bucket|sum|count)$/, ''));
  return owner !== undefined && /^(histogram|summary)$/.test(owner.type) ? owner : null;
}

function readSample(line: string): Sample {
  const [, name = '', rest = ''] = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(.*)$/.exec(line) ?? [];
  if (name === '') throw new Error(`no sample: ${line}`);
  const labels: Record<string, string> = {};
  let at = 0;
  if (rest[at] === '{') {
    at += 1;
    while (rest[at] !== '}') {
      const label = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,?)/.exec(rest.slice(at));
      if (label === null) throw new Error(`no label at ${rest.slice(at)}: ${line}`);
      const [whole, key = '', value = ''] = label;
      if (Object.hasOwn(labels, key)) throw new Error(`label ${key} twice: ${line}`);
      labels[key] = value.replace(/\\(["\\n])/g, (_, sign: string) => (sign === 'n' ? '\n' : sign));
      at += whole.length;
    }
    at += 1;
  }
  const [, written = ''] = /^ (\S+)( -?\d+)?$/.exec(rest.slice(at)) ?? [];
  const special: Readonly<Record<string, number>> = { '+Inf': Infinity, '-Inf': -Infinity, Nan: NaN, NaN };
  const value = special[written] ?? (written === '' ? undefined : Number(written));
  if (value === undefined || (Number.isNaN(value) && !/^nan$/i.test(written)))
    throw new Error(`no value: ${line}`);
  return { name, labels, value };
}
