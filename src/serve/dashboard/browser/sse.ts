/** An event of a stream. */
export interface StreamEvent {
  readonly type: string;
  readonly data: string;
  /** What to come back with. */
  readonly id: string;
}

/**
 * Takes a stream of server-sent events apart, whatever pieces it comes in. The browser's own EventSource
 * cannot send a token.
 */
export class EventParser {
  #rest = '';
  #type = '';
  #id = '';
  #data: string[] = [];

  /** @returns the events that are complete by now */
  push(text: string): StreamEvent[] {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    return lines.flatMap((line) => this.#take(line.replace(/\r$/, '')));
  }

  #take(line: string): StreamEvent[] {
    if (line === '') return this.#end();
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line)!;
    if (name === 'event') this.#type = value!;
    else if (name === 'data') this.#data.push(value!);
    else if (name === 'id') this.#id = value!;
    return [];
  }

  #end(): StreamEvent[] {
    const event = { type: this.#type || 'message', data: this.#data.join('\n'), id: this.#id };
    const isEmpty = this.#data.length === 0;
    this.#type = '';
    this.#data = [];
    return isEmpty ? [] : [event];
  }
}
