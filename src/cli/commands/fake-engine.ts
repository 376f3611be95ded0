import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { EplbError, EplbRangeError } from '../../core/errors.ts';
import { openRecording } from '../../formats/index.ts';
import type { LoadRecording } from '../../formats/recording.ts';
import { quote } from '../../formats/text.ts';
import { FakeEngine, type FakeEngineOptions } from '../fake-engine/engine.ts';
import { type EngineEvent, eventJson, eventText } from '../fake-engine/events.ts';
import { endlessLoads } from '../fake-engine/loads.ts';
import { addHelpTexts } from '../help.ts';
import { EXIT_INTERRUPTED } from '../interrupt.ts';
import { listParser, numberParser, resolveRange, wholeParser } from '../option-values.ts';
import { addReadingOptions, openOptionsOf, type ReadingOptions } from '../reading-options.ts';
import { stepsIn } from '../recorded-loads.ts';
import { addPlaceOptions, type PlaceOptions, placeOf } from '../service/place.ts';
import { print } from '../terminal.ts';

interface Kill {
  readonly rank: number;
  readonly step: number;
}

interface FakeEngineFlags extends ReadingOptions, PlaceOptions {
  readonly recording: string;
  readonly ranks: number;
  readonly slots?: number;
  readonly nodes: number;
  readonly group: string;
  readonly policy: string;
  readonly cost?: string;
  readonly window: number;
  readonly planEvery: number;
  readonly stepsPerSecond: number;
  readonly numSteps?: number;
  readonly expertBytes: number;
  readonly leaseMs: number;
  readonly kill: readonly string[];
  readonly backAfter: number;
  readonly silentDeaths?: boolean;
  readonly commands?: boolean;
  readonly json?: boolean;
}

const LEAST_EXPERT_BYTES = 16;
const MOST_EXPERT_BYTES = 2 ** 26;
const MOST_RANKS = 64;

/** Gives the subcommand its options, help and action. */
export function configure(command: Command): void {
  addReadingOptions(
    command.requiredOption(
      '--recording <file>',
      'the loads or routes that the ranks go through, again and again',
    ),
  )
    .option('--ranks <N>', `processes, one a rank: at most ${MOST_RANKS}`, wholeParser('--ranks', 1), 8)
    .option(
      '--slots <N>',
      'slots a layer; enough for a quarter more than the experts, and to lose a rank, when left out',
      wholeParser('--slots', 1),
    )
    .option('--nodes <N>', 'sets of ranks joined by the fast network', wholeParser('--nodes', 1), 1);
  addPlaceOptions(command)
    .option('--group <name>', 'the group that it declares at the service', 'fake-engine')
    .option('--policy <P>', 'that plans for the group: default, locality or adaptive', 'adaptive')
    .option('--cost <C>', 'what steps and moves cost, such as h200:deepseek-v3')
    .option('--window <N>', 'steps that plans look back on', wholeParser('--window', 1), 100)
    .option('--plan-every <N>', 'steps between two questions for a plan', wholeParser('--plan-every', 1), 50)
    .option(
      '--steps-per-second <X>',
      'how fast the steps go',
      numberParser('--steps-per-second', 0.01, 10_000),
      20,
    )
    .option(
      '--num-steps <N>',
      'end after so many steps; without it only when stopped',
      wholeParser('--num-steps', 1),
    )
    .option(
      '--expert-bytes <N>',
      "bytes of an expert's weights",
      wholeParser('--expert-bytes', LEAST_EXPERT_BYTES),
      4096,
    )
    .option('--lease-ms <N>', "milliseconds of a rank's lease", wholeParser('--lease-ms', 50), 3000)
    .option(
      '--kill <R@STEP,...>',
      'kill the process of rank R at a step',
      listParser('--kill', checkedKill),
      [],
    )
    .option(
      '--back-after <N>',
      'steps until a rank that died is started again; 0: never',
      wholeParser('--back-after', 0),
      100,
    )
    .option(
      '--silent-deaths',
      'report no death: the service finds it by the lease, and ranks stop with theirs',
    )
    .option(
      '--commands',
      "read 'kill R' and 'start R' from standard input, a line each; its end ends the engine",
    )
    .option('--json', 'print events as JSON, a line each')
    .action(run);
  addHelpTexts(command, {
    examples: [
      [
        'eplb fake-engine --recording loads.npy --ranks 4 --url http://127.0.0.1:8770',
        'four ranks beside a service',
      ],
      ['eplb fake-engine --recording loads.npy --ranks 4 --kill 3@200', 'of which one dies'],
    ],
    exitCodes: [[1, 'a fault, or a rank had wrong weights, or ranks served different epochs in one step']],
  });
}

async function run(flags: FakeEngineFlags): Promise<void> {
  const kills = checkRanks(flags);
  const place = await placeOf(flags, process.env);
  const recording = await openRecording(flags.recording, openOptionsOf(flags));
  const stop = new AbortController();
  const engine = new FakeEngine({
    ...(await optionsOf(flags, recording)),
    ...{ place, kills, signal: stop.signal },
    emit: (event) => tell(event, flags.json === true),
  });
  const release = untilStopped(stop);
  if (flags.commands === true) readCommands(engine, stop);
  try {
    const { slotsWrong, stepsSplit } = await engine.run();
    if (slotsWrong > 0 || stepsSplit > 0) process.exitCode = 1;
  } finally {
    stop.abort();
    release();
    await recording.close();
  }
}

async function optionsOf(
  flags: FakeEngineFlags,
  recording: LoadRecording,
): Promise<Omit<FakeEngineOptions, 'place' | 'kills' | 'signal' | 'emit'>> {
  const { numLayers, numLogicalExperts } = recording;
  const { ranks: numRanks, slots, nodes: numNodes, policy, cost, window: windowSize } = flags;
  const range = flags.steps === undefined ? {} : resolveRange(flags.steps, await stepsIn(recording), 'step');
  return {
    group: flags.group,
    declaration: {
      ...{ numLayers, numLogicalExperts, numRanks, numNodes, policy, windowSize },
      numPhysicalExperts: slots ?? enoughSlots(numLogicalExperts, numRanks),
      ...(cost === undefined ? {} : { cost }),
    },
    expertBytes: flags.expertBytes,
    leaseMs: flags.leaseMs,
    reportsDeaths: flags.silentDeaths !== true,
    planEvery: flags.planEvery,
    stepsPerSecond: flags.stepsPerSecond,
    numSteps: flags.numSteps,
    backAfter: flags.backAfter,
    loads: endlessLoads(recording, range, flags.recording),
  };
}

/** A quarter more slots than experts, and so many that all experts have one when a rank is lost. */
function enoughSlots(numExperts: number, numRanks: number): number {
  const perRank = numRanks === 1 ? numExperts : Math.ceil(numExperts / (numRanks - 1));
  return numRanks * Math.max(perRank, Math.ceil((1.25 * numExperts) / numRanks));
}

/** @throws EplbRangeError for a rank that there is not, and for too many processes or bytes */
function checkRanks({ ranks, kill, expertBytes }: FakeEngineFlags): readonly Kill[] {
  if (ranks > MOST_RANKS) {
    throw new EplbRangeError('EPLB_RANGE', `--ranks: ${ranks} are more than ${MOST_RANKS} processes`);
  }
  if (expertBytes > MOST_EXPERT_BYTES) {
    throw new EplbRangeError(
      'EPLB_RANGE',
      `--expert-bytes: ${expertBytes} is more than ${MOST_EXPERT_BYTES}`,
    );
  }
  return kill.map((text) => {
    const [rank, step] = text.split('@').map(Number) as [number, number];
    if (rank < ranks) return { rank, step };
    throw new EplbRangeError('EPLB_RANGE', `--kill: rank ${rank} is not from 0 to ${ranks - 1}`);
  });
}

function checkedKill(text: string): string {
  if (/^\d{1,6}@\d{1,15}$/.test(text)) return text;
  const message = `--kill: ${quote(text)} is not R@STEP, such as 3@200`;
  throw new EplbError('EPLB_OPTION', message);
}

function tell(event: EngineEvent, asJson: boolean): void {
  print(process.stdout, `${asJson ? eventJson(event) : eventText(event)}\n`);
}

/** Ends the engine at the first SIGTERM or Ctrl-C. A second Ctrl-C does not wait for it. */
function untilStopped(stop: AbortController): () => void {
  const interrupt = () => {
    if (stop.signal.aborted) process.exit(EXIT_INTERRUPTED);
    stop.abort();
  };
  const terminate = () => stop.abort();
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', terminate);
  return () => {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', terminate);
  };
}

function readCommands(engine: FakeEngine, stop: AbortController): void {
  const { signal } = stop;
  const lines = createInterface({ input: process.stdin });
  signal.addEventListener('abort', () => lines.close(), { once: true });
  // Who gives them is gone.
  lines.on('close', () => stop.abort());
  lines.on('line', (line) => {
    const [, command, rank = ''] = /^\s*(kill|start)\s+(\d{1,6})\s*$/.exec(line) ?? [];
    const isDone =
      command === 'kill' ? engine.kill(Number(rank)) : command !== undefined && engine.restart(Number(rank));
    if (isDone) return;
    const why =
      command === undefined ? `give 'kill R' or 'start R'` : `rank ${rank} is not there to ${command}`;
    print(process.stderr, `eplb: --commands: ${quote(line)}: ${why}\n`);
  });
}
