import { checkWhole, show } from '../../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { isList } from '../json/value.ts';
import { quote } from '../text.ts';

/** Ranks, experts or layers, as a file names them: a number, a text such as `0-3,8`, or a list of these. */
export type RankSet = number | string | readonly (number | string)[];

/**
 * The ranks of a set, in the order they stand in.
 *
 * @param what the numbers are of: a layer, say
 * @throws EplbTypeError `EPLB_KIND`; EplbRangeError `EPLB_RANGE`, `EPLB_NOT_WHOLE`, naming `title`
 */
export function ranksOfSet(title: string, given: unknown, numRanks: number, what = 'rank'): number[] {
  const parts = isList(given) ? Array.from(given) : [given];
  const ranks: number[] = [];
  for (const [i, part] of parts.entries()) {
    const name = isList(given) ? `${title}[${i}]` : title;
    // One range after the other: a short text may name the same ranks a million times.
    for (const piece of typeof part === 'string' ? part.split(',') : [part]) {
      for (const rank of ranksOfPart(name, piece, numRanks, what)) ranks.push(rank);
      if (ranks.length <= numRanks) continue;
      throw new EplbRangeError('EPLB_RANGE', `${name}: there are ${numRanks} ${what}s; one is there twice`);
    }
  }
  return ranks;
}

function ranksOfPart(title: string, part: unknown, numRanks: number, what: string): number[] {
  if (typeof part === 'string') return ranksOfText(title, part, numRanks, what);
  if (typeof part !== 'number') {
    const wanted = `is neither ${article(what)} nor a range of ${what}s such as 0-7`;
    throw new EplbTypeError('EPLB_KIND', `${title}: ${show(part)} ${wanted}`);
  }
  return [checkWhole(title, part, 0, numRanks - 1)];
}

function ranksOfText(title: string, text: string, numRanks: number, what: string): number[] {
  const match = /^\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?$/.exec(text);
  if (match === null) {
    const wanted = `is neither ${article(what)} nor a range of ${what}s such as 0-7`;
    throw new EplbRangeError('EPLB_RANGE', `${title}: ${quote(text)} ${wanted}`);
  }
  const first = checkWhole(title, Number(match[1]), 0, numRanks - 1);
  const last = checkWhole(title, Number(match[2] ?? match[1]), 0, numRanks - 1);
  if (last < first) throw new EplbRangeError('EPLB_RANGE', `${title}: ${quote(text)} goes backwards`);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** With its article, as in a message. */
function article(what: string): string {
  return `${/^[aeiou]/.test(what) ? 'an' : 'a'} ${what}`;
}

/**
 * `[ranks]`: which of several sets each rank is in.
 *
 * @param what a set is: `node`
 * @throws as {@link ranksOfSet}; EplbRangeError `EPLB_TOPOLOGY` unless each rank is in exactly one
 */
export function setOfRanks(title: string, given: unknown, what: string, numRanks: number): number[] {
  if (!isList(given)) throw new EplbTypeError('EPLB_KIND', `${title}: ${show(given)} is not a list of ranks`);
  const setOf = new Array<number>(numRanks).fill(-1);
  for (let i = 0; i < given.length; i++) {
    for (const rank of ranksOfSet(`${title}[${i}]`, given[i], numRanks)) {
      if (setOf[rank] !== -1) {
        throw new EplbRangeError('EPLB_TOPOLOGY', `${title}: rank ${rank} is there twice, with ${what} ${i}`);
      }
      setOf[rank] = i;
    }
  }
  const left = setOf.indexOf(-1);
  if (left < 0) return setOf;
  throw new EplbRangeError('EPLB_TOPOLOGY', `${title}: rank ${left} is in no ${what}`);
}
