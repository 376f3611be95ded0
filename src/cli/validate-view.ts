import { counted, grouped, ratio } from '../formats/number-text.ts';
import type { EngineVerdict } from '../formats/placements/engines.ts';
import type { Colors } from './colors.ts';
import { type Fact, factLines } from './fact-list.ts';
import { renderRules } from './rules-report.ts';
import { renderSurvival } from './survival-view.ts';
import type { AgainstReport, ValidateReport } from './validate-report.ts';

/** A validation for people: what was read, what engines make of it, how it balances loads, what survives. */
export function renderValidation(report: ValidateReport, colors: Colors): string {
  const parts = [factLines(headerFacts(report), colors), verdicts(report, colors)];
  if (report.against !== null) parts.push(factLines(againstFacts(report.against), colors));
  if (report.survival !== null) parts.push(renderSurvival(report.survival, colors));
  if (report.rules !== null) parts.push(renderRules(report.rules, colors));
  return parts.join('\n');
}

function headerFacts({ path, format, notes, facts }: ValidateReport): Fact[] {
  const { numLayers, numPhysicalExperts, numLogicalExperts, numRanks, slotsPerRank, layerNumbers } = facts;
  const redundant = numPhysicalExperts - numLogicalExperts;
  const list: Fact[] = [
    ['placement', `${path} (${format})`],
    [
      'layers',
      layerNumbers === undefined
        ? grouped(numLayers)
        : `${grouped(numLayers)}, the model's ${layerNumbers[0]} to ${layerNumbers.at(-1)}`,
    ],
    [
      'experts',
      `${grouped(numLogicalExperts)} in ${counted(numPhysicalExperts, 'slot')}, ${grouped(redundant)} ` +
        `redundant, at most ${counted(facts.maxReplicas, 'replica')} each`,
    ],
    [
      'ranks',
      numRanks === undefined
        ? 'not known'
        : `${grouped(numRanks)}${slotsPerRank === undefined ? '' : ` of ${counted(slotsPerRank, 'slot')}`}`,
    ],
  ];
  for (const note of notes) list.push(['note', note]);
  return list;
}

function verdicts({ engines, judgedFor }: ValidateReport, colors: Colors): string {
  const width = Math.max(...engines.map(({ engine }) => engine.length));
  const words = {
    yes: colors.green('takes it'),
    no: colors.red('refuses it'),
    unknown: colors.yellow('not known'),
  };
  const lines = engines.map(({ engine, takes, problems, warnings }: EngineVerdict) => {
    const mark = judgedFor === 'all' || judgedFor === engine ? '*' : ' ';
    const reasons = [...problems, ...warnings.map((text) => `warning: ${text}`)];
    const indent = `\n${' '.repeat(width + 4)}`;
    return (
      `${mark}${colors.bold(engine.padEnd(width))}  ` +
      `${words[takes]}${reasons.map((text) => indent + text).join('')}\n`
    );
  });
  return `${lines.join('')} * decides the exit code\n`;
}

function againstFacts({ path, format, notes, reason, layers, overall }: AgainstReport): Fact[] {
  const list: Fact[] = [['loads', `${path} (${format})`]];
  for (const note of notes) list.push(['note', note]);
  if (overall === null) return [...list, ['balancedness', `not known: ${reason}`]];
  const worst = layers.reduce((least, layer) => (layer.balancedness < least.balancedness ? layer : least));
  return [
    ...list,
    ['balancedness, ratio of sums', ratio(overall.balancednessRatioOfSums)],
    ['balancedness, mean of ratios', ratio(overall.balancednessMeanOfRatios)],
    ['peak-to-average (PAR), ratio of sums', ratio(overall.peakToAverageRatioOfSums)],
    ['peak-to-average (PAR), mean of ratios', ratio(overall.peakToAverageMeanOfRatios)],
    ['worst layer', `${worst.layer}: balancedness ${ratio(worst.balancedness)}`],
  ];
}
