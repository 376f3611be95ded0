import type { StepSource } from '../formats/check-recording.ts';
import type { LoadRecording } from '../formats/recording.ts';

/**
 * What a replay needs of a recording: every {@link LoadRecording} will do, and anything that gives steps of
 * loads.
 */
export type ReplaySource = StepSource & {
  readonly routes?: LoadRecording['routes'];
  readonly numSourceRanks?: LoadRecording['numSourceRanks'];
  /** How many times what was recorded the counts are, where they were enlarged. */
  readonly enlargedBy?: number;
  /** How many times the tokens of its routes a step has, where it was resized. */
  readonly tokensTimes?: number;
};
