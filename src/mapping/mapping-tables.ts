import { countReplicas, type ForwardTables, invertTables } from './inverse.ts';

/** The tables behind a mapping, flat and row-major; all else follows from them. */
export type MappingTables = ForwardTables;

/** What follows from the tables of a mapping, each made when it is first asked for. */
export class ReplicaIndex {
  readonly #tables: MappingTables;
  readonly #layers: (Int32Array | undefined)[];
  #replicaCount: Int32Array | undefined;
  #maxReplicas: number | undefined;

  constructor(tables: MappingTables) {
    this.#tables = tables;
    this.#layers = new Array(tables.numLayers);
    this.#replicaCount = tables.replicaCount;
  }

  /** [layers x logical]: replicas of each expert. Not a copy. */
  get replicaCount(): Int32Array {
    this.#replicaCount ??= countReplicas(this.#tables);
    return this.#replicaCount;
  }

  /** The most replicas an expert has in any layer. */
  get maxReplicas(): number {
    this.#maxReplicas ??= this.replicaCount.reduce((most, count) => Math.max(most, count), 1);
    return this.#maxReplicas;
  }

  /** [layers x logical x maxReplicas], made anew. */
  logToPhy(): Int32Array {
    return invertTables(this.#tables, this.maxReplicas);
  }

  /** The slots of `expert` in order of replica. */
  slotsOf(layer: number, expert: number): number[] {
    this.#layers[layer] ??= this.#invert(layer);
    const index = this.#layers[layer];
    return Array.from(index.subarray(index[expert], index[expert + 1]));
  }

  /** Where each expert's slots begin (one more than the experts), then the slots by expert and replica. */
  #invert(layer: number): Int32Array {
    const { numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank } = this.#tables;
    const counts = this.replicaCount;
    const index = new Int32Array(numLogicalExperts + 1 + numPhysicalExperts);
    index[0] = numLogicalExperts + 1;
    for (let expert = 0; expert < numLogicalExperts; expert++) {
      index[expert + 1] = index[expert]! + counts[layer * numLogicalExperts + expert]!;
    }
    for (let slot = 0; slot < numPhysicalExperts; slot++) {
      const at = layer * numPhysicalExperts + slot;
      const expert = phyToLog[at]!;
      if (expert >= 0) index[index[expert]! + replicaRank[at]!] = slot;
    }
    return index;
  }
}
