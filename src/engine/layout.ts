import type { Topology } from '../core/topology.ts';
import { alignUp, Carver } from '../memory/carver.ts';

/**
 * Where everything of a planning job lies in the shared memory, as byte offsets. All sizes follow from the
 * topology.
 */
export interface JobLayout {
  readonly topology: Topology;
  /** i32[JOB_WORDS]: see {@link JobWord}. */
  readonly words: number;
  /** f32[layers x logical]: the loads to plan for. */
  readonly weights: number;
  /** i32[layers x physical]: the mapping before. */
  readonly previous: number;
  /** f64[layers x physical] and f64[layers x logical]: the window's sums as they were when the job began. */
  readonly physicalSums: number;
  readonly logicalSums: number;
  /**
   * i32[2][layersPerClaim][physical] a worker: the slots, and their replica numbers, of the layers it is at.
   */
  readonly tables: number;
  readonly tableBytes: number;
  /**
   * i32[layers x physical] each: the slots of the new mapping, and which replica of its expert each holds.
   */
  readonly phyToLog: number;
  readonly replicaRank: number;
  /** i32[layers x logical]: replicas of each expert in the new mapping. */
  readonly replicaCount: number;
  /** One block a worker. */
  readonly scratch: number;
  readonly scratchBytes: number;
  /**
   * f32[maxSamples x layers x logical]: loads of the samples, oldest first, for kernels that plan from
   * samples.
   */
  readonly samples: number;
  readonly maxSamples: number;
  /** What the kernel remembers with the live mapping, and with the one that is planned. */
  readonly memory: number;
  readonly newMemory: number;
  readonly memoryBytes: number;
  /** What the policy's kernel has besides, for all workers. */
  readonly kernelData: number;
  readonly end: number;
}

/** The words of a job: the index of each in i32[JOB_WORDS]. */
export const JobWord = {
  NEXT_LAYER: 0,
  LAYERS_DONE: 1,
  CANCELLED: 2,
  /** Workers with this number or a higher one claim no more: another job is to have their threads. */
  FIRST_LEAVING: 3,
} as const;
const JOB_WORDS = 16;
const NOBODY_LEAVES = 2 ** 31 - 1;

/**
 * Whether a job is cancelled: what is planned is then no longer wanted, and the searches within a layer end
 * too.
 */
export function isCancelled(words: Int32Array): boolean {
  return Atomics.load(words, JobWord.CANCELLED) !== 0;
}

/** The words of a job. */
export function jobWords(buffer: ArrayBufferLike, layout: JobLayout): Int32Array {
  return new Int32Array(buffer, layout.words, JOB_WORDS);
}

/** Makes the words those of a job that nobody has begun. */
export function resetWords(words: Int32Array): void {
  words.fill(0);
  askToLeave(words, NOBODY_LEAVES);
}

/** Has workers from a number on leave the job when they are done with what they claimed. */
export function askToLeave(words: Int32Array, firstLeaving = NOBODY_LEAVES): void {
  Atomics.store(words, JobWord.FIRST_LEAVING, firstLeaving);
}

/** Whether a worker is to claim no more. */
export function isLeaving(words: Int32Array, worker: number): boolean {
  return worker >= Atomics.load(words, JobWord.FIRST_LEAVING);
}

/** What a job takes beside what follows from the topology. */
export interface JobNeeds {
  /** Blocks of scratch. */
  readonly numWorkers: number;
  readonly layersPerClaim: number;
  /** Of one worker. */
  readonly scratchBytes: number;
  /** What all workers of the policy's kernel share. */
  readonly dataBytes: number;
  /** See memoryBytes of a layer kernel. */
  readonly memoryBytes: number;
  readonly maxSamples: number;
}

/** Lays out a job. @param start where it begins */
export function carveJob(topology: Topology, needs: JobNeeds, start = 0): JobLayout {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = topology;
  const { numWorkers, layersPerClaim, dataBytes, memoryBytes, maxSamples } = needs;
  const carver = new Carver(start);
  const physicalTable = numLayers * numPhysicalExperts * 4;
  const logicalTable = numLayers * numLogicalExperts * 4;
  const tableBytes = 8 * layersPerClaim * numPhysicalExperts;
  const scratchBytes = alignUp(needs.scratchBytes, 64);
  return {
    topology,
    words: carver.take(JOB_WORDS * 4),
    weights: carver.take(logicalTable),
    previous: carver.take(physicalTable),
    physicalSums: carver.take(2 * physicalTable),
    logicalSums: carver.take(2 * logicalTable),
    tables: carver.take(tableBytes * numWorkers),
    tableBytes,
    phyToLog: carver.take(physicalTable),
    replicaRank: carver.take(physicalTable),
    replicaCount: carver.take(logicalTable),
    scratch: carver.take(scratchBytes * numWorkers),
    scratchBytes,
    samples: carver.take(maxSamples * logicalTable),
    maxSamples,
    memory: carver.take(memoryBytes),
    newMemory: carver.take(memoryBytes),
    memoryBytes,
    kernelData: carver.take(dataBytes),
    end: carver.end,
  };
}
