import { loadError } from '../core/checks.ts';
import { rankSpeedsOf } from '../core/rank-speeds.ts';
import { makeCostTally } from '../cost/layer-costs.ts';
import { costModel, type Topology } from '../index.ts';
import { initialSlots } from '../mapping/initial-slots.ts';
import { MoveCounter } from '../mapping/move-counter.ts';
import { type MoveTimer, makeMoveTimer } from '../transfer/move-timer.ts';
import { BatchTally } from './batch-tally.ts';
import { ChangeLog } from './change-log.ts';
import { checkedSlots } from './check-mapping.ts';
import type { ReplayCost } from './configuration.ts';
import { secondsPerUnit } from './cost-model.ts';
import { failureLosses } from './failure-loss.ts';
import { HeatTally } from './heat.ts';
import { ExpertTally } from './hot-experts.ts';
import { type LostExperts, lostExperts, mendCosts, mended, withoutDead } from './mend.ts';
import { MoveTally } from './move-tally.ts';
import type { ReplaySettings } from './options.ts';
import { PlanEntry } from './plan-log.ts';
import { layerMoves } from './plan-moves.ts';
import type { RankChange } from './rank-events.ts';
import { RankLoadSampler } from './rank-load-samples.ts';
import { type ReplayTrafficCounter, replayTrafficCounter } from './replay-traffic.ts';
import type { ReplayResult, ReplayTime, TriggerReason } from './result.ts';
import { type LoadSum, type ScoredPlacement, Scorer } from './scorer.ts';
import { SeriesBuilder } from './series.ts';
import type { ReplaySource } from './source.ts';
import { SourceDispatch, SourceSum } from './source-dispatch.ts';
import { summarize } from './summary.ts';
import { BalanceTally, type StepFigures } from './tally.ts';
import { layerTransfers } from './transfers.ts';
import { type SlotTimes, slotTimes, type UnitCounter, unitCounter } from './unit-counter.ts';

/** A plan that is to take effect. */
interface PlanToApply {
  readonly slots: Int32Array;
  readonly layerOrder: readonly number[];
  readonly startedAfterStep: number;
  readonly reasons: readonly TriggerReason[];
  readonly numSamples: number;
  readonly planningSeconds: number;
  readonly keptReason?: string;
  /** [layers x logical]: the mean loads that it was made from. */
  readonly meanLoads: Float32Array;
  /**
   * Called when its last layer has changed, with the live slots [layers x physical], which are not to be
   * kept.
   */
  readonly whenChanged: (slots: Int32Array) => void;
}

/** A plan on its way: which layers are left, and from which step on they change. */
interface Change {
  readonly entry: PlanEntry;
  readonly slots: Int32Array;
  readonly layers: readonly number[];
  readonly firstIndex: number;
  /** [layers x logical], that it was made from: a copy. */
  readonly meanLoads: Float32Array;
  readonly whenChanged: (slots: Int32Array) => void;
  /** [layers to change]: by the transfer plan, where the cost model has one, known when the first changes. */
  moveSeconds: readonly number[] | undefined;
  numDone: number;
}

/** The placements that are followed, by number in the scorer: a step is scored for the first of them. */
const LIVE = 0;
const FIRST = 1;
const REPLACED = 2;
const PLANNED = 3;

/** A replay between two steps: the placements, what is on its way, and the sums so far. */
export class ReplayState {
  readonly #settings: ReplaySettings;
  /** Of all ranks that ever come; as it is now. */
  #topology: Topology;
  readonly #cost: ReplayCost;
  readonly #scorer: Scorer;
  readonly #live: ScoredPlacement;
  readonly #first: ScoredPlacement;
  readonly #replaced: ScoredPlacement;
  readonly #planned: ScoredPlacement;
  readonly #liveTally: BalanceTally;
  readonly #firstTally: BalanceTally;
  readonly #series = new SeriesBuilder();
  readonly #heat: HeatTally;
  readonly #experts: ExpertTally;
  readonly #sampler: RankLoadSampler;
  readonly #moves: MoveTally;
  readonly #moveCounter: MoveCounter;
  #moveTimer: MoveTimer | undefined;
  readonly #plans: PlanEntry[] = [];
  #planningSeconds = 0;
  readonly #counter: UnitCounter;
  readonly #slots: SlotTimes | undefined;
  readonly #liveTime = makeCostTally();
  readonly #firstTime = makeCostTally();
  readonly #batches: BatchTally | undefined;
  readonly #isEnlarged: boolean;
  #units = 0;
  #unitsAtBalance: number | undefined;
  /** Whether any layer has changed: before, the first mapping need not be scored for itself. */
  #hasChanged = false;
  #change: Change | undefined;
  /** The plan whose mapping is live whole. */
  #inEffect: PlanEntry | undefined;
  /** The mapping that it replaced is the first one, which is scored anyway. */
  #replacedIsFirst = true;
  #hasHeatRestarted = false;
  /** [layers x physical]: the first mapping as it was before any rank changed. */
  readonly #firstSlots: Int32Array;
  readonly #changes: ChangeLog | undefined;
  /** [layers x logical]: loads of all steps so far, where ranks change. */
  readonly #loadSums: Float32Array;
  /** What changing layers before this step came to. */
  #stepMoves = { moves: 0, bytes: 0, seconds: 0 };
  /** Of that, for repairs. */
  #repairSeconds = 0;

  /** What ranks send each other; undefined where there are too many. */
  readonly #traffic: ReplayTrafficCounter | undefined;
  /** Where it is known on which ranks tokens are. */
  readonly #sources: SourceDispatch | undefined;

  /**
   * @param isEnlarged whether the counts are larger than what was recorded
   * @param source routes of each step are added, and loads by rank taken, before it is scored
   */
  constructor(
    settings: ReplaySettings,
    source: Pick<ReplaySource, 'routes' | 'numSourceRanks' | 'enlargedBy'>,
  ) {
    const { topology, configuration, start, changes, atFirst } = settings;
    const { routes, numSourceRanks, enlargedBy = 1 } = source;
    const { numLayers, numRanks } = topology;
    this.#settings = settings;
    this.#topology = topology;
    this.#cost = configuration.cost;
    const { dispatch = 'even', cost } = configuration;
    const { zeroLoadsCountAsOne } = cost;
    const model = cost.time.kind === 'slots' ? costModel(cost.time.model) : undefined;
    const isBySource = numSourceRanks === atFirst.numRanks;
    const sources = isBySource ? new SourceDispatch(numSourceRanks, topology, model, dispatch) : undefined;
    this.#sources = sources;
    const options = { numPlacements: 4, zeroLoadsCountAsOne, dispatch, sources, numSums: 3 };
    this.#scorer = new Scorer(topology, options);
    const [ofExperts, liveSum, firstSum] = this.#scorer.sums as [LoadSum, LoadSum, LoadSum];
    [this.#live, this.#first, this.#replaced, this.#planned] = this.#scorer.placements as [
      ScoredPlacement,
      ScoredPlacement,
      ScoredPlacement,
      ScoredPlacement,
    ];
    this.#slots = slotTimes(this.#cost, topology, this.#scorer.loads, dispatch, { routes, sources });
    this.#counter = this.#slots ?? unitCounter(this.#cost, topology);
    this.#batches = this.#slots === undefined ? undefined : new BatchTally(this.#slots, numLayers);
    this.#isEnlarged = enlargedBy > 1;
    const slots = start === undefined ? initialSlots(topology) : checkedSlots(start, topology, 'start');
    this.#live.assign(slots);
    this.#first.assign(slots);
    this.#liveTally = new BalanceTally(numLayers);
    this.#firstTally = new BalanceTally(numLayers);
    this.#firstSlots = slots;
    const isEven = rankSpeedsOf(topology) === undefined && changes.length === 0;
    this.#changes = changes.length === 0 ? undefined : new ChangeLog();
    this.#loadSums = new Float32Array(changes.length === 0 ? 0 : this.#scorer.loads.length);
    this.#heat = new HeatTally(numLayers, numRanks, isEven);
    this.#experts = new ExpertTally(topology, ofExperts);
    this.#sampler = new RankLoadSampler(numLayers, numRanks, isEven);
    this.#moves = new MoveTally(numLayers);
    this.#moveCounter = new MoveCounter(topology);
    this.#moveTimer = moveTimerOf(this.#cost, topology);
    const placements = { live: this.#live, first: this.#first };
    const from = { hasRoutes: routes !== undefined, isBySource };
    const sums =
      sources === undefined
        ? { live: liveSum, first: firstSum }
        : { live: new SourceSum(sources), first: new SourceSum(sources) };
    this.#traffic = replayTrafficCounter(topology, configuration, placements, sums, from);
  }

  /** [layers x logical]: the loads of the step that was taken last. */
  get loads(): Float32Array {
    return this.#scorer.loads;
  }

  /** Steps scored. */
  get numSteps(): number {
    return this.#liveTally.numSteps;
  }

  get numPlans(): number {
    return this.#plans.length;
  }

  /** Whether a plan is being made ready or taking effect. */
  get isChanging(): boolean {
    return this.#change !== undefined;
  }

  /** Copies a step's loads, checks how many there are, and where it is asked for the loads themselves. */
  takeLoads(step: number, loads: Float32Array, checksLoads: boolean): void {
    const { numLogicalExperts } = this.#topology;
    this.loads.set(loads);
    if (!checksLoads) return;
    const bad = this.#scorer.firstInvalid();
    if (bad === loads.length) return;
    const layer = Math.floor(bad / numLogicalExperts);
    throw loadError(`recording: step ${step}`, layer, bad % numLogicalExperts, loads[bad]);
  }

  /** Whether {@link addRoutes} is of any use. */
  get takesRoutes(): boolean {
    return this.#traffic !== undefined || this.#slots?.routes !== undefined;
  }

  /** To be called before the routes of a step come, and after layers have changed for it. */
  beginRoutes(): void {
    this.#slots?.routes?.beginStep();
  }

  /** Adds tokens of the step [tokens x layers x topK]. */
  addRoutes(ids: Uint16Array, numTokens: number, topK: number): void {
    this.#slots?.routes?.add(ids, numTokens);
    this.#traffic?.addRoutes(ids, numTokens, topK);
  }

  /** Whether {@link takeSources} is to be called. */
  get takesSources(): boolean {
    return this.#sources !== undefined;
  }

  /** Takes a step's loads by rank [layers x ranks x logical], checked. */
  takeSources(sourceLoads: Float32Array): void {
    this.#sources!.takeStep(sourceLoads);
  }

  /** Ranks that live. */
  get numLiveRanks(): number {
    return this.#topology.numRanks - (this.#topology.deadRanks?.length ?? 0);
  }

  /**
   * Changes the ranks before a step: what dead ones held is lost, and the mapping is repaired at once. A plan
   * that had not taken effect whole is dropped.
   *
   * @param meanLoads [layers x logical]: what the repair goes by; of all steps so far when left out
   * @returns the live slots [layers x physical], which are not to be kept
   */
  changeRanks(change: RankChange, meanLoads: Float32Array = this.#loadSums): Int32Array {
    const { topology } = change;
    this.#topology = topology;
    this.#change = undefined;
    this.#inEffect = undefined;
    this.#traffic?.changeRanks(topology);
    this.#sources?.changeRanks(topology);
    this.#scorer.changeRanks(topology);
    this.#slots?.changeRanks(topology);
    this.#moveTimer = moveTimerOf(this.#cost, topology);
    const left = withoutDead(this.#live.slots, topology);
    const lost = lostExperts(left, topology, meanLoads);
    const first = mended(this.#firstSlots, topology, this.#loadSums);
    const firstMend = mendCosts(withoutDead(this.#first.slots, topology), first, topology, this.#cost);
    this.#first.assign(first);
    const isStatic = this.#settings.policy === 'static';
    this.#mend(isStatic ? first : mended(this.#live.slots, topology, meanLoads), left, change, lost, {
      unbalancedRepairSeconds: firstMend.reduce((sum, { seconds }) => sum + seconds, 0),
    });
    if (!isStatic) this.#hasChanged = true;
    return this.#live.slots;
  }

  /** Brings the live mapping to a repaired one, at once. */
  #mend(
    slots: Int32Array,
    left: Int32Array,
    change: RankChange,
    { count, loadShare }: LostExperts,
    first: { readonly unbalancedRepairSeconds: number },
  ): void {
    const mends = mendCosts(left, slots, this.#topology, this.#cost);
    this.#live.assign(slots);
    const all = { hostLoads: 0, moves: 0, bytes: 0, seconds: 0 };
    mends.forEach((mend, layer) => {
      this.#moves.add(layer, mend);
      for (const part of ['hostLoads', 'moves', 'bytes', 'seconds'] as const) all[part] += mend[part];
    });
    for (const part of ['moves', 'bytes', 'seconds'] as const) this.#stepMoves[part] += all[part];
    const { seconds: repairSeconds, ...counts } = all;
    this.#repairSeconds += repairSeconds;
    const lost = { lostExperts: count, lostLoadShare: loadShare, numLiveRanks: this.numLiveRanks };
    this.#changes!.begin({ ...change, ...lost, ...counts, repairSeconds, ...first });
  }

  /** Changes the layers whose turn it is before a step. */
  changeLayers(step: number): void {
    const change = this.#change;
    if (change === undefined || this.numSteps < change.firstIndex) return;
    if (change.numDone === 0) {
      this.#inEffect = undefined;
      this.#replacedIsFirst = !this.#hasChanged;
      if (!this.#replacedIsFirst) this.#replaced.assign(this.#live.slots);
      change.moveSeconds = this.#moveTimer?.layerSeconds(this.#live.slots, change.slots, change.layers);
    }
    const end = Math.min(change.layers.length, change.numDone + this.#settings.configuration.layersPerStep);
    for (; change.numDone < end; change.numDone++) this.#changeLayer(change, step);
    if (end < change.layers.length) return;
    this.#change = undefined;
    this.#inEffect = change.entry;
    if (!this.#hasHeatRestarted) this.#heat.restart();
    this.#hasHeatRestarted = true;
    change.whenChanged(this.#live.slots);
  }

  /** Scores the step whose loads were taken, under the placements that are followed. */
  score(step: number): void {
    const isReplacedScored = this.#inEffect !== undefined && !this.#replacedIsFirst;
    const lastScored = isReplacedScored ? REPLACED : this.#hasChanged ? FIRST : LIVE;
    this.#scorer.scoreSome(LIVE, lastScored - LIVE + 1);
    const live = this.#live;
    const first = this.#hasChanged ? this.#first : live;
    const [figures, unbalanced] = this.#addStep(live, first);
    const { units } = figures;
    this.#units += units;
    this.#heat.add(step, first, live);
    this.#experts.add();
    this.#traffic?.addLoads();
    this.#sampler.add(this.numSteps - 1, step, units, live);
    this.#plans.at(-1)?.stepPassed(units, unbalanced.units);
    this.#batches?.add(
      this.numSteps - 1,
      this.loads,
      this.#live,
      this.#hasChanged ? this.#first : this.#live,
    );
    if (this.#inEffect !== undefined) {
      const replaced = isReplacedScored ? sum(this.#counter.unitsOf(this.#replaced)) : unbalanced.units;
      this.#inEffect.proved(replaced - units);
    }
    this.#addToSeries(step, figures, unbalanced, units);
    this.#judge(figures, live);
    this.#stepMoves = { moves: 0, bytes: 0, seconds: 0 };
  }

  /** Adds the step to what changes of ranks are judged by. */
  #judge({ balancedness, units }: StepFigures, { stats }: ScoredPlacement): void {
    if (this.#changes === undefined) return;
    const moveSeconds = this.#stepMoves.seconds - this.#repairSeconds;
    this.#repairSeconds = 0;
    let means = 0;
    for (let layer = 0; layer < this.#topology.numLayers; layer++) means += stats[2 * layer + 1]!;
    const ofStats = this.#cost.time.kind === 'load' ? means : this.#topology.numLayers;
    const idealUnits = this.#slots?.unitsAtBalance ?? ofStats;
    this.#changes.add({ balancedness, units, idealUnits, moveSeconds });
    for (let i = 0; i < this.#loadSums.length; i++) this.#loadSums[i]! += this.loads[i]!;
  }

  /**
   * Over the layers, the largest of (largest / smallest rank load) of the live mapping, of ranks that have
   * experts; writes over {@link loads}.
   */
  rankLoadImbalance(meanLoads: Float32Array): number {
    this.loads.set(meanLoads);
    const { rankLoads } = this.#scorer.score(LIVE);
    const { numRanks, numPhysicalExperts } = this.#topology;
    const stride = numPhysicalExperts / numRanks;
    const hasExperts = (rank: number) =>
      this.#live.slots.subarray(rank * stride, (rank + 1) * stride).some((expert) => expert >= 0);
    let worst = 1;
    for (let from = 0; from < rankLoads.length; from += numRanks) {
      const ranks = rankLoads.subarray(from, from + numRanks).filter((_, rank) => hasExperts(from + rank));
      const most = Math.max(...ranks);
      if (most > 0) worst = Math.max(worst, most / Math.min(...ranks));
    }
    return worst;
  }

  /** Begins a plan that was made after the last step; writes over {@link loads}. */
  begin(plan: PlanToApply): void {
    const { slots, layerOrder, planningSeconds, meanLoads, whenChanged, ...told } = plan;
    const layers = layerOrder.filter((layer) => this.#differs(slots, layer));
    this.#planned.assign(this.#live.slots);
    for (const layer of layers) this.#planned.assign(slots, layer);
    this.loads.set(meanLoads);
    const tally = new BalanceTally(this.#topology.numLayers);
    const before = this.#add(tally, this.#scorer.score(LIVE));
    const after = this.#add(tally, this.#scorer.score(PLANNED));
    const entry = new PlanEntry({
      ...told,
      planningSeconds,
      layerOrder: layers,
      predictedGain: before.units - after.units,
      balancednessBefore: before.balancedness,
      balancednessAfter: after.balancedness,
      isUnchanged: layers.length === 0,
      topology: this.#topology,
    });
    this.#plans.push(entry);
    this.#planningSeconds += planningSeconds;
    if (layers.length === 0) return;
    const firstIndex = this.numSteps + this.#delay(planningSeconds);
    this.#change = {
      entry,
      slots,
      layers,
      firstIndex,
      meanLoads: meanLoads.slice(),
      whenChanged,
      moveSeconds: undefined,
      numDone: 0,
    };
  }

  /** @param times how many times the tokens of routes a step has that was resized */
  result(status: ReplayResult['status'], times = 1): ReplayResult {
    const factor = secondsPerUnit(this.#cost, this.numSteps, this.#topology.numLayers);
    const { atFirst } = this.#settings;
    const summary = summarize(atFirst, this.#cost, this.#liveTally, this.#firstTally, this.#moves, {
      numPlans: this.#plans.length,
      planningSeconds: this.#planningSeconds,
      plans: this.#plans.map((entry) => entry.result(factor)),
      unitsAtBalance: this.#unitsAtBalance,
      unbalancedRepairSeconds: this.#changes?.unbalancedRepairSeconds ?? 0,
    });
    const { moveSeconds, planningSeconds } = summary.totals;
    const batches = this.#batches?.savings((moveSeconds + planningSeconds) / Math.max(1, this.numSteps));
    return {
      name: this.#settings.name,
      status,
      configuration: this.#settings.configuration,
      numSteps: this.numSteps,
      ...summary,
      ...(this.#slots === undefined ? {} : { time: this.#time() }),
      ...(batches === undefined ? {} : { batches }),
      ...(this.#traffic === undefined ? {} : { traffic: this.#traffic.result(this.numSteps, times) }),
      ...(this.#changes === undefined ? {} : { rankChanges: this.#changes.results(factor) }),
      series: this.#series.series(factor),
      failureLosses: failureLosses(this.#live.slots, this.#experts.loads(), this.#topology),
      heatMap: this.#heat.heatMap(),
      hotExperts: this.#experts.hottest(this.#live.slots),
      rankLoads: this.#sampler.samples(),
    };
  }

  #time(): ReplayTime {
    const unbalanced = this.#firstTime.summary();
    const { boundBy } = unbalanced;
    const isEnlarged = this.#isEnlarged;
    const routes = this.#slots?.routes;
    return {
      sentFrom: routes === undefined ? 'loads' : 'routes',
      ...(routes === undefined || routes.stride === 1 ? {} : { tokenStride: routes.stride }),
      live: this.#liveTime.summary(),
      unbalanced,
      boundBy: isEnlarged && boundBy === 'active experts' ? null : boundBy,
      isEnlarged,
    };
  }

  #changeLayer({ entry, slots, meanLoads, layers, moveSeconds, numDone }: Change, step: number): void {
    const { numPhysicalExperts, numLogicalExperts, numRanks } = this.#topology;
    const layer = layers[numDone]!;
    const before = this.#live.layerSlots(layer);
    const after = slots.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
    const planned = moveSeconds?.[numDone];
    const transfers = layerTransfers(before, after, this.#moveCounter, numRanks, this.#cost, planned);
    const loads = meanLoads.subarray(layer * numLogicalExperts, (layer + 1) * numLogicalExperts);
    const moves = layerMoves(this.#topology, layer, before, after, loads);
    this.#traffic?.layerChanges(layer);
    this.#live.assign(slots, layer);
    this.#hasChanged = true;
    entry.layerChanged(step, transfers, moves);
    this.#moves.add(layer, transfers);
    this.#stepMoves.moves += transfers.moves;
    this.#stepMoves.bytes += transfers.bytes;
    this.#stepMoves.seconds += transfers.seconds;
  }

  /** Adds what both placements were scored to: one and the same until a layer has changed. */
  #addStep(live: ScoredPlacement, first: ScoredPlacement): [StepFigures, StepFigures] {
    const isSame = live === first;
    const slots = this.#slots;
    if (slots === undefined) {
      const units = this.#counter.unitsOf(live);
      const figures = this.#liveTally.add(live.stats, units);
      return [figures, this.#firstTally.add(first.stats, isSame ? units : this.#counter.unitsOf(first))];
    }
    const tallies = isSame ? [this.#liveTime, this.#firstTime] : [this.#liveTime];
    const units = slots.tallied(live, tallies);
    const figures = this.#liveTally.add(live.stats, units);
    const unbalanced = isSame ? units : slots.tallied(first, [this.#firstTime]);
    this.#unitsAtBalance = (this.#unitsAtBalance ?? 0) + slots.unitsAtBalance;
    return [figures, this.#firstTally.add(first.stats, unbalanced)];
  }

  #add(tally: BalanceTally, placement: ScoredPlacement): StepFigures {
    return tally.add(placement.stats, this.#counter.unitsOf(placement));
  }

  #addToSeries(step: number, figures: StepFigures, unbalanced: StepFigures, units: number): void {
    this.#series.add({
      step,
      balancedness: figures.balancedness,
      unbalancedBalancedness: unbalanced.balancedness,
      worstLayerPeakToAverage: figures.worstPeak,
      units,
      unbalancedUnits: unbalanced.units,
      moves: this.#stepMoves.moves,
      bytes: this.#stepMoves.bytes,
      moveSeconds: this.#stepMoves.seconds,
    });
  }

  #differs(slots: Int32Array, layer: number): boolean {
    const { numPhysicalExperts } = this.#topology;
    const live = this.#live.slots;
    const end = (layer + 1) * numPhysicalExperts;
    for (let at = layer * numPhysicalExperts; at < end; at++) if (live[at] !== slots[at]) return true;
    return false;
  }

  /** Whole steps that pass while a plan is made. */
  #delay(planningSeconds: number): number {
    const { stepSeconds } = this.#cost;
    const told =
      stepSeconds === 'modelled'
        ? (this.#units / this.numSteps) * secondsPerUnit(this.#cost, this.numSteps, this.#topology.numLayers)
        : stepSeconds;
    // Steps without any load take no time by the model: then no planning fits into them.
    return told === 0 ? 0 : Math.ceil(planningSeconds / told);
  }
}

function moveTimerOf({ time }: ReplayCost, topology: Topology): MoveTimer | undefined {
  return time.kind === 'slots' ? makeMoveTimer(costModel(time.model), topology) : undefined;
}

function sum(values: Float64Array): number {
  let all = 0;
  for (const value of values) all += value;
  return all;
}
