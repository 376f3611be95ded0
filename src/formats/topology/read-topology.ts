import { checkText } from '../../core/checks.ts';
import { EplbError } from '../../core/errors.ts';
import { type InputFile, inputFile } from '../input-file.ts';
import { readJson } from '../json/value.ts';
import { MOST_YAML_BYTES, readPlainYaml } from './plain-yaml.ts';
import { type DeviceTopology, type TopologyFile, topologyFromJson } from './topology-json.ts';

/** A table of links between many ranks is the largest that it may hold. */
const MOST_JSON_BYTES = 2 ** 25;

/**
 * Reads a topology file: YAML, or JSON where the name ends with .json or the content is an object of it.
 *
 * @param field what the file is to the caller, for messages
 * @throws EplbError EPLB_FILE, EPLB_FORMAT; and as {@link topologyFromJson}, with the file's name
 * @example
 * ```ts
 * const topology = await readTopology('devices.yaml');
 * const balancer = new ExpertLoadBalancer({ numLayers, numLogicalExperts, numPhysicalExperts, ...topology });
 * ```
 */
export async function readTopology(path: string, field = 'topology'): Promise<DeviceTopology> {
  return (await readTopologyFile(path, field)).topology;
}

/** {@link readTopology}, and the file's own words. */
export async function readTopologyFile(
  path: string,
  field: string,
): Promise<{ readonly topology: DeviceTopology; readonly content: TopologyFile }> {
  const file = await inputFile(checkText('path', path), checkText('field', field));
  try {
    const content = await contentOf(file);
    // What can be read is what a file may hold.
    return { topology: topologyFromJson(content, file.name), content: content as TopologyFile };
  } finally {
    await file.close();
  }
}

async function contentOf(file: InputFile): Promise<unknown> {
  const isYaml = /^\.ya?ml$/.test(file.extension);
  const isJson = file.extension === '.json' || (!isYaml && isObjectText(await file.head()));
  const most = isJson ? MOST_JSON_BYTES : MOST_YAML_BYTES;
  if (file.contentSize > most) {
    const advice = isJson ? '' : ': write it as JSON';
    const told = `a topology is read up to ${most} bytes${advice}`;
    throw new EplbError('EPLB_FORMAT', `${file.name} has ${file.contentSize} bytes; ${told}`);
  }
  const bytes = await file.whole(most, 'a topology');
  return isJson ? readJson(bytes, file.name) : readPlainYaml(bytes, file.name);
}

/** Whether it begins as a JSON object does. */
function isObjectText(head: Uint8Array): boolean {
  return /^\uFEFF?\s*\{\s*["}]/.test(new TextDecoder().decode(head.subarray(0, 1024)));
}
