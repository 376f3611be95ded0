// Reads a recording or a placement as a host does, and tells how it ended and the most memory that it took.
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { openPlacement, openRecording } from 'expert-load-balancer/formats';

const { path, holds, options } = JSON.parse(process.argv[2]);

async function read() {
  if (path === undefined) return 'nothing to read';
  if (holds === 'placements') {
    const { format, numLayers, numPhysicalExperts } = await openPlacement(path, options);
    return `read: ${format}, ${numLayers} x ${numPhysicalExperts}`;
  }
  const recording = await openRecording(path, options);
  let steps = 0;
  for await (const _ of recording.steps()) steps++;
  await recording.close();
  return `read: ${recording.format}, ${steps} x ${recording.numLayers} x ${recording.numLogicalExperts}`;
}

/**
 * On Linux not from resourceUsage(): its maximum is at least what the parent had when it started this
 * process.
 */
function peakBytes() {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  return Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
}

const outcome = await read().catch((error) => `${error.code}: ${error.message}`);
process.stdout.write(JSON.stringify({ outcome, peakBytes: peakBytes() }));
