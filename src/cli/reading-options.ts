import type { Command } from 'commander';
import { EplbError } from '../core/errors.ts';
import { loadFormat } from '../formats/loads/registry.ts';
import { type OpenOptions, READ_AS } from '../formats/open-options.ts';
import { quote } from '../formats/text.ts';
import { stepRange, type TypedRange, wholeParser } from './option-values.ts';

/** What is said of a recording that its files leave open, and which part of it is used. */
export interface ReadingOptions {
  /** Name of the format of what is read. */
  readonly from?: string;
  readonly experts?: number;
  readonly as?: OpenOptions['as'];
  readonly allowDuplicates?: boolean;
  readonly tokensPerStep?: number;
  readonly steps?: TypedRange;
}

/** Options for what a recording's files leave open, alike in all commands that read one. */
export function addReadingOptions(
  command: Command,
  fromHelp = 'format of the recording, instead of the one recognised by its content',
  expertsHelp = 'logical experts a layer; routes need it',
): Command {
  return command
    .option('--from <F>', fromHelp)
    .option('--experts <N>', expertsHelp, wholeParser('--experts', 1))
    .option('--as <what>', 'loads or routes, where an array may hold either, or a placement', readAs)
    .option(
      '--allow-duplicates',
      'read routes even if over 1 % of them name an expert twice, which no router does',
    )
    .option('--steps <A:B>', 'only the steps of loads from A to before B (-N: from the end)', stepRange)
    .option(
      '--tokens-per-step <N>',
      'tokens of routes that make a step; 128 when left out',
      wholeParser('--tokens-per-step', 1),
    );
}

/**
 * The options as the readers of recordings take them.
 *
 * @param fromOption what the format is called
 */
export function openOptionsOf(options: ReadingOptions, fromOption = '--from'): OpenOptions {
  const { from: format, experts, as, allowDuplicates, tokensPerStep } = options;
  if (format !== undefined) loadFormat(format, fromOption);
  if (as === 'routes' && experts === undefined) {
    throw new EplbError('EPLB_OPTION', '--as: routes need the number of experts: give --experts');
  }
  return { format, as, numExperts: experts, tokensPerStep, allowDuplicates };
}

function readAs(text: string): OpenOptions['as'] {
  const found = READ_AS.find((one) => one === text);
  if (found !== undefined) return found;
  throw new EplbError('EPLB_OPTION', `--as: ${quote(text)} is neither ${READ_AS.join(' nor ')}`);
}
