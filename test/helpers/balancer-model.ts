import type { ExpertMapping } from 'expert-load-balancer';

// What a balancer and a rebalancer promise about who replaces whom, in plain code: no loads, no threads, no
// memory. The tests run it beside the real classes.

/** A mapping on its way: planned, and not live since. */
interface Planned {
  readonly mapping: ExpertMapping;
  readonly from: number;
}

type CommitResult = 'live' | 'stale' | 'closed';
type AsyncStatus = 'pending' | 'committed' | 'stale' | 'unchanged' | 'stopped' | 'no samples' | 'closed';

export class BalancerModel {
  live: ExpertMapping;
  generation = 0;
  numSamples = 0;
  isClosed = false;
  /** What waits in the rebalancer. */
  pending: Planned | undefined;
  /** Plans that a caller holds. */
  readonly held: Planned[] = [];
  /** All that were live once, in order. */
  readonly past: ExpertMapping[] = [];
  readonly #plannedFrom = new Map<ExpertMapping, number>();

  constructor(first: ExpertMapping) {
    this.live = first;
    this.past.push(first);
  }

  commit(mapping: ExpertMapping, options: { from?: number; force?: boolean } = {}): CommitResult {
    if (this.isClosed) return 'closed';
    const from = options.from ?? this.#plannedFrom.get(mapping);
    if (options.force !== true && from !== undefined && from !== this.generation) return 'stale';
    if (mapping === this.live) return 'live';
    this.live = mapping;
    this.generation++;
    this.past.push(mapping);
    this.#plannedFrom.delete(mapping);
    return 'live';
  }

  /** A plan that was made from a generation has come back with a mapping that was never live. */
  planned(mapping: ExpertMapping, from: number): Planned {
    this.#plannedFrom.set(mapping, from);
    return { mapping, from };
  }

  /** A rebalance: plans until no other mapping went live meanwhile, or it is to make no more plans. */
  rebalance(ifStale: 'replan' | 'keep', plan: () => ExpertMapping): void {
    for (let plansLeft = ifStale === 'keep' ? 1 : 4; plansLeft > 0; plansLeft--) {
      const from = this.generation;
      const { mapping } = this.planned(plan(), from);
      if (from !== this.generation) continue;
      this.commit(mapping);
      return;
    }
  }

  /** A rebalancer's plan. @param isStopped whether it is stopped meanwhile */
  rebalanceAsync(autoCommit: boolean, isStopped: boolean, plan: () => ExpertMapping): AsyncStatus {
    if (this.isClosed) return 'closed';
    if (this.numSamples === 0) return 'no samples';
    const from = this.generation;
    const planned = this.planned(plan(), from);
    if (isStopped) return 'stopped';
    if (!autoCommit) this.pending = undefined;
    if (from !== this.generation) return 'stale';
    if (planned.mapping.equals(this.live)) return 'unchanged';
    if (!autoCommit) {
      this.pending = planned;
      return 'pending';
    }
    this.commit(planned.mapping);
    return 'committed';
  }
}
