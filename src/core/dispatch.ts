import { show } from './checks.ts';
import { EplbRangeError } from './errors.ts';

/**
 * Which copy of an expert a token takes. 'even': any, all alike. 'nearest': one on the rank that it is
 * on, else one on its node, else any; several that are as near share it evenly.
 */
export type Dispatch = 'even' | 'nearest';

const DISPATCHES: readonly Dispatch[] = ['even', 'nearest'];

/** 'even' when nothing is given. @throws EplbRangeError `EPLB_RANGE` for anything that is not a dispatch */
export function checkDispatch(given: unknown, title = 'dispatch'): Dispatch {
  if (given === undefined) return 'even';
  const dispatch = DISPATCHES.find((known) => known === given);
  if (dispatch !== undefined) return dispatch;
  throw new EplbRangeError('EPLB_RANGE', `${title}: ${show(given)} is neither 'even' nor 'nearest'`);
}
