import type { ServerResponse } from 'node:http';
import type { EventSink } from './epochs/event-hub.ts';

/** Where events go: an answer that goes on. */
export function sinkOf(outgoing: ServerResponse): EventSink {
  return {
    get waitingBytes() {
      return outgoing.writableLength;
    },
    write: (text) => void (outgoing.destroyed || outgoing.write(text)),
    end: () => void outgoing.end(),
    cut: () => void outgoing.destroy(),
  };
}
