import { EplbError } from '../../core/errors.ts';
import type { Pointer, WasmMemory, WasmModule } from '../../memory/kernel-exports.ts';
import { furtherModule, keepFurtherModule } from '../../memory/kernel-module.ts';

/** A number that the kernels export. */
export interface KernelConstant {
  readonly value: number;
}

/** Fields of the terms of the adaptive policy's kernels that are float64; those that are 32-bit integers. See
 * kernels/adaptive/terms.ts. */
export type AdaptiveNumber =
  | 'price'
  | 'leastGain'
  | 'linkPrice'
  | 'pairsTotal'
  | 'savedBefore'
  | 'savedAfter'
  | 'ceiling'
  | 'before'
  | 'after'
  | 'evaluations'
  | 'work'
  | 'noise'
  | 'numTelling'
  | 'numVarying'
  | 'passing'
  | 'forgetting'
  | 'turnover'
  | 'shrink'
  | 'prior'
  | 'distance'
  | 'numNewSteps'
  | 'stepLength'
  | 'newestLength'
  | 'totalLoad'
  | 'unit'
  | 'elasticity';
export type AdaptiveInteger =
  | 'numExperts'
  | 'numSlots'
  | 'numRanks'
  | 'numNodes'
  | 'maxSamples'
  | 'slotsPerRank'
  | 'survivors'
  | 'domains'
  | 'rankSpeed'
  | 'pairs'
  | 'nodeOfRank'
  | 'isNearest'
  | 'numLinkNodes'
  | 'ceilingLoads'
  | 'isBelow'
  | 'pinned'
  | 'numPins'
  | 'mostCopies'
  | 'fixedShare'
  | 'fixedLoad'
  | 'curve'
  | 'tokens'
  | 'scratch'
  | 'steps'
  | 'stride'
  | 'numSteps'
  | 'numSingles'
  | 'numSamples'
  | 'isNoise'
  | 'samples'
  | 'spread'
  | 'weights'
  | 'mean'
  | 'middle'
  | 'likeness'
  | 'previous'
  | 'fresh'
  | 'dealsCopies'
  | 'isSharp'
  | 'maxMoves'
  | 'maxVisits'
  | 'maxPasses'
  | 'maxIdle'
  | 'maxEvaluations'
  | 'numKicks'
  | 'walkPatience'
  | 'cancelled'
  | 'placement'
  | 'slowest'
  | 'phyToLog'
  | 'replicaRank'
  | 'moves'
  | 'visits'
  | 'expected'
  | 'firstNew';

/** Where these fields lie in the terms. */
type AdaptiveOffsets = {
  readonly [Field in AdaptiveNumber | AdaptiveInteger as `adaptive_${Field}`]: KernelConstant;
};

/**
 * What the module of the adaptive policy's kernels exports; the contracts are in kernels/adaptive/, one file
 * each.
 */
export interface AdaptiveExports extends AdaptiveOffsets {
  readonly adaptiveTermsBytes: KernelConstant;
  adaptiveScratchBytes(
    numExperts: number,
    numSlots: number,
    numRanks: number,
    maxSamples: number,
    numLinkNodes: number,
  ): number;
  adaptiveStepCost(terms: Pointer, slot: number, other: number, isOverwrite: number): number;
  dealToRanks(terms: Pointer): void;
  longestTime(terms: Pointer, slots: Pointer): number;
  measureChange(terms: Pointer): void;
  measureSlowest(terms: Pointer): void;
  preparePairs(
    coactivation: Pointer,
    weight: Pointer,
    numExperts: number,
    numGroups: number,
    pairs: Pointer,
    sums: Pointer,
  ): number;
  prepareSamples(terms: Pointer): void;
  searchAdaptive(terms: Pointer): void;
}

const instances = new WeakMap<WasmMemory, AdaptiveExports>();

/**
 * The adaptive policy's kernels on the memory of others: instantiated with the first that asks for them.
 * @throws EplbError `EPLB_INTERNAL` for a module that is not this library's
 */
export function adaptiveExports({ memory }: { readonly memory: WasmMemory }): AdaptiveExports {
  const known = instances.get(memory);
  if (known !== undefined) return known;
  const { exports } = new WebAssembly.Instance(compiledModule() as WebAssembly.Module, {
    env: { memory: memory as WebAssembly.Memory },
  });
  if (!isAdaptive(exports))
    throw new EplbError('EPLB_INTERNAL', "the adaptive kernels' module is not this library's");
  instances.set(memory, exports);
  return exports;
}

function compiledModule(): WasmModule {
  let module = furtherModule();
  if (module === undefined) {
    // The build has their bytes here, in base64; but for workers, which are given the module.
    const text: string = require('../../../build/adaptive.wasm');
    module = new WebAssembly.Module(Buffer.from(text, 'base64'));
    keepFurtherModule(module);
  }
  return module;
}

/** That it has all that the interface says is checked when it is built, by scripts/kernel-contract.ts. */
function isAdaptive(exports: object): exports is AdaptiveExports {
  return 'adaptiveTermsBytes' in exports;
}
