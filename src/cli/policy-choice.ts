import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { checkTopology } from '../core/check-topology.ts';
import { fileReason } from '../formats/bytes/file-reason.ts';
import { quote, quotePath } from '../formats/text.ts';
import { type AbstractEplbPolicy, EplbError, type Topology } from '../index.ts';
import { checkPlannable } from '../policy/plannable.ts';
import { makePolicy, POLICY_NAMES, type PolicySetting } from '../policy/registry.ts';

/** An option that names policies. */
interface PolicyOption {
  readonly name?: string;
  /** What it takes beside the library's policies and modules. */
  readonly others?: readonly string[];
}

/**
 * The policy that `--policy` names: one of the library's, or the file of a module, to be loaded in the
 * workers.
 *
 * @param threads - as given; a module needs one, so that it cannot block or crash the command
 * @param setting - what one of the library's is made with
 * @param option - what it is called, and what it takes beside the policies
 * @throws EplbError EPLB_OPTION for a name that is neither, EPLB_FILE when there is no such module
 */
export async function choosePolicy(
  text: string,
  threads: number | undefined,
  setting: PolicySetting = {},
  { name = '--policy', others = [] }: PolicyOption = {},
): Promise<AbstractEplbPolicy | URL> {
  const own = makePolicy(text, setting);
  if (own !== undefined) return own;
  if (!/[/\\]|\.[cm]?js$/.test(text)) {
    throw new EplbError(
      'EPLB_OPTION',
      `${name}: ${quote(text)} is not a policy; give ${[...others, ...POLICY_NAMES].join(', ')} or a module's ` +
        'file such as ./mine.js',
    );
  }
  if (threads === 0) {
    throw new EplbError(
      'EPLB_OPTION',
      '--threads: 0 is too few for a policy from a module, which plans in a worker',
    );
  }
  const path = text.startsWith('file:') ? pathOf(text, name) : resolve(text);
  try {
    if ((await stat(path)).isFile()) return pathToFileURL(path);
  } catch (cause) {
    throw new EplbError('EPLB_FILE', `${name}: cannot read ${quotePath(text)}: ${fileReason(cause)}`, {
      cause,
    });
  }
  throw new EplbError('EPLB_FILE', `${name}: ${quotePath(text)} is not a file`);
}

/**
 * Refuses closed slots for a policy that fills all. What a policy from a module does with them is looked at
 * when it has planned.
 *
 * @param title - the option that closes them
 * @throws EplbRangeError EPLB_TOPOLOGY
 */
export function checkPolicySlots(
  policy: AbstractEplbPolicy | URL,
  topology: Topology,
  title = '--slots-per-rank',
): void {
  const request = policy instanceof URL ? undefined : policy.kernelRequest();
  checkPlannable(request, checkTopology(topology), { title });
}

function pathOf(url: string, option: string): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new EplbError('EPLB_OPTION', `${option}: ${quote(url)} is not a file URL of this machine`, {
      cause,
    });
  }
}

/** What `--policy` and `--policies` take, for help texts. */
export const POLICY_CHOICES = `${POLICY_NAMES.join(', ')}, or the file of a module such as ./mine.js`;
export const POLICIES_CHOICES = `${POLICY_NAMES.join(', ')}, or files of modules such as ./mine.js`;
