import { checkWhole, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import type { CopyOutcome } from '../engine/copy-job.ts';
import { usableCores } from '../engine/cores.ts';
import { loadRunners } from '../engine/load-runners.ts';
import { sharedBuffer } from '../memory/allocate.ts';
import { copiesOfLayers, type LayerCopies, type RearrangedLayer } from './layer-copies.ts';
import { TransferPlan } from './plan.ts';
import { type RankWeights, readWeights } from './rank-weights.ts';

/** How far a rearrangement is. */
export interface RearrangeProgress extends RearrangedLayer {
  /** Layers that are decided, and all of the plan. */
  readonly numDone: number;
  readonly numLayers: number;
}

/** What became of a rearrangement, and of each layer, in the plan's order. */
export type RearrangeResult =
  | { readonly status: 'moved' | 'aborted'; readonly layers: readonly RearrangedLayer[] }
  /** Something failed; layers that were begun by then were ended. */
  | { readonly status: 'failed'; readonly error: Error; readonly layers: readonly RearrangedLayer[] };

/** How {@link rearrangeExpertWeights} is done. */
export interface RearrangeOptions {
  /**
   * Ends it early. Buffered, each layer is then old or new. In place it is looked at between layers, so that
   * none is broken for it.
   */
  readonly signal?: AbortSignal;
  /** The most threads, of those that all balancers share; each works on a layer. Default: one a core. */
  readonly threads?: number;
  /**
   * The weights of an expert that no live rank has: its tensors, in the order of the bundle. Asked before
   * anything moves, for each load from the host. Needed only for plans that have such.
   */
  readonly loadExpert?: (
    layer: number,
    expert: number,
  ) => ArrayBufferView | readonly ArrayBufferView[] | Promise<ArrayBufferView | readonly ArrayBufferView[]>;
  /** Told of each layer when it is decided. What it throws ends nothing, and is not reported. */
  readonly onLayer?: (progress: RearrangeProgress) => void;
}

const OPTIONS = ['signal', 'threads', 'loadExpert', 'onLayer'];

/**
 * Moves the weights of experts as a plan says, in a process that has the weights of all ranks. Worker threads
 * copy the layers, and the calling thread is not blocked. If the plan is buffered, a layer's slots are
 * written only when everything that they are to receive is in buffers. These buffers belong to the workers,
 * and are as large as the layer's changed slots.
 *
 * Nothing else may read or write the weights of a layer while it moves. The promise is never rejected for
 * what happens to the weights: the result gives the state of each layer.
 *
 * @param ranks for each rank, its weights by layer, on SharedArrayBuffers; written in place
 * @throws (as a rejection, before anything moves) EplbTypeError `EPLB_KIND`, `EPLB_OPTION`, EplbRangeError
 *   `EPLB_SHAPE`, `EPLB_MEMORY`; whatever `loadExpert` throws
 * @example
 * ```ts
 * const plan = planTransfer(from, to, { numRanks: 2, bytesPerExpert: 8 });
 * // Two layers, two slots a rank, an expert being one float64.
 * const weights = () => [0, 1].map(() => new Float64Array(new SharedArrayBuffer(16)));
 * const result = await rearrangeExpertWeights(plan, [weights(), weights()]);
 * if (result.status === 'moved') balancer.commit(to);
 * ```
 */
export async function rearrangeExpertWeights(
  plan: TransferPlan,
  ranks: readonly RankWeights[],
  options: RearrangeOptions = {},
): Promise<RearrangeResult> {
  if (!(plan instanceof TransferPlan)) {
    throw new EplbTypeError('EPLB_KIND', `plan: ${show(plan)} is not a TransferPlan`);
  }
  const { signal, threads, loadExpert, onLayer } = checkOptions('options', options, OPTIONS);
  const maxThreads = checkWhole('threads', threads ?? usableCores(), 1);
  const weights = readWeights(plan, ranks);
  const hostWeights = await loadFromHost(plan, weights.tensorBytes, loadExpert);
  const copies = copiesOfLayers(plan, weights, (layer, expert) => hostWeights.get(`${layer}/${expert}`)!);
  const busy = copies.filter(({ isEmpty }) => !isEmpty);
  let numDone = 0;
  const tell = (layer: LayerCopies, outcome: CopyOutcome) => {
    numDone++;
    try {
      onLayer?.({ ...layer.rearranged(outcome), numDone, numLayers: copies.length });
    } catch {
      // Told in the documentation: moving weights is not to stop half way for it.
    }
  };
  for (const layer of copies) if (layer.isEmpty) tell(layer, 'new');
  const { runCopyJob } = await loadRunners();
  const steps = busy.map(({ step }) => step);
  const onOutcome = (step: number, outcome: CopyOutcome) => tell(busy[step]!, outcome);
  const { outcomes, error } = await runCopyJob({ steps, maxWorkers: maxThreads, onOutcome }, signal);
  const decided = new Map(busy.map((layer, step) => [layer, outcomes[step]!]));
  const layers = copies.map((layer) => layer.rearranged(decided.get(layer) ?? 'new'));
  if (error !== undefined) return { status: 'failed', error, layers };
  return { status: layers.every(({ state }) => state === 'new') ? 'moved' : 'aborted', layers };
}

/** The weights of all loads from the host by layer and expert, each on memory that workers can read. */
async function loadFromHost(
  plan: TransferPlan,
  tensorBytes: readonly number[],
  loadExpert: RearrangeOptions['loadExpert'],
): Promise<Map<string, SharedArrayBuffer>> {
  const loaded = new Map<string, SharedArrayBuffer>();
  for (const { layer, hostLoads } of plan.layers) {
    for (const { expert } of hostLoads) {
      if (loaded.has(`${layer}/${expert}`)) continue;
      if (typeof loadExpert !== 'function') {
        const what = `layer ${layer}: expert ${expert} has to come from the host`;
        throw new EplbTypeError('EPLB_OPTION', `${what}: loadExpert has to bring its weights`);
      }
      const given = await loadExpert(layer, expert);
      loaded.set(`${layer}/${expert}`, packed(`loadExpert(${layer}, ${expert})`, given, tensorBytes));
    }
  }
  return loaded;
}

/** The tensors of one expert, one behind the other. */
function packed(title: string, given: unknown, tensorBytes: readonly number[]): SharedArrayBuffer {
  const tensors: readonly unknown[] = Array.isArray(given) ? Array.from(given) : [given];
  const views = tensors.map((tensor) => {
    if (ArrayBuffer.isView(tensor))
      return new Uint8Array(tensor.buffer, tensor.byteOffset, tensor.byteLength);
    throw new EplbTypeError('EPLB_KIND', `${title}: ${show(tensor)} is not a typed array`);
  });
  const found = views.map(({ length }) => length);
  if (found.join() !== tensorBytes.join()) {
    const message = `${title}: has tensors of ${found.join(', ')} bytes, not ${tensorBytes.join(', ')}`;
    throw new EplbRangeError('EPLB_SHAPE', message);
  }
  const all = tensorBytes.reduce((sum, bytes) => sum + bytes, 0);
  const bytes = new Uint8Array(sharedBuffer(title, all));
  let end = 0;
  for (const view of views) {
    bytes.set(view, end);
    end += view.length;
  }
  return bytes.buffer as SharedArrayBuffer;
}
