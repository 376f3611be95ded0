import { isOwnError } from '../../core/errors.ts';
import { mappingOf } from './mapping.ts';
import type { KeyProblem, Placement } from './placement.ts';

/**
 * How often something is so, and where it is so first: in words, such as `layer 3: expert 7 is in no slot`.
 */
export interface Occurrence {
  readonly count: number;
  readonly first: string;
}

/** What is so about a placement, before anybody judges it. A problem that does not occur is undefined. */
export interface PlacementFacts {
  /** Name of the format it was read as. */
  readonly format: string;
  readonly numLayers: number;
  readonly numPhysicalExperts: number;
  readonly numLogicalExperts: number;
  readonly numRanks: number | undefined;
  /** Undefined when ranks are unknown or do not divide the slots. */
  readonly slotsPerRank: number | undefined;
  readonly layerNumbers: readonly number[] | undefined;
  /** The most slots an expert has in a layer. */
  readonly maxReplicas: number;
  /** Slots that hold no expert. */
  readonly empty: Occurrence | undefined;
  /** Experts without a slot; of more experts than slots, only the first are counted. */
  readonly missing: Occurrence | undefined;
  /** Slots that hold something that is not an expert. */
  readonly outside: Occurrence | undefined;
  /**
   * Slots whose expert an earlier slot of their rank holds as well; undefined too when the slots of ranks are
   * unknown.
   */
  readonly duplicates: Occurrence | undefined;
  /** In what the file's own tables disagree, when it has several. */
  readonly disagreement: string | undefined;
  /** What the loader that the file is for finds wrong with its keys. */
  readonly keyProblems: readonly KeyProblem[];
}

/** Looks at a placement as a whole. @param numRanks - the file's own when left out */
export function inspectPlacement(placement: Placement, numRanks = placement.numRanks): PlacementFacts {
  const { numLayers, numPhysicalExperts, numLogicalExperts } = placement;
  const divides = numRanks !== undefined && numPhysicalExperts % numRanks === 0;
  const slotsPerRank = divides ? numPhysicalExperts / numRanks : undefined;
  const found = { empty: tally(), missing: tally(), outside: tally(), duplicates: tally() };
  let maxReplicas = 0;
  // Of more experts than slots one is missing among as many, so the others need not be counted: a small file
  // can claim any number of them.
  const counted = Math.min(numLogicalExperts, numPhysicalExperts + 1);
  const counts = new Int32Array(counted);
  // The last rank of all layers that was seen to hold an expert.
  const heldBy = new Int32Array(counted).fill(-1);
  for (let layer = 0; layer < numLayers; layer++) {
    counts.fill(0);
    for (let slot = 0; slot < numPhysicalExperts; slot++) {
      const at = layer * numPhysicalExperts + slot;
      const expert = placement.slots[at]!;
      if (expert < 0) found.empty.add(() => `layer ${layer}: slot ${slot} is empty`);
      else if (expert >= numLogicalExperts)
        found.outside.add(() => `layer ${layer}: slot ${slot} holds ${expert}`);
      if (expert < 0 || expert >= counted) continue;
      counts[expert]!++;
      if (slotsPerRank === undefined) continue;
      const rank = Math.floor(at / slotsPerRank);
      if (heldBy[expert] === rank) {
        found.duplicates.add(
          () => `layer ${layer}: rank ${Math.floor(slot / slotsPerRank)} holds expert ${expert} twice`,
        );
      }
      heldBy[expert] = rank;
    }
    for (let expert = 0; expert < counted; expert++) {
      if (counts[expert] === 0) found.missing.add(() => `layer ${layer}: expert ${expert} is in no slot`);
      maxReplicas = Math.max(maxReplicas, counts[expert]!);
    }
  }
  const valid = found.missing.taken() === undefined && found.outside.taken() === undefined;
  return {
    format: placement.format,
    ...{ numLayers, numPhysicalExperts, numLogicalExperts, numRanks, slotsPerRank, maxReplicas },
    layerNumbers: placement.layerNumbers,
    empty: found.empty.taken(),
    missing: found.missing.taken(),
    outside: found.outside.taken(),
    duplicates: found.duplicates.taken(),
    disagreement: valid ? disagreementOf(placement) : undefined,
    keyProblems: placement.keyProblems ?? [],
  };
}

/** Counts how often something is so; the first time is put into words. */
function tally() {
  let count = 0;
  let first = '';
  return {
    add(words: () => string): void {
      if (count++ === 0) first = words();
    },
    taken: (): Occurrence | undefined => (count === 0 ? undefined : { count, first }),
  };
}

function disagreementOf(placement: Placement): string | undefined {
  if (placement.logToPhy === undefined && placement.replicaCount === undefined) return undefined;
  try {
    mappingOf(placement);
    return undefined;
  } catch (error) {
    if (isOwnError(error)) return error.message.replace(/^mapping: /, '');
    throw error;
  }
}
