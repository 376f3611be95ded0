/** Ids from which on a table of them is none by chance, and so no loads. */
const SURE_IDS = 8;

/** What an array of numbers is as a placement. */
interface PlacementKind {
  /** The format that it would be read as. */
  readonly format: 'omni-infer' | 'tables-npy' | 'vllm-ascend-npy';
  readonly what: string;
  /** Whether it can hardly be anything else. */
  readonly isSure: boolean;
}

/** Numbers with a shape, row-major. */
interface NumberArray {
  readonly data: ArrayLike<number>;
  readonly shape: readonly number[];
}

/**
 * What an array of two or three dimensions is as a placement, or undefined when it is none: a pattern of
 * 0 and 1, or a table in which every layer holds the ids from 0 on and nothing else: of three dimensions,
 * each slot once, or each expert, and some again. With a -1 in it, a table holds no loads. With few ids,
 * loads could come out so by chance.
 *
 * @param isAll - false for the first rows of an array alone, of which more rows may still be right
 */
export function placementIn(array: NumberArray, isAll: boolean): PlacementKind | undefined {
  const { shape } = array;
  if ((shape.length !== 2 && shape.length !== 3) || shape.includes(0)) return undefined;
  // One rank, or ones alone, is nothing that anybody would place.
  if (shape.length === 3 && isPattern(array, isAll) && !(isAll && isTrivial(array))) {
    return { format: 'omni-infer', what: 'a pattern of 0 and 1 [ranks, layers, experts]', isSure: false };
  }
  const { numIds, hasEmpty } = idsIn(array);
  if (numIds < 2) {
    if (!isRankTable(array)) return undefined;
    const what = 'a table of the experts of ranks, [layers, ranks, slots]';
    return { format: 'vllm-ascend-npy', what, isSure: true };
  }
  const table = shape.length === 2 ? 'physical-to-logical' : 'logical-to-physical';
  return { format: 'tables-npy', what: `a ${table} table`, isSure: hasEmpty || numIds >= SURE_IDS };
}

function isTrivial({ data, shape }: NumberArray): boolean {
  return shape[0] === 1 || !Array.prototype.includes.call(data, 0);
}

/** Three dimensions of 0 and 1 in which every expert of every layer is somewhere. */
export function isPattern({ data, shape }: NumberArray, isAll: boolean): boolean {
  if (shape.length !== 3 || shape.includes(0)) return false;
  for (let i = 0; i < data.length; i++) if (data[i] !== 0 && data[i] !== 1) return false;
  if (!isAll) return true;
  const perRank = shape[1]! * shape[2]!;
  for (let at = 0; at < perRank; at++) {
    let rank = 0;
    while (rank < shape[0]! && data[rank * perRank + at] === 0) rank++;
    if (rank === shape[0]) return false;
  }
  return true;
}

/**
 * How many ids there are when every layer holds the ids from 0 on, each at least once, and nothing else; 0
 * when not so. In three dimensions they are slots, of which each stands once.
 */
function idsIn({ data, shape }: NumberArray): { numIds: number; hasEmpty: boolean } {
  const width = data.length / shape[0]!;
  let numIds = 0;
  let hasEmpty = false;
  for (let first = 0; first < data.length; first += width) {
    const ids = new Set<number>();
    let most = -1;
    let empty = 0;
    for (let i = first; i < first + width; i++) {
      const id = data[i]!;
      if (id === -1) empty++;
      // An id is below the number of slots, whatever the array holds.
      else if (id >= 0 && id < width && Number.isInteger(id)) ids.add(id);
      else return NO_IDS;
      most = Math.max(most, id);
    }
    if (empty > 0) hasEmpty = true;
    if (ids.size !== most + 1 || ids.size === 0 || (numIds !== 0 && numIds !== ids.size)) return NO_IDS;
    if (shape.length === 3 && ids.size !== width - empty) return NO_IDS;
    numIds = ids.size;
  }
  return { numIds, hasEmpty };
}

/** More copies of each expert, in the mean, than any engine has: loads of few tokens look like that. */
const MOST_COPIES = 4;

/**
 * Whether each layer of three dimensions holds the ids from 0 on, as many in all layers, some of them again,
 * and nothing else; of few ids that says nothing.
 */
export function isRankTable({ data, shape }: NumberArray): boolean {
  if (shape.length !== 3 || shape.includes(0)) return false;
  const width = shape[1]! * shape[2]!;
  let numExperts = 0;
  for (let first = 0; first < data.length; first += width) {
    const ids = new Set<number>();
    let most = -1;
    for (let i = first; i < first + width; i++) {
      const id = data[i]!;
      if (!(id >= 0 && id < width && Number.isInteger(id))) return false;
      ids.add(id);
      most = Math.max(most, id);
    }
    if (ids.size !== most + 1 || ids.size === width || ids.size * MOST_COPIES < width) return false;
    if (numExperts !== 0 && numExperts !== ids.size) return false;
    numExperts = ids.size;
  }
  return numExperts >= SURE_IDS;
}

const NO_IDS = { numIds: 0, hasEmpty: false };
