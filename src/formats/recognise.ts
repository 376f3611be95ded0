import { isOwnError } from '../core/errors.ts';
import type { InputFile } from './input-file.ts';
import type { JsonOutline } from './json/outline.ts';
import { TorchFile } from './torch/file.ts';
import { isLegacyTorch } from './torch/legacy.ts';
import { PickleDict as Dict, type PickleDict, type PickleValue } from './torch/pickle-values.ts';
import { hasZipMagic, type ZipArchive } from './zip/archive.ts';

/** The root of what torch.save wrote, or undefined when the file is not of torch.save or is broken. */
async function torchRoot(file: InputFile): Promise<PickleValue | undefined> {
  if (!(await isTorch(file))) return undefined;
  return (await orUndefined(file.torch()))?.root;
}

/** Whether the file is of torch.save. */
export async function isTorch(file: InputFile): Promise<boolean> {
  if (isLegacyTorch(await file.head())) return true;
  const zip = await zipOf(file);
  return zip !== undefined && TorchFile.isOne(zip);
}

/** {@link torchRoot} when it is a dict. */
export async function torchDict(file: InputFile): Promise<PickleDict | undefined> {
  const root = await torchRoot(file);
  return root instanceof Dict ? root : undefined;
}

/** The file as a zip archive, or undefined when it is none or is broken. */
async function zipOf(file: InputFile): Promise<ZipArchive | undefined> {
  return hasZipMagic(await file.head()) ? orUndefined(file.zip()) : undefined;
}

/** The first characters of a text that are not white space; empty for what is not text. */
export async function firstCharacters(file: InputFile): Promise<string> {
  const head = await file.head();
  return new TextDecoder().decode(head.subarray(0, 256)).trimStart();
}

/** The first line of a text as far as the beginning of the file has it. */
export async function firstLine(file: InputFile): Promise<string> {
  return (await firstLines(file))[0]!;
}

/** The first lines of a text, two at most, as far as the beginning of the file has them. */
export async function firstLines(file: InputFile): Promise<string[]> {
  return new TextDecoder().decode(await file.head()).split(/\r?\n/, 2);
}

/** What the file holds as JSON, or undefined when it does not look like JSON or is broken. */
export async function jsonOutlineOf(file: InputFile): Promise<JsonOutline | undefined> {
  return (await looksLikeJson(file)) ? orUndefined(file.jsonOutline()) : undefined;
}

/** Whether the file begins as JSON does that holds anything. */
export async function looksLikeJson(file: InputFile): Promise<boolean> {
  return /^[[{]/.test(await firstCharacters(file));
}

/**
 * What a promise gives, or undefined where it ends in an error of ours. That error is for the reader to
 * report.
 */
export async function orUndefined<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (isOwnError(error)) return undefined;
    throw error;
  }
}
