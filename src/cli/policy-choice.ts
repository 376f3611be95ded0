import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { fileReason } from '../formats/bytes/file-reason.ts';
import { quote, quotePath } from '../formats/text.ts';
import {
  type AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  DefaultEplbPolicy,
  EplbError,
  LocalityAwarePolicy,
  type Topology,
} from '../index.ts';
import { checkSlots } from '../policy/closed-slots.ts';

/**
 * The policy that `--policy` names: one of the library's, or the file of a module, to be loaded in the
 * workers.
 *
 * @param threads - as given; a module needs one, so that it cannot block or crash the command
 * @throws EplbError EPLB_OPTION for a name that is neither, EPLB_FILE when there is no such module
 */
export async function choosePolicy(
  text: string,
  threads: number | undefined,
): Promise<AbstractEplbPolicy | URL> {
  if (text === 'default') return new DefaultEplbPolicy();
  if (text === 'locality') return new LocalityAwarePolicy();
  if (text === 'adaptive') return new AdaptiveEplbPolicy();
  if (!/[/\\]|\.[cm]?js$/.test(text)) {
    throw new EplbError(
      'EPLB_OPTION',
      `--policy: ${quote(text)} is no policy; give default, locality, adaptive or a module's file such as ` +
        './mine.js',
    );
  }
  if (threads === 0) {
    throw new EplbError(
      'EPLB_OPTION',
      '--threads: 0 is too few for a policy from a module, which plans in a worker',
    );
  }
  const path = text.startsWith('file:') ? pathOf(text) : resolve(text);
  try {
    if ((await stat(path)).isFile()) return pathToFileURL(path);
  } catch (cause) {
    throw new EplbError('EPLB_FILE', `--policy: cannot read ${quotePath(text)}: ${fileReason(cause)}`, {
      cause,
    });
  }
  throw new EplbError('EPLB_FILE', `--policy: ${quotePath(text)} is not a file`);
}

/**
 * Refuses closed slots for a policy that fills all. What a policy from a module does with them is looked at
 * when it has planned.
 *
 * @throws EplbRangeError EPLB_TOPOLOGY
 */
export function checkPolicySlots(policy: AbstractEplbPolicy | URL, topology: Topology): void {
  const request = policy instanceof URL ? undefined : policy.kernelRequest();
  if (request !== undefined) checkSlots(request, topology, '--slots-per-rank');
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new EplbError('EPLB_OPTION', `--policy: ${quote(url)} is no file URL of this machine`, { cause });
  }
}
