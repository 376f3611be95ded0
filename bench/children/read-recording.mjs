// Reads a whole recording step by step, and tells how long that took, what it added up to, and the peak
// memory.
import { openRecording } from 'expert-load-balancer/formats';
import { peakMemoryKb } from './peak-memory.mjs';

const { path } = JSON.parse(process.argv[2]);
const started = performance.now();
const recording = await openRecording(path);
let steps = 0;
let total = 0;
for await (const { loads } of recording.steps()) {
  for (let i = 0; i < loads.length; i++) total += loads[i];
  steps++;
}
await recording.close();
process.stdout.write(
  JSON.stringify({ ms: performance.now() - started, steps, total, peakKb: peakMemoryKb() }),
);
