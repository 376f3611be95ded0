// What a failure loses, straight from its definition, and the most that can survive, by trying all
// placements.

/** Of each domain, the experts of a row whose copies are all on its ranks. */
export function lostExperts(
  row: readonly number[],
  domains: readonly number[],
  numExperts: number,
): number[][] {
  const stride = row.length / domains.length;
  const experts = Array.from({ length: numExperts }, (_, expert) => expert);
  return Array.from({ length: Math.max(...domains) + 1 }, (_, failed) =>
    experts.filter((expert) =>
      row.every((other, slot) => other !== expert || domains[Math.floor(slot / stride)] === failed),
    ),
  );
}

/** The most load, and the most experts, with copies in two domains: over all placements of all experts. */
export function mostSurviving(
  numExperts: number,
  domains: readonly number[],
  openSlots: readonly number[],
  loads: readonly number[],
): { load: number; experts: number } {
  const domainOfSlot = domains.flatMap((domain, rank) => new Array<number>(openSlots[rank]!).fill(domain));
  const row = new Array<number>(domainOfSlot.length).fill(0);
  const most = { load: 0, experts: 0 };
  const tryFrom = (slot: number): void => {
    if (slot === row.length) {
      const held = loads.map((_, expert) => new Set(domainOfSlot.filter((_, at) => row[at] === expert)).size);
      if (held.includes(0)) return;
      const survivors = loads.filter((_, expert) => held[expert]! > 1);
      most.load = Math.max(
        most.load,
        survivors.reduce((sum, load) => sum + load, 0),
      );
      most.experts = Math.max(most.experts, survivors.length);
      return;
    }
    for (let expert = 0; expert < numExperts; expert++) {
      row[slot] = expert;
      tryFrom(slot + 1);
    }
  };
  tryFrom(0);
  return most;
}
