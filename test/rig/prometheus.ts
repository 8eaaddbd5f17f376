/** The text format of Prometheus, read strictly: whatever a scraper may stumble over is refused. */

export interface Sample {
  /** Of the line: a histogram's end in _bucket, _sum and _count. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface MetricFamily {
  readonly type: string;
  readonly help: string;
  readonly samples: readonly Sample[];
}

export type Scrape = ReadonlyMap<string, MetricFamily>;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** @throws Error with the line that is none */
export function parseScrape(text: string): Scrape {
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const families = new Map<string, Mutable<MetricFamily> & { samples: Sample[] }>();
  const seen = new Set<string>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [, name = '', help = ''] = /^# HELP (\S+) (.+)$/.exec(line) ?? [];
    const [, typed = '', type = ''] = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line) ?? [];
    if (name !== '') {
      if (families.has(name)) throw new Error(`twice: ${line}`);
      families.set(name, { type: '', help, samples: [] });
      continue;
    }
    if (typed !== '') {
      const family = families.get(typed);
      if (family === undefined || family.type !== '' || family.samples.length > 0) {
        throw new Error(`out of place: ${line}`);
      }
      family.type = type;
      continue;
    }
    const sample = parseSample(line);
    const family = families.get(sample.name) ?? families.get(sample.name.replace(suffix, ''));
    if (family === undefined || family !== [...families.values()].at(-1)) {
      throw new Error(`out of place: ${line}`);
    }
    const series = `${sample.name} ${seriesOf(sample.labels)}`;
    if (seen.has(series)) throw new Error(`twice: ${line}`);
    seen.add(series);
    family.samples.push(sample);
  }
  for (const [name, family] of families) check(name, family);
  return families;
}

/** The value of one series; undefined where there is none. Labels that are not given may be anything. */
export function valueIn(
  scrape: Scrape,
  name: string,
  labels: Readonly<Record<string, string>>,
): number | undefined {
  const family = scrape.get(name) ?? scrape.get(name.replace(suffix, ''));
  const found = (family?.samples ?? []).filter(
    (sample) =>
      sample.name === name &&
      Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  );
  if (found.length > 1) throw new Error(`${name} has ${found.length} series with ${JSON.stringify(labels)}`);
  return found[0]?.value;
}

/** The same for the same labels, in whatever order they come. */
const seriesOf = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([label, value]) => JSON.stringify([label, value]))
    .toSorted((a, b) => (a < b ? -1 : 1))
    .join();

const suffix = /_(?:bucket|sum|count)$/;

function parseSample(line: string): Sample {
  const [, name = '', braces = '', number = ''] = /^([a-z_]\w*)(?:\{(.*)\})? (\S+)$/i.exec(line) ?? [];
  const value = number === '+Inf' ? Number.POSITIVE_INFINITY : Number(number);
  if (name === '' || number === '' || Number.isNaN(value)) throw new Error(`no sample: ${line}`);
  const labels: Record<string, string> = {};
  let rest = braces;
  while (rest !== '') {
    const [all = '', label = '', text = ''] =
      /^([a-z_]\w*)="((?:[^"\\]|\\["\\n])*)"(?:,(?=.)|$)/i.exec(rest) ?? [];
    if (all === '' || label in labels) throw new Error(`no labels: ${line}`);
    labels[label] = text.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
    rest = rest.slice(all.length);
  }
  return { name, labels, value };
}

function check(name: string, { type, samples }: MetricFamily): void {
  if (type === '') throw new Error(`${name} has no type`);
  if (type === 'counter' && samples.some(({ value }) => value < 0)) throw new Error(`${name} is below 0`);
  if (type !== 'histogram') {
    const others = samples.filter((sample) => sample.name !== name);
    if (others.length > 0) throw new Error(`${name} has samples of ${others[0]?.name ?? ''}`);
    return;
  }
  const bySeries = new Map<string, { last: number; at: number; count: number | undefined }>();
  for (const { name: sampled, labels, value } of samples) {
    const { le, ...others } = labels;
    const series = seriesOf(others);
    const known = bySeries.get(series) ?? { last: 0, at: Number.NEGATIVE_INFINITY, count: undefined };
    bySeries.set(series, known);
    if (sampled === `${name}_bucket`) {
      const bound = le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le);
      if (!(bound > known.at) || value < known.last) throw new Error(`${name} has buckets out of order`);
      known.at = bound;
      known.last = value;
    }
    if (sampled === `${name}_count`) known.count = value;
  }
  for (const { last, at, count } of bySeries.values()) {
    if (at !== Number.POSITIVE_INFINITY || count !== last) throw new Error(`${name} does not add up`);
  }
}
