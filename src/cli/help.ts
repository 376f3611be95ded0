import type { Argument, Command, HelpConfiguration, Option } from 'commander';
import { columnsOf, print } from './terminal.ts';
import { wrapped } from './wrap.ts';

/** Columns of help that no terminal shows. */
const USUAL_COLUMNS = 80;
/** A description with less room beside its option stands below it. */
const LEAST_DESCRIPTION = 30;

/** How the command writes what commander prints. */
export const OUTPUT = {
  outputError: () => {},
  writeOut: (text: string) => print(process.stdout, text),
  writeErr: (text: string) => print(process.stderr, text),
  getOutHelpWidth: () => columnsOf(process.stdout) ?? USUAL_COLUMNS,
  getErrHelpWidth: () => columnsOf(process.stderr) ?? USUAL_COLUMNS,
};

/** Help that marks what is required, and fits the terminal. */
export const HELP: HelpConfiguration = {
  minWidthToWrap: 20,
  styleUsage: (usage: string) => wrapped(usage, OUTPUT.getOutHelpWidth() - 7).join('\n       '),
  optionDescription: (option: Option) =>
    `${option.mandatory ? '(required) ' : ''}${option.description}${defaultText(option)}`,
  argumentTerm: (argument: Argument) => (argument.required ? `<${argument.name()}>` : `[${argument.name()}]`),
  argumentDescription: (argument: Argument) =>
    `${argument.required ? '(required) ' : ''}${argument.description}`,
  formatItem: (term, termWidth, description, helper) => {
    if (description === '') return `  ${term}`;
    const width = helper.helpWidth ?? USUAL_COLUMNS;
    const beside = termWidth + 4;
    if (width - beside < LEAST_DESCRIPTION) {
      return `  ${term}\n      ${wrapped(description, width - 6).join('\n      ')}`;
    }
    const lines = wrapped(description, width - beside);
    return `  ${term.padEnd(termWidth)}  ${lines.join(`\n${' '.repeat(beside)}`)}`;
  },
};

function defaultText({ defaultValue }: Option): string {
  const text = Array.isArray(defaultValue) ? defaultValue.join(',') : String(defaultValue ?? '');
  return text === '' ? '' : ` (default: ${text})`;
}

/** How a command ends, whichever it is. */
const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [0, 'done'],
  [1, 'a fault of the program, or something that the machine does not give'],
  [2, 'wrong input: one line says what, with a code, and nothing is written'],
];

/** What a command adds to its help. */
interface HelpTexts {
  /** Command lines that work, each with what it does. */
  readonly examples: readonly (readonly [line: string, does: string])[];
  /** Exit codes beside those of all commands; one of theirs gets another meaning. */
  readonly exitCodes?: readonly (readonly [code: number, meaning: string])[];
}

/** Adds examples and exit codes to the help of a command. */
export function addHelpTexts(command: Command, { examples, exitCodes = [] }: HelpTexts): Command {
  return command.addHelpText('after', () => {
    const width = OUTPUT.getOutHelpWidth();
    const lines = examples.flatMap(([line, does]) => [
      ...wrapped(does, width - 4).map((text) => `  # ${text}`),
      ...folded(line, width),
    ]);
    const codes = [...new Map([...EXIT_CODES, ...exitCodes])].flatMap(([code, meaning]) => {
      const [first, ...rest] = wrapped(meaning, width - 7);
      return [`  ${String(code).padStart(3)}  ${first}`, ...rest.map((text) => `       ${text}`)];
    });
    return ['', 'Examples:', ...lines, '', 'Exit codes:', ...codes].join('\n');
  });
}

/** A command line that can be pasted, with a backslash where it is broken. */
function folded(line: string, width: number): string[] {
  const [first, ...rest] = wrapped(line, width - 6);
  const lines = [`  ${first}`, ...rest.map((text) => `    ${text}`)];
  return lines.map((text, i) => (i < lines.length - 1 ? `${text} \\` : text));
}
