/** Text as scrapers read it: OpenMetrics 1.0, or the older format of Prometheus. */
export type MetricsFormat = 'openmetrics' | 'prometheus';

/** One value of a family. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** What a histogram's series add to its name. */
  readonly suffix?: '_bucket' | '_sum' | '_count';
}

/** All series of one name. */
export interface MetricFamily {
  /** Of a counter without `_total`. */
  readonly name: string;
  readonly type: 'gauge' | 'counter' | 'histogram';
  readonly help: string;
  readonly samples: readonly Sample[];
}

const CONTENT_TYPES: Readonly<Record<MetricsFormat, string>> = {
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
};

/** The content type of an answer in a format. */
export function contentTypeOf(format: MetricsFormat): string {
  return CONTENT_TYPES[format];
}

/**
 * Writes families as text. The two formats differ in the family's name of counters, and in the end.
 *
 * @see https://github.com/OpenObservability/OpenMetrics/blob/main/specification/OpenMetrics.md
 */
export function exposition(families: readonly MetricFamily[], format: MetricsFormat): string {
  const lines: string[] = [];
  for (const { name, type, help, samples } of families) {
    const series = type === 'counter' ? `${name}_total` : name;
    const family = format === 'openmetrics' ? name : series;
    lines.push(`# HELP ${family} ${escaped(help)}`, `# TYPE ${family} ${type}`);
    for (const { labels, value, suffix = '' } of samples) {
      lines.push(`${series}${suffix}${labelText(labels)} ${numberText(value)}`);
    }
  }
  if (format === 'openmetrics') lines.push('# EOF');
  return `${lines.join('\n')}\n`;
}

function labelText(labels: Sample['labels']): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value, true)}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

function escaped(text: string, isQuoted = false): string {
  const common = text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  return isQuoted ? common.replaceAll('"', '\\"') : common;
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}
