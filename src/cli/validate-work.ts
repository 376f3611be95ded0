import { isOwnError } from '../core/errors.ts';
import { differencesOfRanks } from '../core/rank-speeds.ts';
import { openRecording } from '../formats/open.ts';
import type { OpenOptions } from '../formats/open-options.ts';
import { alignLayers } from '../formats/placements/align.ts';
import { inspectPlacement } from '../formats/placements/inspect.ts';
import { mappingOf } from '../formats/placements/mapping.ts';
import type { Placement } from '../formats/placements/placement.ts';
import type { LoadRecording } from '../formats/recording.ts';
import { quotePath } from '../formats/text.ts';
import { balancedness, type Dispatch, layerBalances, peakToAverage, summarizeBalance } from '../index.ts';
import { UNIFORM_NOTE } from './dispatch-option.ts';
import { resolveRange } from './option-values.ts';
import { Progress } from './progress.ts';
import { openOptionsOf, type ReadingOptions } from './reading-options.ts';
import { rangeOfSteps, stepsIn, sumLoads } from './recorded-loads.ts';
import { reportSurvival, type SurvivalReport, type SurviveOptions } from './survival-report.ts';
import type { AgainstReport } from './validate-report.ts';

/** A placement that was read. */
interface ReadPlacement {
  /** As it is in the file. */
  readonly read: Placement;
  /** The same without the rows of dense layers. */
  readonly beside: Placement;
  readonly path: string;
}

/** The loads that it is compared with, as the options say. */
interface LoadOptions extends ReadingOptions, SurviveOptions {
  readonly against?: string;
  readonly dispatch?: Dispatch;
  /** Format of the loads. */
  readonly format?: string;
}

interface Comparison {
  readonly judged: Placement;
  readonly against: AgainstReport | null;
  readonly survival: SurvivalReport | null;
}

/**
 * What a placement makes of recorded loads, and the placement with what they add to it: how many experts
 * there are, and how the model numbers its layers.
 *
 * @throws EplbError and its subclasses as the reader does; EplbRangeError EPLB_SHAPE when the layers do not
 *   fit
 */
export async function compareWithLoads(
  { read, beside, path }: ReadPlacement,
  options: LoadOptions,
): Promise<Comparison> {
  if (options.against === undefined)
    return { judged: read, against: null, survival: reportSurvival(beside, options) };
  const recording = await openLoads(options.against, options, read);
  try {
    const { numLogicalExperts, numLayers, layerNumbers, format, notes } = recording;
    const placement = {
      ...alignLayers(beside, recording, `placement: ${quotePath(path)}`),
      numLogicalExperts,
    };
    // A file with as many layers has theirs, and so their numbers.
    const isSame = read.numLayers === numLayers && read.layerNumbers === undefined;
    const judged = {
      ...read,
      numLogicalExperts,
      ...(isSame && layerNumbers !== undefined ? { layerNumbers } : {}),
    };
    const ofDispatch = options.dispatch === 'nearest' ? [UNIFORM_NOTE] : [];
    const about = { path: options.against, format, notes: [...notes, ...ofDispatch] };
    const { survival, ...balance } = await figures(placement, recording, options);
    return { judged, against: { ...about, ...balance }, survival };
  } finally {
    await recording.close();
  }
}

/** Opens the loads. Fewer experts than the placement has are read as the choices of tokens. */
async function openLoads(path: string, options: LoadOptions, read: Placement): Promise<LoadRecording> {
  const { from: _, format, ...rest } = options;
  const open = openOptionsOf(format === undefined ? rest : { ...rest, from: format }, '--format');
  if (open.numExperts !== undefined) return openRecording(path, open);
  const recording = await openUnknown(path, open, read);
  if (recording.numLogicalExperts >= read.numLogicalExperts) return recording;
  await recording.close();
  return openRecording(path, { ...open, numExperts: read.numLogicalExperts });
}

/** Opens loads whose number of experts is not given; where they may be routes, the placement says it. */
async function openUnknown(path: string, open: OpenOptions, read: Placement): Promise<LoadRecording> {
  try {
    return await openRecording(path, open);
  } catch (error) {
    if (!isOwnError(error) || error.code !== 'EPLB_OPTION') throw error;
    return openRecording(path, { ...open, numExperts: read.numLogicalExperts });
  }
}

type Figures = Pick<AgainstReport, 'reason' | 'layers' | 'overall'> & Pick<Comparison, 'survival'>;

async function figures(
  placement: Placement,
  recording: LoadRecording,
  options: LoadOptions,
): Promise<Figures> {
  const numRanks = options.ranks ?? placement.numRanks;
  const { missing, outside, slotsPerRank } = inspectPlacement(placement, numRanks);
  const none = (reason: string): Figures => ({
    reason,
    layers: [],
    overall: null,
    survival: reportSurvival(placement, options),
  });
  if (missing !== undefined || outside !== undefined) return none('the placement is not valid');
  if (numRanks === undefined || slotsPerRank === undefined) {
    return none('the ranks are not known, or do not divide the slots');
  }
  const progress = new Progress(process.stderr);
  const of = await stepsIn(recording, progress);
  const range = { ...resolveRange(options.steps, of, 'step'), of };
  const loads = await sumLoads(recording, rangeOfSteps(recording, range), progress);
  progress.stop();
  const { rankOptions = {}, nodes = 1, dispatch = 'even' } = options;
  const { nodeOfRank } = rankOptions;
  const near = { dispatch, numNodes: nodes, ...(nodeOfRank && { nodeOfRank }) };
  const ranks = { ...differencesOfRanks(rankOptions), ...near };
  const balances = layerBalances(loads, mappingOf(placement), numRanks, ranks);
  const layers = balances.map((one, layer) => ({
    layer,
    balancedness: balancedness(one),
    peakToAverage: peakToAverage(one),
  }));
  const survival = reportSurvival(placement, options, loads);
  return { reason: null, layers, overall: summarizeBalance(balances), survival };
}
