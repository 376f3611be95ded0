import { type NearestExchange, type SlotDispatch, slotDispatchOf } from '../cost/nearest-exchange.ts';
import type { ScoredPlacement } from './scorer.ts';

/** What the slots of placements get and take by a cost model, found anew where a layer has changed. */
export class PlacementDispatch {
  readonly #exchange: NearestExchange;
  readonly #known = new Map<ScoredPlacement, (SlotDispatch & { readonly version: number })[]>();

  constructor(exchange: NearestExchange) {
    this.#exchange = exchange;
  }

  ofLayer(placement: ScoredPlacement, layer: number): SlotDispatch {
    let layers = this.#known.get(placement);
    if (layers === undefined) {
      layers = [];
      this.#known.set(placement, layers);
    }
    const version = placement.versions[layer]!;
    const before = layers[layer];
    if (before?.version === version) return before;
    const slots = placement.layerSlots(layer);
    const found = { ...(before ?? slotDispatchOf(slots.length)), version };
    this.#exchange.write(slots, found);
    layers[layer] = found;
    return found;
  }
}
