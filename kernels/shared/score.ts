// Rank loads of all layers of a step in one call, under all mappings that a replay follows.

/**
 * Adds up the load of each rank in each layer as `rankLoads` does, to the same bits, from tables that are
 * made once a mapping: only experts with replicas are divided, and an empty slot reads a zero behind the
 * experts. Loads are widened once for all placements. 58 layers of 256 experts in 288 slots, under three
 * placements, take 20 microseconds (measured): 28 when each is scored for itself, and when the largest rank
 * load is found by `max`, which has to look for numbers that are none.
 *
 * @param loads f32[numLayers x numLogical]
 * @param offsets i32[numLayers x numPhysical]: 8 x the slot's expert, 8 x numLogical for an empty slot, and
 * 8 x (numLogical + 1 + expert) where the expert has several
 * @param replicated i32[numLayers][words]: a count, then 8 x expert and replicas of every expert that has
 * more than one
 * @param words of `replicated` a layer
 * @param zeroIsOne whether a load of 0 is read as 1
 * @param rankLoads f64[numLayers x numRanks], out
 * @param stats f64[numLayers][2], out: the largest rank load and the mean
 * @param shares f64[2][numLogical + 1]: {@link scoreLayersScratchBytes}
 * @param numPlacements whose tables, rank loads and stats each lie `stride` bytes behind those of the last
 */
export function scoreLayers(
  loads: usize,
  offsets: usize,
  replicated: usize,
  words: i32,
  numLayers: i32,
  numLogical: i32,
  numPhysical: i32,
  numRanks: i32,
  zeroIsOne: i32,
  rankLoads: usize,
  stats: usize,
  shares: usize,
  numPlacements: i32,
  stride: usize,
): void {
  const loadBytes = (<usize>numLogical) << 2;
  const replicatedBytes = (<usize>words) << 2;
  const tableBytes = (<usize>numPhysical) << 2;
  const rankBytes = (<usize>numRanks) << 3;
  const divided = shares + ((<usize>numLogical + 1) << 3);
  store<f64>(shares + ((<usize>numLogical) << 3), 0);
  for (let layer = 0; layer < numLayers; layer++) {
    widenLoads(loads, shares, numLogical, zeroIsOne);
    for (let at: usize = 0, placement = 0; placement < numPlacements; placement++, at += stride) {
      divideLoads(shares, divided, replicated + at);
      addSlots(offsets + at, numPhysical / numRanks, shares, numRanks, rankLoads + at);
      summarizeRanks(rankLoads + at, numRanks, stats + at);
    }
    loads += loadBytes;
    offsets += tableBytes;
    replicated += replicatedBytes;
    rankLoads += rankBytes;
    stats += 16;
  }
}

/** Writes what each slot gets of the experts that have several. */
function divideLoads(shares: usize, divided: usize, replicated: usize): void {
  let entry = replicated + 4;
  for (const end = entry + ((<usize>load<i32>(replicated)) << 3); entry < end; entry += 8) {
    const offset = <usize>load<i32>(entry);
    store<f64>(divided + offset, load<f64>(shares + offset) / <f64>load<i32>(entry, 4));
  }
}

function addSlots(slot: usize, perRank: i32, shares: usize, numRanks: i32, rankLoads: usize): void {
  const slotBytes = (<usize>perRank) << 2;
  let rank = 0;
  for (; rank + 4 <= numRanks; rank += 4) {
    sumFour(slot, slotBytes, shares, rankLoads);
    slot += 4 * slotBytes;
    rankLoads += 32;
  }
  for (; rank < numRanks; rank++) {
    let sum: f64 = 0;
    for (const end = slot + slotBytes; slot < end; slot += 4) sum += at(shares, slot);
    store<f64>(rankLoads, sum);
    rankLoads += 8;
  }
}

/** Writes the largest rank load and the mean. */
function summarizeRanks(rankLoads: usize, numRanks: i32, stats: usize): void {
  let most = f64x2.splat(0);
  let total: f64 = 0;
  for (let at = rankLoads, end = rankLoads + ((<usize>numRanks) << 3); at < end; at += 8) {
    const sum = v128.load64_splat(at);
    most = f64x2.pmax(most, sum);
    total += load<f64>(at);
  }
  store<f64>(stats, f64x2.extract_lane(most, 0));
  store<f64>(stats, total / <f64>numRanks, 8);
}

/**
 * The sums of four ranks side by side, each in the order of its slots: one rank alone waits for its own
 * additions.
 */
function sumFour(slot: usize, slotBytes: usize, shares: usize, rankLoads: usize): void {
  const second = slot + slotBytes;
  const toThird = 2 * slotBytes;
  let a: f64 = 0;
  let b: f64 = 0;
  let c: f64 = 0;
  let d: f64 = 0;
  for (let i: usize = 0; i < slotBytes; i += 4) {
    a += at(shares, slot + i);
    b += at(shares, second + i);
    c += at(shares, slot + toThird + i);
    d += at(shares, second + toThird + i);
  }
  store<f64>(rankLoads, a);
  store<f64>(rankLoads, b, 8);
  store<f64>(rankLoads, c, 16);
  store<f64>(rankLoads, d, 24);
}

function at(shares: usize, slot: usize): f64 {
  return load<f64>(shares + <usize>load<i32>(slot));
}

/**
 * Makes the tables of a layer for {@link scoreLayers}.
 *
 * @param slots i32[numPhysical]: the expert of each slot, -1 when it is empty; becomes its offsets
 * @param replicated i32[3 + 2 x experts with more than one replica], out: the last two may hold anything
 * @param counts i32[numLogical], out: the replicas of each expert
 */
export function scoreTables(
  slots: usize,
  numPhysical: i32,
  numLogical: i32,
  replicated: usize,
  counts: usize,
): void {
  memory.fill(counts, 0, (<usize>numLogical) << 2);
  const end = slots + ((<usize>numPhysical) << 2);
  for (let slot = slots; slot < end; slot += 4) {
    const expert = load<i32>(slot);
    store<i32>(slot, (expert < 0 ? numLogical : expert) << 3);
    if (expert < 0) continue;
    const count = counts + ((<usize>expert) << 2);
    store<i32>(count, load<i32>(count) + 1);
  }
  const toDivided = (numLogical + 1) << 3;
  for (let slot = slots; slot < end; slot += 4) {
    const offset = load<i32>(slot);
    const expert = offset >> 3;
    if (expert < numLogical && load<i32>(counts + ((<usize>expert) << 2)) > 1)
      store<i32>(slot, offset + toDivided);
  }
  let entry = replicated + 4;
  for (let expert = 0; expert < numLogical; expert++) {
    const count = load<i32>(counts + ((<usize>expert) << 2));
    // Written over unless it counts: a branch is guessed wrong for every expert that does.
    store<i32>(entry, expert << 3);
    store<i32>(entry, count, 4);
    entry += (<usize>(count > 1)) << 3;
  }
  store<i32>(replicated, <i32>((entry - replicated - 4) >> 3));
}

function widenLoads(loads: usize, shares: usize, n: i32, zeroIsOne: i32): void {
  const one = f32x4.splat(zeroIsOne ? 1 : 0);
  const zero = f32x4.splat(0);
  const vectorEnd = n & ~3;
  let i = 0;
  for (; i < vectorEnd; i += 4) {
    const read = v128.load(loads + ((<usize>i) << 2));
    const x = v128.bitselect(one, read, f32x4.eq(read, zero));
    const to = shares + ((<usize>i) << 3);
    v128.store(to, f64x2.promote_low_f32x4(x));
    v128.store(to, f64x2.promote_low_f32x4(v128.shuffle<u64>(x, x, 1, 1)), 16);
  }
  for (; i < n; i++) {
    const x = load<f32>(loads + ((<usize>i) << 2));
    store<f64>(shares + ((<usize>i) << 3), x === 0 ? <f64>(zeroIsOne ? 1 : 0) : <f64>x);
  }
}

/** Scratch of {@link scoreLayers}: loads of every expert, and none of an empty slot; and those divided. */
export function scoreLayersScratchBytes(numLogical: i32): f64 {
  return 16 * (<f64>numLogical + 1);
}
