/** Plans the same workloads through peers: see USAGE. The library must be built. */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { DefaultEplbPolicy, type ExpertMapping } from 'expert-load-balancer';
import { assertPlacement } from './check.ts';
import { beside, type Figure, sampled } from './figure.ts';
import { runFor, type Task } from './interleave.ts';
import { loadAverage } from './machine.ts';
import { countDifferentLayers } from './peers/differences.ts';
import { EplbPeer } from './peers/eplb.ts';
import { Random } from './random.ts';
import { planReference, type ReferencePlacement } from './reference.ts';
import { headLines, markdownTable, plainTable } from './report.ts';
import { headOf } from './run-suites.ts';
import { type Stats, summarize } from './stats.ts';
import { makeWorkload, sizeNamed, type Workload } from './workloads.ts';

const USAGE = `tsx --expose-gc bench/peers.ts [options]
  --eplb FILE     the published eplb.py, as downloaded: not part of this project
  --python CMD    a Python with torch and NumPy (/usr/bin/python3 or python3 when left out)
  --rounds N      turns of every peer at every size (5)
  --seed N        seed of the workloads
  --markdown      print Markdown`;

const SIZES = ['58x256->288', '48x512->640', '94x128->160', '92x896->1024', '64x1024->2048'];
const OURS = 'this library, inline';
const PLAIN = 'plain TypeScript';
const EPLB = 'eplb.py';
/** How long each of ours runs in a turn; eplb.py plans once. */
const TURN_MS = 50;

interface Options {
  readonly eplb: string | undefined;
  readonly python: string | undefined;
  readonly rounds: number;
  readonly seed: number;
  readonly isMarkdown: boolean;
}

/** @throws Error with a message for the user */
function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      eplb: { type: 'string' },
      python: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      seed: { type: 'string', default: '20250718' },
      markdown: { type: 'boolean', default: false },
    },
  });
  const [rounds, seed] = [Number(values.rounds), Number(values.seed)];
  if (!(Number.isSafeInteger(rounds) && rounds > 0)) throw new Error(`--rounds: ${values.rounds}`);
  if (!Number.isSafeInteger(seed)) throw new Error(`--seed: ${values.seed} is not a whole number`);
  return { eplb: values.eplb, python: values.python, rounds, seed, isMarkdown: values.markdown };
}

async function main(options: Options): Promise<void> {
  const { seed, isMarkdown } = options;
  const eplb = await startEplb(options);
  const head = headLines(headOf({ seed, isQuick: false }), loadAverage());
  if (typeof eplb === 'string') head.push(eplb);
  else head.push(`eplb.py: ${eplb.description}`);
  const figures: Figure[] = [];
  const notes: string[] = [];
  for (const name of SIZES) {
    const workload = withoutTies(makeWorkload(sizeNamed(name), 'zipf', seed), seed);
    const { stats, different } = await planAll(
      workload,
      typeof eplb === 'string' ? undefined : eplb,
      options,
    );
    figures.push(...figuresOf(name, stats));
    if (different > 0) notes.push(`eplb.py, ${name}: ${different} layers placed otherwise, as well balanced`);
  }
  if (typeof eplb !== 'string') await eplb.close();
  const endOfLine = isMarkdown ? '\\\n' : '\n';
  if (isMarkdown) console.log('\n### peers: The same plans by others, in turns\n');
  console.log(`${head.join(endOfLine)}\n\n${(isMarkdown ? markdownTable : plainTable)(figures)}\n`);
  console.log(['every placement was compared with ours slot for slot', ...notes].join(endOfLine));
}

async function startEplb({ eplb, python }: Options): Promise<EplbPeer | string> {
  if (eplb === undefined) return 'eplb.py: skipped, --eplb FILE was not given';
  const peer = await EplbPeer.start(eplb, python);
  return typeof peer === 'string' ? `eplb.py: skipped, ${peer}` : peer;
}

/**
 * Fractions of a token make every load of a layer its own: which of two equals comes first is no peer's
 * promise.
 */
function withoutTies(workload: Workload, seed: number): Workload {
  const { loads, size } = workload;
  const random = new Random(seed, `${size} fractions`);
  return { ...workload, loads: { ...loads, data: loads.data.map((load) => load + random.next()) } };
}

interface Planned {
  /** By peer, ours first; in milliseconds. */
  readonly stats: ReadonlyMap<string, Stats>;
  /** Layers that eplb.py placed otherwise. */
  readonly different: number;
}

/** Everybody plans in turns. Ours is checked against the plain reference, and eplb.py against ours. */
async function planAll(
  workload: Workload,
  eplb: EplbPeer | undefined,
  { rounds }: Options,
): Promise<Planned> {
  const { loads, topology } = workload;
  const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  const policy = new DefaultEplbPolicy();
  const plan = () => policy.rebalanceExperts(loads, numPhysicalExperts, numGroups, numNodes, numRanks);
  const expected = planReference(loads, topology);
  const ours = plan();
  assertPlacement(ours, expected, OURS);
  const own: Task<ExpertMapping> = { run: plan, check: (made) => assertPlacement(made, expected, OURS) };
  const plain: Task<ReferencePlacement> = {
    run: () => planReference(loads, topology),
    check: (made) => assertPlacement(ours, made, PLAIN),
  };
  const times: Record<string, number[]> = { [OURS]: [], [PLAIN]: [], ...(eplb && { [EPLB]: [] }) };
  let different = 0;
  for (let round = 0; round <= rounds; round++) {
    if (round === 1) for (const samples of Object.values(times)) samples.length = 0; // round 0 warmed up
    times[OURS]!.push(...runFor(TURN_MS, own));
    times[PLAIN]!.push(...runFor(TURN_MS, plain));
    if (eplb === undefined) continue;
    const published = await eplb.plan(workload, 1);
    different = Math.max(different, countDifferentLayers(workload, ours, published.phyToLog, EPLB));
    times[EPLB]!.push(...published.times);
  }
  const stats = Object.entries(times).map(([name, samples]) => [name, summarize(samples)] as const);
  return { stats: new Map(stats), different };
}

function figuresOf(size: string, stats: ReadonlyMap<string, Stats>): Figure[] {
  const ours = stats.get(OURS)!.median;
  return Array.from(stats, ([name, of]) => {
    const ratio = beside('this / ours', of.median / ours, 'x');
    return sampled(`peers/${size}/${name}`, 'ms', of, name === OURS ? [] : [ratio]);
  });
}

let options: Options;
try {
  options = readOptions(process.argv.slice(2));
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  process.exit(2);
}
await main(options);
