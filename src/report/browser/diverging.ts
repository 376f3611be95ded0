import type { Theme } from './theme.ts';

/**
 * The colour of a rank load in means of its layer: the lower colours from 0 to 1, the middle one at 1, the
 * upper ones from there to the largest.
 */
export function divergingColour({ diverging }: Theme, share: number, largest: number): string {
  const half = (diverging.length - 1) / 2;
  const above = largest > 1 ? (share - 1) / (largest - 1) : 0;
  const place = half * (share <= 1 ? share : 1 + Math.min(above, 1));
  const low = Math.min(Math.floor(place), diverging.length - 2);
  return mix(diverging[low]!, diverging[low + 1]!, place - low);
}

/** The whole scale from 0 to the largest: where each colour is, as a share of it. */
export function divergingStops(
  { diverging }: Theme,
  largest: number,
): (readonly [place: number, colour: string])[] {
  const half = (diverging.length - 1) / 2;
  return diverging.map((colour, i) => {
    const share = i <= half ? i / half : 1 + ((i - half) / half) * (largest - 1);
    return [share / largest, colour];
  });
}

/** Colours of a scale, left to right, as a CSS gradient. */
export function gradientOf(stops: readonly (readonly [place: number, colour: string])[]): string {
  const texts = stops.map(([place, colour]) => `${colour} ${(100 * place).toFixed(2)}%`);
  return `linear-gradient(to right, ${texts.join(', ')})`;
}

/** From nothing, 0, to the most, 1, over all upper colours. */
export function sequentialColour({ diverging }: Theme, share: number): string {
  const half = (diverging.length - 1) / 2;
  const low = Math.min(Math.floor(half * share), half - 1);
  return mix(diverging[half + low]!, diverging[half + low + 1]!, half * share - low);
}

/** The whole scale of {@link sequentialColour}. */
export function sequentialStops({ diverging }: Theme): (readonly [place: number, colour: string])[] {
  const half = (diverging.length - 1) / 2;
  return diverging.slice(half).map((colour, i) => [i / half, colour]);
}

/** The colour of letters on {@link sequentialColour}: of two the one that stands out more. */
export function letterColour(theme: Theme, share: number): string {
  const lightness = lightnessOf(sequentialColour(theme, share));
  const apart = (colour: string) => {
    const other = lightnessOf(mix(colour, colour, 0));
    return (Math.max(lightness, other) + 0.05) / (Math.min(lightness, other) + 0.05);
  };
  return apart(theme.ink) >= apart(theme.surface) ? theme.ink : theme.surface;
}

/** Relative luminance by WCAG 2. */
function lightnessOf(rgb: string): number {
  const [red, green, blue] = rgb.match(/\d+/g)!.map((channel) => {
    const value = Number(channel) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
}

/** From nothing, 0, to the most, 1: light enough for letters on it. */
export function trafficColour({ diverging }: Theme, share: number): string {
  const middle = (diverging.length - 1) / 2;
  return mix(diverging[middle]!, diverging[middle + 1]!, share);
}

function mix(a: string, b: string, share: number): string {
  const channel = (at: number) => {
    const [from, to] = [a, b].map((colour) => Number.parseInt(colour.slice(at, at + 2), 16)) as [
      number,
      number,
    ];
    return Math.round(from + (to - from) * share);
  };
  return `rgb(${channel(1)}, ${channel(3)}, ${channel(5)})`;
}
