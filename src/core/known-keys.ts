import { checkObject, show } from './checks.ts';
import { EplbTypeError } from './errors.ts';

/** Changes of a letter that a misspelt name may be away from the one that was meant. */
const MOST_CHANGES = 3;

/**
 * Checks that an object of options has no name but the known ones: a misspelt one would be thought to do
 * something. Those that hold undefined are left out ones.
 *
 * @param title - what the messages call the object
 * @throws EplbTypeError `EPLB_OPTION`
 */
export function checkKnownKeys(title: string, options: object, known: readonly string[]): void {
  for (const key of Object.keys(options)) {
    if (known.includes(key) || Reflect.get(options, key) === undefined) continue;
    const near = nearest(key, known);
    const all = known.length === 0 ? 'there are none' : `there are ${known.join(', ')}`;
    const hint = near === undefined ? all : `did you mean ${near}?`;
    throw new EplbTypeError('EPLB_OPTION', `${title}: there is no option ${show(key)}; ${hint}`);
  }
}

/**
 * Returns an object of options, when it is one and has no name but the known ones.
 *
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`
 */
export function checkOptions<T extends object>(title: string, options: T, known: readonly string[]): T {
  checkKnownKeys(title, checkObject(title, options), known);
  return options;
}

/** The known name that a misspelt one is nearest to, or undefined when none is near. */
export function nearest(text: string, known: readonly string[]): string | undefined {
  const wanted = text.toLowerCase();
  const within = known.find((name) => wanted.length > 2 && name.toLowerCase().includes(wanted));
  if (within !== undefined) return within;
  const most = Math.min(MOST_CHANGES, Math.ceil(wanted.length / 3));
  let best: string | undefined;
  let least = most + 1;
  for (const name of known) {
    const changes = changesBetween(wanted, name.toLowerCase(), most);
    if (changes >= least) continue;
    least = changes;
    best = name;
  }
  return best;
}

/**
 * Letters to put in, take out or replace to make one text of the other; more than `most` may be any
 * number.
 */
function changesBetween(a: string, b: string, most: number): number {
  if (Math.abs(a.length - b.length) > most) return most + 1;
  let before = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = before[j - 1]! + Number(a[i - 1] !== b[j - 1]);
      row.push(Math.min(replaced, before[j]! + 1, row[j - 1]! + 1));
    }
    before = row;
  }
  return before[b.length]!;
}
