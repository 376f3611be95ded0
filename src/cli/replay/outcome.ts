import { EplbError } from '../../core/errors.ts';
import { adviseReplays, type ReplayReport, type ReplayResult } from '../../replay/index.ts';
import { reportOf } from '../../replay/report.ts';
import { placedDevices } from '../device-options.ts';
import { plansForEvenNotes } from '../dispatch-option.ts';
import { EXIT_INTERRUPTED } from '../interrupt.ts';
import { jsonPath } from '../json-option.ts';
import { checkOutputs } from '../output-file.ts';
import { Progress } from '../progress.ts';
import { slotColumnNotes } from '../slot-columns.ts';
import { inputPath, optionalInputPath, STANDARD } from '../standard-streams.ts';
import { eventsOf } from './event-options.ts';
import { setUp, taskOf } from './make-task.ts';
import { type CommonReplayOptions, checkSurvive, type OnePlacementOptions, SURVIVING } from './options.ts';
import { writeReports } from './outputs.ts';
import { runReplays } from './run.ts';
import { referenceTask, scoresOf } from './score.ts';
import { tooShortNotes } from './too-short.ts';

/** What a command that replays one placement has to show. */
interface ReplayOutcome {
  readonly report: ReplayReport;
  /** Paths of the files written. */
  readonly written: readonly string[];
  /** Whether the report was printed as JSON. */
  readonly isPrinted: boolean;
}

/**
 * Replays a recording on one placement under each policy, and writes the reports that were asked for. A
 * Ctrl-C makes what there is so far the report, without scores, and the exit code 130.
 *
 * @throws EplbError `EPLB_CANCELLED` when it was interrupted before any step
 */
export async function replayPolicies(
  given: string,
  policies: readonly string[],
  policyOption: string,
  command: 'replay' | 'compare',
  typed: CommonReplayOptions & OnePlacementOptions,
): Promise<ReplayOutcome> {
  checkSurvive(typed, policies, policyOption);
  const path = await inputPath(given);
  const startFrom = await optionalInputPath(typed.startFrom);
  const options = startFrom === undefined ? typed : { ...typed, startFrom };
  const { interval, json, report: html } = options;
  const devices = await placedDevices(options, command);
  const { slots, ranks } = devices;
  const inputs = startFrom === undefined ? [path] : [path, startFrom];
  const outputs = await checkOutputs({ '--json': jsonPath(json), '--report': html }, inputs);
  const setup = await setUp(path, options, ranks);
  const events = eventsOf(options, devices, setup.facts.steps.to);
  const shared = { policyOption, devices, events, interval, startFrom };
  const tasks = await Promise.all(
    variantsOf(policies, options, command).map((variant) =>
      taskOf(setup, { ...shared, ...variant }, options),
    ),
  );
  const reference = await referenceTask(setup, tasks, devices, options);
  const { outcomes, wasInterrupted } = await runReplays([...tasks, ...reference], {
    size: setup.size,
    progress: new Progress(process.stderr),
    stopsAtError: true,
  });
  const results = outcomes
    .slice(0, tasks.length)
    .filter((outcome) => outcome !== undefined) as ReplayResult[];
  if (results.length === 0) throw new EplbError('EPLB_CANCELLED', 'interrupted before the first step');
  const scores = wasInterrupted
    ? undefined
    : scoresOf(setup, results, outcomes[tasks.length] as ReplayResult | undefined);
  const advice = adviseReplays(results, setup.batch);
  const tooShort = wasInterrupted ? [] : tooShortNotes(results);
  const ofSlots = setup.facts.tokensPerStep === null ? slotColumnNotes(setup.facts, [slots], startFrom) : [];
  const ofPolicies = options.dispatch === 'nearest' ? plansForEvenNotes(policies) : [];
  const facts = { ...setup.facts, notes: [...setup.facts.notes, ...ofPolicies, ...ofSlots, ...tooShort] };
  const report = reportOf(facts, results, scores === undefined ? { advice } : { advice, scores });
  await writeReports(outputs, report);
  if (wasInterrupted) process.exitCode = EXIT_INTERRUPTED;
  const written = [...outputs.values()].map((output) => output.path);
  return { report, written, isPrinted: outputs.get('--json')?.target === STANDARD };
}

/**
 * What is replayed: each policy. A comparison shows the price of surviving failures: a policy that is to plan
 * for them stands beside itself without.
 */
function variantsOf(
  policies: readonly string[],
  { survive }: CommonReplayOptions,
  command: 'replay' | 'compare',
) {
  return policies.flatMap((policy) => {
    const plain = { policy, name: policy };
    if (survive === undefined || policy !== SURVIVING) return [plain];
    if (command === 'replay') return [{ ...plain, survive }];
    return [plain, { policy, survive, name: `${policy} +${survive}` }];
  });
}
