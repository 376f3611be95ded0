/** Where the loads of a setting come from: generated, of a family and a seed, or recorded. */
export type Source =
  | { readonly kind: 'loads'; readonly family: string; readonly seed: number }
  | { readonly kind: 'recording'; readonly recording: RecordingName };

export type RecordingName = 'law' | 'intent' | 'summary' | 'sequence' | 'gpt-oss';

/** Loads, and how they are planned for. */
export interface Setting {
  readonly source: Source;
  readonly numSlots: number;
  readonly numRanks: number;
  /** Steps that a plan sees, and steps from one plan to the next, which score it. */
  readonly window: number;
  readonly interval: number;
}

/** Seeds from the first to the last. */
export interface Seeds {
  readonly first: number;
  readonly last: number;
}

type Sizes = readonly [numSlots: number, numRanks: number, window: number, interval: number];

/** Four of each family: few and many ranks, few and many spare slots, short and long windows. */
const GENERATED: Readonly<Record<string, readonly Sizes[]>> = {
  stationary: [
    [288, 32, 16, 16],
    [272, 16, 64, 32],
    [288, 144, 32, 32],
    [384, 64, 8, 8],
  ],
  'stationary-128': [
    [144, 16, 16, 8],
    [160, 32, 32, 32],
    [136, 8, 8, 4],
    [192, 64, 16, 16],
  ],
  'slow-drift': [
    [288, 32, 16, 8],
    [320, 64, 32, 16],
    [272, 16, 64, 64],
    [384, 48, 8, 8],
  ],
  'decode-drift': [
    [288, 32, 16, 16],
    [288, 144, 32, 16],
    [320, 16, 8, 4],
    [272, 8, 64, 32],
  ],
  domains: [
    [288, 32, 16, 8],
    [320, 40, 32, 32],
    [384, 64, 8, 8],
    [272, 16, 64, 32],
  ],
  'long-domains': [
    [288, 32, 16, 8],
    [320, 64, 8, 4],
    [384, 32, 32, 16],
    [272, 16, 16, 16],
  ],
  'small-batches': [
    [80, 16, 16, 8],
    [72, 8, 32, 16],
    [96, 32, 8, 8],
    [68, 4, 64, 32],
  ],
  training: [
    [40, 8, 16, 8],
    [48, 16, 32, 16],
    [36, 4, 4, 4],
    [40, 4, 8, 8],
  ],
  themes: [
    [144, 16, 16, 8],
    [160, 32, 32, 16],
    [192, 16, 8, 4],
    [136, 8, 64, 64],
  ],
  wide: [
    [576, 64, 16, 16],
    [544, 32, 32, 16],
    [720, 144, 16, 8],
    [640, 16, 8, 8],
  ],
};

const RECORDED: readonly (readonly [RecordingName, Sizes])[] = [
  ['law', [80, 16, 16, 8]],
  ['intent', [80, 16, 16, 8]],
  ['summary', [80, 16, 16, 8]],
  ['sequence', [80, 16, 16, 8]],
  ['sequence', [80, 8, 16, 8]],
  ['sequence', [72, 8, 8, 8]],
  ['sequence', [96, 32, 32, 16]],
  ['gpt-oss', [40, 8, 8, 4]],
];

/** Settings on generated loads: each takes the next seed, and the first one again after the last. */
export function generatedSettings({ first, last }: Seeds): Setting[] {
  const each = Object.entries(GENERATED).flatMap(([family, sizes]) =>
    sizes.map((size) => ({ family, size })),
  );
  return each.map(({ family, size }, i) =>
    settingOf({ kind: 'loads', family, seed: first + (i % (last - first + 1)) }, size),
  );
}

export function recordedSettings(): Setting[] {
  return RECORDED.map(([recording, size]) => settingOf({ kind: 'recording', recording }, size));
}

function settingOf(source: Source, [numSlots, numRanks, window, interval]: Sizes): Setting {
  return { source, numSlots, numRanks, window, interval };
}

export function familyOf(source: Source): string {
  return source.kind === 'loads' ? source.family : `recorded ${source.recording}`;
}

export function sourceName(source: Source): string {
  return source.kind === 'loads' ? `${source.family}-${source.seed}` : familyOf(source);
}

export function settingName({ source, numSlots, numRanks, window, interval }: Setting): string {
  return `${sourceName(source)}, ${numSlots} on ${numRanks}, w${window}/${interval}`;
}
