import { readFile, readlink, rm, symlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';
import { EplbError } from '../core/errors.ts';
import { fileReason } from '../formats/bytes/file-reason.ts';

/** A folder's link that names the process which uses it: its number, and when it started. */
const LOCK = 'service.lock';

/** Folders that services of this process use. */
const held = new Set<string>();

/**
 * Takes a folder for one service, until the lock is released or this process ends, however it ends: then the
 * process that it names is gone, or another one has its number.
 *
 * @returns what releases it
 * @throws EplbError `EPLB_FILE` while another service uses it
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const path = join(resolve(folder), LOCK);
  if (held.has(path)) throw inUse(folder, process.pid);
  held.add(path);
  try {
    await take(folder, path);
  } catch (error) {
    held.delete(path);
    throw error;
  }
  return async () => {
    await rm(path, { force: true });
    held.delete(path);
  };
}

async function take(folder: string, path: string): Promise<void> {
  const own = `${process.pid} ${await startOf(process.pid)}`;
  while (!(await isLinked(own, path))) {
    const holder = await holderOf(path);
    if (holder !== undefined) throw inUse(folder, holder);
    await rm(path, { force: true });
  }
}

/** Makes a link to nowhere, which is there with all of its text, or not at all. @returns whether it does */
async function isLinked(text: string, path: string): Promise<boolean> {
  try {
    await symlink(text, path);
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false;
    const message = `config.state: ${dirname(path)}: cannot be locked: ${fileReason(cause)}`;
    throw new EplbError('EPLB_FILE', message, { cause });
  }
}

/** The process that a lock names, where it is there; this one has let go of it. */
async function holderOf(path: string): Promise<number | undefined> {
  const text = await readlink(path).catch(() => '');
  const [, digits, start] = /^(\d{1,10}) (\d+|unknown)$/.exec(text) ?? [];
  const pid = Number(digits);
  if (digits === undefined || pid === process.pid || !isThere(pid)) return undefined;
  return (await startOf(pid)) === start ? pid : undefined;
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** When a process started, in ticks since the machine did; 'unknown' where nothing tells. */
async function startOf(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The name of the program, in brackets, may have anything in it.
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? 'unknown';
}

function inUse(folder: string, pid: number): EplbError {
  return new EplbError('EPLB_FILE', `config.state: ${folder}: is in use by another service, process ${pid}`);
}
