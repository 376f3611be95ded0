import type { Command } from 'commander';
import { jsonText } from '../core/printable.ts';
import { type Colors, outputColors } from './colors.ts';
import { checkOutput, type OutputFile, writeOutput } from './output-file.ts';
import { namingInput, STANDARD } from './standard-streams.ts';
import { printText } from './terminal.ts';

/** What `--json` was given: a file, or true where none follows it. */
export type JsonOption = string | true;

/** The option of every command that finds something out. */
export function addJsonOption(command: Command): Command {
  return command.option('--json [file]', 'write JSON to a file; without one, or with -, print it, not text');
}

/** The file that gets the JSON: standard output where none was named. */
export function jsonPath(json: JsonOption | undefined): string | undefined {
  return json === true ? STANDARD : json;
}

/** {@link checkOutput} of the file that gets the JSON, where that is the only file written. */
export async function checkJson(
  json: JsonOption | undefined,
  inputs: readonly string[],
): Promise<OutputFile | undefined> {
  const path = jsonPath(json);
  return path === undefined ? undefined : checkOutput(path, inputs, '--json');
}

/**
 * Writes what a command found out: as JSON where that was asked for, and as text for people unless the JSON
 * is what is printed.
 *
 * @param json - the file of `--json`, checked
 */
export async function writeResult(
  json: OutputFile | undefined,
  report: object,
  text: (colors: Colors) => string,
): Promise<void> {
  if (json !== undefined) await writeOutput(json, namingInput(`${jsonText(report)}\n`));
  if (json?.target !== STANDARD) printText(text(outputColors()));
}
