import { runRankProcess } from '../src/cli/fake-engine/rank-process.ts';

// A process of `eplb fake-engine`, one a rank.

runRankProcess();
