import { checkAtLeast, checkWhole } from '../core/checks.ts';
import { checkOptions } from '../core/known-keys.ts';
import { checkShortText, unknownType } from './messages.ts';
import type { GroupSize } from './records.ts';

/** How a coordinator of migrations behaves. */
export interface CoordinatorMachineOptions extends GroupSize {
  /** Of the mapping that is live at epoch 0. Not looked at when there is a journal. */
  readonly digest: string;
  /** How long all buffers may take to be filled; and then the host to ask. 60,000 by default. */
  readonly prepareTimeoutMs?: number;
  /** How long all ranks may take to promise their last step. 5,000 by default. */
  readonly armTimeoutMs?: number;
  /** How long all ranks may take to say that they have swapped. 30,000 by default. */
  readonly activateTimeoutMs?: number;
  /** After how long without an answer a message is sent again. 250 by default. */
  readonly resendMs?: number;
  /**
   * What becomes of an operation when a rank is lost while buffers are filled: it is aborted, or goes on
   * without the rank. `abort` by default. Later than that it is always aborted, or decided already.
   */
  readonly onLostRank?: 'abort' | 'exclude';
}

const KEYS: readonly (keyof CoordinatorMachineOptions)[] = [
  'numRanks',
  'numLayers',
  'digest',
  'prepareTimeoutMs',
  'armTimeoutMs',
  'activateTimeoutMs',
  'resendMs',
  'onLostRank',
];

/** Checks the options. @returns a copy with the defaults filled in */
export function checkCoordinatorOptions(
  options: CoordinatorMachineOptions,
): Required<CoordinatorMachineOptions> {
  const {
    numRanks,
    numLayers,
    digest,
    prepareTimeoutMs = 60_000,
    armTimeoutMs = 5000,
    activateTimeoutMs = 30_000,
    resendMs = 250,
    onLostRank = 'abort',
  } = checkOptions('options', options, KEYS);
  if (onLostRank !== 'abort' && onLostRank !== 'exclude') throw unknownType(onLostRank);
  return {
    numRanks: checkWhole('numRanks', numRanks, 1, 2 ** 20),
    numLayers: checkWhole('numLayers', numLayers, 1, 2 ** 20),
    digest: checkShortText('digest', digest, 1),
    prepareTimeoutMs: checkAtLeast('prepareTimeoutMs', prepareTimeoutMs, 1),
    armTimeoutMs: checkAtLeast('armTimeoutMs', armTimeoutMs, 1),
    activateTimeoutMs: checkAtLeast('activateTimeoutMs', activateTimeoutMs, 1),
    resendMs: checkAtLeast('resendMs', resendMs, 1),
    onLostRank,
  };
}
