/**
 * What `npm run demo` shows on one machine: the service, four ranks of a fake engine, a change of domains in
 * what they serve, a rank that dies and is made up for, and the address of the dashboard. It goes on until
 * Ctrl-C, or for `--seconds N`, and then ends with a summary. `--num-steps` and `--steps-per-second` are
 * those of the engine.
 *
 * The service is started again when it dies, as systemd would. All of it ends when this script does, also
 * when that is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const WITH_DEMO = new URL('./with-demo.mjs', import.meta.url).href;
const GROUP = 'demo';
const TOKENS_PER_STEP = 4096;
/** Of the recording, which is of two domains, and goes on from its beginning. */
const NUM_STEPS = 400;
const RECORDING = [
  ...['--layers', '8', '--experts', '32', '--top-k', '4', '--tokens-per-step', String(TOKENS_PER_STEP)],
  ...['--num-steps', String(NUM_STEPS), '--domains', '2', '--skew', '1.2', '--seed', '7'],
];
const ENGINE = [
  ...['--group', GROUP, '--ranks', '4', '--nodes', '2'],
  ...['--cost', 'h200:deepseek-v2-lite', '--window', '40', '--plan-every', '40'],
  ...['--kill', '3@100', '--back-after', '60'],
];

/**
 * A program of this project. In a group of its own, so that Ctrl-C is for this script alone; and with a
 * channel that closes when this script is gone. What it keeps for a while is in the folder too.
 */
function start(folder: string, args: readonly string[], stdin: 'ignore' | 'pipe'): ChildProcess {
  return spawn(process.execPath, ['--import', WITH_DEMO, CLI, ...args], {
    ...{ stdio: [stdin, 'pipe', 'inherit', 'ipc'], detached: true },
    env: { ...process.env, EPLB_DEMO_FOLDER: folder, TMPDIR: folder },
  });
}

/** The service, at one address for as long as this script runs. */
class Service {
  readonly #folder: string;
  #child: ChildProcess | undefined;
  #isEnding = false;

  /** @param folder of the demo */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Starts it. @returns its address */
  async start(listen = '127.0.0.1:0'): Promise<string> {
    const state = join(this.#folder, 'state');
    const child = start(this.#folder, ['serve', '--listen', listen, '--state', state], 'ignore');
    this.#child = child;
    const ended = once(child, 'exit');
    const line = once(createInterface(child.stdout!), 'line');
    const [address] = await Promise.race([line, ended.then(() => [undefined])]);
    if (typeof address !== 'string') throw new Error('the service does not start');
    void ended.then(() => {
      if (this.#isEnding) return;
      console.log('the service has died, and is started again');
      return this.start(address.replace('http://', ''));
    });
    return address;
  }

  get folder(): string {
    return this.#folder;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }
}

/** What the terminal gets of the engine: each of its lines, and lines of this script between them. */
async function show(
  service: Service,
  address: string,
  args: readonly string[],
  stop: AbortController,
  seconds: number | undefined,
): Promise<number> {
  if (stop.signal.aborted) return 0;
  const engine = start(
    service.folder,
    ['fake-engine', '--url', address, ...ENGINE, ...args, '--commands'],
    'pipe',
  );
  const ended = once(engine, 'close');
  const lines = createInterface(engine.stdout!).on('line', (line) => console.log(line));
  // Not before it runs: it would end without a summary.
  if (seconds !== undefined) lines.once('line', () => setTimeout(() => stop.abort(), 1000 * seconds).unref());
  if (process.stdin.isTTY) process.stdin.pipe(engine.stdin!);
  console.log(`dashboard  ${address}`);
  console.log(`service    process ${service.pid}: kill it, and it is started again`);
  console.log(`loads      ${TOKENS_PER_STEP} tokens a step; of another domain every ${NUM_STEPS / 2} steps`);
  if (process.stdin.isTTY) console.log("ranks      type 'kill 2' to kill one, 'start 2' to start it at once");
  stop.signal.addEventListener('abort', () => engine.kill('SIGTERM'), { once: true });
  const [code] = await ended;
  process.stdin.pause();
  // One that was stopped before it ran has no code.
  return Number(code ?? (stop.signal.aborted ? 0 : 1));
}

async function run(seconds: number | undefined, more: readonly string[]): Promise<number> {
  const stop = new AbortController();
  process.on('SIGINT', () => stop.abort());
  process.on('SIGTERM', () => stop.abort());
  const folder = await mkdtemp(join(tmpdir(), 'eplb-demo-'));
  const service = new Service(folder);
  try {
    const recording = join(folder, 'loads.npy');
    const [made] = await once(start(folder, ['synth', ...RECORDING, '-o', recording], 'ignore'), 'exit');
    if (made !== 0) throw new Error('the recording cannot be made');
    const address = await service.start();
    return await show(service, address, ['--recording', recording, ...more], stop, seconds);
  } finally {
    await service.end();
    await rm(folder, { recursive: true, force: true });
  }
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string' },
    'num-steps': { type: 'string' },
    'steps-per-second': { type: 'string' },
  },
});
const { seconds: _, ...passed } = values;
const seconds = values.seconds === undefined ? undefined : Number(values.seconds);
if (seconds !== undefined && !(seconds > 0 && seconds < 1e6)) {
  console.error(`demo: --seconds: ${values.seconds} is not a number of seconds`);
  process.exitCode = 2;
} else {
  const more = Object.entries(passed).map(([name, value]) => `--${name}=${value}`);
  process.exitCode = await run(seconds, more);
}
