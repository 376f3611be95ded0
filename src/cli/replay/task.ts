import type { EplbErrorCode } from '../../core/errors.ts';
import type { OpenOptions } from '../../formats/open-options.ts';
import type { ReplayOptions, ReplayResult } from '../../replay/index.ts';

/** One configuration to replay a recording under, as plain data for a worker. */
export interface ReplayTask {
  readonly path: string;
  readonly open: OpenOptions;
  /** What the counts of each step are multiplied by: thinned below 1. */
  readonly times: number;
  /** The file of the placement that the recording is read beside. */
  readonly from?: string;
  /** As `--policy` takes it; a module's file is absolute. */
  readonly policy: string;
  /** The level of failures that its plans are to survive: only of a policy that can do that. */
  readonly survive?: string;
  /** The mapping to begin with: the balancer's own, the competition's, or slots [layers x physical]. */
  readonly start: 'initial' | 'competition' | Int32Array;
  readonly options: Omit<ReplayOptions, 'policy' | 'start' | 'onStep'>;
  /** i32[4] in shared memory: see {@link ControlWord}. */
  readonly control: Int32Array;
}

/** What a worker and the command share while a replay runs. */
export const ControlWord = { STOP: 0, STEPS: 1, KILOBYTES: 2, PLANS: 3 } as const;

/** A worker's answer. Errors are data: their class does not survive the way between threads. */
export type ReplayAnswer =
  | { readonly ok: true; readonly result: ReplayResult }
  | { readonly ok: false; readonly code: EplbErrorCode | undefined; readonly message: string };

/** Words of control for a new task. */
export function newControl(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(16));
}
