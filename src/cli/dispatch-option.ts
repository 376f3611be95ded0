import type { Command } from 'commander';
import { checkDispatch } from '../core/dispatch.ts';
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

/** Which policies plan for even dispatch, whatever tokens do. */
export function plansForEvenNotes(policies: readonly string[]): string[] {
  const planning = policies.filter((policy) => policy !== 'static');
  const even = planning.filter(
    (policy) => makePolicy(policy, { dispatch: 'nearest' })?.tokenDispatch !== 'nearest',
  );
  return even.length === 0 ? [] : [`planned for even dispatch all the same: ${even.join(', ')}`];
}
