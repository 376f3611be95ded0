import assert from 'node:assert/strict';
import { checkDescribed } from './service.ts';

/** An event of a stream. */
export interface Event {
  readonly id: string;
  readonly type: string;
  readonly data: ReturnType<typeof JSON.parse>;
  /** Of all of it, as it was sent. */
  readonly length: number;
}

/** A stream of server-sent events. */
export async function listen(
  base: string,
  path: string,
  lastEventId?: string,
  more: Readonly<Record<string, string>> = {},
) {
  const headers = { ...more, ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) };
  const response = await fetch(base + path, { headers });
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  checkDescribed('get', path.split('?', 1)[0]!, response.status, undefined);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  const next = async (): Promise<Event | undefined> => {
    while (!rest.includes('\n\n')) {
      const { value, done } = await reader.read();
      if (done) return undefined;
      rest += value;
    }
    const end = rest.indexOf('\n\n');
    const fields = new Map(
      rest
        .slice(0, end)
        .split('\n')
        .map((line) => line.split(/: (.*)/s, 2) as [string, string]),
    );
    rest = rest.slice(end + 2);
    const data = JSON.parse(fields.get('data')!);
    return { id: fields.get('id')!, type: fields.get('event')!, data, length: end + 2 };
  };
  return {
    next,
    /** The next event that fits. */
    async until(fits: (event: Event) => boolean): Promise<Event> {
      for (;;) {
        const event = await next();
        assert.ok(event, 'the stream ended');
        if (fits(event)) return event;
      }
    },
    close: () => reader.cancel(),
  };
}
