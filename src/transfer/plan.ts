import type { TransferLayer } from './layer.ts';
import type { ExpertTensor, TransferMode, TransferSchedule } from './options.ts';
import { decodePlan, encodePlan } from './plan-bytes.ts';
import {
  orderedHead,
  type TransferDigests,
  type TransferPlanHead,
  type TransferPlanJson,
} from './plan-json.ts';
import { readPlan } from './read-plan.ts';

/**
 * How the weights of all layers get from one placement to another: made by {@link planTransfer}, or read. It
 * cannot be changed.
 *
 * A layer is played so: copies of step 0; then for each round all its transfers, and the copies of the step
 * with the number of rounds made; then loads from the host; then the copies of step `rounds.length + 1`.
 * Buffered, all that comes before those writes only to buffer slots: it can be dropped at any time, and they
 * are the activation. In place the layer is out of service from its first operation to its last.
 */
export class TransferPlan implements TransferPlanHead {
  declare readonly numRounds: number;
  declare readonly numTransfers: number;
  declare readonly bytes: number;
  declare readonly bytesByLink: Readonly<Record<string, number>>;
  declare readonly numLayers: number;
  declare readonly numPhysicalExperts: number;
  declare readonly numLogicalExperts: number;
  declare readonly numRanks: number;
  declare readonly numNodes: number;
  declare readonly nodeOfRank?: readonly number[];
  declare readonly mode: TransferMode;
  declare readonly staging: number;
  declare readonly duplex: 'full' | 'half';
  declare readonly relay: boolean;
  declare readonly deadRanks: readonly number[];
  declare readonly maxBytesInFlight: number | null;
  declare readonly bytesPerExpert: number;
  declare readonly bundle: readonly ExpertTensor[] | null;
  declare readonly cost: string | null;
  declare readonly schedule: TransferSchedule;
  declare readonly scheduleReason: string;
  declare readonly roundsPerBatch: number | null;
  declare readonly seconds: number | null;
  declare readonly secondsIn: { readonly rounds: number; readonly batch: number | null } | null;
  declare readonly bounds: { readonly rounds: number; readonly seconds: number | null };
  declare readonly stagingBytes: number;
  readonly #head: TransferPlanHead;
  readonly #makeDigests: () => TransferDigests;
  readonly #makeLayers: () => readonly TransferLayer[];
  #digests: TransferDigests | undefined;
  #layers: readonly TransferLayer[] | undefined;

  /** @internal By {@link planTransfer} and the readers: nothing is checked. */
  constructor(
    head: TransferPlanHead,
    digests: () => TransferDigests,
    layers: () => readonly TransferLayer[],
  ) {
    this.#head = orderedHead(head);
    Object.assign(this, this.#head);
    this.#makeDigests = digests;
    this.#makeLayers = layers;
    Object.freeze(this);
  }

  /** Slots of each rank. */
  get slotsPerRank(): number {
    return this.#head.numPhysicalExperts / this.#head.numRanks;
  }

  /** Of the mappings. */
  get digests(): TransferDigests {
    this.#digests ??= this.#makeDigests();
    return this.#digests;
  }

  /** What moves, in the order to move: every layer once. */
  get layers(): readonly TransferLayer[] {
    this.#layers ??= this.#makeLayers();
    return this.#layers;
  }

  /** All of it as plain data. */
  toJSON(): TransferPlanJson {
    return {
      kind: 'transfer-plan',
      formatVersion: 1,
      ...this.#head,
      digests: this.digests,
      layers: this.layers,
    };
  }

  /** The same in bytes, about a tenth of the JSON. */
  toBytes(): Uint8Array {
    return encodePlan(this.toJSON());
  }

  /**
   * Reads what {@link toJSON} gave. Every number is checked to be in its range; whether the plan leads from
   * one mapping to another says {@link checkTransfer}.
   *
   * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE`, `EPLB_NOT_WHOLE`, `EPLB_SHAPE`,
   * `EPLB_FORMAT`, naming the field
   */
  static fromJSON(json: unknown): TransferPlan {
    const { layers, digests, head } = readPlan(json);
    return new TransferPlan(
      head,
      () => digests,
      () => layers,
    );
  }

  /** Reads what {@link toBytes} gave. @throws as {@link fromJSON} */
  static fromBytes(bytes: Uint8Array): TransferPlan {
    return TransferPlan.fromJSON(decodePlan(bytes));
  }
}
