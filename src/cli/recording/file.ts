import { readFile } from 'node:fs/promises';
import { EplbError } from '../../errors.ts';
import { quotePath } from '../text.ts';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a directory, not a file',
  ENOTDIR: 'a part of the path is not a directory',
  EACCES: 'no permission',
  EPERM: 'no permission',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space is left on the device',
  ENAMETOOLONG: 'the name is too long',
  ELOOP: 'the path goes round in circles',
  ERR_FS_FILE_TOO_LARGE: 'it is over 2 GiB; give a part of it',
};

/** Why a call of the file system failed, in words. */
export function fileReason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  const known = code === undefined ? undefined : REASONS[code];
  return known ?? (error instanceof Error ? error.message : String(error));
}

/**
 * Reads a whole file.
 *
 * @param field - what the file is to the command, for the message: `recording`, `--from`
 * @throws EplbError EPLB_FILE when it cannot be read, EPLB_FORMAT when it is empty
 */
export async function readWhole(path: string, field: string): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new EplbError('EPLB_FILE', `${field}: cannot read ${quotePath(path)}: ${fileReason(cause)}`, {
      cause,
    });
  }
  if (bytes.length === 0) throw new EplbError('EPLB_FORMAT', `${field}: ${quotePath(path)} is empty`);
  return bytes;
}
