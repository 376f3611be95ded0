import { BipartiteColouring } from './colour-bipartite.ts';
import { GeneralColouring } from './colour-general.ts';
import type { LayerBounds, LayerSchedule } from './layer.ts';
import type { LinkMap } from './link-map.ts';
import { LayerNeeds } from './needs.ts';
import type { TransferSetting } from './options.ts';
import { relayBound, relayRounds } from './relay.ts';
import { SourceChoice } from './sources.ts';

/** Finds senders and rounds, layer by layer, as if there were buffers for all that is received. */
export class Scheduler {
  readonly #setting: TransferSetting;
  readonly #needs: LayerNeeds;
  readonly #choice: SourceChoice;
  readonly #bipartite: BipartiteColouring;
  readonly #general: GeneralColouring;

  constructor(setting: TransferSetting, numPhysicalExperts: number, numLogicalExperts: number) {
    this.#setting = setting;
    this.#needs = new LayerNeeds(setting, numPhysicalExperts, numLogicalExperts);
    this.#choice = new SourceChoice(setting, numPhysicalExperts);
    this.#bipartite = new BipartiteColouring(setting.numRanks, numPhysicalExperts);
    this.#general = new GeneralColouring(setting.numRanks, numPhysicalExperts);
  }

  /**
   * @param before tables [layers x physical]
   * @param relay whether ranks may pass on what they have received
   */
  schedule(layer: number, before: Int32Array, after: Int32Array, relay: boolean): LayerSchedule {
    const needs = this.#needs;
    needs.read(before, after, layer * needs.rankOf.length);
    const { count } = needs;
    let bounds = NOTHING;
    let numRounds = 0;
    let { sources } = this.#choice;
    let rounds = sources;
    if (count > 0) {
      this.#choice.choose(needs);
      ({ bounds, numRounds, rounds } = this.#colour());
      const relayed = relay ? relayRounds(needs, this.#setting, numRounds) : undefined;
      if (relayed !== undefined) ({ sources, rounds, numRounds } = relayed);
      if (relay) bounds = { ...bounds, rounds: relayBound(needs, this.#setting) };
    }
    return {
      layer,
      count,
      experts: needs.experts.slice(0, count),
      sources: sources.slice(0, count),
      targets: needs.targets.slice(0, count),
      rounds: rounds.slice(0, count),
      links: linksOf(this.#setting.links, sources, needs.targets, count),
      numRounds,
      hostExperts: needs.hostExperts.slice(0, needs.hostCount),
      hostTargets: needs.hostTargets.slice(0, needs.hostCount),
      changedSlots: needs.changedSlots,
      bounds,
    };
  }

  #colour(): { bounds: LayerBounds; numRounds: number; rounds: Int32Array } {
    const { sources, sent, received } = this.#choice;
    const { targets, count } = this.#needs;
    const [mostSent, mostReceived] = [most(sent), most(received)];
    if (!this.#setting.oneAtATime) {
      const numRounds = Math.max(mostSent, mostReceived);
      this.#bipartite.colour(sources, targets, count, numRounds);
      const { rounds } = this.#bipartite;
      return { bounds: { mostSent, mostReceived, rounds: numRounds }, numRounds, rounds };
    }
    const bound = this.#general.colour(sources, targets, count);
    const { numRounds, rounds } = this.#general;
    return { bounds: { mostSent, mostReceived, rounds: bound }, numRounds, rounds };
  }
}

/** The class of the link of each transfer. */
export function linksOf(
  links: LinkMap,
  sources: Int32Array,
  targets: Int32Array,
  count: number,
): Uint16Array {
  const classes = new Uint16Array(count);
  for (let i = 0; i < count; i++) classes[i] = links.classOf(sources[i]!, targets[i]!);
  return classes;
}

const NOTHING: LayerBounds = { mostSent: 0, mostReceived: 0, rounds: 0 };

function most(counts: Int32Array): number {
  let highest = 0;
  for (let i = 0; i < counts.length; i++) if (counts[i]! > highest) highest = counts[i]!;
  return highest;
}
