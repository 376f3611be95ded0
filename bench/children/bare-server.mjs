// The control: a bare HTTP server of Node that reads a question and answers what it answers to all of them,
// as many bytes as a plan has. Prints its address.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import process from 'node:process';

const [layers, slots, experts] = [58, 288, 256];
const words = Int32Array.from({ length: layers * slots }, (_, at) => (at % slots) % experts);
const head = Buffer.alloc(20);
head.write('EPLB');
for (const [i, word] of [1, layers, slots, experts].entries()) head.writeUInt32LE(word, 4 + 4 * i);
const answer = Buffer.concat([head, Buffer.from(words.buffer)]);
const headers = {
  'content-type': 'application/octet-stream',
  'content-length': answer.length,
  'eplb-status': 'planned',
  'eplb-epoch': '0',
  'eplb-digest': createHash('sha256').update(answer).digest('hex'),
};
const path = process.argv[2];
createServer((request, response) => {
  request.on('data', () => {});
  request.on('end', () => response.writeHead(200, headers).end(answer));
}).listen(path, () => process.stdout.write(`unix:${path}\n`));
