import type { Command } from 'commander';
import { EplbError } from '../core/errors.ts';
import type { RankOptions } from '../core/topology.ts';
import { quotePath } from '../formats/text.ts';
import { readRules } from '../formats/topology/read-rules.ts';
import { readTopology } from '../formats/topology/read-topology.ts';
import type { DeviceTopology } from '../formats/topology/topology-json.ts';
import { SLOTS_PER_RANK_HELP } from './option-help.ts';
import { contradiction, slotsPerRankList, wholeParser } from './option-values.ts';
import { inputPath } from './standard-streams.ts';

/** What options say of the devices, as typed. */
export interface DeviceOptions {
  readonly topology?: string;
  readonly slots?: number;
  readonly ranks?: number;
  readonly nodes?: number;
  readonly groups?: number;
  readonly slotsPerRank?: readonly number[];
  /** A file of rules. */
  readonly rules?: string;
}

/** What options and the file of `--topology` say of the devices. */
export interface Devices {
  readonly slots: number | undefined;
  readonly ranks: number | undefined;
  readonly nodes: number | undefined;
  readonly groups: number | undefined;
  readonly rankOptions: RankOptions;
  /** What has given {@link rankOptions}, for messages. */
  readonly source: '--topology' | '--slots-per-rank';
}

/** {@link Devices} where slots and ranks are known. */
export interface PlacedDevices extends Devices {
  readonly slots: number;
  readonly ranks: number;
  readonly nodes: number;
  readonly groups: number;
}

/** The option that names a topology file. */
export function addTopologyOption(command: Command): Command {
  return command.option(
    '--topology <file>',
    'YAML or JSON that says what the devices are: what it says need not be given by options',
  );
}

/** The option that names a file of rules. */
export function addRulesOption(command: Command): Command {
  return command.option(
    '--rules <file>',
    'YAML or JSON with rules of your own: pinned experts, experts never replicated, a shared expert',
  );
}

/** Options of a placement's sizes, and of the devices that it is for. */
export function addDeviceOptions(command: Command): Command {
  return needsSizes(addRulesOption(addTopologyOption(command)))
    .requiredOption('--slots <N>', 'slots a layer: experts and redundant experts', wholeParser('--slots', 1))
    .requiredOption('--ranks <N>', 'devices', wholeParser('--ranks', 1))
    .option('--slots-per-rank <N,...>', SLOTS_PER_RANK_HELP, slotsPerRankList);
}

/** Has a topology file stand for options that are required without one: whether it does is seen later. */
export function needsSizes(command: Command): Command {
  return command.on('option:topology', () => {
    for (const option of command.options) {
      if (option.long === '--slots' || option.long === '--ranks') option.mandatory = false;
    }
  });
}

/** Options of nodes and groups. */
export function addNodeOptions(command: Command): Command {
  return command
    .option(
      '--nodes <N>',
      'sets of ranks joined by the fast network; 1 when left out',
      wholeParser('--nodes', 1),
    )
    .option(
      '--groups <N>',
      'groups of experts that routing picks together; 1 when left out',
      wholeParser('--groups', 1),
    );
}

/**
 * Reads the files of `--topology` and `--rules`, and puts them and the options together: an option may add to
 * a file, and say the same, but nothing else.
 *
 * @throws EplbRangeError EPLB_OPTION for an option that contradicts the file; and as `readTopology` does
 */
export async function devicesOf(options: DeviceOptions): Promise<Devices> {
  const { topology: path, slots, ranks, nodes, groups, slotsPerRank } = options;
  const file = path === undefined ? undefined : await readTopology(await inputPath(path), '--topology');
  const rules =
    options.rules === undefined ? undefined : await readRules(await inputPath(options.rules), '--rules');
  const { numPhysicalExperts, numRanks, numNodes, numGroups, ...ofFile } = file ?? ({} as DeviceTopology);
  const rankOptions = { ...ofFile, ...(rules && { rules }) };
  const name = path === undefined ? '' : quotePath(path);
  const sizes = {
    slots: agreed('--slots', slots, numPhysicalExperts, name),
    ranks: agreed('--ranks', ranks, numRanks, name),
    nodes: agreed('--nodes', nodes, numNodes, name),
    groups: agreed('--groups', groups, numGroups, name),
  };
  if (slotsPerRank === undefined) return { ...sizes, rankOptions, source: '--topology' };
  const own = rankOptions.slotsPerRank;
  if (own !== undefined && own.join() !== slotsPerRank.join()) {
    throw contradiction(`--slots-per-rank: ${slotsPerRank.join()}, but --topology ${name} has ${own.join()}`);
  }
  return { ...sizes, rankOptions: { ...rankOptions, slotsPerRank }, source: '--slots-per-rank' };
}

/**
 * {@link devicesOf} of a command that needs slots and ranks.
 *
 * @param command its name, for the message
 * @throws as it, and EplbError EPLB_OPTION where they are not given
 */
export async function placedDevices(options: DeviceOptions, command: string): Promise<PlacedDevices> {
  const devices = await devicesOf(options);
  const { nodes = 1, groups = 1 } = devices;
  return { ...devices, ...placed(devices, command), nodes, groups };
}

/** Slots and ranks. @throws EplbError EPLB_OPTION for those that neither an option nor the file says */
export function placed<T>(
  { slots, ranks }: { readonly slots: T | undefined; readonly ranks: T | undefined },
  command: string,
): { readonly slots: T; readonly ranks: T } {
  if (slots !== undefined && ranks !== undefined) return { slots, ranks };
  const names = Object.entries({ '--slots': slots, '--ranks': ranks })
    .filter(([, value]) => value === undefined)
    .map(([name]) => name);
  const message = `${names.join(', ')}: required but not given; see eplb ${command} --help`;
  throw new EplbError('EPLB_OPTION', message);
}

/** What an option and the file say, where either does. */
function agreed(
  option: string,
  typed: number | undefined,
  told: number | undefined,
  name: string,
): number | undefined {
  if (typed === undefined || told === undefined || typed === told) return typed ?? told;
  throw contradiction(`${option}: ${typed}, but --topology ${name} has ${told}`);
}
