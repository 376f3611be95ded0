import { checkTopology } from '../core/check-topology.ts';
import { type EplbErrorCode, isOwnError } from '../core/errors.ts';
import type { BrokenRule } from '../core/rule-book.ts';
import type { Topology } from '../core/topology.ts';
import type { AbstractEplbPolicy, ExpertLoadBalancer } from '../index.ts';
import { tablesOf } from '../mapping/expert-mapping.ts';
import { brokenInTable } from '../policy/broken-rules.ts';
import { checkPlannable } from '../policy/plannable.ts';
import type { GroupParts } from './declaration.ts';
import type { SavedRanks } from './epochs/rank-book.ts';
import type { Held } from './live-epochs.ts';

/** What a policy, or what lives of the ranks, has no room for. */
const UNPLANNABLE: readonly EplbErrorCode[] = ['EPLB_TOPOLOGY', 'EPLB_RULES'];

/** Who is dead in a group and how fast its ranks are, as plans are to know it. */
export class PlannedRanks {
  /** As declared. */
  readonly declared: Topology;
  /** The same, if no rank were dead. */
  readonly whole: Topology;
  readonly #policy: AbstractEplbPolicy;
  #deadRanks: readonly number[];
  #speed: readonly number[] | null;
  #planned: Topology | undefined;
  /** Of the mapping that was looked at last. */
  #broken: { readonly key: string; readonly rules: readonly BrokenRule[] } | undefined;

  constructor({ topology, whole, policy }: GroupParts, saved: SavedRanks | undefined) {
    this.declared = topology;
    this.whole = whole;
    this.#policy = policy;
    this.#deadRanks = saved?.dead.map(({ rank }) => rank) ?? topology.deadRanks ?? [];
    this.#speed = saved === undefined ? (topology.rankSpeed ?? null) : saved.speed;
    this.#planned = this.#plannable();
  }

  get deadRanks(): readonly number[] {
    return this.#deadRanks;
  }

  /** [ranks]; null when all are as fast as usual. */
  get speed(): readonly number[] | null {
    return this.#speed;
  }

  /** Whether the policy can plan for ranks like that, and keep the rules. */
  get arePlanned(): boolean {
    return this.#planned !== undefined;
  }

  /** What a balancer is to begin with. */
  get topology(): Topology {
    return this.#planned ?? this.whole;
  }

  /**
   * Where a mapping breaks the group's rules, as its ranks are now: see `brokenRules`. Undefined without
   * rules.
   */
  brokenRules({ mapping, digest }: Held): readonly BrokenRule[] | undefined {
    if (this.whole.rules === undefined) return undefined;
    const key = `${digest} ${this.#deadRanks}`;
    if (this.#broken?.key !== key) {
      const now = { ...this.whole, deadRanks: this.#deadRanks };
      this.#broken = { key, rules: brokenInTable(tablesOf(mapping).phyToLog, now) };
    }
    return this.#broken.rules;
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
      if (isOwnError(error) && UNPLANNABLE.includes(error.code)) return undefined;
      throw error;
    }
  }
}
