import { EplbRangeError } from '../core/errors.ts';
import { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { ExpertMappingInit } from '../mapping/mapping-init.ts';
import type { LayerSchedule } from './layer.ts';
import { type LayerPlan, LayerPlanner } from './layer-planner.ts';
import { readTransferOptions, type TransferOptions, type TransferSetting } from './options.ts';
import { TransferPlan } from './plan.ts';
import type { TransferFigures } from './plan-json.ts';
import { PlanTiming } from './timing.ts';

/**
 * Plans how the weights get from one placement to another: who sends which expert to whom, in rounds. In a
 * round, a rank sends at most one expert and receives at most one.
 *
 * An expert that a rank already has in another slot is copied from there. An expert for several slots of a
 * rank is received once. Senders are chosen so that the busiest one sends as little as possible, and then so
 * that the links together cost least. If the plan is buffered, at full duplex and without relays, a layer has
 * as many rounds as its busiest sender or receiver has experts, which is the minimum. Dead ranks take no
 * part: what they should hold is listed as undone.
 *
 * Layers are ordered by their gain per byte over links, the largest first; without `gains`, the layers with
 * the fewest bytes come first. Equal layers keep their order, and layers in which nothing changes come last.
 *
 * The calling thread makes the plan. The operations become objects when `layers` is first read.
 *
 * @param from what the ranks hold: a mapping, or its tables
 * @param to what they should hold: as many layers and slots
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_RANGE`, `EPLB_NOT_WHOLE`,
 *   `EPLB_SHAPE`, `EPLB_TOPOLOGY`, `EPLB_MAPPING`, `EPLB_OPTION`, naming the option
 * @example
 * ```ts
 * const from = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3]]);
 * const to = ExpertMapping.fromPhysicalToLogical([[2, 1, 0, 3]]);
 * const plan = planTransfer(from, to, { numRanks: 2, bytesPerExpert: 1000 });
 * plan.numRounds; // 1
 * plan.layers[0]!.rounds[0]![0]!.sourceRank; // 1
 * ```
 */
export function planTransfer(
  from: ExpertMapping | ExpertMappingInit,
  to: ExpertMapping | ExpertMappingInit,
  options: TransferOptions,
): TransferPlan {
  const [before, after] = [mappingOf(from), mappingOf(to)];
  const { numLayers, numPhysicalExperts } = before;
  if (after.numLayers !== numLayers || after.numPhysicalExperts !== numPhysicalExperts) {
    const found = `${after.numLayers} x ${after.numPhysicalExperts}`;
    const message = `to: is of ${found} (layers x slots), not ${numLayers} x ${numPhysicalExperts} as from`;
    throw new EplbRangeError('EPLB_SHAPE', message);
  }
  const setting = readTransferOptions(options, { numLayers, numPhysicalExperts });
  const timing = new PlanTiming(setting);
  const planner = new LayerPlanner(setting, before, after);
  const planned = Array.from({ length: numLayers }, (_, layer) => planner.plan(layer));
  sortByGain(planned, setting.gains);
  const times = timing.times(planned.map(({ schedule }) => schedule));
  const { leastSeconds, ...schedule } = timing.choose(times);
  const secondsOf = (i: number) => times?.[i]?.[schedule.schedule] ?? null;
  return new TransferPlan(
    {
      ...fieldsOf(setting),
      numLayers,
      numPhysicalExperts,
      numLogicalExperts: Math.max(before.numLogicalExperts, after.numLogicalExperts),
      ...schedule,
      ...figuresOf(planned, setting),
      bounds: { rounds: sumOf(planned, ({ bounds }) => bounds.rounds), seconds: leastSeconds },
      stagingBytes: Math.max(...planned.map(({ stagingBytes }) => stagingBytes)),
    },
    () => ({ from: before.digest(), to: after.digest() }),
    () =>
      planned.map(({ schedule: { layer, bounds }, operations }, i) => ({
        layer,
        ...operations(),
        bounds,
        seconds: secondsOf(i),
      })),
  );
}

function mappingOf(given: ExpertMapping | ExpertMappingInit): ExpertMapping {
  return given instanceof ExpertMapping ? given : ExpertMapping.fromJSON(given);
}

function fieldsOf(setting: TransferSetting) {
  const { numRanks, numNodes, nodeOfRank, mode, staging, duplex, relay, deadRanks, maxBytesInFlight } =
    setting;
  const { bytesPerExpert, bundle, cost } = setting;
  return {
    numRanks,
    numNodes,
    ...(nodeOfRank && { nodeOfRank }),
    mode,
    staging,
    duplex,
    relay,
    deadRanks,
    maxBytesInFlight: Number.isFinite(maxBytesInFlight) ? maxBytesInFlight : null,
    bytesPerExpert,
    bundle: bundle ?? null,
    cost: cost?.name ?? null,
  };
}

/** What gains most for a byte comes first; of equal ones the first layer. */
function sortByGain(planned: LayerPlan[], gains: Float64Array | undefined): void {
  const worth = ({ schedule: { layer, count, changedSlots } }: LayerPlan) => {
    if (changedSlots === 0) return Number.NEGATIVE_INFINITY;
    return count === 0 ? Number.POSITIVE_INFINITY : (gains?.[layer] ?? 1) / count;
  };
  const worths = new Map(planned.map((one) => [one, worth(one)]));
  planned.sort((a, b) => {
    const [ofA, ofB] = [worths.get(a)!, worths.get(b)!];
    return ofA === ofB ? a.schedule.layer - b.schedule.layer : ofB > ofA ? 1 : -1;
  });
}

function figuresOf(
  planned: readonly LayerPlan[],
  { links, bytesPerExpert }: TransferSetting,
): TransferFigures {
  const byClass = new Float64Array(links.classes.length);
  for (const { schedule } of planned) {
    for (let i = 0; i < schedule.count; i++) byClass[schedule.links[i]!]!++;
  }
  const bytesByLink = Object.fromEntries(
    links.classes.map((name, i) => [name, byClass[i]! * bytesPerExpert]),
  );
  const numTransfers = sumOf(planned, ({ count }) => count);
  return {
    numRounds: sumOf(planned, ({ numRounds }) => numRounds),
    numTransfers,
    bytes: numTransfers * bytesPerExpert,
    bytesByLink,
  };
}

function sumOf(planned: readonly LayerPlan[], of: (schedule: LayerSchedule) => number): number {
  return planned.reduce((sum, { schedule }) => sum + of(schedule), 0);
}
