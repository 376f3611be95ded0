import type { Command } from 'commander';

/** A subcommand: what `eplb --help` says of it, and the module that knows the rest. */
interface Subcommand {
  readonly name: string;
  readonly summary: string;
  /** Loaded only when the command line names the subcommand, so that `eplb --help` loads no library. */
  readonly load: () => Promise<{ configure(command: Command): void }>;
}

/** The subcommands of `eplb`, in the order of its help. */
export const SUBCOMMANDS: readonly Subcommand[] = [
  {
    name: 'plan',
    summary: 'plan a placement of experts from recorded routes or loads',
    load: () => import('./plan.ts'),
  },
  {
    name: 'convert',
    summary: "write recorded loads or a placement in another engine's format",
    load: () => import('./convert.ts'),
  },
  {
    name: 'validate',
    summary: 'report whether engines would take a placement, and how it balances recorded loads',
    load: () => import('./validate.ts'),
  },
  {
    name: 'transfer',
    summary: 'plan how the weights get from one placement to another, and what that takes',
    load: () => import('./transfer.ts'),
  },
  {
    name: 'formats',
    summary: 'list the formats that are read and written',
    load: () => import('./formats.ts'),
  },
  {
    name: 'replay',
    summary: 'replay a recording under a policy: what balancing would give',
    load: () => import('./replay.ts'),
  },
  {
    name: 'compare',
    summary: 'replay a recording under several policies, side by side',
    load: () => import('./compare.ts'),
  },
  {
    name: 'sweep',
    summary: 'replay a recording over a grid of sizes, intervals and policies, and advise',
    load: () => import('./sweep.ts'),
  },
  {
    name: 'inspect',
    summary: 'report what a recording is like: skew, correlation, drift, sampling noise',
    load: () => import('./inspect.ts'),
  },
  {
    name: 'calibrate',
    summary: 'make a cost file of what a GPU was measured to take, and print the script that measures',
    load: () => import('./calibrate.ts'),
  },
  {
    name: 'synth',
    summary: "write a synthetic recording of any model's shape from a seed",
    load: () => import('./synth.ts'),
  },
  {
    name: 'serve',
    summary: 'answer the questions of serving engines: plans, loads, metrics',
    load: () => import('./serve.ts'),
  },
  {
    name: 'top',
    summary: "show a service's groups in the terminal: ranks, balance, plans, what is flagged",
    load: () => import('./top.ts'),
  },
  {
    name: 'fake-engine',
    summary: 'ranks without a model beside a service: they report, plan, move weights, die and come back',
    load: () => import('./fake-engine.ts'),
  },
  {
    name: 'completion',
    summary: 'print the script that completes the command in a shell',
    load: () => import('./completion.ts'),
  },
];
