import type { EventTeller } from '../core/events.ts';
import type { LoadWindow } from '../loads/load-window.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { PublishedState } from '../mapping/published-mapping.ts';
import type { BalancerDecision } from '../policy/decision.ts';
import type { GainRecord } from './gain-record.ts';
import type { TopologyChanged } from './topology-change.ts';

/** Other threads' loads, on their way into the window. */
export interface LoadSource {
  /** Brings what was recorded into the step being recorded; called before a step ends. */
  drain(): void;
  /** A mapping went live. */
  committed(): void;
  /** The mapping is published elsewhere from now on, as the topology has changed. */
  moved?(): void;
}

/** Is told of a change of the topology. */
export type TopologyListener = (changed: TopologyChanged) => void;

/** What the library's other parts need of a balancer at the moment: sharing it with threads, watching it. */
export interface SharedParts {
  /** Where other threads read the live mapping: from the first call on. */
  published(): PublishedState;
  readonly window: LoadWindow;
  readonly sources: Set<LoadSource>;
  /** Whether a mapping may go live that was made from this generation. */
  isFresh(mapping: ExpertMapping, from: number): boolean;
  isClosed(): boolean;
  /** Tells when the balancer is closed. @returns what ends that */
  onClose(listener: () => void): () => void;
  /** Tells when a step has ended. @returns what ends that */
  onStep(listener: () => void): () => void;
  /** Tells when the topology has changed. @returns what ends that */
  onTopology(listener: TopologyListener): () => void;
  readonly gains: GainRecord;
  readonly events: EventTeller;
  /** The rebalancers that run. */
  readonly loops: Set<{ readonly rebalanceInterval: number }>;
  /** Writes the loads of experts of a layer in the step that ended last. */
  newestLoads(layer: number, out: Float32Array): void;
  /** Steps that were ever recorded. */
  numSteps(): number;
  /** Of plans that their caller tells of itself. */
  readonly toldElsewhere: WeakSet<AbortSignal>;
  /**
   * Plans from the window as `plan` does, or resolves to undefined when its ranks' loads do not differ by
   * more than this.
   */
  planIfUneven(imbalanceThreshold: number, signal: AbortSignal): Promise<BalancerDecision | undefined>;
}
