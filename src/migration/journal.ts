import type { JournalRecord } from './records.ts';

/**
 * Where a coordinator keeps what it decided. Two come with the library: {@link MemoryJournal} and
 * {@link FileJournal}. One of your own keeps to this contract.
 */
export interface MigrationJournal {
  /** All records so far, the oldest first. Asked for once, before anything is appended. */
  read(): Promise<readonly unknown[]>;
  /**
   * Adds records: all or none, and after those before. Resolves when they outlive a crash. When it is
   * rejected, whether they are there is not known, and the coordinator stops. It has to be rejected when
   * another coordinator has appended meanwhile: that one is the live one.
   */
  append(records: readonly JournalRecord[]): Promise<void>;
  /** Puts one record in place of all: all of it or nothing, and durable when it resolves. */
  replace(record: JournalRecord): Promise<void>;
  close(): Promise<void>;
}

/** A journal that lasts as long as the process: for tests, and for groups that begin anew with their host. */
export class MemoryJournal implements MigrationJournal {
  #records: JournalRecord[] = [];

  read(): Promise<readonly JournalRecord[]> {
    return Promise.resolve([...this.#records]);
  }

  append(records: readonly JournalRecord[]): Promise<void> {
    this.#records.push(...records);
    return Promise.resolve();
  }

  replace(record: JournalRecord): Promise<void> {
    this.#records = [record];
    return Promise.resolve();
  }

  /** What was recorded stays: a coordinator may be opened on it again. */
  close(): Promise<void> {
    return Promise.resolve();
  }
}
