import { checkBoolean, checkObject, checkText, checkWhole, show } from '../core/checks.ts';
import { EplbTypeError } from '../core/errors.ts';
import { checkKnownKeys } from '../core/known-keys.ts';
import { MAX_SIZE } from '../core/topology.ts';

/** What an array may be read as. */
export const READ_AS = ['loads', 'routes'] as const;

/** How a recording is read. */
export interface OpenOptions {
  /** Name of the format; by default the content shows it. */
  readonly format?: string | undefined;
  /** What an array holds. Required when the content does not show it. `routes` need `numExperts`. */
  readonly as?: (typeof READ_AS)[number] | undefined;
  /**
   * Logical experts of a layer. Decides between routes and loads where the file does not say which it holds.
   */
  readonly numExperts?: number | undefined;
  /** Number of tokens that make one step of recorded routes; default 128. */
  readonly tokensPerStep?: number | undefined;
  /** Reads routes even if more than 1 % of them name an expert twice for one token, which no router does. */
  readonly allowDuplicates?: boolean | undefined;
}

/** A small decoding batch. */
export const DEFAULT_TOKENS_PER_STEP = 128;

const NAMES = ['format', 'as', 'numExperts', 'tokensPerStep', 'allowDuplicates'];

/**
 * @throws EplbTypeError `EPLB_KIND`, or `EPLB_OPTION` for a name that is none; EplbRangeError `EPLB_RANGE` or
 *   `EPLB_NOT_WHOLE`
 */
export function checkOpenOptions(options: OpenOptions): void {
  checkKnownKeys('options', checkObject('options', options), NAMES);
  const { format, as, numExperts, tokensPerStep, allowDuplicates } = options;
  if (format !== undefined) checkText('format', format);
  if (as !== undefined && !READ_AS.includes(as)) {
    throw new EplbTypeError('EPLB_OPTION', `as: ${show(as)} is neither ${READ_AS.join(' nor ')}`);
  }
  if (numExperts !== undefined) checkWhole('numExperts', numExperts, 1, MAX_SIZE);
  if (tokensPerStep !== undefined) checkWhole('tokensPerStep', tokensPerStep, 1);
  if (allowDuplicates !== undefined) checkBoolean('allowDuplicates', allowDuplicates);
  if (as === 'routes' && numExperts === undefined) {
    throw new EplbTypeError('EPLB_OPTION', 'as: routes need the number of experts: give numExperts');
  }
}
