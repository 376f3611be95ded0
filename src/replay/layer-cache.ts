/** A placement, as it is now. */
export interface VersionedPlacement {
  /** `[layers]`: how often each layer was assigned. */
  readonly versions: Int32Array;
  /** `[physical]`: the expert of each slot, -1 when it is empty; a view. */
  layerSlots(layer: number): Int32Array;
}

/** What is known of layers of placements, found anew where a layer was assigned since. */
export class LayerCache<Known> {
  readonly #known = new Map<VersionedPlacement, { readonly version: number; readonly known: Known }[]>();

  /** @param find what is to be known, of slots as they are: it may take over what was known `before` */
  of(
    placement: VersionedPlacement,
    layer: number,
    find: (slots: Int32Array, before: Known | undefined) => Known,
  ): Known {
    let layers = this.#known.get(placement);
    if (layers === undefined) {
      layers = [];
      this.#known.set(placement, layers);
    }
    const version = placement.versions[layer]!;
    const before = layers[layer];
    if (before?.version === version) return before.known;
    const known = find(placement.layerSlots(layer), before?.known);
    layers[layer] = { version, known };
    return known;
  }

  clear(): void {
    this.#known.clear();
  }
}
