import { checkTopology } from '../core/check-topology.ts';
import { EplbError, type EplbErrorCode, isOwnError } from '../core/errors.ts';
import { nodesOfRanks } from '../core/nodes.ts';
import { openSlotsOfRanks } from '../core/open-slots.ts';
import type { BrokenRule } from '../core/rule-book.ts';
import type { Topology } from '../core/topology.ts';
import type { AbstractEplbPolicy, ExpertLoadBalancer, ExpertMapping } from '../index.ts';
import { tablesOf } from '../mapping/expert-mapping.ts';
import { brokenInTable } from '../policy/broken-rules.ts';
import { checkPlannable } from '../policy/plannable.ts';
import type { GroupParts } from './declaration.ts';
import type { SavedRanks } from './epochs/rank-book.ts';
import { laidOut } from './laid-out.ts';
import type { Held } from './live-epochs.ts';

/** What a policy, or what lives of the ranks, has no room for. */
const UNPLANNABLE: readonly EplbErrorCode[] = ['EPLB_TOPOLOGY', 'EPLB_RULES'];

/**
 * Whether ranks that two topologies have are the same: with the same slots, on the same nodes.
 *
 * @param before a group's, as if no rank were dead, and `next` what it is to have
 * @throws EplbError `EPLB_CONFLICT`
 */
export function checkSameRanks(before: Topology, next: Topology): void {
  const refuse = (message: string) => new EplbError('EPLB_CONFLICT', `group.${message}`);
  const [stride, own] = [before, next].map(
    ({ numPhysicalExperts, numRanks }) => numPhysicalExperts / numRanks,
  );
  if (stride !== own) {
    const wanted = `${stride! * next.numRanks} with numRanks ${next.numRanks}`;
    throw refuse(`numPhysicalExperts: a rank has ${stride} slots, not ${own}: give ${wanted}`);
  }
  const [slots, nodes] = [openSlotsOfRanks(before), nodesOfRanks(before)];
  const [slotsNow, nodesNow] = [openSlotsOfRanks(next), nodesOfRanks(next)];
  for (let rank = 0; rank < Math.min(before.numRanks, next.numRanks); rank++) {
    if (slots[rank] !== slotsNow[rank]) {
      throw refuse(`slotsPerRank: rank ${rank} has ${slots[rank]} open slots, not ${slotsNow[rank]}`);
    }
    if (nodes[rank] !== nodesNow[rank]) {
      throw refuse(`nodeOfRank: rank ${rank} is on node ${nodes[rank]}, not ${nodesNow[rank]}`);
    }
  }
}

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

  /** The ranks as they are by now, whether the policy can plan for them or not. */
  get now(): Topology {
    const { rankSpeed: _, deadRanks: __, ...others } = this.whole;
    const [deadRanks, rankSpeed] = [this.#deadRanks, this.#speed];
    return { ...others, ...(deadRanks.length > 0 && { deadRanks }), ...(rankSpeed && { rankSpeed }) };
  }

  /** Whether the policy can plan for ranks like that, and keep the rules. */
  get arePlanned(): boolean {
    return this.#planned !== undefined;
  }

  /** What a balancer is to begin with. */
  get topology(): Topology {
    return this.#planned ?? this.whole;
  }

  /** A mapping as a table of all ranks. @throws EplbError `EPLB_STALE` where it has experts on others */
  lay(mapping: ExpertMapping): ExpertMapping {
    const laid = laidOut(mapping, this.whole);
    if (laid !== undefined) return laid;
    const message = `a mapping of ${mapping.numPhysicalExperts} slots has experts on ranks that are gone`;
    throw new EplbError('EPLB_STALE', message);
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
      this.#broken = { key, rules: brokenInTable(tablesOf(this.lay(mapping)).phyToLog, now) };
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

  /** A balancer of other ranks before is one of these. @throws EplbRangeError; nothing changes then */
  moveTo(balancer: ExpertLoadBalancer): void {
    const {
      numRanks,
      numNodes,
      rankSpeed,
      deadRanks = [],
      failureDomains,
      linkClasses,
      rules,
    } = this.topology;
    balancer.changeTopology({
      ...{ numRanks, numNodes, deadRanks, slotsPerRank: openSlotsOfRanks(this.whole) },
      nodeOfRank: [...nodesOfRanks(this.whole)],
      rankSpeed: rankSpeed ?? Array.from({ length: numRanks }, () => 1),
      ...(failureDomains && { failureDomains }),
      ...(linkClasses && { linkClasses }),
      ...(rules && { rules }),
    });
  }

  /** As a topology that the policy can plan; undefined when it cannot. */
  #plannable(): Topology | undefined {
    const { now } = this;
    try {
      checkPlannable(this.#policy.kernelRequest(), checkTopology(now));
      return now;
    } catch (error) {
      if (isOwnError(error) && UNPLANNABLE.includes(error.code)) return undefined;
      throw error;
    }
  }
}
