import { checkLayer, recordError } from '../core/checks.ts';
import type { Topology } from '../core/topology.ts';
import { type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import type { MappingTables } from '../mapping/mapping-tables.ts';
import { zeros } from '../memory/allocate.ts';
import { copyFloats } from '../memory/copies.ts';
import type { KernelExports, Pointer } from '../memory/kernel-exports.ts';
import type { KernelRegion } from '../memory/memory-arena.ts';
import { copyRow, type LoadMatrix, type LoadRow } from './load-matrix.ts';
import { addRow, foldRow, spreadRow } from './load-rows.ts';
import { LoadSums } from './load-sums.ts';
import type { SampleMemory } from './sample-memory.ts';
import { SampleRing } from './sample-ring.ts';
import { numLoadsOf, RowKind, type WindowContent } from './window-content.ts';
import { windowImbalance } from './window-imbalance.ts';
import type { WindowLayout } from './window-layout.ts';

const { PHYSICAL, LOGICAL } = RowKind;

/**
 * The last steps' loads, in the shared memory, with running sums.
 *
 * A sample is kept as it was recorded, with the mapping it was recorded under. The sums of samples of the
 * live mapping are kept per slot; when another mapping goes live they are folded, through the mapping that
 * was live, into sums per expert. So no step costs more for a longer window, and no sample is ever read
 * through a mapping it does not belong to.
 *
 * Sums are exact, whatever float32 loads they are of: see {@link LoadSums}. A step that has left the window
 * has no effect on any average any more.
 */
export class LoadWindow {
  readonly #topology: Topology;
  readonly #windowSize: number;
  readonly #kernels: KernelExports;
  readonly #at: WindowLayout;
  readonly #region: KernelRegion;
  readonly #inputPhysical: Float32Array;
  readonly #inputLogical: Float32Array;
  /** [logical]: a row that was turned into loads of experts. */
  readonly #foldedRow: Float32Array;
  /** Which kinds of rows the step being recorded has, per layer; then the kind of each row in the ring. */
  readonly #passKinds: Uint8Array;
  readonly #ring: SampleRing;
  /** Of the samples of the live mapping, per slot; and of all others, per expert. */
  readonly #physicalSums: LoadSums;
  readonly #logicalSums: LoadSums;
  /** `[layers]`: 1 where the row of the step being ended has taken the place of the one that leaves. */
  readonly #hasReplaced: Uint8Array;
  /** Rows in the ring that are not narrow. */
  #numWide = 0;
  /** For policies that plan from single steps. */
  readonly #sampleMemory: SampleMemory | undefined;
  readonly #ringKinds: Uint8Array;
  /** The table each sample was recorded under, and how many mappings had been live before it. */
  readonly #ringTables: Int32Array[];
  readonly #ringEpochs: Float64Array;
  #epoch = 0;
  #live: MappingTables;
  /** Whether the memory has the replica counts of the live mapping: they are counted when first needed. */
  #hasLiveCount = false;
  /** Whether the sums per slot may be other than 0. */
  #hasPhysicalSums = false;
  #olderTable: Int32Array | undefined;
  #next = 0;
  #numSamples = 0;

  constructor(
    topology: Topology,
    windowSize: number,
    region: KernelRegion,
    layout: WindowLayout,
    live: ExpertMapping,
    sampleMemory?: SampleMemory,
  ) {
    const { buffer, kernels } = region;
    this.#topology = topology;
    this.#windowSize = windowSize;
    this.#kernels = kernels;
    this.#at = layout;
    this.#region = region;
    this.#inputPhysical = new Float32Array(buffer, layout.input, topology.numPhysicalExperts);
    this.#inputLogical = new Float32Array(buffer, layout.input, topology.numLogicalExperts);
    this.#foldedRow = new Float32Array(buffer, layout.output, topology.numLogicalExperts);
    this.#passKinds = new Uint8Array(topology.numLayers);
    this.#hasReplaced = new Uint8Array(topology.numLayers);
    this.#sampleMemory = sampleMemory;
    this.#ring = new SampleRing(topology, windowSize, kernels, layout);
    this.#physicalSums = new LoadSums(region.buffer, kernels, layout.physical);
    this.#logicalSums = new LoadSums(region.buffer, kernels, layout.logical);
    const what = `a window of ${windowSize}`;
    this.#ringKinds = zeros(what, Uint8Array, windowSize * topology.numLayers);
    this.#ringTables = new Array(windowSize);
    this.#ringEpochs = zeros(what, Float64Array, windowSize);
    this.#live = tablesOf(live);
    this.#writeLiveTable();
  }

  /** Steps in the window. */
  get numSamples(): number {
    return this.#numSamples;
  }

  /** Adds loads [physical] of the live mapping to the step being recorded. */
  recordPhysical(layer: number, loads: LoadRow): void {
    this.#record('recordLoad', layer, loads, this.#inputPhysical, this.#at.passPhysical, PHYSICAL);
  }

  /** Adds loads [logical] to the step being recorded. */
  recordLogical(layer: number, loads: LoadRow): void {
    this.#record('recordLogicalLoad', layer, loads, this.#inputLogical, this.#at.passLogical, LOGICAL);
  }

  /**
   * As {@link recordPhysical}, for loads that were good when they were recorded: never throws. See
   * {@link addRow}.
   */
  addPhysical(layer: number, loads: Float32Array): void {
    this.#add(layer, loads, this.#inputPhysical, this.#at.passPhysical, PHYSICAL);
  }

  /** {@link addPhysical} for loads of experts. */
  addLogical(layer: number, loads: Float32Array): void {
    this.#add(layer, loads, this.#inputLogical, this.#at.passLogical, LOGICAL);
  }

  /** Ends the step being recorded: it enters the window, and the oldest leaves a full one. */
  advance(): void {
    const index = this.#next;
    this.#next = (index + 1) % this.#windowSize;
    for (let layer = 0; layer < this.#topology.numLayers; layer++) {
      if (this.#passKinds[layer] === (PHYSICAL | LOGICAL)) this.#foldPass(layer);
    }
    this.#hasReplaced.fill(0);
    if (this.#numSamples === this.#windowSize) this.#takeBack(index);
    else this.#numSamples++;
    this.#enter(index);
  }

  /**
   * Makes another mapping the live one; all that was recorded stays with the mapping it was recorded under.
   */
  changeMapping(live: ExpertMapping): void {
    for (let layer = 0; layer < this.#topology.numLayers; layer++) {
      if ((this.#passKinds[layer]! & PHYSICAL) !== 0) this.#foldPass(layer);
    }
    if (this.#hasPhysicalSums)
      this.#physicalSums.foldInto(this.#logicalSums, this.#at.liveTable, this.#topology.numLayers);
    this.#hasPhysicalSums = false;
    this.#epoch++;
    this.#live = tablesOf(live);
    this.#writeLiveTable();
  }

  /**
   * Writes the window's sums where a job reads them: f64[layers x physical] of the live mapping, f64[layers x
   * logical].
   */
  writeSums(physical: Pointer, logical: Pointer): void {
    this.#physicalSums.writeTo(physical);
    this.#logicalSums.writeTo(logical);
  }

  /** The samples for policies that plan from them; undefined when the balancer's policy does not. */
  get sampleMemory(): SampleMemory | undefined {
    return this.#sampleMemory;
  }

  /** The average load of each slot, [layers x physical], as the live mapping reads the window. A copy. */
  averagePhysical(): LoadMatrix {
    const { numLayers, numPhysicalExperts: numExperts, numLogicalExperts } = this.#topology;
    const { liveTable, liveCount, output } = this.#at;
    this.#writeLiveCount();
    const physicalSums = this.#physicalSums.total();
    const logicalSums = this.#logicalSums.total();
    for (let layer = 0; layer < numLayers; layer++) {
      const slots = layer * numExperts;
      const experts = layer * numLogicalExperts;
      this.#kernels.averageSlots(
        physicalSums + 8 * slots,
        liveTable + 4 * slots,
        liveCount + 4 * experts,
        numExperts,
        logicalSums + 8 * experts,
        this.#divisor,
        output + 4 * slots,
      );
    }
    return { data: copyFloats(this.#buffer, output, numLayers * numExperts), numLayers, numExperts };
  }

  /** The average load of each expert, [layers x logical]. A copy. */
  averageLogical(): LoadMatrix {
    const { numLayers, numLogicalExperts: numExperts, numPhysicalExperts } = this.#topology;
    const { liveTable, output, scratch } = this.#at;
    const physicalSums = this.#physicalSums.total();
    const logicalSums = this.#logicalSums.total();
    for (let layer = 0; layer < numLayers; layer++) {
      const slots = layer * numPhysicalExperts;
      const experts = layer * numExperts;
      this.#kernels.averageLoads(
        physicalSums + 8 * slots,
        liveTable + 4 * slots,
        numPhysicalExperts,
        logicalSums + 8 * experts,
        numExperts,
        this.#divisor,
        output + 4 * experts,
        scratch,
      );
    }
    return { data: copyFloats(this.#buffer, output, numLayers * numExperts), numLayers, numExperts };
  }

  /**
   * The greatest imbalance of any layer: its largest / smallest rank load, or time where ranks differ in
   * speed, over the window. A rank without
   * load beside one with load counts as infinite: to leave it out, as the imbalance of experts does, would
   * call a layer balanced that has all its load on one rank. A rank without experts, whose slots are all
   * closed or empty, is left out.
   */
  rankLoadImbalance(): number {
    const { liveTable: table, scratch } = this.#at;
    const physicalSums = this.#physicalSums.total();
    const logicalSums = this.#logicalSums.total();
    return windowImbalance(this.#region, this.#topology, { physicalSums, logicalSums, table, scratch });
  }

  /**
   * The step being recorded, [layers x physical]; loads of experts are spread evenly over their replicas. A
   * copy.
   */
  pass(): Float32Array {
    const { numLayers, numPhysicalExperts } = this.#topology;
    const pass = zeros('a copy of a step', Float32Array, numLayers * numPhysicalExperts);
    for (let layer = 0; layer < numLayers; layer++) {
      const row = pass.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
      row.set(this.#passRow(layer));
      if ((this.#passKinds[layer]! & LOGICAL) === 0) continue;
      spreadRow(this.#passLogicalRow(layer), layer, this.#live.phyToLog, row);
    }
    return pass;
  }

  /** The samples, oldest first, [samples x layers x physical], read as {@link pass} is. A copy. */
  samples(): Float32Array {
    const { numLayers, numPhysicalExperts, numLogicalExperts } = this.#topology;
    const step = numLayers * numPhysicalExperts;
    const what = `a copy of a window of ${this.#numSamples}`;
    const samples = zeros(what, Float32Array, this.#numSamples * step);
    for (let i = 0; i < this.#numSamples; i++) {
      const index = this.#indexOf(i);
      for (let layer = 0; layer < numLayers; layer++) {
        const first = i * step + layer * numPhysicalExperts;
        const row = samples.subarray(first, first + numPhysicalExperts);
        const pointer = this.#ring.read(index, layer, numPhysicalExperts);
        const kept = new Float32Array(this.#buffer, pointer, numPhysicalExperts);
        if (this.#ringKinds[index * numLayers + layer] !== LOGICAL) row.set(kept);
        else spreadRow(kept.subarray(0, numLogicalExperts), layer, this.#ringTables[index]!, row);
      }
    }
    return samples;
  }

  /** Writes the loads of experts of a layer in the step that ended last. @param out `[logical]` */
  newestLogical(layer: number, out: Float32Array): void {
    const { numLayers, numPhysicalExperts, numLogicalExperts } = this.#topology;
    const index = this.#indexOf(this.#numSamples - 1);
    const isLogical = this.#ringKinds[index * numLayers + layer] === LOGICAL;
    const n = isLogical ? numLogicalExperts : numPhysicalExperts;
    const row = this.#ring.read(index, layer, n);
    if (!isLogical && this.#ringEpochs[index] === this.#epoch) {
      const table = this.#at.liveTable + 4 * layer * n;
      this.#kernels.foldLoads(row, table, n, this.#at.output, numLogicalExperts);
      out.set(this.#foldedRow);
      return;
    }
    const loads = new Float32Array(this.#buffer, row, n);
    if (isLogical) out.set(loads);
    else foldRow(loads, layer, this.#ringTables[index]!, out.fill(0));
  }

  /** All that it was given and still has. Copies. */
  content(): WindowContent {
    const { numLayers, numPhysicalExperts, numLogicalExperts } = this.#topology;
    const indices = Array.from({ length: this.#numSamples }, (_, i) => this.#indexOf(i));
    const kinds = new Uint8Array((indices.length + 1) * numLayers);
    for (const [i, index] of indices.entries()) {
      kinds.set(this.#ringKinds.subarray(index * numLayers, (index + 1) * numLayers), i * numLayers);
    }
    kinds.set(this.#passKinds, indices.length * numLayers);
    const rows = zeros('a copy of a window', Float32Array, numLoadsOf(kinds, this.#topology));
    let at = 0;
    const take = (row: Float32Array) => {
      rows.set(row, at);
      at += row.length;
    };
    for (const index of indices) {
      for (let layer = 0; layer < numLayers; layer++) {
        const isLogical = this.#ringKinds[index * numLayers + layer] === LOGICAL;
        const n = isLogical ? numLogicalExperts : numPhysicalExperts;
        take(new Float32Array(this.#buffer, this.#ring.read(index, layer, n), n));
      }
    }
    for (let layer = 0; layer < numLayers; layer++) {
      if ((this.#passKinds[layer]! & PHYSICAL) !== 0) take(this.#passRow(layer));
      if ((this.#passKinds[layer]! & LOGICAL) !== 0) take(this.#passLogicalRow(layer));
    }
    // A mapping that is live again was not so all the time.
    const epochs = [...new Set(indices.map((index) => this.#ringEpochs[index]!))];
    return {
      tables: epochs.map((epoch) => this.#ringTables[indices.find((i) => this.#ringEpochs[i] === epoch)!]!),
      tableOfStep: Int32Array.from(indices, (index) => epochs.indexOf(this.#ringEpochs[index]!)),
      kinds,
      rows,
    };
  }

  #indexOf(sample: number): number {
    return (this.#next - this.#numSamples + sample + this.#windowSize) % this.#windowSize;
  }

  #record(
    title: string,
    layer: number,
    loads: LoadRow,
    input: Float32Array,
    pass: Pointer,
    kind: number,
  ): void {
    checkLayer(title, layer, this.#topology.numLayers);
    copyRow(title, layer, loads, input);
    const n = input.length;
    const refused = this.#kernels.recordRow(this.#at.input, pass + 4 * layer * n, n);
    if (refused < n) throw recordError(title, layer, refused, input[refused]);
    this.#passKinds[layer]! |= kind;
  }

  #add(layer: number, loads: Float32Array, input: Float32Array, pass: Pointer, kind: number): void {
    input.set(loads);
    const n = input.length;
    const row = pass + 4 * layer * n;
    if (this.#kernels.recordRow(this.#at.input, row, n) < n)
      addRow(loads, new Float32Array(this.#buffer, row, n));
    this.#passKinds[layer]! |= kind;
  }

  /** Takes the sample at `index` out of the sums. */
  #takeBack(index: number): void {
    const { numLayers, numPhysicalExperts, numLogicalExperts } = this.#topology;
    const { olderTable } = this.#at;
    const table = this.#ringTables[index]!;
    // Not by the table: one that is live again was not so all the time, and its older samples are folded.
    const isLive = this.#ringEpochs[index] === this.#epoch;
    if (!isLive && this.#olderTable !== table) {
      new Int32Array(this.#buffer, olderTable, table.length).set(table);
      this.#olderTable = table;
    }
    for (let layer = 0; layer < numLayers; layer++) {
      if (this.#replace(index, layer, isLive)) continue;
      const at = this.#ring.read(index, layer, numPhysicalExperts);
      const row = { at, isWhole: this.#ring.isNarrow(index, layer), sign: -1 } as const;
      const slots = layer * numPhysicalExperts;
      const experts = layer * numLogicalExperts;
      if (!row.isWhole) this.#numWide--;
      if (this.#ringKinds[index * numLayers + layer] === LOGICAL)
        this.#logicalSums.add(row, experts, numLogicalExperts);
      else if (isLive) this.#physicalSums.add(row, slots, numPhysicalExperts);
      else this.#logicalSums.addFolded(row, olderTable + 4 * slots, numPhysicalExperts, experts);
    }
    if (this.#numWide > 0) return;
    this.#physicalSums.forgetBands();
    this.#logicalSums.forgetBands();
  }

  /**
   * Has the row of the step being recorded take the place of the one that leaves, if both are narrow and in
   * the same sums. @returns whether it does
   */
  #replace(index: number, layer: number, isLive: boolean): boolean {
    const { numLayers, numPhysicalExperts, numLogicalExperts } = this.#topology;
    const isLogical = this.#passKinds[layer] === LOGICAL;
    const wasLogical = this.#ringKinds[index * numLayers + layer] === LOGICAL;
    if (isLogical !== wasLogical || !(isLogical || isLive)) return false;
    const n = isLogical ? numLogicalExperts : numPhysicalExperts;
    const row = (isLogical ? this.#at.passLogical : this.#at.passPhysical) + 4 * layer * n;
    const sums = (isLogical ? this.#at.logical : this.#at.physical).whole + 8 * layer * n;
    if (!this.#ring.replace(index, layer, row, n, sums)) return false;
    this.#hasReplaced[layer] = 1;
    return true;
  }

  /** Moves the step being recorded to the ring and adds it to the sums. */
  #enter(index: number): void {
    const { numLayers, numPhysicalExperts, numLogicalExperts } = this.#topology;
    const { passPhysical, passLogical } = this.#at;
    let kinds = 0;
    for (let layer = 0; layer < numLayers; layer++) {
      kinds |= this.#passKinds[layer]!;
      const isLogical = this.#passKinds[layer] === LOGICAL;
      const n = isLogical ? numLogicalExperts : numPhysicalExperts;
      const at = (isLogical ? passLogical : passPhysical) + 4 * layer * n;
      if (this.#hasReplaced[layer] === 0) {
        const isWhole = this.#ring.write(index, layer, at, n);
        if (!isWhole) this.#numWide++;
        this.#ringKinds[index * numLayers + layer] = isLogical ? LOGICAL : PHYSICAL;
        (isLogical ? this.#logicalSums : this.#physicalSums).add({ at, isWhole, sign: 1 }, layer * n, n);
      }
      if (!isLogical) this.#hasPhysicalSums = true;
      if (isLogical) this.#sampleMemory?.addLogical(layer, at);
      else this.#sampleMemory?.addPhysical(layer, at, this.#at.liveTable + 4 * layer * numPhysicalExperts);
    }
    this.#sampleMemory?.endStep();
    this.#ringTables[index] = this.#live.phyToLog;
    this.#ringEpochs[index] = this.#epoch;
    this.#passKinds.fill(0);
    // Mostly a host records only one kind.
    if ((kinds & PHYSICAL) !== 0) this.#kernels.clearBytes(passPhysical, 4 * numLayers * numPhysicalExperts);
    if ((kinds & LOGICAL) !== 0) this.#kernels.clearBytes(passLogical, 4 * numLayers * numLogicalExperts);
  }

  /** Turns what the step recorded per slot in a layer into loads per expert, through the live mapping. */
  #foldPass(layer: number): void {
    const physical = this.#passRow(layer);
    foldRow(physical, layer, this.#live.phyToLog, this.#passLogicalRow(layer));
    physical.fill(0);
    this.#passKinds[layer] = LOGICAL;
  }

  get #buffer(): ArrayBufferLike {
    return this.#region.buffer;
  }

  get #divisor(): number {
    return Math.max(this.#numSamples, 1);
  }

  #writeLiveTable(): void {
    const { phyToLog } = this.#live;
    new Int32Array(this.#buffer, this.#at.liveTable, phyToLog.length).set(phyToLog);
    this.#hasLiveCount = false;
  }

  #writeLiveCount(): void {
    if (this.#hasLiveCount) return;
    const { numLayers, numPhysicalExperts, numLogicalExperts } = this.#topology;
    const { replicaCount } = this.#live;
    if (replicaCount !== undefined)
      new Int32Array(this.#buffer, this.#at.liveCount, replicaCount.length).set(replicaCount);
    else
      for (let layer = 0; layer < numLayers; layer++) {
        const table = this.#at.liveTable + 4 * layer * numPhysicalExperts;
        const count = this.#at.liveCount + 4 * layer * numLogicalExperts;
        this.#kernels.countReplicas(table, numPhysicalExperts, numLogicalExperts, count);
      }
    this.#hasLiveCount = true;
  }

  #passRow(layer: number): Float32Array {
    const { numPhysicalExperts: n } = this.#topology;
    return new Float32Array(this.#buffer, this.#at.passPhysical + 4 * layer * n, n);
  }

  #passLogicalRow(layer: number): Float32Array {
    const { numLogicalExperts: n } = this.#topology;
    return new Float32Array(this.#buffer, this.#at.passLogical + 4 * layer * n, n);
  }
}
