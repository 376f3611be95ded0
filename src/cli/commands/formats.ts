import type { Command } from 'commander';
import type { FormatFacts } from '../../formats/format.ts';
import { FORMATS } from '../../formats/registry.ts';
import { LOAD_WRITER_NAMES } from '../../formats/write/registry.ts';
import type { Colors } from '../colors.ts';
import { addJsonOption, checkJson, type JsonOption, writeResult } from '../json-option.ts';

/** What `--json` prints of a format. */
interface FormatReport {
  readonly name: string;
  readonly holds: FormatFacts['holds'];
  readonly reads: boolean;
  readonly writes: boolean;
  readonly description: string;
}

/** Gives the subcommand its options, help and action. */
export function configure(command: Command): void {
  addJsonOption(command).action(run);
}

async function run(options: { readonly json?: JsonOption }): Promise<void> {
  const json = await checkJson(options.json, []);
  const formats = FORMATS.map(reportOf);
  await writeResult(json, { formats }, (colors) => render(formats, colors));
}

function reportOf({ name, holds, description }: FormatFacts): FormatReport {
  const writes = holds === 'placements' || LOAD_WRITER_NAMES.includes(name);
  return { name, holds, reads: true, writes, description };
}

function render(formats: readonly FormatReport[], colors: Colors): string {
  const width = Math.max(...formats.map(({ name }) => name.length));
  const section = (holds: FormatFacts['holds']) => {
    const rows = formats.filter((format) => format.holds === holds);
    const lines = rows.map(({ name, writes, description }) => {
      const start = ` ${colors.bold(name.padEnd(width))}  ${writes ? 'read, write' : 'read       '}  `;
      const indent = `\n${' '.repeat(1 + width + 2 + 11 + 2)}`;
      return `${start}${wrapped(description, LINE - indent.length).join(indent)}\n`;
    });
    return `${holds}\n${lines.join('')}`;
  };
  return `${section('loads')}\n${section('placements')}`;
}

/** Longest line. */
const LINE = 100;

/** A text in lines of at most `width` characters, broken between words. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}
