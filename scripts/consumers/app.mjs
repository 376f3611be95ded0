// What a consumer of the package does, in one file: plans in the pool and inline, shares a balancer, writes
// and reads files that need other packages, replays, and draws the report. It says so in one line.
import {
  AdaptiveEplbPolicy,
  checkTransfer,
  connectBalancer,
  costPresetNames,
  ExpertLoadBalancer,
  ExpertMapping,
  planTransfer,
  repair,
  shareBalancer,
} from 'expert-load-balancer';
import { mappingOf, parsePlacement, placementFrom, writePlacement } from 'expert-load-balancer/formats';
import { replay, replayReport, synthesize } from 'expert-load-balancer/replay';
import { renderReport } from 'expert-load-balancer/report';

const sizes = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
const loads = [
  [9, 1, 4, 2],
  [1, 2, 3, 9],
];

function check(isRight, what) {
  if (!isRight) throw new Error(`${what} is wrong`);
}

async function planInPool() {
  const balancer = new ExpertLoadBalancer({ ...sizes, threads: 1 });
  try {
    const mapping = await balancer.plan(loads);
    check(balancer.metrics().workersStarted === 1, 'the number of threads');
    const connected = await connectBalancer(shareBalancer(balancer));
    connected.recordLogicalLoad(0, [1, 2, 3, 4]);
    await connected.advanceWindow();
    check(balancer.numSamples === 1, 'what a connected thread records');
    connected.close();
    return mapping;
  } finally {
    await balancer.close();
  }
}

/** What the library loads when it is first called. */
function callParts(mapping) {
  const policy = new AdaptiveEplbPolicy();
  const searched = new ExpertLoadBalancer({ ...sizes, policy, threads: 0 }).rebalanceSync(loads);
  check(searched.numPhysicalExperts === 6, 'the adaptive plan');
  const transfer = planTransfer(searched, mapping, { numRanks: 2, bytesPerExpert: 8 });
  check(checkTransfer(transfer, searched, mapping).status === 'valid', 'the transfer');
  const balancer = new ExpertLoadBalancer({ ...sizes, threads: 0 });
  check(balancer.snapshot().length > 0, 'the snapshot');
  check(costPresetNames().devices.length > 0, 'the presets');
  const whole = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0, 0, 1]]);
  check(repair(whole, { numRanks: 3, deadRanks: [1] }).hostLoads.length === 1, 'the repair');
}

export async function main() {
  const inline = new ExpertLoadBalancer({ ...sizes, threads: 0 }).rebalanceSync(loads);
  check(JSON.stringify(inline.toJSON().phyToLog) === '[[0,1,2,3,0,0],[3,1,2,3,0,3]]', 'the inline plan');
  callParts(inline);
  const pooled = await planInPool();
  check(pooled.equals(inline) && pooled.digest() === inline.digest(), 'the plan of the pool');
  const placement = placementFrom(pooled, { numRanks: 2 });
  for (const format of ['tables-npz', 'tensorrt-llm']) {
    const { bytes } = await writePlacement(placement, format);
    check(mappingOf(await parsePlacement(bytes)).equals(pooled), format);
  }
  const source = synthesize({ numLayers: 2, numExperts: 4, topK: 2, numSteps: 50 });
  const result = await replay(source, { numPhysicalExperts: 6, numRanks: 2, policy: 'static' });
  const page = await renderReport(replayReport([result], source));
  check(page.length > 100_000 && page.includes('</html>'), 'the report');
  return 'planned in the pool and inline alike';
}
