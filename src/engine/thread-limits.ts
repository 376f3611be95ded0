import { messageOf } from '../core/error-data.ts';
import { EplbError, isOwnError } from '../core/errors.ts';
import { systemText } from './system-file.ts';

const MEBIBYTE = 2 ** 20;

/**
 * What a thread takes of the address space: measured, 590 MiB with Node 20 to 24, 850 with Node 26, and as
 * much for the first one of some.
 */
const THREAD_MEBIBYTES = 1024;

/** Threads that have not come so far as to take their address space. */
let numBooting = 0;

/**
 * Refuses to start a thread for which the process has no address space left: Node does not survive that.
 *
 * @throws EplbError `EPLB_THREADS`
 */
export function checkAddressSpace(): void {
  // As Linux tells; elsewhere, and as a rule, there is no limit.
  const [, limit] = /^Max address space +(\d+)/m.exec(systemText('/proc/self/limits')) ?? [];
  const [, usedKibibytes] = /^VmSize:\s+(\d+)/m.exec(systemText('/proc/self/status')) ?? [];
  if (limit === undefined || usedKibibytes === undefined) return;
  const mebibytes = Math.floor(Number(limit) / MEBIBYTE);
  const left = mebibytes - Math.floor(Number(usedKibibytes) / 1024) - numBooting * THREAD_MEBIBYTES;
  if (left >= THREAD_MEBIBYTES) return;
  const message =
    `no more threads can be had: each needs ${THREAD_MEBIBYTES} MiB of address space, and of the ` +
    `${mebibytes} MiB that this process may have (ulimit -v) ${Math.max(0, left)} are left`;
  throw new EplbError('EPLB_THREADS', message);
}

/** Counts a thread that was started until it is online, or has ended. */
export function countBooting(thread: NodeJS.EventEmitter): void {
  numBooting++;
  let isCounted = true;
  const uncount = () => {
    if (isCounted) numBooting--;
    isCounted = false;
  };
  thread.once('online', uncount);
  thread.once('exit', uncount);
}

/**
 * That the system, or Node, starts no further thread for this process; undefined when it was not that which
 * kept a thread from being started.
 */
export function refusedError(cause: unknown): EplbError | undefined {
  if (!(cause instanceof Error) || !('code' in cause)) return undefined;
  if (cause.code === 'ERR_WORKER_INIT_FAILED') {
    const message =
      'no more threads can be had: the limit of threads for this process is reached (ulimit -u, or pids.max ' +
      'of the container)';
    return new EplbError('EPLB_THREADS', message, { cause });
  }
  if (cause.code === 'ERR_ACCESS_DENIED' && Reflect.get(cause, 'permission') === 'WorkerThreads') {
    const message = 'no threads can be had: the permission model allows none without --allow-worker';
    return new EplbError('EPLB_THREADS', message, { cause });
  }
  return undefined;
}

/** Whether a thread was not started as no more can be had: another try would find none either. */
export function isRefused(reason: unknown): boolean {
  return isOwnError(reason) && reason.code === 'EPLB_THREADS';
}

let hasWarned = false;

/** Says once that there are fewer threads than could be used. */
export function warnOfFewThreads(numThreads: number, numWanted: number, reason: unknown): void {
  if (hasWarned) return;
  hasWarned = true;
  const warning = `${numThreads} of ${numWanted} worker threads were started: ${messageOf(reason)}`;
  process.emitWarning(warning, { code: 'EPLB_THREADS' });
}
