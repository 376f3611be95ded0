import type { Command } from 'commander';
import type { FormatFacts } from '../../formats/format.ts';
import { FORMATS } from '../../formats/registry.ts';
import { LOAD_WRITER_NAMES } from '../../formats/write/registry.ts';
import type { Colors } from '../colors.ts';
import { addHelpTexts } from '../help.ts';
import { addJsonOption, checkJson, type JsonOption, writeResult } from '../json-option.ts';
import { textColumns } from '../terminal.ts';
import { wrapped } from '../wrap.ts';

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
  addHelpTexts(command, { examples: [['eplb formats --json', 'the list for a program']] });
}

async function run(options: { readonly json?: JsonOption }): Promise<void> {
  const json = await checkJson(options.json, []);
  const formats = FORMATS.map(reportOf);
  await writeResult(json, { kind: 'formats-report', formatVersion: 1, formats }, (colors) =>
    render(formats, colors),
  );
}

function reportOf({ name, holds, description }: FormatFacts): FormatReport {
  const writes = holds === 'placements' || LOAD_WRITER_NAMES.includes(name);
  return { name, holds, reads: true, writes, description };
}

function render(formats: readonly FormatReport[], colors: Colors): string {
  const columns = Math.min(textColumns() ?? LINE, LINE);
  const width = Math.max(...formats.map(({ name }) => name.length));
  const beside = 1 + width + 2 + 11 + 2;
  const isNarrow = columns - beside < 30;
  const section = (holds: FormatFacts['holds']) => {
    const rows = formats.filter((format) => format.holds === holds);
    const lines = rows.map(({ name, writes, description }) => {
      const start = ` ${colors.bold(isNarrow ? name : name.padEnd(width))}  ${writes ? 'read, write' : 'read'}`;
      if (isNarrow) return `${start}\n   ${wrapped(description, columns - 3).join('\n   ')}\n`;
      const gap = ' '.repeat(beside - 1 - width - 2 - (writes ? 11 : 4));
      return `${start}${gap}${wrapped(description, columns - beside - 1).join(`\n${' '.repeat(beside)}`)}\n`;
    });
    return `${holds}\n${lines.join('')}`;
  };
  return `${section('loads')}\n${section('placements')}`;
}

/** Longest line off a terminal. */
const LINE = 100;
