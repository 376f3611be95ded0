/**
 * How vLLM would move weights in batches of one peer a rank (its proposal 52641, as its review of September
 * 2026 has it): transfers in their order, each in the first batch in which its two ranks have no other peer.
 * All that a pair has to send, in both directions, so is in one batch, which lasts as long as the most
 * experts that one of its pairs has in one direction. Senders are those of
 * `rearrange_expert_weights_inplace`: the receivers of an expert are shared out evenly among the ranks that
 * have it, in order, and the first of these take what is left.
 */
export interface FirstFit {
  /** Of all layers: batches, and how long they last together, in transfers one after the other. */
  readonly batches: number;
  readonly length: number;
  readonly numTransfers: number;
}

/** @param before tables [layers x slots] */
export function firstFitTransfer(
  before: Int32Array,
  after: Int32Array,
  numLayers: number,
  numRanks: number,
): FirstFit {
  const numSlots = before.length / numLayers;
  const sum = { batches: 0, length: 0, numTransfers: 0 };
  for (let layer = 0; layer < numLayers; layer++) {
    const [first, end] = [layer * numSlots, (layer + 1) * numSlots];
    const transfers = transfersOf(before.subarray(first, end), after.subarray(first, end), numRanks);
    const lengths = firstFit(transfers, numRanks);
    sum.batches += lengths.length;
    sum.length += lengths.reduce((total, length) => total + length, 0);
    sum.numTransfers += transfers.length;
  }
  return sum;
}

type Pair = readonly [source: number, target: number];

/** Expert by expert: who sends it to whom. */
function transfersOf(before: Int32Array, after: Int32Array, numRanks: number): Pair[] {
  const slotsPerRank = before.length / numRanks;
  const ranksOf = (table: Int32Array) => {
    const ranks = new Map<number, number[]>();
    table.forEach((expert, slot) => {
      const rank = Math.floor(slot / slotsPerRank);
      const own = ranks.get(expert) ?? [];
      if (own.at(-1) !== rank) own.push(rank);
      ranks.set(expert, own);
    });
    return ranks;
  };
  const [senders, receivers] = [ranksOf(before), ranksOf(after)];
  const experts = [...receivers.keys()].sort((a, b) => a - b);
  return experts.flatMap((expert) => {
    const from = senders.get(expert)!;
    const to = receivers.get(expert)!.filter((rank) => !from.includes(rank));
    const each = Math.floor(to.length / from.length);
    return from.flatMap((source, i) => {
      const rest = to[each * from.length + i];
      const targets = [...to.slice(i * each, (i + 1) * each), ...(rest === undefined ? [] : [rest])];
      return targets.map((target): Pair => [source, target]);
    });
  });
}

/** How long each batch lasts: the most transfers of a pair in one direction. */
function firstFit(transfers: readonly Pair[], numRanks: number): number[] {
  const batches: { readonly peerOf: Int32Array; readonly counts: Map<number, number> }[] = [];
  for (const [source, target] of transfers) {
    const isFree = (peerOf: Int32Array, rank: number, peer: number) =>
      peerOf[rank] === -1 || peerOf[rank] === peer;
    let batch = batches.find(
      ({ peerOf }) => isFree(peerOf, source, target) && isFree(peerOf, target, source),
    );
    if (batch === undefined) {
      batch = { peerOf: new Int32Array(numRanks).fill(-1), counts: new Map() };
      batches.push(batch);
    }
    batch.peerOf[source] = target;
    batch.peerOf[target] = source;
    const direction = source * numRanks + target;
    batch.counts.set(direction, (batch.counts.get(direction) ?? 0) + 1);
  }
  return batches.map(({ counts }) => Math.max(...counts.values()));
}
