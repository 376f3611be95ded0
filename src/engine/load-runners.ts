/** Loads what runs jobs in other threads: hosts that only plan inline never read it. */
export function loadRunners(): Promise<typeof import('./runners.ts')> {
  return import('./runners.ts');
}
