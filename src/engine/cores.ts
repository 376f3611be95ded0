import { loadBuiltin } from '../core/load-builtin.ts';
import { systemText } from './system-file.ts';

/** Most worker threads of a balancer. */
export const MOST_THREADS = 1024;

let cores: number | undefined;

/** Cores that this process may use: looked up once. */
export function usableCores(): number {
  if (cores === undefined) {
    const { availableParallelism } = loadBuiltin('node:os') as typeof import('node:os');
    cores = coresOf('', availableParallelism());
  }
  return cores;
}

/**
 * Cores that a process may use: no more than its control group's quota of processor time makes, rounded down,
 * as one that uses more is stopped for the rest of the period, the host's thread and all. At least 1.
 *
 * @param root goes before the names of the system's files, '' for its own: /proc/self/cgroup and
 * /sys/fs/cgroup are looked at, of cgroup v2 and v1. Without them there is no quota.
 * @param parallelism cores that it may be scheduled on (its cpuset), as the system tells
 */
export function coresOf(root: string, parallelism: number): number {
  return Math.max(1, Math.min(parallelism, ...quotasOf(root).map(Math.floor)));
}

/** Quotas of the process's control group and of all groups above it, in cores. */
function quotasOf(root: string): number[] {
  const quotas: number[] = [];
  for (const line of systemText(`${root}/proc/self/cgroup`).split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    const isUnified = controllers === '';
    if (!isUnified && !controllers.split(',').includes('cpu')) continue;
    const mounts = isUnified ? ['', 'unified'] : [controllers, 'cpu'];
    for (const mount of mounts) {
      for (const group of groupsUpFrom(path)) {
        const folder = `${root}/sys/fs/cgroup/${mount}/${group}`;
        quotas.push(isUnified ? unifiedQuota(folder) : quota(folder));
      }
    }
  }
  return quotas;
}

/**
 * A group and those above it. In a container it may be named as the host knows it, and only the root is
 * there.
 */
function groupsUpFrom(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '..');
  return Array.from({ length: parts.length + 1 }, (_, left) => parts.slice(0, parts.length - left).join('/'));
}

/** cgroup v2: 'max 100000', or microseconds of time and of the period. */
function unifiedQuota(folder: string): number {
  const [time, period] = systemText(`${folder}/cpu.max`).trim().split(/\s+/);
  return share(Number(time), Number(period));
}

/** cgroup v1: -1 where there is none. */
function quota(folder: string): number {
  const of = (file: string) => Number(systemText(`${folder}/${file}`).trim() || 'none');
  return share(of('cpu.cfs_quota_us'), of('cpu.cfs_period_us'));
}

function share(time: number, period: number): number {
  return time > 0 && period > 0 ? time / period : Number.POSITIVE_INFINITY;
}
