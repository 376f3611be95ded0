import {
  loadCsvChunks,
  loadJsonChunks,
  loadJsonLinesChunks,
  loadNpyChunks,
  loadNpzChunks,
  type StepsToWrite,
} from './load-chunks.ts';

/** Writes recorded loads in some format, piece by piece. */
interface LoadWriter {
  /** Name of the format that it is read back as. */
  readonly name: string;
  readonly extensions: readonly string[];
  /** What the file says less of than the recording, for people. */
  readonly note: string | undefined;
  chunks(steps: StepsToWrite): AsyncIterable<Uint8Array>;
}

const FLOAT32_NOTE = 'loads are written as float32, as they are read';

/** The formats that recorded loads are written in. */
export const LOAD_WRITERS: readonly LoadWriter[] = [
  { name: 'npy', extensions: ['.npy'], note: FLOAT32_NOTE, chunks: loadNpyChunks },
  { name: 'npz', extensions: ['.npz'], note: FLOAT32_NOTE, chunks: loadNpzChunks },
  { name: 'json', extensions: ['.json'], note: undefined, chunks: loadJsonChunks },
  { name: 'json-lines', extensions: ['.jsonl', '.ndjson'], note: undefined, chunks: loadJsonLinesChunks },
  { name: 'csv-counts', extensions: ['.csv'], note: undefined, chunks: loadCsvChunks },
];

/** Names of the formats that recorded loads are written in. */
export const LOAD_WRITER_NAMES: readonly string[] = LOAD_WRITERS.map(({ name }) => name);

/** The format that a file's name asks for, or undefined. */
export function loadWriterFor(path: string): string | undefined {
  const name = path.toLowerCase();
  return LOAD_WRITERS.find(({ extensions }) => extensions.some((end) => name.endsWith(end)))?.name;
}
