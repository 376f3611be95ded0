import type { InputFile } from './input-file.ts';
import type { OpenOptions } from './open-options.ts';
import type { StoredRecording } from './recording.ts';

/** What the table says of every format. */
export interface FormatFacts {
  /** What options and messages call it: `npy`. */
  readonly name: string;
  readonly holds: 'loads' | 'placements';
  /** Who writes it and what is in it, in one line. */
  readonly description: string;
  /** Endings of its files' names. They decide only where the content does not, and what is written. */
  readonly extensions: readonly string[];
}

/** A format of recorded loads. */
export interface LoadFormat extends FormatFacts {
  readonly holds: 'loads';
  /**
   * Whether a file's content is of this format. It may be anything; where it is broken, the reader is to say
   * how.
   */
  recognise(file: InputFile): Promise<boolean>;
  /**
   * Opens a recording of one or more files of this format, ordered by the time in their names.
   *
   * @throws EplbError and its subclasses, naming the file and what is wrong with it
   */
  open(files: readonly InputFile[], options: OpenOptions): Promise<StoredRecording>;
}
