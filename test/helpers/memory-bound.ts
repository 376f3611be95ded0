import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inTempDir, runProgram } from './cli.ts';
import type { LargeFile } from './large-files.ts';

/**
 * The memory that reading takes at most: so many times the size of all files of a recording or placement, and
 * so much beside, over what Node takes for itself.
 */
const TIMES_FILES = 8;
const FREE_BYTES = 160 * 2 ** 20;

interface Reading {
  readonly outcome: string;
  readonly peakBytes: number;
}

async function measure(job: object): Promise<Reading> {
  const script = fileURLToPath(new URL('read-peak.mjs', import.meta.url));
  const { stdout, stderr, code } = await runProgram(process.execPath, [script, JSON.stringify(job)]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** What Node takes to import the readers. */
const bare = measure({});

/** Reads a file in a process of its own, and checks how that ends and what memory it takes. */
export async function readsWithinBound({ files, holds, options, outcome }: LargeFile): Promise<void> {
  await inTempDir(async (dir) => {
    const entries = Object.entries(files());
    const folder = join(dir, 'recording');
    await mkdir(folder);
    let size = 0;
    for (const [name, bytes] of entries) {
      await writeFile(join(folder, name), bytes);
      size += bytes.length;
    }
    const path = entries.length === 1 ? join(folder, entries[0]![0]) : folder;
    const found = await measure({ path, holds, options });
    assert.match(found.outcome, outcome);
    const over = found.peakBytes - (await bare).peakBytes;
    const most = TIMES_FILES * size + FREE_BYTES;
    assert.ok(over <= most, `${over} bytes for a file of ${size}, over ${most}`);
  });
}
