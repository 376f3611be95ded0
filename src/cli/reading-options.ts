import type { Command } from 'commander';
import { EplbError } from '../core/errors.ts';
import { type OpenOptions, READ_AS } from '../formats/open-options.ts';
import { quote } from '../formats/text.ts';

/** What is said of a recording that its files leave open. */
export interface ReadingOptions {
  readonly experts?: number;
  readonly format?: string | undefined;
  readonly as?: OpenOptions['as'];
  readonly allowDuplicates?: boolean;
  readonly tokensPerStep?: number;
}

/** Options for what a recording's files leave open, which all commands that read one have. */
export function addReadingOptions(command: Command): Command {
  return command
    .option('--as <what>', 'loads or routes, where an array may hold either, or a placement', readAs)
    .option(
      '--allow-duplicates',
      'read routes even if over 1 % of them name an expert twice, which no router does',
    );
}

/** The options as the readers of recordings take them. */
export function openOptionsOf(options: ReadingOptions): OpenOptions {
  const { format, experts, as, allowDuplicates, tokensPerStep } = options;
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
