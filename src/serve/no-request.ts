import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { JSON_TYPE } from './reply.ts';

// What comes in place of a request, and reaches no route: its refusals.

/** What a parser of HTTP says, by the code of its error. */
const BY_CODE: Readonly<Record<string, readonly [status: number, code: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'EPLB_TOO_LARGE', 'request: its head has more than 16384 bytes'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'EPLB_TOO_LARGE', 'request: extensions of its chunks are too large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'EPLB_TIMEOUT', 'request: has not come as a whole within its time'],
};

/** The answer to a request whose address or host cannot be read. */
export function notARequest(error: unknown): Response {
  const reason = error instanceof Error ? error.message : String(error);
  const content = JSON.stringify({ code: 'EPLB_FORMAT', message: `request: ${reason}` });
  return new Response(content, { status: 400, headers: { 'content-type': JSON_TYPE } });
}

/** Answers what is not HTTP, or not all of it, and ends its connection. */
export function answerNoRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const known = BY_CODE[error.code ?? ''];
  const [status, code, message] = known ?? [400, 'EPLB_FORMAT', `request: is not HTTP/1.1: ${error.message}`];
  const content = JSON.stringify({ code, message });
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `content-type: ${JSON_TYPE}`,
    `content-length: ${Buffer.byteLength(content)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${content}`);
}
