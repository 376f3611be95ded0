import type { Command } from 'commander';
import { EplbError } from '../../core/errors.ts';
import { printableTexts } from '../../core/printable.ts';
import { ENGINE_NAMES, engineOf } from '../../formats/placements/engines.ts';
import { nameNotes } from '../../formats/placements/format-by-name.ts';
import { openPlacement } from '../../formats/placements/open.ts';
import type { Placement } from '../../formats/placements/placement.ts';
import { placementFormat } from '../../formats/placements/registry.ts';
import { validatePlacement } from '../../formats/placements/validate.ts';
import { quote } from '../../formats/text.ts';
import type { Dispatch } from '../../index.ts';
import { addRulesOption, addTopologyOption, type DeviceOptions, devicesOf } from '../device-options.ts';
import { addDispatchOption } from '../dispatch-option.ts';
import { sayingErrors } from '../error-message.ts';
import { addHelpTexts } from '../help.ts';
import { addJsonOption, checkJson, type JsonOption, writeResult } from '../json-option.ts';
import { DENSE_ROWS_HELP } from '../option-help.ts';
import { contradiction, wholeParser } from '../option-values.ts';
import { addReadingOptions, type ReadingOptions } from '../reading-options.ts';
import { reportRules, withoutTaking } from '../rules-report.ts';
import { inputPath, optionalInputPath } from '../standard-streams.ts';
import { checkSurviveOptions, type SurviveOptions } from '../survival-report.ts';
import { rulesInOptions } from '../topology-options.ts';
import type { ValidateReport } from '../validate-report.ts';
import { renderValidation } from '../validate-view.ts';
import { compareWithLoads } from '../validate-work.ts';

interface ValidateOptions extends ReadingOptions, SurviveOptions {
  readonly topology?: string;
  readonly dispatch?: Dispatch;
  readonly rules?: string;
  /** Format of the loads. */
  readonly format?: string;
  readonly for?: string;
  readonly denseRows?: number;
  readonly against?: string;
  readonly json?: JsonOption;
}

/** The exit code when the file could be read, but an engine that was asked for would not take it. */
const REFUSED = 3;

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  const whole = (name: string, least = 1) => wholeParser(name, least);
  addReadingOptions(
    addDispatchOption(addRulesOption(addTopologyOption(addJsonOption(command)))),
    "the placement's format, instead of the one recognised by its content",
    'logical experts a layer, when the file does not have them',
  )
    .argument('<placement>', '- for standard input; a placement of any format that eplb formats lists')
    .option('--for <engine>', `the engine that decides the exit code: ${ENGINE_NAMES.join(', ')}, or all`)
    .option('--ranks <N>', 'devices, when the file does not have them', whole('--ranks'))
    .option('--dense-rows <N>', DENSE_ROWS_HELP, whole('--dense-rows', 0))
    .option(
      '--against <loads>',
      'recorded loads, or - for standard input, to report the balancedness on them',
    )
    .option('--format <F>', 'format of the loads, instead of the one recognised by their content')
    .option('--survive <level>', 'tell what a failure of a rank loses, a node, or a level of --topology')
    .option('--nodes <N>', 'sets of ranks on a node, for --survive node and --dispatch', whole('--nodes'))
    .action(run);
  addHelpTexts(command, {
    examples: [
      ['eplb validate expert_map.json', 'for the engine whose format it is'],
      ['eplb validate placement.json --for all --ranks 16 --against loads.npy', 'for all, and on loads'],
      ['eplb validate placement.json --ranks 16 --nodes 2 --survive node', 'and what a node loses'],
    ],
    exitCodes: [
      [
        REFUSED,
        'the engine does not take it, it is not known whether it does, or it breaks a rule of --rules',
      ],
    ],
  });
}

async function run(given: string, typed: ValidateOptions): Promise<void> {
  const path = await inputPath(given);
  const loads = await optionalInputPath(typed.against);
  const devices = await devicesOf(deviceOptionsOf(typed));
  const { ranks, nodes, slots } = devices;
  const rankOptions = withoutTaking(devices.rankOptions);
  const options: ValidateOptions = {
    ...typed,
    ...(loads && { against: loads }),
    ...(ranks && { ranks }),
    ...(nodes && { nodes }),
    ...(slots && { slots }),
    rankOptions,
  };
  if (options.for !== undefined && options.for !== 'all' && !ENGINE_NAMES.includes(options.for)) {
    const known = ENGINE_NAMES.join(', ');
    throw new EplbError('EPLB_OPTION', `--for: ${quote(options.for)} is not an engine; give ${known} or all`);
  }
  if (loads === undefined) refuseOfLoads(options);
  // Nodes of a topology file, and those for the dispatch, need not be said to fail.
  const isForSurvival = options.survive !== undefined || (typed.nodes !== undefined && !options.dispatch);
  if (isForSurvival) checkSurviveOptions(options);
  const json = await checkJson(options.json, [path, ...(loads === undefined ? [] : [loads])]);
  const open = (denseRows: number | undefined) =>
    openPlacement(path, {
      field: 'placement',
      format: options.from,
      numExperts: options.experts,
      denseRows,
    });
  const read = await open(undefined);
  const engine = options.for ?? engineOf(read.format);
  const beside = options.denseRows === undefined ? read : await open(options.denseRows);
  const { judged, against, survival } = await compareWithLoads({ read, beside, path }, options);
  const rules = sayingErrors(rulesInOptions, () => reportRules(beside, options));
  const { facts, engines } = validatePlacement(judged, { numRanks: options.ranks });
  const judges = engines.filter((one) => engine === 'all' || one.engine === engine);
  const report: ValidateReport = {
    kind: 'validate-report',
    formatVersion: 1,
    path,
    format: read.format,
    notes: [...read.notes, ...expertNotes(read, options), ...nameNotesOf(path, read.format)],
    facts,
    judgedFor: engine,
    engines,
    against,
    survival,
    rules,
    takes: judges.every((one) => one.takes === 'yes'),
  };
  await writeResult(json, report, (colors) => renderValidation(printableTexts(report), colors));
  const isBroken = rules?.reason === null && rules.broken.length > 0;
  if (!report.takes || isBroken) process.exitCode = REFUSED;
}

function deviceOptionsOf({ topology, rules, ranks, nodes }: ValidateOptions): DeviceOptions {
  return {
    ...(topology && { topology }),
    ...(rules && { rules }),
    ...(ranks && { ranks }),
    ...(nodes && { nodes }),
  };
}

/** Refuses options that say how loads are read, where there are none. */
function refuseOfLoads({ steps, tokensPerStep, format, dispatch }: ValidateOptions): void {
  const useless = {
    '--steps': steps,
    '--tokens-per-step': tokensPerStep,
    '--format': format,
    '--dispatch': dispatch,
  };
  const given = Object.entries(useless).find(([, value]) => value !== undefined);
  if (given !== undefined)
    throw contradiction(`${given[0]}: says how loads are read; give --against as well`);
}

/** Only the name that it was given matters to an engine that goes by names. */
function nameNotesOf(path: string, format: string): string[] {
  return format === 'sglang' && !/(\.pt|standard-input)$/i.test(path)
    ? nameNotes(path, placementFormat(format, '--from'))
    : [];
}

/** Where the file does not say how many experts there are, the last ones may be missing unseen. */
function expertNotes({ format, logToPhy, replicaCount }: Placement, options: ValidateOptions): string[] {
  const isTold = format === 'omni-infer' || logToPhy !== undefined || replicaCount !== undefined;
  if (isTold || options.experts !== undefined || options.against !== undefined) return [];
  return ['the experts are counted by the greatest id; --experts would find the last ones missing'];
}
