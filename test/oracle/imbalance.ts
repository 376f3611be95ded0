/** Largest load over smallest positive load; 1 when no load is positive. */
export function loadImbalance(loads: readonly number[]): number {
  const positive = loads.filter((load) => load > 0);
  if (positive.length === 0) return 1;
  return Math.max(...positive) / Math.min(...positive);
}
