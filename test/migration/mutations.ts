import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Machines, playSchedule } from './simulator.ts';

const SOURCES = fileURLToPath(new URL('../../src/migration/', import.meta.url));

/** A check of the machines that is taken out of their source. */
export interface Mutation {
  readonly what: string;
  /** It takes hundreds of schedules to be seen. */
  readonly isRare?: boolean;
  readonly file: 'coordinator-machine.ts' | 'rank-machine.ts' | 'group-state.ts' | 'operation-progress.ts';
  /** Stands once in the file. */
  readonly from: string;
  readonly to: string;
}

const COORDINATOR = 'coordinator-machine.ts';
const RANK = 'rank-machine.ts';

export const MUTATIONS: readonly Mutation[] = [
  {
    what: 'the coordinator counts answers to an older operation',
    isRare: true,
    file: COORDINATOR,
    from: 'else if (message.token !== this.#state.operation?.token) this.#takeLate(rank, message);',
    to: 'else if (this.#state.operation === undefined) this.#takeLate(rank, message);',
  },
  {
    what: 'the coordinator hears processes that are gone',
    isRare: true,
    file: COORDINATOR,
    from: 'if (message.incarnation < incarnation || (message.incarnation > incarnation && !isHello)) {',
    to: 'if (message.incarnation > incarnation && !isHello) {',
  },
  {
    what: 'the coordinator takes a hello of before an admission for a new one',
    isRare: true,
    file: COORDINATOR,
    from: 'if (message.incarnation === incarnation && message.token < since) {',
    to: 'if (false) {',
  },
  {
    what: 'the coordinator admits ranks while an operation is under way',
    file: COORDINATOR,
    from: 'if (this.#state.operation !== undefined) return;\n    const { live } = this.#state;',
    to: 'const { live } = this.#state;',
  },
  {
    what: 'the coordinator admits ranks that hold another epoch',
    file: COORDINATOR,
    from: 'if (message.holds?.epoch === live.epoch && message.holds.digest === live.digest) {',
    to: 'if (message.holds !== null) {',
  },
  {
    what: 'the coordinator decides when one rank has promised its last step',
    file: COORDINATOR,
    from: "if (progress.phase === 'arming' && this.#waitingFor().length === 0) this.#decide(operation);",
    to: "if (progress.phase === 'arming' && this.#waitingFor().length < this.#participants().length) this.#decide(operation);",
  },
  {
    what: 'the coordinator sends a decision that is not in the journal',
    file: COORDINATOR,
    from: "this.#record({ type: 'decided', token: operation.token, firstStep });",
    to: "this.#state.apply({ type: 'decided', token: operation.token, firstStep });",
  },
  {
    what: 'the coordinator does not journal how an operation ended',
    file: COORDINATOR,
    from: "this.#record({ type: 'ended', token, outcome });",
    to: "this.#state.apply({ type: 'ended', token, outcome });",
  },
  {
    what: 'the coordinator aborts what is decided',
    file: COORDINATOR,
    from: "if (phase === 'activating') this.#endActivation(operation);\n    else this.#abort({ cause: 'timedOut', phase, ranks: this.#waitingFor() });",
    to: "this.#state.operation!.firstStep = undefined; this.#state.live = { epoch: this.#state.live.epoch, digest: this.#state.live.digest }; this.#abort({ cause: 'timedOut', phase: 'arming', ranks: this.#waitingFor() });",
  },
  {
    what: 'a rank that did not confirm is counted as one that did',
    file: 'group-state.ts',
    from: "for (const rank of operation.ranks) if (!silent.includes(rank)) this.#setMember(rank, 'serving');",
    to: "for (const rank of operation.ranks) this.#setMember(rank, 'serving');",
  },
  {
    what: 'an operation begins beside another',
    file: COORDINATOR,
    from: 'if (operation !== undefined) {\n      return refused(',
    to: 'if (operation !== undefined && operation.firstStep !== undefined) {\n      return refused(',
  },
  {
    what: 'a rank is left out after others have promised their last step',
    isRare: true,
    file: COORDINATOR,
    from: "this.#options.onLostRank === 'exclude' && !this.#progress!.mayBeArmed;",
    to: "this.#options.onLostRank === 'exclude';",
  },
  {
    what: 'the new epoch begins with the last step of the old one',
    file: COORDINATOR,
    from: 'this.#progress!.lastOldStep(this.#participants()) + 1;',
    to: 'this.#progress!.lastOldStep(this.#participants());',
  },
  {
    what: 'the new epoch begins after the first last step',
    file: 'operation-progress.ts',
    from: 'return Math.max(',
    to: 'return Math.min(',
  },
  {
    what: 'a rank takes what was meant for the process before',
    isRare: true,
    file: RANK,
    from: 'if (checked.incarnation === this.#incarnation) this.#take(checked);',
    to: 'this.#take(checked);',
  },
  {
    what: 'a rank prepares again what it is done with',
    isRare: true,
    file: RANK,
    from: 'if (token <= this.#token || epoch !== this.#holds!.epoch + 1) return;',
    to: '',
  },
  {
    what: 'a rank aborts another operation than the one that is meant',
    file: RANK,
    from: "if (this.#open?.token === token && this.#open.state !== 'decided' && this.#open.state !== 'swapping') {",
    to: 'if (this.#open !== undefined) {',
  },
  {
    what: 'a rank serves on without the decision',
    file: RANK,
    from: "if (open?.state === 'armed' && step > open.lastStep) {",
    to: 'if (false) {',
  },
  {
    what: 'a rank swaps before the first step of the new epoch',
    file: RANK,
    from: "if (open?.state === 'decided' && step >= open.firstStep) {",
    to: "if (open?.state === 'decided') {",
  },
  {
    what: 'a rank serves while it swaps',
    file: RANK,
    from: "if (open?.state === 'swapping') return",
    to: 'if (false) return',
  },
  {
    what: 'a rank serves the new epoch before its first step',
    isRare: true,
    file: RANK,
    from: 'if (step < this.#servesFrom) {',
    to: 'if (false) {',
  },
  {
    what: 'a rank serves when it starts, without being admitted',
    file: RANK,
    from: "#isServing = false;\n  #reason = 'started';",
    to: "#isServing = true;\n  #reason = 'started';",
  },
  {
    what: 'a rank serves on after a failed activation',
    file: RANK,
    from: "if (open?.state === 'swapping') this.#fence(",
    to: "if (open?.state === 'swapping') return this.swapped(token);\n    if (false) this.#fence(",
  },
  {
    what: 'a rank is admitted by a message that it has had before',
    isRare: true,
    file: RANK,
    from: 'if (token < this.#token || this.#swapping().length > 0) return;\n    if (token > this.#token) {',
    to: 'if (true) {',
  },
];

/** The simulator is built with them: as the tests' own loader has it, it takes twice as long. */
export interface Built extends Machines {
  readonly playSchedule: typeof playSchedule;
}

/** The machines as their source has them, or with one check less. */
export async function buildMachines(mutation?: Mutation): Promise<Built> {
  let applied = 0;
  const { outputFiles } = await build({
    stdin: {
      contents: ['./coordinator-machine.ts', './rank-machine.ts', '../../test/migration/simulator.ts']
        .map((path) => `export * from '${path}';`)
        .join(''),
      resolveDir: SOURCES,
    },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    logLevel: 'error',
    plugins: [
      {
        name: 'mutation',
        setup({ onLoad }) {
          onLoad({ filter: /src.migration.[\w-]+\.ts$/ }, async ({ path }) => {
            const text = await readFile(path, 'utf8');
            if (mutation === undefined || basename(path) !== mutation.file)
              return { contents: text, loader: 'ts' };
            const parts = text.split(mutation.from);
            assert.equal(
              parts.length,
              2,
              `${mutation.what}: the check does not stand once in ${mutation.file}`,
            );
            applied++;
            return { contents: parts.join(mutation.to), loader: 'ts' };
          });
        },
      },
    ],
  });
  assert.equal(applied, mutation === undefined ? 0 : 1);
  const text = Buffer.from(outputFiles[0]!.contents).toString('base64');
  return import(`data:text/javascript;base64,${text}`);
}
