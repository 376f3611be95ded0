/**
 * What a worker that is woken costs its job, in nanoseconds: the host's thread sends the tasks one after the
 * other, and reads the answers so. Measured: 55 us a worker on a busy host of 2 cores (medians of task and
 * answer), 65 on one of 64 cores with 16 workers, where woken by the dozen they take up to 130.
 */
const WAKE_NANOSECONDS = 60_000;

/**
 * How many workers a job is to wake: so many that what each of them does pays for waking them all, and no
 * more than there are claims.
 *
 * With n workers a job of work w takes about w / n + n x wake / 2, as the first ones are at work while the
 * last are woken. That is least where n is the root of 2w / wake. The root of w / wake wakes 30 % fewer for
 * 6 % of the time.
 *
 * @param most that the job may have
 */
export function workersFor(workNanoseconds: number, numClaims: number, most: number): number {
  const paid = Math.round(Math.sqrt(workNanoseconds / WAKE_NANOSECONDS));
  return Math.max(1, Math.min(paid, numClaims, most));
}
