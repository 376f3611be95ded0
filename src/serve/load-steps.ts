import { EplbError, EplbRangeError } from '../core/errors.ts';
import type { Topology } from '../core/topology.ts';
import { checkLoads, type LoadMatrix } from '../loads/load-matrix.ts';

/** Steps of which some ranks' parts may be missing at one time: older ones are given up. */
const MOST_OPEN_STEPS = 8;
/** More tokens than that in a step cannot be counted one by one. */
const MOST_LOAD = 2 ** 53;

/** Loads of a step, whole or of one rank. */
export interface LoadReport {
  readonly step: number;
  /** The epoch whose mapping they were measured under. */
  readonly epoch: number;
  /** Whose part this is; of all ranks when left out. */
  readonly rank: number | undefined;
  readonly kind: 'logical' | 'physical';
  /** [layers x experts], [layers x slots], or [layers x slots of the rank]. */
  readonly loads: LoadMatrix;
}

/** A step that all ranks have reported: [layers x experts] or [layers x slots]. */
export type WholeStep = Pick<LoadReport, 'step' | 'epoch' | 'kind' | 'loads'>;

interface OpenStep extends WholeStep {
  readonly ranks: Set<number>;
}

/** Puts the parts of ranks together to whole steps. */
export class LoadSteps {
  #topology: Topology;
  readonly #open = new Map<number, OpenStep>();
  /** The newest step that was whole. */
  #last: number | undefined;
  /** Steps that were given up, as parts were missing. */
  #numIncomplete = 0;

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  get lastStep(): number | undefined {
    return this.#last;
  }

  get numIncomplete(): number {
    return this.#numIncomplete;
  }

  /** There are other ranks from now on. Steps of which parts are missing are given up. */
  resize(topology: Topology): void {
    this.#topology = topology;
    this.#numIncomplete += this.#open.size;
    this.#open.clear();
  }

  /** Goes on after a restart. */
  resume(lastStep: number | undefined): void {
    this.#last = lastStep;
  }

  /**
   * Checks all of a report, and changes nothing.
   *
   * @throws EplbError `EPLB_STALE` for a step before the last one, `EPLB_CONFLICT` for a part unlike the
   * others of its step; EplbRangeError `EPLB_LOAD`, `EPLB_SHAPE`
   */
  check(report: LoadReport): void {
    const { step, rank, kind, epoch } = report;
    this.#checkLoads(report);
    if (this.#last !== undefined && step <= this.#last) {
      throw new EplbError(
        'EPLB_STALE',
        `loads: step ${step} is not after ${this.#last}, the last one recorded`,
      );
    }
    const open = this.#open.get(step);
    if (open === undefined) return;
    if (rank === undefined) {
      throw new EplbError('EPLB_CONFLICT', `loads: parts of ranks were reported of step ${step} before`);
    }
    if (open.kind === kind && open.epoch === epoch) return;
    const message = `loads: other ranks report step ${step} as ${open.kind} loads of epoch ${open.epoch}`;
    throw new EplbError('EPLB_CONFLICT', message);
  }

  /**
   * Takes a report that was checked.
   *
   * @param isAwaited whether a step is not whole without the part of a rank
   * @returns the whole step; 'part' while ranks are missing; 'again' for a part that is there already
   */
  take(report: LoadReport, isAwaited: (rank: number) => boolean): WholeStep | 'part' | 'again' {
    const { step, rank } = report;
    if (rank === undefined) return this.#end(report);
    const open = this.#open.get(step) ?? this.#opened(report);
    if (open.ranks.has(rank)) return 'again';
    this.#open.set(step, open);
    this.#add(open.loads, report, rank);
    open.ranks.add(rank);
    this.#giveUpOld();
    for (let other = 0; other < this.#topology.numRanks; other++) {
      if (!open.ranks.has(other) && isAwaited(other)) return 'part';
    }
    return this.#end(open);
  }

  #checkLoads({ loads, kind, rank }: LoadReport): void {
    const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = this.#topology;
    const widths = kind === 'logical' ? [numLogicalExperts] : [numPhysicalExperts];
    if (kind === 'physical' && rank !== undefined) widths.push(numPhysicalExperts / numRanks);
    if (loads.numLayers !== numLayers || !widths.includes(loads.numExperts)) {
      const found = `${loads.numLayers} x ${loads.numExperts}`;
      throw new EplbRangeError(
        'EPLB_SHAPE',
        `loads: are ${found}, not ${numLayers} x ${widths.join(' or ')}`,
      );
    }
    checkLoads('loads', loads);
    const large = loads.data.findIndex((load) => load > MOST_LOAD);
    if (large < 0) return;
    const where = `layer ${Math.floor(large / loads.numExperts)}, index ${large % loads.numExperts}`;
    throw new EplbRangeError(
      'EPLB_LOAD',
      `loads: ${where}: ${loads.data[large]} is more than 2 ** 53 tokens`,
    );
  }

  #opened({ step, kind, epoch }: LoadReport): OpenStep {
    const { numLayers, numLogicalExperts, numPhysicalExperts } = this.#topology;
    const numExperts = kind === 'logical' ? numLogicalExperts : numPhysicalExperts;
    const loads = { data: new Float32Array(numLayers * numExperts), numLayers, numExperts };
    return { step, kind, epoch, loads, ranks: new Set() };
  }

  #add(sum: LoadMatrix, { loads }: LoadReport, rank: number): void {
    const first = loads.numExperts === sum.numExperts ? 0 : rank * loads.numExperts;
    for (let layer = 0; layer < loads.numLayers; layer++) {
      const from = layer * loads.numExperts;
      const to = layer * sum.numExperts + first;
      for (let i = 0; i < loads.numExperts; i++) sum.data[to + i]! += loads.data[from + i]!;
    }
  }

  #giveUpOld(): void {
    const steps = [...this.#open.keys()].sort((a, b) => a - b);
    for (const step of steps.slice(0, -MOST_OPEN_STEPS)) {
      this.#open.delete(step);
      this.#numIncomplete++;
    }
  }

  #end({ step, epoch, kind, loads }: WholeStep): WholeStep {
    this.#last = step;
    for (const open of this.#open.keys()) {
      if (open > step) continue;
      this.#open.delete(open);
      if (open < step) this.#numIncomplete++;
    }
    return { step, epoch, kind, loads };
  }
}
