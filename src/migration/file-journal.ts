import { checkText } from '../core/checks.ts';
import type { MigrationJournal } from './journal.ts';
import { LineFile } from './line-file.ts';
import type { JournalRecord } from './records.ts';

/** The first line of a journal. */
export const JOURNAL_HEADER = 'eplb-migration-journal 1\n';

/**
 * A journal in a file. An append is written and synced to the disk before it resolves. If a crash left an
 * append incomplete, it is cut off when the file is read.
 *
 * If another process has written to the file, the journal notices it, and appends nothing more. This guards
 * against a coordinator that was believed dead. It is not a lock: let only one process at a time open the
 * file.
 * @example
 * ```ts
 * const journal = new FileJournal('state/migration.journal');
 * const coordinator = await MigrationCoordinator.open({ ...options, journal });
 * ```
 */
export class FileJournal implements MigrationJournal {
  readonly #file: LineFile;

  /** Opens nothing yet. Its folder has to be there. */
  constructor(path: string) {
    this.#file = new LineFile(checkText('path', path), JOURNAL_HEADER);
  }

  /** @throws EplbError `EPLB_FILE`, EplbRangeError `EPLB_FORMAT` for a damaged file or no journal */
  read(): Promise<readonly unknown[]> {
    return this.#file.read();
  }

  /** @throws EplbError `EPLB_FILE`, `EPLB_STALE` when another process wrote to the file, `EPLB_CLOSED` */
  append(records: readonly JournalRecord[]): Promise<void> {
    return this.#file.append(records);
  }

  /** Writes a new file beside, and renames it over the old one. @throws as `append` does */
  replace(record: JournalRecord): Promise<void> {
    return this.#file.replace(record);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
