import type { Figure } from './figure.ts';
import type { Limits } from './measure.ts';

/** What a suite is given. */
export interface SuiteContext {
  readonly seed: number;
  readonly limits: Limits;
  /** How often something slow is repeated: the first in a whole run, the second in a quick one. */
  readonly pick: (whole: number, quick: number) => number;
  readonly isQuick: boolean;
}

/** A file of suites/. Its figures' ids begin with its name. */
export interface Suite {
  readonly name: string;
  readonly title: string;
  run(context: SuiteContext): Promise<Figure[]>;
}
