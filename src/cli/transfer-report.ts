import type { LayerBounds, TransferDigests, TransferPlan, TransferPlanHead } from '../index.ts';

/** A placement that was read. */
interface TransferPlacement {
  readonly path: string;
  readonly format: string;
  readonly notes: readonly string[];
}

/** A layer of a plan, counted. */
export interface TransferLayerReport {
  readonly layer: number;
  readonly rounds: number;
  readonly transfers: number;
  readonly copies: number;
  readonly hostLoads: number;
  readonly clears: number;
  readonly undone: number;
  readonly bytes: number;
  readonly bounds: LayerBounds;
  readonly extraSlots: number;
  readonly seconds: number | null;
}

/** Everything that `eplb transfer` reports; what `--json` prints. */
export interface TransferReport extends TransferPlanHead {
  readonly kind: 'transfer-report';
  /** Raised when a field changes its meaning. */
  readonly formatVersion: 1;
  readonly from: TransferPlacement;
  readonly to: TransferPlacement;
  /** What had to be assumed. */
  readonly notes: readonly string[];
  readonly digests: TransferDigests;
  /** In the order to move. */
  readonly layers: readonly TransferLayerReport[];
  /** The file that the plan was written to. */
  readonly output: string | null;
}

/** Counts what a plan does. */
export function transferReport(
  plan: TransferPlan,
  about: Pick<TransferReport, 'from' | 'to' | 'notes' | 'output'>,
): TransferReport {
  const { kind: _, formatVersion, layers, digests, ...head } = plan.toJSON();
  return {
    kind: 'transfer-report',
    formatVersion,
    ...about,
    ...head,
    digests,
    layers: layers.map((one) => {
      const transfers = one.rounds.reduce((sum, round) => sum + round.length, 0);
      return {
        layer: one.layer,
        rounds: one.rounds.length,
        transfers,
        copies: one.copies.length,
        hostLoads: one.hostLoads.length,
        clears: one.clears.length,
        undone: one.undone.length,
        bytes: transfers * plan.bytesPerExpert,
        bounds: one.bounds,
        extraSlots: one.extraSlots,
        seconds: one.seconds,
      };
    }),
  };
}
