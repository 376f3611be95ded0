// A Node that does nothing but tell its peak memory: what a balancer's is compared with.
import { peakMemoryKb } from './peak-memory.mjs';

process.stdout.write(JSON.stringify({ peakKb: peakMemoryKb() }));
