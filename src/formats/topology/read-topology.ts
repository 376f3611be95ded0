import { type DeviceTopology, type TopologyFile, topologyFromJson } from './topology-json.ts';
import { readYamlOrJson } from './yaml-or-json.ts';

/**
 * Reads a topology file: YAML, or JSON if its name ends with .json or its content is a JSON object.
 *
 * @param field the name of the file in messages
 * @throws EplbError `EPLB_FILE`, `EPLB_FORMAT`; and as {@link topologyFromJson}, with the file's name
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
  const { content, name } = await readYamlOrJson(path, field, 'a topology');
  // What can be read is what a file may hold.
  return { topology: topologyFromJson(content, name), content: content as TopologyFile };
}
