import { ExpertMapping, planTransfer, type TransferPlan } from '../../index.ts';
import type { HeldEpoch, PreparedOperation, WeightHost } from '../../migration/index.ts';
import type { TransferLayer } from '../../transfer/layer.ts';
import type { ServiceClient } from '../service/client.ts';
import { linkPath, WeightLinks, WeightServer } from './links.ts';
import type { HeldWeights, RankSetup } from './messages.ts';
import { checkpointOf, WeightStore } from './weights.ts';

/** What a rank has prepared. */
interface Prepared {
  readonly token: number;
  readonly mapping: ExpertMapping;
  readonly plan: TransferPlan;
  readonly numReceived: number;
  readonly numLoaded: number;
}

/**
 * Keeps a rank's weights: fills buffers from other ranks' slots as the transfer plan says, brings them into
 * the slots, and looks at every slot's content then.
 */
export class RankHost implements WeightHost {
  readonly #client: ServiceClient;
  readonly #setup: RankSetup;
  readonly #onHolds: (isRestored: boolean, weights: HeldWeights) => void;
  readonly #weights: WeightStore;
  readonly #server: WeightServer;
  #mapping: ExpertMapping | undefined;
  #prepared: Prepared | undefined;

  constructor(
    client: ServiceClient,
    setup: RankSetup,
    onHolds: (isRestored: boolean, weights: HeldWeights) => void,
  ) {
    const { numLayers, numPhysicalExperts, numRanks, expertBytes, folder, rank } = setup;
    const slotsPerRank = numPhysicalExperts / numRanks;
    this.#client = client;
    this.#setup = setup;
    this.#onHolds = onHolds;
    this.#weights = new WeightStore({ numLayers, slotsPerRank, expertBytes });
    this.#server = new WeightServer(linkPath(folder, rank), (digest, layer, slot) => {
      const isThere = this.#mapping?.digest() === digest && layer < numLayers && slot < slotsPerRank;
      return isThere ? this.#weights.at(layer, slot) : undefined;
    });
  }

  listen(): Promise<void> {
    return this.#server.listen();
  }

  close(): void {
    this.#server.close();
  }

  /** The mapping that all slots hold. */
  get mapping(): ExpertMapping | undefined {
    return this.#mapping;
  }

  async prepare(
    { token, epoch, digest }: PreparedOperation,
    { signal, done }: { readonly signal: AbortSignal; readonly done: (layer: number) => void },
  ): Promise<void> {
    const from = this.#mapping!;
    const mapping = await this.#mappingOf({ epoch, digest });
    const { numRanks, numNodes, expertBytes: bytesPerExpert } = this.#setup;
    const deadRanks = await this.#deadRanks();
    const plan = planTransfer(from, mapping, { numRanks, numNodes, bytesPerExpert, deadRanks });
    this.#weights.dropBuffers();
    const links = new WeightLinks(this.#setup.folder);
    let [numReceived, numLoaded] = [0, 0];
    try {
      for (const layer of plan.layers) {
        if (signal.aborted) return;
        numReceived += await this.#receive(links, layer, from.digest());
        numLoaded += this.#loadFromHost(layer);
        done(layer.layer);
      }
    } finally {
      links.close();
    }
    this.#prepared = { token, mapping, plan, numReceived, numLoaded };
  }

  swap({ token, epoch }: PreparedOperation): void {
    const prepared = this.#prepared;
    if (prepared?.token !== token) throw new Error('nothing was prepared for it');
    this.#prepared = undefined;
    // While they are written, the slots hold nothing whole.
    this.#mapping = undefined;
    const { mapping, plan, numReceived, numLoaded } = prepared;
    let numCopied = 0;
    for (const layer of plan.layers) {
      numCopied += this.#copy(layer, layer.rounds.length + 1);
      for (const { rank, slot } of layer.clears) {
        if (rank === this.#setup.rank) this.#weights.at(layer.layer, slot).fill(0);
      }
    }
    this.#weights.dropBuffers();
    this.#check(false, mapping, { epoch, numReceived, numCopied, numLoaded });
  }

  drop(): void {
    this.#prepared = undefined;
    this.#weights.dropBuffers();
  }

  async restore(held: HeldEpoch): Promise<void> {
    this.#mapping = undefined;
    this.drop();
    const mapping = await this.#mappingOf(held);
    const numLoaded = this.#weights.load(mapping, this.#setup.rank);
    this.#check(true, mapping, { epoch: held.epoch, numReceived: 0, numCopied: 0, numLoaded });
  }

  /** Plays this rank's part of the rounds. @returns experts that it got from others */
  async #receive(links: WeightLinks, layer: TransferLayer, from: string): Promise<number> {
    let numReceived = 0;
    this.#copy(layer, 0);
    for (const [i, round] of layer.rounds.entries()) {
      for (const { sourceRank, sourceSlot, targetRank, targetSlot, fallbacks = [] } of round) {
        if (targetRank !== this.#setup.rank) continue;
        const sources = [{ rank: sourceRank, slot: sourceSlot }, ...fallbacks];
        await this.#pullFromAny(links, sources, from, layer.layer, targetSlot);
        numReceived++;
      }
      this.#copy(layer, i + 1);
    }
    return numReceived;
  }

  async #pullFromAny(
    links: WeightLinks,
    sources: readonly { readonly rank: number; readonly slot: number }[],
    from: string,
    layer: number,
    targetSlot: number,
  ): Promise<void> {
    let failure: unknown;
    for (const { rank, slot } of sources) {
      try {
        await links.pull(rank, from, layer, slot, this.#weights.at(layer, targetSlot));
        return;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  /** Loads what no live rank has. @returns how many experts */
  #loadFromHost({ layer, hostLoads }: TransferLayer): number {
    const own = hostLoads.filter(({ targetRank }) => targetRank === this.#setup.rank);
    for (const { expert, targetSlot } of own) {
      checkpointOf(layer, expert, this.#weights.at(layer, targetSlot));
    }
    return own.length;
  }

  /** Makes the copies of a step. @returns how many */
  #copy({ layer, copies }: TransferLayer, step: number): number {
    const own = copies.filter((copy) => copy.step === step && copy.targetRank === this.#setup.rank);
    for (const { sourceSlot, targetSlot } of own) {
      this.#weights.at(layer, sourceSlot).copy(this.#weights.at(layer, targetSlot));
    }
    return own.length;
  }

  /** Looks at every slot. @throws Error when one has the weights of another expert */
  #check(isRestored: boolean, mapping: ExpertMapping, counts: Omit<HeldWeights, 'numSlots' | 'wrong'>): void {
    const { numSlots, wrong } = this.#weights.verify(mapping, this.#setup.rank);
    this.#onHolds(isRestored, { ...counts, numSlots, wrong });
    if (wrong.length > 0) throw new Error(`wrong weights in ${wrong[0]}`);
    this.#mapping = mapping;
  }

  async #mappingOf({ epoch, digest }: HeldEpoch): Promise<ExpertMapping> {
    const path = `/v1/groups/${this.#setup.group}/epochs/${epoch}/mapping`;
    const mapping = ExpertMapping.fromBytes(await this.#client.bytes(path));
    if (mapping.digest() === digest) return mapping;
    throw new Error(`the service has another mapping for epoch ${epoch} than it said`);
  }

  async #deadRanks(): Promise<readonly number[]> {
    const path = `/v1/groups/${this.#setup.group}/ranks`;
    const { ranks } = await this.#client.ask<{ ranks: { rank: number; lease: string }[] }>('GET', path);
    return ranks.flatMap(({ rank, lease }) => (lease === 'dead' ? rank : []));
  }
}
