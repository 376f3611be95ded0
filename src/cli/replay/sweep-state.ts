import { createHash } from 'node:crypto';
import { appendFile, readFile, rm, stat } from 'node:fs/promises';
import { EplbError } from '../../core/errors.ts';
import type { SweepPoint } from '../../replay/index.ts';
import { checkOutput, type OutputFile, writeOutput } from '../output-file.ts';
import { quotePath } from '../text.ts';

/** The first line of a state file. */
interface Header {
  readonly kind: 'eplb-sweep-state';
  readonly formatVersion: 1;
  readonly key: string;
}

/**
 * What a sweep has done, in a file beside its output: a header, then a line of JSON a point, written as they end. A sweep
 * that is run again takes its points from there, and removes it when all are done.
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
    const header: Header = { kind: 'eplb-sweep-state', formatVersion: 1, key: digest(key) };
    const lines = (await readIfThere(file.target))?.split('\n');
    const done = new Map<string, SweepPoint>();
    if (lines !== undefined) {
      if (lines[0] !== JSON.stringify(header)) {
        throw new EplbError(
          'EPLB_OPTION',
          `--output: ${quotePath(file.path)} is the state of a sweep of another recording or with other options; ` +
            'remove it, or give another --output',
        );
      }
      // The last line is empty, or was cut off when the sweep was killed.
      for (const line of lines.slice(1, -1)) {
        const point = JSON.parse(line) as SweepPoint;
        done.set(point.name, point);
      }
    }
    const text = [JSON.stringify(header), ...[...done.values()].map((point) => JSON.stringify(point)), ''];
    await writeOutput(file, text.join('\n'));
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

/** Tells a file from another version of it. */
export async function fileStamp(path: string): Promise<string> {
  const { size, mtimeMs } = await stat(path);
  return `${size} ${mtimeMs}`;
}

function digest(key: unknown): string {
  return createHash('sha256').update(JSON.stringify(key)).digest('hex');
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
