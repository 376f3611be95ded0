import type { Command } from 'commander';
import { checkDispatch } from '../core/dispatch.ts';

/** The option that says which copy of an expert tokens take. */
export function addDispatchOption(command: Command): Command {
  return command.option(
    '--dispatch <D>',
    'which copy of an expert a token takes: even, any of them; or nearest, one on its rank, else on its node; ' +
      'even when left out',
    (text) => checkDispatch(text, '--dispatch'),
  );
}

/** What nearest dispatch rests on, where nothing recorded says it. */
export const UNIFORM_NOTE =
  'nearest dispatch: the recording does not say where tokens are: they are taken to be on all ranks alike';
