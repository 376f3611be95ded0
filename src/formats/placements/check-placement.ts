import { checkObject, checkText, checkWhole, show } from '../../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import type { Placement } from './placement.ts';

/** Beyond this no engine numbers its layers, experts or ranks. */
const MOST = 2 ** 31;

/**
 * Checks the kinds and the sizes of a placement, not whether it is valid: each of its properties is read
 * once, into a copy.
 *
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE`, `EPLB_RANGE` or `EPLB_NOT_WHOLE`, naming
 *   the property
 */
export function checkPlacement(placement: Placement): Placement {
  const { format, numLayers, numPhysicalExperts, numLogicalExperts, slots, notes, ...more } = checkObject(
    'placement',
    placement,
  );
  const { numRanks, layerNumbers, logToPhy, replicaCount, keyProblems } = more;
  checkText('placement.format', format);
  checkWhole('placement.numLayers', numLayers, 1, MOST);
  checkWhole('placement.numPhysicalExperts', numPhysicalExperts, 1, MOST);
  checkWhole('placement.numLogicalExperts', numLogicalExperts, 0, MOST);
  checkTable('slots', slots, numLayers * numPhysicalExperts);
  if (numRanks !== undefined) checkWhole('placement.numRanks', numRanks, 1, MOST);
  if (layerNumbers !== undefined) checkLayerNumbers(layerNumbers, numLayers);
  if (logToPhy !== undefined) checkWidths(logToPhy, numLayers * numLogicalExperts);
  if (replicaCount !== undefined) checkTable('replicaCount', replicaCount, numLayers * numLogicalExperts);
  if (keyProblems !== undefined) checkKeyProblems(keyProblems);
  if (!Array.isArray(notes) || !notes.every((note) => typeof note === 'string')) {
    throw new EplbTypeError('EPLB_KIND', `placement.notes: ${show(notes)} is not an array of texts`);
  }
  return {
    ...{ format, numLayers, numPhysicalExperts, numLogicalExperts, slots, notes },
    ...(numRanks === undefined ? {} : { numRanks }),
    ...(layerNumbers === undefined ? {} : { layerNumbers }),
    ...(logToPhy === undefined ? {} : { logToPhy }),
    ...(replicaCount === undefined ? {} : { replicaCount }),
    ...(keyProblems === undefined ? {} : { keyProblems }),
  };
}

function checkKeyProblems(problems: unknown): void {
  const areProblems =
    Array.isArray(problems) &&
    problems.every((one) => {
      const { text, isSure } = checkObject('placement.keyProblems: one', one);
      return typeof text === 'string' && typeof isSure === 'boolean';
    });
  if (areProblems) return;
  throw new EplbTypeError('EPLB_KIND', `placement.keyProblems: ${show(problems)} is not a list of problems`);
}

function checkInts(name: string, table: unknown): Int32Array {
  if (table instanceof Int32Array) return table;
  throw new EplbTypeError('EPLB_KIND', `placement.${name}: ${show(table)} is not an Int32Array`);
}

function checkTable(name: string, table: unknown, length: number): void {
  const ints = checkInts(name, table);
  if (ints.length === length) return;
  throw new EplbRangeError('EPLB_SHAPE', `placement.${name}: has ${ints.length} entries, not ${length}`);
}

function checkWidths(logToPhy: unknown, numRows: number): void {
  const { length } = checkInts('logToPhy', logToPhy);
  if (numRows > 0 ? length % numRows === 0 : length === 0) return;
  throw new EplbRangeError(
    'EPLB_SHAPE',
    `placement.logToPhy: ${length} entries are not a multiple of ${numRows}`,
  );
}

function checkLayerNumbers(numbers: unknown, numLayers: number): void {
  if (!Array.isArray(numbers)) {
    throw new EplbTypeError(
      'EPLB_KIND',
      `placement.layerNumbers: ${show(numbers)} is not an array of numbers`,
    );
  }
  if (numbers.length !== numLayers) {
    const message = `placement.layerNumbers: has ${numbers.length} numbers, not ${numLayers}`;
    throw new EplbRangeError('EPLB_SHAPE', message);
  }
  for (let i = 0; i < numLayers; i++) checkWhole(`placement.layerNumbers: ${i}`, numbers[i], 0, MOST);
}
