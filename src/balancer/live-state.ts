import { codeOf, EventTeller, type GroupEvent } from '../core/events.ts';
import { emptyClosedSlots, openSlotsOfRanks } from '../core/open-slots.ts';
import type { Topology } from '../core/topology.ts';
import type { LoadWindow } from '../loads/load-window.ts';
import { checkShape } from '../mapping/check-shape.ts';
import { checkMapping, type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { LiveMapping } from '../mapping/live-mapping.ts';
import { makePublished, type PublishedState } from '../mapping/published-mapping.ts';
import { rankLayoutOf, relayRanks } from '../mapping/relay-ranks.ts';
import { checkClosedSlots } from '../policy/closed-slots.ts';
import { keepMemory, memoryOf } from '../policy/history.ts';
import { kernelOf } from '../policy/kernels.ts';
import { repairSlots } from '../policy/repair/repair.ts';
import { type CommitOptions, readCommitOptions, readLayers } from './commit-options.ts';
import type { GainRecord } from './gain-record.ts';
import type { OpenGate } from './open-gate.ts';
import type { BalancerSettings } from './options.ts';
import type { LoadSource } from './shared-parts.ts';
import type { TopologyChanged } from './topology-change.ts';
import { makeState, movedState, type TopologyState } from './topology-state.ts';

/** The live mapping on other ranks, and what that took. */
type Relaid = Omit<TopologyChanged, 'generation'>;

/**
 * What is live in a balancer, and how that is replaced: the mapping, the window whose loads are read through
 * it, what was promised of it, and what other threads see of it.
 */
export class LiveState {
  readonly mappings: LiveMapping;
  readonly events: EventTeller;
  /** Connected threads, and hosts that move weights. */
  readonly sources = new Set<LoadSource>();
  /** Steps that were ever recorded. */
  numSteps = 0;
  readonly #openGate: OpenGate;
  /** What is made anew when the topology changes. */
  #made: TopologyState;
  /** Where other threads read the live mapping, once any may. */
  #published: PublishedState | undefined;

  constructor(settings: BalancerSettings, openGate: OpenGate) {
    this.events = new EventTeller(settings.name);
    this.#openGate = openGate;
    this.#made = makeState(settings);
    this.mappings = new LiveMapping(this.#made.first);
  }

  get made(): TopologyState {
    return this.#made;
  }

  /** What events call the balancer. */
  get name(): string {
    return this.#made.settings.name;
  }

  get topology(): Topology {
    return this.#made.settings.topology;
  }

  get window(): LoadWindow {
    return this.#made.window;
  }

  /** What plans promised, and what came. */
  get gains(): GainRecord {
    return this.#made.gains;
  }

  get mapping(): ExpertMapping {
    return this.mappings.mapping;
  }

  get generation(): number {
    return this.mappings.generation;
  }

  /** Ends the step being recorded, with what connected threads have recorded. */
  advance(): void {
    for (const source of this.sources) source.drain();
    this.window.advance();
    this.numSteps++;
    this.gains.step(this.newestLoads);
  }

  readonly newestLoads = (layer: number, out: Float32Array) => this.window.newestLogical(layer, out);

  /** As `ExpertLoadBalancer.commit`. */
  commit(mapping: ExpertMapping, options: CommitOptions): void {
    this.#checkCommit(mapping, options);
    this.replace(mapping);
  }

  /** As `ExpertLoadBalancer.commitLayers`. */
  commitLayers(mapping: ExpertMapping, layers: readonly number[], options: CommitOptions): void {
    const from = this.#checkCommit(mapping, options);
    const named = readLayers(layers, this.topology.numLayers);
    const joined = this.mappings.joined(mapping, named);
    if (joined === this.mapping || joined === mapping) {
      this.replace(joined);
      return;
    }
    keepMemory(joined, this.#joinMemories(mapping, named));
    const swap = () => this.mappings.replaceLayers(joined, mapping, named, this.numSteps, from);
    this.#goLive(joined, mapping, named, swap);
  }

  /** @returns the generation that the mapping was made from, where the options say so. */
  #checkCommit(mapping: ExpertMapping, options: CommitOptions): number | undefined {
    try {
      return this.#checkedCommit(mapping, options);
    } catch (error) {
      const { message } = error as Error;
      this.events.tell('refusal', () => ({ ...this.eventHead, code: codeOf(error), message }));
      throw error;
    }
  }

  #checkedCommit(mapping: ExpertMapping, options: CommitOptions): number | undefined {
    this.#openGate.check();
    const { from, force } = readCommitOptions(options);
    checkMapping('mapping', mapping);
    // First: a plan that is stale as ranks have changed may have another shape, too.
    if (!force) this.mappings.checkFresh(mapping, from);
    checkShape('mapping', mapping, this.topology);
    checkClosedSlots('mapping', tablesOf(mapping).phyToLog, this.topology);
    return from;
  }

  /** Makes a mapping live that was checked. @returns it */
  replace(mapping: ExpertMapping): ExpertMapping {
    if (mapping === this.mapping) return mapping;
    const layers = Array.from({ length: this.topology.numLayers }, (_, layer) => layer);
    this.#goLive(mapping, mapping, layers, () => this.mappings.replace(mapping, this.numSteps));
    return mapping;
  }

  /** @param plan what these layers are of */
  #goLive(mapping: ExpertMapping, plan: ExpertMapping, layers: Iterable<number>, swap: () => void): void {
    this.window.changeMapping(mapping);
    this.gains.committed(plan, this.mapping, mapping, layers, this.numSteps);
    const before = this.mapping;
    swap();
    this.publish();
    const { numRanks } = this.topology;
    this.events.tell('commit', () => ({
      ...{ ...this.eventHead, digest: mapping.digest(), moves: mapping.movesFrom(before, numRanks) },
    }));
  }

  /** What the policy remembers when layers of a mapping are live: of each what was left with its plan. */
  #joinMemories(next: ExpertMapping, layers: ReadonlySet<number>): Uint8Array | undefined {
    const { request, topology } = this.#made.settings;
    if (request === undefined) return undefined;
    const { since } = this.mappings;
    const sinceNext = this.mappings.sinceOf(next, this.numSteps);
    const newest = Math.max(since, sinceNext);
    const partOf = (mapping: ExpertMapping, plannedAt: number) => ({
      memory: memoryOf(mapping),
      isInitial: this.mappings.isFirst(mapping),
      extraSteps: newest - plannedAt,
    });
    const [named, others] = [partOf(next, sinceNext), partOf(this.mapping, since)];
    return kernelOf(request).joinMemories?.(request, topology, (layer) =>
      layers.has(layer) ? named : others,
    );
  }

  /**
   * Lays the live mapping out for other ranks and repairs it there, with all that has their sizes made anew.
   * Other threads see it once it is published.
   *
   * @returns what became of the mapping, and where other threads read it until they hear of the change
   */
  relay(settings: BalancerSettings): Relaid & { readonly former: PublishedState | undefined } {
    for (const source of this.sources) source.drain();
    const relaid = this.#relaid(settings.topology);
    const next = movedState(this.#made, settings, this.mapping, relaid.mapping);
    const former = this.#published;
    this.#published = former && makePublished(settings.topology);
    this.#made = next;
    this.mappings.relay(relaid.mapping, this.numSteps);
    return { ...relaid, former };
  }

  /** The live mapping on other ranks. */
  #relaid(next: Topology): Relaid {
    const { topology } = this;
    const { phyToLog } = tablesOf(this.mapping);
    const slots = relayRanks(phyToLog, topology.numLayers, rankLayoutOf(topology), rankLayoutOf(next));
    emptyClosedSlots(slots, next);
    const loads = this.window.averageLogical();
    const openSlots = openSlotsOfRanks(next);
    const { rankSpeed, deadRanks, rules } = next;
    return repairSlots(slots, { loads, openSlots, rankSpeed, deadRanks, rules });
  }

  /** Publishes the mapping from now on: a commit of a balancer that nobody shares need not copy it. */
  share(): PublishedState {
    if (this.#published !== undefined) return this.#published;
    const published = makePublished(this.topology);
    this.#published = published;
    this.publish();
    return published;
  }

  /** Shows other threads what is live. */
  publish(): void {
    this.#published?.mapping.write(this.mapping, this.generation);
    for (const source of this.sources) source.committed();
  }

  /** What every event begins with. */
  get eventHead(): GroupEvent {
    return { group: this.name, epoch: this.generation };
  }
}
