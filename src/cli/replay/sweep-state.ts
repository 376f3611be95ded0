import { createHash } from 'node:crypto';
import { appendFile, readFile, rm, stat } from 'node:fs/promises';
import { EplbError } from '../../core/errors.ts';
import { quotePath } from '../../formats/text.ts';
import type { SweepPoint } from '../../replay/index.ts';
import { checkOutput, type OutputFile, writeOutput } from '../output-file.ts';

/** The first line of a state file. */
interface Header {
  readonly kind: 'eplb-sweep-state';
  readonly formatVersion: 2;
  readonly key: string;
}

/**
 * What a sweep has done, in a file beside its output: a header, then a line of JSON a point, written as they
 * end. A sweep that is run again takes its points from there, and removes it when all are done.
 */
export class SweepState {
  readonly #file: OutputFile;
  readonly #done: Map<string, SweepPoint>;

  private constructor(file: OutputFile, done: Map<string, SweepPoint>) {
    this.#file = file;
    this.#done = done;
  }

  /**
   * Finds the state of a sweep, or begins one.
   *
   * @param output the sweep's output
   * @param key all that its points depend on beside their own axes
   * @throws EplbError EPLB_OPTION when the state is of another sweep, EPLB_FILE
   */
  static async open(output: OutputFile, key: unknown): Promise<SweepState> {
    const file = await checkOutput(`${output.path}.state`, [], '--output');
    const header: Header = { kind: 'eplb-sweep-state', formatVersion: 2, key: digest(key) };
    const text = await readIfThere(file);
    const done = text === undefined ? new Map<string, SweepPoint>() : pointsIn(text, header, file);
    const lines = [header, ...done.values()].map((line) => `${JSON.stringify(line)}\n`);
    await writeOutput(file, lines.join(''));
    return new SweepState(file, done);
  }

  /** A point that was done before. */
  find(name: string): SweepPoint | undefined {
    return this.#done.get(name);
  }

  async add(point: SweepPoint): Promise<void> {
    await appendFile(this.#file.target, `${JSON.stringify(point)}\n`);
  }

  async remove(): Promise<void> {
    await rm(this.#file.target, { force: true });
  }
}

/** Changes when a file does. */
export async function fileStamp(path: string): Promise<string> {
  const { size, mtimeMs } = await stat(path);
  return `${size} ${mtimeMs}`;
}

function digest(key: unknown): string {
  return createHash('sha256').update(JSON.stringify(key)).digest('hex');
}

/** The largest state that is gone on from: a point has some hundred bytes. */
const MOST_BYTES = 2 ** 26;

/**
 * The points in a state.
 *
 * @throws EplbError EPLB_OPTION when it is of another sweep, EPLB_FORMAT when it is broken
 */
function pointsIn(text: string, header: Header, { path }: OutputFile): Map<string, SweepPoint> {
  const remove = 'remove it, or give another --output';
  // The last line is empty, or was cut off when the sweep was killed.
  const [first, ...lines] = text.split('\n').slice(0, -1);
  if (first !== JSON.stringify(header)) {
    throw new EplbError(
      'EPLB_OPTION',
      `--output: ${quotePath(path)} is the state of a sweep of another recording or with other options; ` +
        `${remove}`,
    );
  }
  const points = new Map<string, SweepPoint>();
  for (const [i, line] of lines.entries()) {
    const point = pointIn(line);
    if (point === undefined) {
      const what = `line ${i + 2} holds no point of a sweep; ${remove}`;
      throw new EplbError('EPLB_FORMAT', `--output: ${quotePath(path)}: ${what}`);
    }
    points.set(point.name, point);
  }
  return points;
}

function pointIn(line: string): SweepPoint | undefined {
  try {
    const point: unknown = JSON.parse(line);
    const isPoint =
      typeof point === 'object' && point !== null && 'name' in point && typeof point.name === 'string';
    return isPoint ? (point as SweepPoint) : undefined;
  } catch {
    return undefined;
  }
}

async function readIfThere({ target, path }: OutputFile): Promise<string | undefined> {
  try {
    const { size } = await stat(target);
    if (size > MOST_BYTES) {
      throw new EplbError(
        'EPLB_FORMAT',
        `--output: ${quotePath(path)} has ${size} bytes: no state of a sweep`,
      );
    }
    return await readFile(target, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
