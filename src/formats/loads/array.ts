import { EplbRangeError } from '../../core/errors.ts';
import type { OpenOptions } from '../open-options.ts';
import { orUndefined } from '../recognise.ts';
import type { StoredRecording } from '../recording.ts';
import { shapeText } from '../text.ts';
import { askForPlacement, askForRoutes, beginningOf, rankNotes } from './array-doubts.ts';
import { arrayLoads } from './array-loads.ts';
import { arrayRoutes } from './array-routes.ts';
import { arraySourceLoads } from './array-sources.ts';
import type { FoundArray } from './found-array.ts';
import { asSteps, denseNotes, loadedLayersOf } from './loaded-layers.ts';
import { checkStepSize } from './step-size.ts';

const MAX_RANKS = 65_536;

const KNOWN_SHAPES =
  'loads are [layers, experts], [steps, layers, experts] or [steps, layers, ranks, experts], routes are ' +
  'whole numbers [tokens, layers, topK] with --experts';

const ASSUMED_NOTE = 'if these are routes [tokens, layers, topK], give --experts';

/**
 * Decides between routes and loads, and opens them. Two dimensions are loads, and four are loads by the rank
 * that tokens are on. Three are loads when the last
 * one is the number of experts or no number was given, and routes when they hold whole numbers and the last
 * one is smaller. What may as well be something else is asked for.
 *
 * @throws EplbRangeError EPLB_SHAPE, EplbError EPLB_OPTION for what may be something else, or EPLB_FORMAT for
 *   routes that cannot be true
 */
export async function openArray(found: FoundArray, options: OpenOptions): Promise<StoredRecording> {
  const { tensor, name, namedLoads, isCalledLoads = false, numBytes } = found;
  const { shape } = tensor;
  const { numExperts, format, as } = options;
  const last = shape.at(-1);
  if (shape.length === 4 && as !== 'routes') return openSources(found, numExperts);
  if (namedLoads) {
    checkLoadsShape(shape, name, numExperts, numBytes);
    return withoutDense(found);
  }
  checkArrayShape(shape, name);
  const isOfRoutes = shape.length === 3 && numExperts !== undefined && last !== numExperts;
  if (as === 'routes' || (as === undefined && isOfRoutes)) return openRoutes(found, options);
  checkLoadsShape(shape, name, numExperts, numBytes);
  if (as === 'loads' || isCalledLoads) return arrayLoads(found);
  // What is wrong with the file is for the reading to say.
  const beginning = await orUndefined(beginningOf(found));
  if (beginning === undefined) return arrayLoads(found);
  if (format === undefined) await askForPlacement(found, beginning);
  if (numExperts === undefined) askForRoutes(found, beginning);
  const isAssumed = numExperts === undefined && shape.length === 3 && beginning.isWhole;
  const notes = [...found.notes, ...(isAssumed ? [ASSUMED_NOTE] : []), ...rankNotes(found, beginning)];
  return arrayLoads({ ...found, notes });
}

/** @throws EplbRangeError EPLB_SHAPE for another number of experts, or ranks that there can't be */
async function openSources(found: FoundArray, numExperts: number | undefined): Promise<StoredRecording> {
  const { name, numBytes } = found;
  const { shape } = found.tensor;
  const shown = `${name}: shape ${shapeText(shape)}`;
  if (shape.includes(0)) throw shapeError(`${shown} holds nothing; every dimension must be at least 1`);
  checkStepSize(shape.slice(1), numBytes, name);
  if (shape[2]! > MAX_RANKS) {
    throw shapeError(`${shown} has loads of ${shape[2]} ranks, of which there are at most ${MAX_RANKS}`);
  }
  if (numExperts !== undefined && shape[3] !== numExperts) {
    throw shapeError(`${shown} holds loads of ${shape[3]} experts; --experts says ${numExperts}`);
  }
  return arraySourceLoads(found);
}

/** @throws EplbRangeError EPLB_SHAPE for what cannot be routes; as {@link arrayRoutes} */
async function openRoutes(found: FoundArray, options: OpenOptions): Promise<StoredRecording> {
  const { name, tensor, numBytes } = found;
  const { shape } = tensor;
  const { numExperts } = options;
  const shown = `${name}: shape ${shapeText(shape)}`;
  if (shape.length !== 3 || numExperts === undefined) {
    throw shapeError(`${shown} holds no routes, which are [tokens, layers, topK]`);
  }
  if (shape[2]! > numExperts) {
    throw shapeError(
      `${shown}: --experts says ${numExperts}, the last dimension is larger than that; ${KNOWN_SHAPES}`,
    );
  }
  checkStepSize(shape.slice(1), numBytes, name);
  if (!(await beginningOf(found)).isWhole) {
    const why = 'the last dimension is not that, and the numbers are not all whole';
    throw shapeError(`${shown}: --experts says ${numExperts}, ${why}; ${KNOWN_SHAPES}`);
  }
  return arrayRoutes(found, numExperts, options);
}

/** Loads under SGLang's name, which may have rows of dense layers. */
async function withoutDense(found: FoundArray): Promise<StoredRecording> {
  const tensor = asSteps(found.tensor);
  const [numSteps, numLayers] = tensor.shape as [number, number];
  const layers = await loadedLayersOf(tensor, numSteps);
  return arrayLoads({ ...found, notes: [...found.notes, ...denseNotes(numLayers, layers)] }, { layers });
}

/**
 * Checks the shape of what is known to be loads.
 *
 * @param numBytes - size of the files that hold them
 * @throws EplbRangeError EPLB_SHAPE
 */
export function checkLoadsShape(
  shape: readonly number[],
  name: string,
  numExperts: number | undefined,
  numBytes: number,
): void {
  checkArrayShape(shape, name);
  checkStepSize(shape.slice(-2), numBytes, name);
  const last = shape.at(-1)!;
  if (numExperts === undefined || last === numExperts) return;
  throw shapeError(
    `${name}: shape ${shapeText(shape)} holds loads of ${last} experts; --experts says ${numExperts}`,
  );
}

function checkArrayShape(shape: readonly number[], name: string): void {
  const shown = `${name}: shape ${shapeText(shape)}`;
  if (shape.length !== 2 && shape.length !== 3) {
    throw shapeError(`${shown} has ${shape.length} dimensions; ${KNOWN_SHAPES}`);
  }
  if (shape.includes(0)) throw shapeError(`${shown} holds nothing; every dimension must be at least 1`);
}

function shapeError(message: string): EplbRangeError {
  return new EplbRangeError('EPLB_SHAPE', message);
}
