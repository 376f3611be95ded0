import type { SweepPoint, SweepPointDone } from './sweep-result.ts';

/** How numbers read in a sentence. */
interface Texts {
  readonly seconds: (value: number) => string;
  readonly bytes: (value: number) => string;
  readonly percent: (share: number) => string;
}

/**
 * Which point survives any failure of a level with the least memory, and what it costs beside the fewest
 * slots; or that none does. Undefined where there is nothing to choose from.
 *
 * @param asked the level; when left out a node, or a rank where there is one node
 */
export function survivalAdvice(
  points: readonly SweepPoint[],
  { seconds, bytes, percent }: Texts,
  asked?: string,
): string | undefined {
  const done = points.filter((point) => point.status === 'done');
  const level = [asked, 'node', 'rank'].find((one) => done.some((point) => lossAt(point, one) !== undefined));
  if (done.length < 2 || level === undefined) return undefined;
  const loss = (point: SweepPointDone) => lossAt(point, level) ?? 1;
  const leastLoss = Math.min(...done.map(loss));
  const chosen = first(done, (point) => [loss(point), point.redundantBytesPerRank, point.modelledSeconds]);
  const alike = done.filter(({ numRanks }) => numRanks === chosen.numRanks);
  const fewest = first(alike, (point) => [point.numPhysicalExperts, point.modelledSeconds]);
  const memory = `${bytes(chosen.redundantBytesPerRank)} a rank for redundant experts`;
  const what =
    leastLoss === 0
      ? `To survive the failure of any ${level} take ${chosen.name}, with ${memory}`
      : `No configuration survives the failure of any ${level}: ${chosen.name} loses least, ` +
        `${percent(leastLoss)} of the load, with ${memory}`;
  if (fewest.numPhysicalExperts === chosen.numPhysicalExperts) return `${what}.`;
  return (
    `${what}. It takes ${seconds(chosen.modelledSeconds)}; ${fewest.name} takes ` +
    `${seconds(fewest.modelledSeconds)} and loses ${percent(loss(fewest))}.`
  );
}

/** Of the load, what the worst failure of a level leaves without a copy. */
function lossAt({ failureLosses }: SweepPointDone, level: string | undefined): number | undefined {
  return failureLosses?.find((loss) => loss.level === level)?.loadShare;
}

/** The first of the points whose values are least, compared one after the other. */
function first(
  points: readonly SweepPointDone[],
  valuesOf: (point: SweepPointDone) => readonly number[],
): SweepPointDone {
  return points.reduce((best, point) => {
    const [own, least] = [valuesOf(point), valuesOf(best)];
    const at = own.findIndex((value, i) => value !== least[i]);
    return at !== -1 && own[at]! < least[at]! ? point : best;
  });
}
