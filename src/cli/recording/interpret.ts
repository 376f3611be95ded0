import { EplbRangeError } from '../../errors.ts';
import { shapeText } from '../text.ts';
import { allWhole, type NumberArray, type Tensor } from './tensor.ts';

/** Expert ids [tokens, layers, topK]: which experts each token was routed to. */
export interface RoutesRecording {
  readonly kind: 'routes';
  readonly data: NumberArray;
  readonly numTokens: number;
  readonly numLayers: number;
  readonly topK: number;
  readonly numExperts: number;
}

/** Loads [steps, layers, experts], or [layers, experts] as one step. */
export interface LoadsRecording {
  readonly kind: 'loads';
  readonly data: NumberArray;
  readonly numSteps: number;
  readonly numLayers: number;
  readonly numExperts: number;
  /** False when the file has no dimension of steps. */
  readonly hasSteps: boolean;
  /** True when nothing told routes from loads: whole numbers in three dimensions, no number of experts given. */
  readonly assumed: boolean;
}

/** A recording whose meaning is known. */
export type Recording = RoutesRecording | LoadsRecording;

/**
 * Tells routes from loads. Two dimensions are loads. Three are loads when the last one is the number of experts or no
 * number was given, and routes when they hold whole numbers and the last one is smaller than the number of experts.
 *
 * @param numExperts - the number of logical experts, when the user gave it
 * @throws EplbRangeError EPLB_SHAPE
 */
export function interpret(tensor: Tensor, numExperts: number | undefined): Recording {
  const { data, shape } = tensor;
  const shown = `recording: shape ${shapeText(shape)}`;
  if (shape.length !== 2 && shape.length !== 3) {
    throw shapeError(`${shown} has ${shape.length} dimensions; ${KNOWN_SHAPES}`);
  }
  if (shape.includes(0)) throw shapeError(`${shown} holds nothing; every dimension must be at least 1`);

  const last = shape.at(-1)!;
  const numLayers = shape.at(-2)!;
  const first = shape.length === 3 ? shape[0]! : 1;
  const fits = numExperts === undefined || last === numExperts;
  if (fits) {
    const assumed = numExperts === undefined && shape.length === 3 && !tensor.namedLoads && allWhole(data);
    return {
      kind: 'loads',
      data,
      numSteps: first,
      numLayers,
      numExperts: last,
      hasSteps: shape.length === 3,
      assumed,
    };
  }
  if (shape.length === 2 || tensor.namedLoads) {
    throw shapeError(`${shown} holds loads of ${last} experts; --experts says ${numExperts}`);
  }
  if (last > numExperts || !allWhole(data)) {
    const why = last > numExperts ? 'is larger than that' : 'is not that, and the numbers are not all whole';
    throw shapeError(`${shown}: --experts says ${numExperts}, the last dimension ${why}; ${KNOWN_SHAPES}`);
  }
  return { kind: 'routes', data, numTokens: first, numLayers, topK: last, numExperts };
}

const KNOWN_SHAPES =
  'loads are [layers, experts] or [steps, layers, experts], routes are whole numbers [tokens, layers, topK] with --experts';

function shapeError(message: string): EplbRangeError {
  return new EplbRangeError('EPLB_SHAPE', message);
}
