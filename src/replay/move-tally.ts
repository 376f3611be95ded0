import type { LayerTransfers } from './transfers.ts';

/** What moving weights came to, layer by layer. */
export class MoveTally {
  readonly moves: Float64Array;
  readonly changedSlots: Float64Array;
  readonly bytes: Float64Array;
  readonly seconds: Float64Array;
  bytesBetweenNodes = 0;

  constructor(numLayers: number) {
    this.moves = new Float64Array(numLayers);
    this.changedSlots = new Float64Array(numLayers);
    this.bytes = new Float64Array(numLayers);
    this.seconds = new Float64Array(numLayers);
  }

  add(layer: number, transfers: LayerTransfers): void {
    this.moves[layer]! += transfers.moves;
    this.changedSlots[layer]! += transfers.changedSlots;
    this.bytes[layer]! += transfers.bytes;
    this.seconds[layer]! += transfers.seconds;
    this.bytesBetweenNodes += transfers.bytesBetweenNodes;
  }
}
