import { readFileSync } from 'node:fs';

/**
 * The most memory this process had resident so far, in KiB. On Linux not from resourceUsage(): its maximum is
 * at least what the parent had when it started this process, which here is more than a bare Node needs. It is
 * all there is where the system's file has no such line, as in some sandboxes.
 */
export function peakMemoryKb() {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS;
  const peak = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return peak === null ? process.resourceUsage().maxRSS : Number(peak[1]);
}
