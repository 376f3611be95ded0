import { CommanderError } from 'commander';
import type { EplbErrorCode } from '../core/errors.ts';
import { isOwnError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { startingWithOption } from './error-message.ts';

/** How the command ends when something went wrong, or when commander ended it (help, version). */
interface Failure {
  /** 2 for wrong input, 1 for a fault of the program or of the machine, 0 for help and version. */
  readonly exitCode: number;
  /** What the standard error gets; empty when all was said already. */
  readonly text: string;
}

/** What ended a call though the input was right. */
const NOT_INPUT: ReadonlySet<EplbErrorCode> = new Set([
  'EPLB_CLOSED',
  'EPLB_CANCELLED',
  'EPLB_THREADS',
  'EPLB_RUNTIME',
  'EPLB_WORKER_LOST',
  'EPLB_TIMEOUT',
  'EPLB_INTERNAL',
  'EPLB_UNREACHABLE',
]);

/**
 * Turns anything thrown into an exit code and one line.
 *
 * @param help - the command that lists the options
 * @param debug - adds the stack of errors that are not about the input
 */
export function failureOf(error: unknown, help: string, debug: boolean): Failure {
  if (error instanceof CommanderError) return commanderFailure(error, help);
  if (isOwnError(error)) {
    const line = `eplb: ${printable(startingWithOption(error.message))} (${error.code})\n`;
    return { exitCode: NOT_INPUT.has(error.code) ? 1 : 2, text: line };
  }
  const message = error instanceof Error ? error.message : String(error);
  const lacking = lackOf(error);
  if (lacking !== undefined && !debug) {
    return { exitCode: 1, text: `eplb: ${lacking[1]}: ${printable(message)} (${lacking[0]})\n` };
  }
  if (debug) return { exitCode: 1, text: `eplb: unexpected error: ${(error as Error)?.stack ?? message}\n` };
  return {
    exitCode: 1,
    text: `eplb: unexpected error: ${printable(message)}; EPLB_DEBUG=1 shows where (EPLB_INTERNAL)\n`,
  };
}

/** What the machine or Node does not give, by the codes of its errors. */
const LACKING: Readonly<Record<string, readonly [code: EplbErrorCode, what: string]>> = {
  EAGAIN: ['EPLB_THREADS', 'no more threads or processes can be had (ulimit -u)'],
  ERR_WORKER_OUT_OF_MEMORY: ['EPLB_MEMORY', 'a worker thread has no more memory'],
  ERR_ACCESS_DENIED: ['EPLB_RUNTIME', 'the permission model forbids it (--allow-worker, --allow-fs-read)'],
  ENOMEM: ['EPLB_MEMORY', 'no more memory can be had'],
  EMFILE: ['EPLB_FILE', 'too many files are open (ulimit -n)'],
  ENOSPC: ['EPLB_FILE', 'no space is left on the device'],
};

/** What is lacking, when an error says so. */
function lackOf(error: unknown): readonly [code: EplbErrorCode, what: string] | undefined {
  const code = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' && Object.hasOwn(LACKING, code) ? LACKING[code] : undefined;
}

function commanderFailure(error: CommanderError, help: string): Failure {
  if (error.exitCode === 0) return { exitCode: 0, text: '' };
  // The help that commander prints when no command is given is the message.
  if (error.code === 'commander.help') return { exitCode: 2, text: '' };
  // What it suggests stands in a line of its own.
  const message = printable(error.message.replace(/^error: |\.$/g, '').replace(/\n(?=\(Did you mean )/, ' '));
  const field = /'[^']*?(--[\w-]+)/.exec(message)?.[1] ?? COMMANDER_FIELDS[error.code] ?? 'option';
  return { exitCode: 2, text: `eplb: ${field}: ${message}; see ${help} (EPLB_OPTION)\n` };
}

const COMMANDER_FIELDS: Readonly<Record<string, string>> = {
  'commander.excessArguments': 'argument',
  'commander.unknownCommand': 'command',
};
