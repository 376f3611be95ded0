import {
  type HeatView,
  indexOfLargest,
  largest,
  type PlanMoved,
  type Report,
  type Run,
  rankLoadsAt,
} from './report.ts';

/** Steps of the recording, half-open. */
export interface ShownSteps {
  readonly from: number;
  readonly to: number;
}

/** What is looked at: by every chart that shows one policy, one layer or one step. */
export class Selection {
  readonly #report: Report;
  readonly #listeners: (() => void)[] = [];
  readonly #hiddenLines = new Set<number>();
  #run: number;
  #layer = 0;
  #sample = 0;
  #view: HeatView = 'p95';
  /** Index among the plans that the page holds of the run; undefined is all of them. */
  #plan: number | undefined;
  #range: ShownSteps;

  /**
   * Begins with a run's slowest step among those that its heat map is made of, which are balanced where the
   * run plans, at the layer whose highest rank is highest in it.
   */
  constructor(report: Report, run: number) {
    this.#report = report;
    this.#run = run;
    this.#range = this.allSteps;
    const { rankLoads, heatMap } = this.run;
    const times = rankLoads.steps.map((step, i) =>
      step < heatMap.fromStep ? 0 : slownessOf(report, this.run, i),
    );
    this.chooseSample(indexOfLargest(times));
    const peaks = Array.from({ length: report.numLayers }, (_, layer) => {
      const loads = rankLoadsAt(report, this.run, this.#sample, layer);
      return largest(loads) / (loads.reduce((sum, load) => sum + load, 0) || 1);
    });
    this.#layer = indexOfLargest(peaks);
  }

  get runIndex(): number {
    return this.#run;
  }

  get run(): Run {
    return this.#report.runs[this.#run]!;
  }

  get layer(): number {
    return this.#layer;
  }

  /** Index of the step among the sampled ones of the run. */
  get sample(): number {
    return this.#sample;
  }

  /** The step, in the recording's numbers. */
  get step(): number {
    return this.run.rankLoads.steps[this.#sample]!;
  }

  get view(): HeatView {
    return this.#view;
  }

  /** The plan whose moves are shown, with its index; undefined where those of all are. */
  get plan(): PlanMoved | undefined {
    return this.#plan === undefined ? undefined : this.run.moved.plans[this.#plan];
  }

  get planIndex(): number | undefined {
    return this.#plan;
  }

  /** All steps that any line has. */
  get allSteps(): ShownSteps {
    const { lines } = this.#report;
    const from = Math.min(...lines.map(({ firstStep }) => firstStep));
    const to = Math.max(...lines.map(({ firstStep, numSteps }) => firstStep + numSteps));
    return { from, to: Math.max(to, from + 2) };
  }

  /** The steps that the charts over time show. */
  get range(): ShownSteps {
    return this.#range;
  }

  get isZoomed(): boolean {
    const { from, to } = this.allSteps;
    return this.#range.from !== from || this.#range.to !== to;
  }

  isHidden(line: number): boolean {
    return this.#hiddenLines.has(line);
  }

  /** Calls `listener` after every change. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Another run, at the sampled step nearest to the one before. */
  chooseRun(index: number): void {
    const step = this.step;
    this.#run = index;
    this.#plan = undefined;
    this.chooseStep(step);
  }

  chooseLayer(layer: number): void {
    this.#layer = Math.min(Math.max(layer, 0), this.#report.numLayers - 1);
    this.#tell();
  }

  chooseSample(sample: number): void {
    this.#sample = Math.min(Math.max(sample, 0), this.run.rankLoads.steps.length - 1);
    this.#tell();
  }

  /** The sampled step nearest to this one. */
  chooseStep(step: number): void {
    const { steps } = this.run.rankLoads;
    let nearest = 0;
    for (let i = 1; i < steps.length; i++) {
      if (Math.abs(steps[i]! - step) < Math.abs(steps[nearest]! - step)) nearest = i;
    }
    this.chooseSample(nearest);
  }

  chooseView(view: HeatView): void {
    this.#view = view;
    this.#tell();
  }

  /** One of the plans that the page holds of the run; undefined for all. */
  choosePlan(plan: number | undefined): void {
    this.#plan = plan === undefined || plan in this.run.moved.plans ? plan : undefined;
    this.#tell();
  }

  /** The steps for the charts over time, at least two of those there are. */
  zoom({ from, to }: ShownSteps): void {
    const all = this.allSteps;
    const first = Math.min(Math.max(Math.round(from), all.from), all.to - 2);
    this.#range = { from: first, to: Math.max(Math.min(Math.round(to), all.to), first + 2) };
    this.#tell();
  }

  showLine(line: number, shown: boolean): void {
    if (shown) this.#hiddenLines.delete(line);
    else this.#hiddenLines.add(line);
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** What a sampled step waits for: the highest rank load of each layer, added. */
function slownessOf(report: Report, run: Run, sample: number): number {
  const layers = Array.from({ length: report.numLayers }, (_, layer) =>
    rankLoadsAt(report, run, sample, layer),
  );
  return layers.reduce((sum, loads) => sum + largest(loads), 0);
}
