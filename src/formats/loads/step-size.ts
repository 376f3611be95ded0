import { EplbRangeError } from '../../core/errors.ts';
import { grouped } from '../number-text.ts';
import { countOf } from '../tensor/shape.ts';
import { shapeText } from '../text.ts';

/** Loads that a step may always have: 128 layers of 16,384 experts. */
const FREE_LOADS = 2 ** 21;

/**
 * Checks that a step is not much larger than what it is read from: a packed or repeated one may stand in a
 * few bytes, and takes memory for all of its loads.
 *
 * @param shape - of a step: [layers, experts]
 * @param most - loads that the files can hold
 * @throws EplbRangeError EPLB_SHAPE
 */
export function checkStepSize(shape: readonly number[], most: number, name: string): void {
  const count = countOf(shape);
  if (count <= Math.max(FREE_LOADS, most)) return;
  throw new EplbRangeError(
    'EPLB_SHAPE',
    `${name}: a step of the shape ${shapeText(shape)} has ${grouped(count)} loads, too many for so small ` +
      'a file',
  );
}
