import { EplbRangeError } from '../core/errors.ts';
import type { Topology } from '../core/topology.ts';
import type { LoadMatrix } from '../loads/load-matrix.ts';
import { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { Held } from './live-epochs.ts';

// Bodies in bytes. All begin as a mapping's snapshot does: 'EPLB', then four 32-bit words, little-endian: the
// kind, layers, slots a layer, experts. A mapping's own kind is 1: what ExpertMapping.toBytes() gives.
//
//   kind 1: int32[layers x slots]                 a mapping: the answer to a plan
//   kind 2: float32[layers x experts], and as the sender likes int32[layers x slots]: loads, and the mapping
//           that a plan starts from
//   kind 3: float32[layers x slots]               loads of slots; of a rank's own: slots of a rank

const MAGIC = 0x424c5045;
const HEADER_BYTES = 20;
const LOGICAL_KIND = 2;
export const PHYSICAL_KIND = 3;

/** The type of bodies in bytes. */
export const BINARY_TYPE = 'application/octet-stream';

/** What a body in bytes holds. */
export interface BinaryBody {
  readonly kind: typeof LOGICAL_KIND | typeof PHYSICAL_KIND;
  readonly loads: LoadMatrix;
  readonly previous: ExpertMapping | undefined;
}

/**
 * Reads loads in bytes, whose sizes have to be those of a group. They may be used in place.
 *
 * @param known mappings that are checked: one of them is taken where the bytes are its own
 * @throws EplbRangeError `EPLB_FORMAT` for bytes that are none, `EPLB_SHAPE` for other sizes, `EPLB_MAPPING`
 */
export function readBinary(bytes: Uint8Array, topology: Topology, known: readonly Held[] = []): BinaryBody {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER_BYTES || view.getUint32(0, true) !== MAGIC) {
    throw new EplbRangeError('EPLB_FORMAT', "body: does not begin with 'EPLB' and four 32-bit words");
  }
  const [kind, layers, slots = 0, experts] = [4, 8, 12, 16].map((at) => view.getUint32(at, true));
  if (kind !== LOGICAL_KIND && kind !== PHYSICAL_KIND) {
    throw new EplbRangeError('EPLB_FORMAT', `body: kind ${kind} is neither 2 (loads) nor 3 (loads of slots)`);
  }
  const { numLayers, numPhysicalExperts, numLogicalExperts, numRanks } = topology;
  const isPart = kind === PHYSICAL_KIND && slots === numPhysicalExperts / numRanks;
  // Of all ranks by now, or of as many as there were when a known mapping was made.
  const isWhole =
    slots === numPhysicalExperts || known.some(({ mapping }) => mapping.numPhysicalExperts === slots);
  if (layers !== numLayers || experts !== numLogicalExperts || !(isWhole || isPart)) {
    const wanted = `${numLayers} x ${numPhysicalExperts} x ${numLogicalExperts}`;
    const message = `body: is of ${layers} x ${slots} x ${experts} (layers x slots x experts), not ${wanted}`;
    throw new EplbRangeError('EPLB_SHAPE', message);
  }
  const numExperts = kind === LOGICAL_KIND ? numLogicalExperts : slots;
  const end = HEADER_BYTES + 4 * numLayers * numExperts;
  const whole = end + (kind === LOGICAL_KIND ? 4 * numLayers * slots : 0);
  if (bytes.length !== end && bytes.length !== whole) {
    const wanted = whole === end ? `${end}` : `${end}, or ${whole} with a mapping`;
    throw new EplbRangeError('EPLB_SHAPE', `body: has ${bytes.length} bytes, not ${wanted}`);
  }
  const loads = { data: new Float32Array(...words(bytes, HEADER_BYTES, end)), numLayers, numExperts };
  if (bytes.length === end) return { kind, loads, previous: undefined };
  const table = bytes.subarray(end);
  const same = known.find((one) => Buffer.compare(one.bytes.subarray(HEADER_BYTES), table) === 0);
  if (same !== undefined) return { kind, loads, previous: same.mapping };
  const phyToLog = new Int32Array(...words(bytes, end, whole));
  return { kind, loads, previous: new ExpertMapping({ phyToLog, numLayers, numLogicalExperts }) };
}

const IS_LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** 32-bit words in the order of this machine: in place where they lie so already. */
function words(bytes: Uint8Array, from: number, to: number): readonly [ArrayBuffer, number, number] {
  const at = bytes.byteOffset + from;
  const count = (to - from) / 4;
  if (IS_LITTLE_ENDIAN && at % 4 === 0) return [bytes.buffer as ArrayBuffer, at, count];
  const copy = bytes.slice(from, to);
  if (!IS_LITTLE_ENDIAN) Buffer.from(copy.buffer).swap32();
  return [copy.buffer as ArrayBuffer, 0, count];
}
