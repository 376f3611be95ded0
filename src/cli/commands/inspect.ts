import type { Command } from 'commander';
import { printableTexts } from '../../core/printable.ts';
import { openRecording } from '../../formats/open.ts';
import { type InspectOptions, inspect, resized } from '../../replay/index.ts';
import { addTopologyOption, devicesOf } from '../device-options.ts';
import { addHelpTexts } from '../help.ts';
import { EXIT_INTERRUPTED, Interrupt } from '../interrupt.ts';
import { addJsonOption, type JsonOption, jsonPath, writeResult } from '../json-option.ts';
import { wholeParser } from '../option-values.ts';
import { checkOutputs } from '../output-file.ts';
import { Progress } from '../progress.ts';
import { chooseSlotCost } from '../replay/cost-choice.ts';
import { renderInspection } from '../replay/inspect-view.ts';
import { lookAt } from '../replay/look-at.ts';
import { addCostOptions, addRecordingOptions, type RecordingOptions } from '../replay/options.ts';
import { inputPath } from '../standard-streams.ts';

interface InspectCommandOptions extends RecordingOptions {
  readonly topology?: string;
  readonly ranks?: number;
  readonly top: number;
  readonly json?: JsonOption;
}

/** Ranks that time is reckoned for when nothing is said. */
const DEFAULT_RANKS = 8;

/** Steps between two turns of the event loop, so that Ctrl-C is heard. */
const STEPS_A_TURN = 64;

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  addTopologyOption(addJsonOption(addRecordingOptions(command)))
    .option(
      '--ranks <N>',
      'devices that noise and time are reckoned for; 8 when left out',
      wholeParser('--ranks', 1),
    )
    .option('--top <N>', 'how many of the hottest experts are named', wholeParser('--top', 0), 9)
    .action(run);
  addCostOptions(command, '');
  addHelpTexts(command, {
    examples: [
      ['eplb inspect loads.npy --ranks 16', 'skew, drift and noise'],
      ['eplb inspect routes.npy --experts 64 --json facts.json', 'of routes, all figures in a file'],
    ],
    exitCodes: [[EXIT_INTERRUPTED, 'interrupted: what there was so far was reported']],
  });
}

async function run(given: string, options: InspectCommandOptions): Promise<void> {
  const path = await inputPath(given);
  const outputs = await checkOutputs({ '--json': jsonPath(options.json) }, [path]);
  const numRanks = await liveRanks(options);
  const setup = await lookAt(path, options, numRanks ?? DEFAULT_RANKS);
  const { cost, notes: assumed } = await chooseSlotCost(options, setup.facts);
  const progress = new Progress(process.stderr);
  const { numSteps: total, numBytes } = setup.size;
  progress.begin('reading', total ?? Math.ceil(numBytes / 1000), total === undefined ? 'kB' : 'steps');
  const interrupt = new Interrupt();
  const recording = await openRecording(path, setup.open);
  const inspectOptions: InspectOptions = {
    numHottest: options.top,
    steps: setup.range,
    cost,
    ...(recording.routes === undefined ? {} : { topK: recording.routes.topK }),
    ...(numRanks === undefined ? {} : { numRanks }),
    onStep: ({ numSteps, bytesRead }) => {
      progress.update(total === undefined ? Math.floor(bytesRead / 1000) : numSteps);
      return !interrupt.wasAsked;
    },
  };
  const { times } = setup.batch;
  const sized = times === 1 ? recording : resized(recording, times);
  const source = { ...sized, steps: (range?: object) => withTurns(sized.steps(range)) };
  const result = await inspect(source, inspectOptions).finally(async () => {
    progress.stop();
    interrupt.release();
    await recording.close();
  });
  // Some is known only when all was read.
  const notes = [...new Set([...setup.facts.notes, ...assumed, ...recording.notes])];
  const read = { ...setup.facts, notes };
  const isInterrupted = interrupt.wasAsked;
  const status = isInterrupted ? 'partial' : 'complete';
  const written = [...outputs.values()].map((output) => output.path);
  const report = { kind: 'inspect-report', formatVersion: 1, recording: read, status, ...result };
  await writeResult(outputs.get('--json'), report, (colors) =>
    renderInspection(printableTexts(read), result, isInterrupted, written, colors),
  );
  if (isInterrupted) process.exitCode = EXIT_INTERRUPTED;
}

/** Devices that live, where options or a topology file say how many there are. */
async function liveRanks(options: InspectCommandOptions): Promise<number | undefined> {
  const { topology, ranks } = options;
  const devices = await devicesOf({ ...(topology && { topology }), ...(ranks && { ranks }) });
  const { deadRanks = [] } = devices.rankOptions;
  return devices.ranks === undefined ? undefined : devices.ranks - deadRanks.length;
}

/** The same steps, with a turn of the event loop now and then. */
async function* withTurns<T>(steps: AsyncIterable<T>): AsyncGenerator<T> {
  let count = 0;
  for await (const step of steps) {
    if (++count % STEPS_A_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    yield step;
  }
}
