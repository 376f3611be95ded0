/** A command of a block of shell code. */
export interface ShellCommand {
  /** All of it, without its comment. */
  readonly text: string;
  /** Its first word, behind settings such as `A=1`. */
  readonly program: string;
  /** The comments in it and behind it. */
  readonly comment: string;
}

/**
 * The commands of shell code: a command ends with its line, unless a quote, a backslash or a here-document
 * goes on.
 */
export function commandsOf(code: string): ShellCommand[] {
  const commands: ShellCommand[] = [];
  let text = '';
  let comment = '';
  let quote = '';
  const end = () => {
    const trimmed = text.trim();
    const program = /^(?:\w+=\S* +)*(\S+)/.exec(trimmed)?.[1] ?? '';
    if (trimmed !== '') commands.push({ text: trimmed, program, comment: comment.trim() });
    text = '';
    comment = '';
  };
  for (let at = 0; at < code.length; at++) {
    const character = code[at]!;
    if (quote !== '') {
      if (character === quote) quote = '';
    } else if (character === '"' || character === "'") quote = character;
    else if (character === '\\' && code[at + 1] === '\n') {
      text += ' ';
      at++;
      continue;
    } else if (character === '#' && /\s/.test(code[at - 1] ?? '\n')) {
      const lineEnd = endOfLine(code, at);
      comment += ` ${code.slice(at + 1, lineEnd).trim()}`;
      at = lineEnd - 1;
      continue;
    } else if (character === '\n') {
      const marker = /<<'?(\w+)'?/.exec(text)?.[1];
      if (marker !== undefined) {
        const close = code.indexOf(`\n${marker}`, at);
        if (close < 0) throw new Error(`the here-document ${marker} has no end`);
        text += code.slice(at, close + marker.length + 1);
        at = close + marker.length;
        end();
        continue;
      }
      end();
      continue;
    }
    text += character;
  }
  if (quote !== '') throw new Error(`a quote ${quote} has no end: ${text}`);
  end();
  return commands;
}

function endOfLine(code: string, from: number): number {
  const at = code.indexOf('\n', from);
  return at < 0 ? code.length : at;
}
