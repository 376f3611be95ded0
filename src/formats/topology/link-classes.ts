import { checkObject, checkText } from '../../core/checks.ts';
import { EplbRangeError } from '../../core/errors.ts';
import { isList } from '../json/value.ts';
import { quote } from '../text.ts';

/** Most ranks that a file has classes of links between. */
const MOST_LINKED = 2048;

/**
 * `[ranks][ranks]`: the class of the link between two ranks. A file has this table, or one class a level:
 * that of the first level whose domain they share, and `other` where they share none.
 *
 * @param levels `[ranks]` each: the domains of `node` and of what else the file names
 * @throws EplbTypeError `EPLB_KIND`; EplbRangeError `EPLB_RANGE`
 */
export function linkClassesOf(
  title: string,
  given: unknown,
  levels: ReadonlyMap<string, readonly number[]>,
  numRanks: number,
): readonly (readonly string[])[] {
  if (numRanks > MOST_LINKED) {
    throw new EplbRangeError('EPLB_RANGE', `${title}: for at most ${MOST_LINKED} ranks, not ${numRanks}`);
  }
  if (isList(given)) return Array.from(given, (row) => (isList(row) ? Array.from(row) : row)) as string[][];
  const classes = Object.entries(checkObject(title, given as object)).map(([level, name]) => {
    if (level !== 'other' && !levels.has(level)) {
      const known = [...levels.keys(), 'other'].join(', ');
      throw new EplbRangeError('EPLB_RANGE', `${title}: ${quote(level)} is not a level; there are ${known}`);
    }
    return [level, checkText(`${title}.${level}`, name)] as const;
  });
  const other = classes.find(([level]) => level === 'other')?.[1];
  if (other === undefined) {
    const message = `${title}: has no class for other links: give it as other`;
    throw new EplbRangeError('EPLB_RANGE', message);
  }
  const shared = classes.filter(([level]) => level !== 'other');
  return Array.from({ length: numRanks }, (_, from) =>
    Array.from({ length: numRanks }, (_, to) => {
      const found = shared.find(([level]) => levels.get(level)![from] === levels.get(level)![to]);
      return found?.[1] ?? other;
    }),
  );
}
