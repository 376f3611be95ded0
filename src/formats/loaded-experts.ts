import { isOwnError } from '../core/errors.ts';
import type { LoadRecording } from './recording.ts';

/** The share of a layer's experts that has to have load in some step. */
const LEAST_LOADED = 0.2;

/**
 * Says that hardly any expert of any layer has load in any step, as of a recording whose columns are
 * something else. Steps are read until one layer has enough: mostly that is the first step.
 */
export async function loadedExpertNotes(recording: LoadRecording): Promise<string[]> {
  const { numLayers, numLogicalExperts: numExperts } = recording;
  const isLoaded = new Uint8Array(numLayers * numExperts);
  const counts = new Int32Array(numLayers);
  let most = 0;
  try {
    for await (const { loads } of recording.steps()) {
      for (let at = 0; at < loads.length; at++) {
        if (loads[at] === 0 || isLoaded[at] === 1) continue;
        isLoaded[at] = 1;
        most = Math.max(most, ++counts[Math.floor(at / numExperts)]!);
      }
      if (most >= LEAST_LOADED * numExperts) return [];
    }
  } catch (error) {
    // Who reads it is told.
    if (isOwnError(error)) return [];
    throw error;
  }
  if (most === 0) return ['no expert has load in any step'];
  return [
    `in every layer at least ${numExperts - most} of ${numExperts} experts have no load in any step: see ` +
      'that the columns are experts, and that all ranks and tokens are in it',
  ];
}
