import type { Command } from 'commander';
import { checkDispatch, type Dispatch } from '../core/dispatch.ts';
import { counted } from '../formats/number-text.ts';
import { makePolicy } from '../policy/registry.ts';

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

/**
 * What is to be said of where tokens are.
 *
 * @param numSourceRanks ranks that loads are recorded by, where they are
 * @param numRanks that there are now
 */
export function sourceNotes(
  numSourceRanks: number | undefined,
  numRanks: number,
  dispatch: Dispatch | undefined,
): string[] {
  if (numSourceRanks === undefined) return dispatch === 'nearest' ? [UNIFORM_NOTE] : [];
  if (numSourceRanks === numRanks)
    return dispatch === 'nearest' ? ['plans are made as if tokens were on all ranks alike'] : [];
  const recorded = `the recording has tokens on ${counted(numSourceRanks, 'rank')}, not ${numRanks}`;
  return [`${recorded}: they are taken to be on all ranks alike`];
}

/** Which policies plan for even dispatch, whatever tokens do. */
export function plansForEvenNotes(policies: readonly string[]): string[] {
  const planning = policies.filter((policy) => policy !== 'static');
  const even = planning.filter(
    (policy) => makePolicy(policy, { dispatch: 'nearest' })?.tokenDispatch !== 'nearest',
  );
  return even.length === 0 ? [] : [`planned for even dispatch all the same: ${even.join(', ')}`];
}
