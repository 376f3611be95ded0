import { checkTopology } from '../core/check-topology.ts';
import { isOwnError } from '../core/errors.ts';
import type { Topology } from '../core/topology.ts';
import type { AbstractEplbPolicy, ExpertLoadBalancer } from '../index.ts';
import { checkPlannable } from '../policy/plannable.ts';
import type { GroupParts } from './declaration.ts';
import type { SavedRanks } from './epochs/rank-book.ts';

/** Who is dead in a group and how fast its ranks are, as plans are to know it. */
export class PlannedRanks {
  /** As declared, if no rank were dead. */
  readonly whole: Topology;
  readonly #policy: AbstractEplbPolicy;
  #deadRanks: readonly number[];
  #speed: readonly number[] | null;
  #planned: Topology | undefined;

  constructor({ declaration, whole, policy }: GroupParts, saved: SavedRanks | undefined) {
    this.whole = whole;
    this.#policy = policy;
    this.#deadRanks = saved?.dead.map(({ rank }) => rank) ?? declaration.deadRanks ?? [];
    this.#speed = saved === undefined ? (declaration.rankSpeed ?? null) : saved.speed;
    this.#planned = this.#plannable();
  }

  get deadRanks(): readonly number[] {
    return this.#deadRanks;
  }

  /** [ranks]; null when all are as fast as usual. */
  get speed(): readonly number[] | null {
    return this.#speed;
  }

  /** Whether the policy can plan for ranks like that. */
  get arePlanned(): boolean {
    return this.#planned !== undefined;
  }

  /** What a balancer is to begin with. */
  get topology(): Topology {
    return this.#planned ?? this.whole;
  }

  /** Ranks are dead or slow from now on; a balancer follows, if it can. @returns whether that is new */
  change(
    balancer: ExpertLoadBalancer,
    deadRanks: readonly number[],
    speed: readonly number[] | null,
  ): boolean {
    if (String([deadRanks, speed]) === String([this.#deadRanks, this.#speed])) return false;
    this.#deadRanks = deadRanks;
    this.#speed = speed;
    this.#planned = this.#plannable();
    if (this.#planned === undefined) return true;
    const alike = Array.from({ length: this.whole.numRanks }, () => 1);
    balancer.changeTopology({ deadRanks, rankSpeed: speed ?? alike });
    return true;
  }

  /** As a topology that the policy can plan; undefined when it cannot. */
  #plannable(): Topology | undefined {
    const { rankSpeed: _, ...others } = this.whole;
    const speed = this.#speed;
    const now = { ...others, deadRanks: this.#deadRanks, ...(speed && { rankSpeed: speed }) };
    try {
      checkPlannable(this.#policy.kernelRequest(), checkTopology(now));
      return now;
    } catch (error) {
      if (isOwnError(error) && error.code === 'EPLB_TOPOLOGY') return undefined;
      throw error;
    }
  }
}
