import type { Suite } from '../suite.ts';
import { adaptiveSuite } from './adaptive.ts';
import { blockSuite } from './block.ts';
import { coresSuite } from './cores.ts';
import { foldSuite } from './fold.ts';
import { formatsSuite } from './formats.ts';
import { hostSuite } from './host.ts';
import { inlineSuite } from './inline.ts';
import { memorySuite } from './memory.ts';
import { pooledSuite } from './pooled.ts';
import { recordSuite } from './record.ts';
import { replaySuite } from './replay.ts';
import { scalingSuite } from './scaling.ts';
import { startupSuite } from './startup.ts';
import { threadsSuite } from './threads.ts';
import { topologySuite } from './topology.ts';
import { transferSuite } from './transfer.ts';
import { windowSuite } from './window.ts';

/** In the order they are run. */
export const SUITES: readonly Suite[] = [
  inlineSuite,
  scalingSuite,
  pooledSuite,
  blockSuite,
  hostSuite,
  threadsSuite,
  coresSuite,
  recordSuite,
  windowSuite,
  foldSuite,
  startupSuite,
  memorySuite,
  adaptiveSuite,
  topologySuite,
  transferSuite,
  replaySuite,
  formatsSuite,
];
