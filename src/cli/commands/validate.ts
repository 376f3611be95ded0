import type { Command } from 'commander';
import picocolors from 'picocolors';
import { EplbError } from '../../errors.ts';
import { openRecording } from '../../formats/open.ts';
import { alignLayers } from '../../formats/placements/align.ts';
import { ENGINE_NAMES, engineOf } from '../../formats/placements/engines.ts';
import { inspectPlacement } from '../../formats/placements/inspect.ts';
import { mappingOf } from '../../formats/placements/mapping.ts';
import { openPlacement } from '../../formats/placements/open.ts';
import type { Placement } from '../../formats/placements/placement.ts';
import { validatePlacement } from '../../formats/placements/validate.ts';
import { balancedness, layerBalances, peakToAverage, summarizeBalance } from '../../index.ts';
import { wholeNumber } from '../option-values.ts';
import { Progress } from '../progress.ts';
import { lengthOf, sumLoads } from '../recorded-loads.ts';
import { wantsColor } from '../terminal.ts';
import { quote, quotePath } from '../text.ts';
import type { AgainstReport, ValidateReport } from '../validate-report.ts';
import { renderValidation } from '../validate-view.ts';

interface ValidateOptions {
  readonly from?: string;
  readonly for?: string;
  readonly ranks?: number;
  readonly experts?: number;
  readonly denseRows?: number;
  readonly against?: string;
  readonly format?: string;
  readonly json?: boolean;
}

/** The exit code when the file could be read, but an engine that was asked for would not take it. */
const REFUSED = 3;

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  const whole = (name: string, least = 1) => wholeNumber(name, least);
  command
    .argument('<placement>', 'a placement of any format that eplb formats lists')
    .option('--from <F>', "the placement's format, instead of what its content tells")
    .option('--for <engine>', `the engine that decides the exit code: ${ENGINE_NAMES.join(', ')}, or all`)
    .option('--ranks <N>', 'devices, when the file does not tell', whole('--ranks'))
    .option('--experts <N>', 'logical experts a layer, when the file does not tell', whole('--experts'))
    .option(
      '--dense-rows <N>',
      'rows of dense layers at the beginning of an SGLang placement: left out',
      whole('--dense-rows', 0),
    )
    .option('--against <loads>', 'recorded loads, to tell the balancedness on them')
    .option('--format <F>', 'format of the loads, instead of what their content tells')
    .option('--json', 'print one JSON object instead of text')
    .addHelpText(
      'after',
      '\nExit code: 0 the engine takes it, 3 it does not or cannot be told, 2 wrong input.',
    )
    .action(run);
}

async function run(path: string, options: ValidateOptions): Promise<void> {
  if (options.for !== undefined && options.for !== 'all' && !ENGINE_NAMES.includes(options.for)) {
    const known = ENGINE_NAMES.join(', ');
    throw new EplbError('EPLB_OPTION', `--for: ${quote(options.for)} is no engine; give ${known} or all`);
  }
  const read = await openPlacement(path, {
    field: 'placement',
    format: options.from,
    denseRows: options.denseRows,
    numExperts: options.experts,
  });
  const engine = options.for ?? engineOf(read.format);
  const { placement, against } = await compared(read, path, options);
  const { facts, engines } = validatePlacement(placement, { numRanks: options.ranks });
  const judges = engines.filter((one) => engine === 'all' || one.engine === engine);
  const report: ValidateReport = {
    path,
    format: read.format,
    notes: placement.notes,
    facts,
    judgedFor: engine,
    engines,
    against,
    takes: judges.every((one) => one.takes === 'yes'),
  };
  const colors = picocolors.createColors(wantsColor(process.stdout));
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : renderValidation(report, colors));
  if (!report.takes) process.exitCode = REFUSED;
}

/** The placement, its layers matched to the loads when there are some, and what it makes of them. */
async function compared(
  read: Placement,
  path: string,
  options: ValidateOptions,
): Promise<{ placement: Placement; against: AgainstReport | null }> {
  if (options.against === undefined) return { placement: read, against: null };
  const name = `placement: ${quotePath(path)}`;
  const recording = await openRecording(options.against, {
    format: options.format,
    numExperts: options.experts ?? read.numLogicalExperts,
  });
  try {
    const aligned = alignLayers(read, recording, name);
    const placement = { ...aligned, numLogicalExperts: recording.numLogicalExperts };
    const about = { path: options.against, format: recording.format, notes: recording.notes };
    const numRanks = options.ranks ?? placement.numRanks;
    const { missing, outside, slotsPerRank } = inspectPlacement(placement, numRanks);
    const reason =
      missing !== undefined || outside !== undefined
        ? 'the placement is not valid'
        : slotsPerRank === undefined
          ? 'the ranks are not told, or do not divide the slots'
          : undefined;
    if (reason !== undefined || numRanks === undefined) {
      return { placement, against: { ...about, reason: reason ?? '', layers: [], overall: null } };
    }
    const progress = new Progress(process.stderr);
    const of = await lengthOf(recording, progress);
    const loads = await sumLoads(recording, { from: 0, to: of, of }, progress);
    progress.stop();
    const balances = layerBalances(loads, mappingOf(placement), numRanks);
    const layers = balances.map((one, layer) => ({
      layer,
      balancedness: balancedness(one),
      peakToAverage: peakToAverage(one),
    }));
    return { placement, against: { ...about, reason: null, layers, overall: summarizeBalance(balances) } };
  } finally {
    await recording.close();
  }
}
