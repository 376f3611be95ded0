import { type NearestExchange, type SlotDispatch, slotDispatchOf } from '../cost/nearest-exchange.ts';
import { LayerCache, type VersionedPlacement } from './layer-cache.ts';

/** What the slots of placements get and take by a cost model, found anew where a layer has changed. */
export class PlacementDispatch {
  readonly #exchange: NearestExchange;
  readonly #known = new LayerCache<SlotDispatch>();

  constructor(exchange: NearestExchange) {
    this.#exchange = exchange;
  }

  ofLayer(placement: VersionedPlacement, layer: number): SlotDispatch {
    return this.#known.of(placement, layer, (slots, before) => {
      const found = before ?? slotDispatchOf(slots.length);
      this.#exchange.write(slots, found);
      return found;
    });
  }
}
