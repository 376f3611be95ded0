import type { CostModel as SlotCostModel } from '../index.ts';
import type { ReplayCost } from './configuration.ts';

/**
 * A replay's cost model by one of slots: steps take what `layerCosts` says, with dispatch and combine. The
 * moves of a plan take what `planTransfer` says with this model: rounds, or batches where they are shorter.
 */
export function slotCost(cost: SlotCostModel): ReplayCost {
  const model = cost.toJSON();
  const { links, moves, bytesPerExpert, name } = model;
  return {
    name,
    time: { kind: 'slots', model },
    bytesPerExpert,
    intraNodeBytesPerSecond: links.intraNode!.bytesPerSecond * moves.bandwidthShare,
    interNodeBytesPerSecond: links.interNode!.bytesPerSecond * moves.bandwidthShare,
    concurrentTransfers: 'rank',
    countedMoves: 'rank',
    stepSeconds: 'modelled',
    zeroLoadsCountAsOne: false,
  };
}
