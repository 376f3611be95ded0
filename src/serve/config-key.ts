import { canonical, type FullDeclaration } from './declaration.ts';
import { hexSha256 } from './mapping-record.ts';

/** Names a group's configuration, with the ranks as they are, in the keys of plans. */
export function configKeyOf(
  declaration: FullDeclaration,
  { deadRanks, speed }: { readonly deadRanks: readonly number[]; readonly speed: readonly number[] | null },
): string {
  return hexSha256(canonical({ ...declaration, now: [deadRanks, speed] }));
}

/** What the answer to a question follows from, beside the question. */
export function planBasisOf(group: {
  readonly configKey: string;
  readonly epoch: number;
  readonly digest: string;
  readonly isDryRun: boolean;
}): string {
  const { configKey, epoch, digest, isDryRun } = group;
  return hexSha256(`${configKey} ${epoch} ${digest} ${isDryRun}`);
}

/** The key of an answer. @param kind what beside the body changes it */
export function planKeyOf(name: string, basis: string, kind: string, body: readonly Uint8Array[]): string {
  return hexSha256(`${name} ${basis} ${kind} `, ...body);
}
