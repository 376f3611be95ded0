import { ExpertLoadBalancer } from 'expert-load-balancer';
import { digestOf } from '../check.ts';
import { runChild } from '../child.ts';
import { beside, controlled, type Figure, sampled } from '../figure.ts';
import { firstMappings } from '../first-mapping.ts';
import { planReference } from '../reference.ts';
import { median, summarize } from '../stats.ts';
import type { Suite } from '../suite.ts';
import { MAIN_SIZE, makeWorkload } from '../workloads.ts';

/** A process's way to its first mapping, each sample a process of its own, all kinds in turns. */
export const startupSuite: Suite = {
  name: 'startup',
  title: 'Start-up, 58x256->288, in processes of their own',
  async run({ seed, pick }) {
    const workload = makeWorkload(MAIN_SIZE, 'zipf', seed);
    const { mapping } = new ExpertLoadBalancer({ ...MAIN_SIZE, threads: 0, windowSize: 1 });
    const digest = digestOf(planReference(workload.loads, MAIN_SIZE, mapping.phyToLog), MAIN_SIZE);
    const rounds = Array.from({ length: pick(21, 2) }, () => ({
      bare: runChild<{ endMs: number }>('bare.mjs'),
      empty: runChild<Import>('import-empty.mjs'),
      barePool: runChild<{ totalMs: number }>('bare-pool.mjs'),
      importing: runChild<Import>('import-only.mjs'),
      inline: firstMapping(0),
      pooled: firstMapping(1),
    }));
    return [
      importAlone(rounds),
      controlled(
        figureOf(
          'inline',
          rounds.map(({ inline }) => inline),
        ),
        'import of an empty module',
        median(rounds.map(({ empty }) => empty.importMs)),
      ),
      controlled(
        figureOf(
          'pool of one',
          rounds.map(({ pooled }) => pooled),
        ),
        'import of piscina to the answer of a bare pool of one',
        median(rounds.map(({ barePool }) => barePool.totalMs)),
      ),
    ];

    function firstMapping(threads: number): FirstMapping {
      const { planMs, totalMs } = firstMappings(workload, digest, 1, threads);
      return { planMs: planMs[0]!, totalMs: totalMs[0]! };
    }
  },
};

interface FirstMapping {
  readonly planMs: number;
  readonly totalMs: number;
}

interface Import {
  readonly endMs: number;
  readonly importMs: number;
}

interface ImportRound {
  readonly bare: { readonly endMs: number };
  readonly empty: Import;
  readonly importing: Import;
}

/** From the start of the process to the end of its script, less that of the bare Node started just before. */
function importAlone(rounds: readonly ImportRound[]): Figure {
  const differences = rounds.map(({ bare, importing }) => importing.endMs - bare.endMs);
  const ofEmpty = rounds.map(({ bare, empty }) => empty.endMs - bare.endMs);
  const figure = sampled('startup/import alone over bare node', 'ms', summarize(differences), [
    beside('bare node', median(rounds.map(({ bare }) => bare.endMs)), 'ms'),
    beside('the import in its process', median(rounds.map(({ importing }) => importing.importMs)), 'ms'),
  ]);
  return controlled(figure, 'an empty module', median(ofEmpty));
}

/** From just before the import to the mapping in hand, inside the process. */
function figureOf(name: string, mappings: readonly FirstMapping[]): Figure {
  const total = summarize(mappings.map(({ totalMs }) => totalMs));
  return sampled(`startup/import to first mapping/${name}`, 'ms', total, [
    beside('of it after the import', median(mappings.map(({ planMs }) => planMs)), 'ms'),
  ]);
}
