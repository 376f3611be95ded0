import type { JobLayout } from '../engine/layout.ts';
import type { JobHistory } from '../engine/plan-job.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';

/** What a balancer knows of its live mapping: a function of recorded steps and commits alone. */
export interface MappingHistory {
  /** Steps recorded since the plan of the mapping was made; all, when it was not planned here. */
  readonly numNewSteps: number;
  /** Whether no mapping was ever committed. */
  readonly isInitial: boolean;
  /** Whether the loads to plan for are the window's; left out where they are, and so is what is known. */
  readonly isOfWindow?: boolean;
  /** What the policy's kernel left with the plan of the mapping. */
  readonly memory?: Uint8Array | undefined;
}

/** What kernels left with the mappings that they planned. */
const memories = new WeakMap<ExpertMapping, Uint8Array>();

/** Keeps what a kernel left with a mapping that it planned, for as long as there is the mapping. */
export function keepMemory(mapping: ExpertMapping, memory: Uint8Array | undefined): void {
  if (memory !== undefined) memories.set(mapping, memory);
}

/** What a kernel left with a mapping; undefined for one that was made otherwise. */
export function memoryOf(mapping: ExpertMapping): Uint8Array | undefined {
  return memories.get(mapping);
}

/** Writes what is remembered of the live mapping to where a job reads it. */
export function writeMemory(
  buffer: ArrayBufferLike,
  { memory: at, memoryBytes }: JobLayout,
  { numNewSteps, isInitial, isOfWindow = true, memory }: MappingHistory,
): JobHistory {
  const hasMemory = memory !== undefined && memory.length === memoryBytes && memoryBytes > 0;
  if (hasMemory) new Uint8Array(buffer, at, memoryBytes).set(memory);
  return { numNewSteps, isInitial, isOfWindow, hasMemory };
}
