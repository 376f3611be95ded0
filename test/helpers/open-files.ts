import { readdirSync, readlinkSync } from 'node:fs';

/** What this process has open below a folder. Linux only. */
export function openFilesIn(folder: string): string[] {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return links.filter((path) => path.startsWith(folder));
}
