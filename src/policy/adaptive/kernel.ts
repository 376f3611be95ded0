import { domainsOfRanks } from '../../core/failure-domains.ts';
import type { LayerKernel } from '../../engine/layer-kernel.ts';
import { AdaptiveLayers } from './layers.ts';
import { joinPlanMemories, planMemoryBytes } from './memory.ts';
import { checkGroupRoom, checkSizes } from './plannable-sizes.ts';
import { type AdaptiveRequest, carveAdaptiveData, carveAdaptiveScratch, takeStats } from './request.ts';
import { nanosecondsPerLayer } from './search-time.ts';
import { spendMoves } from './spend-moves.ts';

/**
 * Measured at these sizes, in a core's time on a busy machine: 1 to 14 s, and 60 s where a limit of moves
 * takes eight searches.
 */
const MOST_SIZES = { slots: 2 ** 14, ranks: 2 ** 10 };
/** Pairs of more experts take more memory than a layer's search is worth. */
const MOST_LINKED = { experts: 2 ** 12 };

/** Searches one layer a claim: that takes longer than a claim does. */
const ADAPTIVE_KERNEL: LayerKernel<AdaptiveRequest> = {
  id: 'adaptive',
  layersPerClaim: 1,
  checkTopology(request, topology, title) {
    checkSizes('adaptive', topology, MOST_SIZES);
    if (request.linkPrice > 0) checkSizes('locality', topology, MOST_LINKED);
    if (request.keepsGroups) checkGroupRoom(topology, title);
    if (request.survive !== undefined) domainsOfRanks(topology, request.survive, 'survive');
  },
  scratchBytes: (request, topology, sizes) => carveAdaptiveScratch(topology, request, sizes, 0).end,
  dataBytes: (request, topology) => carveAdaptiveData(topology, request, 0).end,
  memoryBytes: (_, topology) => planMemoryBytes(topology),
  joinMemories: (_, topology, partOf) => joinPlanMemories(topology, partOf),
  nanosecondsPerLayer,
  bind(job) {
    const layers = new AdaptiveLayers(job);
    return {
      plan: (layer) => layers.plan(layer, job.slots, job.ranks),
      finish(out) {
        if (job.job.hasPrevious) spendMoves(job.buffer, job.layout, job.request, out);
        layers.finish();
      },
    };
  },
  takeStats,
};

/** The adaptive policy's kernel. A function, as an import of the library leaves this module out. */
export const adaptiveKernel = (): LayerKernel<AdaptiveRequest> => ADAPTIVE_KERNEL;
