import { checkText, checkWhole } from '../core/checks.ts';
import { checkOptions } from '../core/known-keys.ts';
import {
  type CoordinatorMessage,
  checkCoordinatorMessage,
  checkHeldEpoch,
  checkLayers,
  type HeldEpoch,
  type RankMessage,
  shortText,
} from './messages.ts';

export interface RankMachineOptions {
  readonly numLayers: number;
  /** Which start of the rank's process this is: larger at each, as a counter on disk or the time is. */
  readonly incarnation: number;
  /** What its slots hold, in all layers; null when they hold nothing, or not all of one epoch. */
  readonly holds: HeldEpoch | null;
  /** Steps that may begin between the promise of a last step and the decision. 8 by default, at least 1. */
  readonly leadSteps?: number;
}

/**
 * What a rank's host is to do. It reports what came of it with the same token.
 *
 * - `prepare`: fill buffers with what these layers get in the mapping of that digest. Then `prepared` for
 *   each, or `refused`.
 * - `swap`: bring the buffers of these layers into their slots. No step is served meanwhile. Then `swapped`
 *   or `failed`.
 * - `drop`: let go of the buffers of this operation.
 * - `restore`: load the weights of that epoch into all slots. Then `restored` or `notRestored`.
 */
export type RankAction =
  | ({ readonly type: 'prepare'; readonly token: number; readonly layers: readonly number[] } & HeldEpoch)
  | ({ readonly type: 'swap'; readonly token: number; readonly layers: readonly number[] } & HeldEpoch)
  | { readonly type: 'drop'; readonly token: number }
  | ({ readonly type: 'restore' } & HeldEpoch);

/** What an input comes to. */
export interface RankOutput {
  readonly messages: readonly RankMessage[];
  readonly actions: readonly RankAction[];
}

/** Whether a step may be served, and with which weights. */
export type StepAnswer =
  /** All layers of this step are served at this epoch. */
  | ({ readonly status: 'serve' } & HeldEpoch)
  /**
   * Not yet: a decision or a swap is waited for. Ask again with the same step, or a later one. With a
   * `fromStep` that step is waited for. A group of which no rank serves, as all were started anew, may skip
   * to it.
   */
  | { readonly status: 'wait'; readonly reason: string; readonly fromStep?: number }
  /** The rank is out: it serves nothing until it is admitted. */
  | { readonly status: 'fenced'; readonly reason: string };

/** How a rank stands. */
export interface RankView {
  readonly status: 'serving' | 'fenced';
  readonly reason: string;
  readonly holds: HeldEpoch | null;
  /** Layers whose slots hold neither the old weights nor the new ones. */
  readonly broken: readonly number[];
  readonly operation?: {
    readonly token: number;
    readonly state: OpenState;
    readonly layers: readonly number[];
  };
}

/** How far a rank is with the operation that it has open. */
export type OpenState = 'preparing' | 'prepared' | 'refused' | 'armed' | 'decided' | 'swapping';

/** An operation that this rank has not seen the end of. */
interface Open extends HeldEpoch {
  readonly token: number;
  readonly layers: readonly number[];
  readonly prepared: Set<number>;
  state: OpenState;
  refusal: { readonly layers: readonly number[]; readonly reason: string } | undefined;
  /** The last step that it serves without a decision. */
  lastStep: number;
  firstStep: number;
}

const KEYS: readonly (keyof RankMachineOptions)[] = ['numLayers', 'incarnation', 'holds', 'leadSteps'];

/**
 * A rank's side of a migration as a machine. Inputs from the coordinator, from the host of the weights, and
 * at the boundaries of steps give messages and actions. It begins fenced.
 *
 * A method that throws has changed nothing.
 */
export class RankMachine {
  readonly #numLayers: number;
  readonly #incarnation: number;
  readonly #leadSteps: number;
  #isServing = false;
  #reason = 'started';
  #holds: HeldEpoch | null;
  #broken: readonly number[] = [];
  /** The newest act of the coordinator that is done with. */
  #token = 0;
  #open: Open | undefined;
  #restoring: HeldEpoch | undefined;
  /** The last step that was begun. */
  #step = -1;
  #servesFrom = 0;
  #messages: RankMessage[] = [];
  #actions: RankAction[] = [];

  constructor(options: RankMachineOptions) {
    const { numLayers, incarnation, holds, leadSteps = 8 } = checkOptions('options', options, KEYS);
    this.#numLayers = checkWhole('numLayers', numLayers, 1, 2 ** 20);
    this.#incarnation = checkWhole('incarnation', incarnation, 0);
    this.#leadSteps = checkWhole('leadSteps', leadSteps, 1, 2 ** 31);
    this.#holds = holds === null ? null : checkHeldEpoch('holds', holds);
  }

  /** Takes what the coordinator said. Whatever of it is late, doubled or out of order changes nothing. */
  receive(message: unknown): RankOutput {
    const checked = checkCoordinatorMessage(message, this.#numLayers);
    this.#begin();
    if (checked.incarnation === this.#incarnation) this.#take(checked);
    return this.#end();
  }

  /** Says again how it stands. To be called about once a second: a message may be lost. */
  tick(): RankOutput {
    this.#begin();
    this.#say();
    return this.#end();
  }

  /**
   * Asks for a step at its boundary, before any of its layers is served. Steps only grow. What the answer
   * says holds for the whole step.
   *
   */
  beginStep(step: number): RankOutput & { readonly answer: StepAnswer } {
    checkWhole('step', step, this.#step + 1, Number.MAX_SAFE_INTEGER - 2 ** 32);
    this.#begin();
    const answer = this.#begun(step);
    return { messages: this.#messages, actions: this.#actions, answer };
  }

  /** The host has filled the buffers of layers. */
  prepared(token: number, layers: readonly number[]): RankOutput {
    const open = this.#openOf(token, layers);
    this.#begin();
    if (open?.state === 'preparing') {
      for (const layer of layers) if (open.layers.includes(layer)) open.prepared.add(layer);
      if (open.prepared.size === open.layers.length) open.state = 'prepared';
      this.#say();
    }
    return this.#end();
  }

  /** The host cannot fill the buffers of layers. The whole operation will be aborted. */
  refused(token: number, layers: readonly number[], reason: string): RankOutput {
    const open = this.#openOf(token, layers);
    checkText('reason', reason);
    this.#begin();
    if (open?.state === 'preparing') {
      open.state = 'refused';
      open.refusal = { layers: [...layers], reason: shortText(reason) };
      this.#actions.push({ type: 'drop', token });
      this.#say();
    }
    return this.#end();
  }

  /** The host has swapped all layers. */
  swapped(token: number): RankOutput {
    const open = this.#openOf(token, []);
    this.#begin();
    if (open?.state === 'swapping') {
      const { epoch, digest, firstStep } = open;
      this.#holds = { epoch, digest };
      this.#servesFrom = firstStep;
      this.#token = token;
      this.#open = undefined;
      this.#say();
    }
    return this.#end();
  }

  /** The swap failed, and these layers hold neither their old weights nor their new ones. */
  failed(token: number, layers: readonly number[], reason: string): RankOutput {
    const open = this.#openOf(token, layers);
    checkText('reason', reason);
    this.#begin();
    if (open?.state === 'swapping') this.#fence(`not activated: ${reason}`, layers);
    return this.#end();
  }

  /** The host has loaded the weights of an epoch into all slots. */
  restored(held: HeldEpoch): RankOutput {
    const { epoch, digest } = checkHeldEpoch('restored', held);
    this.#begin();
    if (this.#restoring?.epoch === epoch && this.#restoring.digest === digest) {
      this.#holds = { epoch, digest };
      this.#broken = [];
      this.#restoring = undefined;
      this.#say();
    }
    return this.#end();
  }

  /** The host could not load them. It is asked again. */
  notRestored(reason: string): RankOutput {
    checkText('reason', reason);
    this.#begin();
    if (this.#restoring !== undefined) {
      this.#reason = shortText(`not restored: ${reason}`);
      this.#restoring = undefined;
    }
    return this.#end();
  }

  /**
   * The host takes the rank out, as it knows of a fault.
   *
   * @param broken - layers whose weights are not to be served again; with none, what it held it still holds
   */
  fence(reason: string, broken: readonly number[] = []): RankOutput {
    checkText('reason', reason);
    checkLayers(broken, this.#numLayers);
    this.#begin();
    this.#fence(reason, [...broken, ...this.#swapping()]);
    return this.#end();
  }

  /** Whether it is admitted: steps are served, or waited for. */
  get isServing(): boolean {
    return this.#isServing;
  }

  /** The operation that it has not seen the end of. */
  get openToken(): number | undefined {
    return this.#open?.token;
  }

  /** How the rank stands: a copy. */
  view(): RankView {
    const view: RankView = {
      status: this.#isServing ? 'serving' : 'fenced',
      reason: this.#isServing ? '' : this.#reason,
      holds: this.#holds,
      broken: this.#broken,
    };
    if (this.#open === undefined) return view;
    const { token, state, layers } = this.#open;
    return { ...view, operation: { token, state, layers } };
  }

  #begin(): void {
    this.#messages = [];
    this.#actions = [];
  }

  #end(): RankOutput {
    return { messages: this.#messages, actions: this.#actions };
  }

  #take(message: CoordinatorMessage): void {
    if (message.type === 'prepare') this.#takePrepare(message);
    else if (message.type === 'arm') this.#takeArm(message.token);
    else if (message.type === 'activate') this.#takeActivate(message);
    else if (message.type === 'abort') this.#takeAbort(message.token);
    else if (message.type === 'restore') this.#takeRestore(message);
    else if (message.type === 'admit') this.#takeAdmit(message);
    else if (message.token > this.#token) {
      this.#fence('fenced by the coordinator', this.#swapping(), message.token);
    }
  }

  #takePrepare({ token, layers, epoch, digest }: CoordinatorMessage & { type: 'prepare' }): void {
    const open = this.#open;
    if (!this.#isServing || open?.token === token) {
      this.#say();
      return;
    }
    if (token <= this.#token || epoch !== this.#holds!.epoch + 1) return;
    // A newer operation from the same epoch: the one before was aborted.
    const isDecided = open?.state === 'decided' || open?.state === 'swapping';
    if (open !== undefined && (isDecided || open.token > token)) return;
    this.#drop();
    this.#open = {
      token,
      layers,
      epoch,
      digest,
      prepared: new Set(),
      state: 'preparing',
      refusal: undefined,
      lastStep: 0,
      firstStep: 0,
    };
    this.#actions.push({ type: 'prepare', token, layers, epoch, digest });
  }

  #takeArm(token: number): void {
    const open = this.#open;
    if (open?.token !== token) return;
    if (open.state === 'prepared') {
      open.state = 'armed';
      open.lastStep = this.#step + this.#leadSteps;
    }
    this.#say();
  }

  #takeActivate({ token, epoch, firstStep }: CoordinatorMessage & { type: 'activate' }): void {
    const open = this.#open;
    if (open?.token === token && open.state === 'armed' && open.epoch === epoch) {
      open.state = 'decided';
      open.firstStep = firstStep;
    } else if (token === this.#token) this.#say();
  }

  #takeAbort(token: number): void {
    if (this.#open?.token === token && this.#open.state !== 'decided' && this.#open.state !== 'swapping') {
      this.#drop();
      this.#token = token;
      // It came before what it aborts.
    } else if (this.#open === undefined && token > this.#token && this.#isServing) this.#token = token;
  }

  #takeRestore({ epoch, digest }: CoordinatorMessage & { type: 'restore' }): void {
    if (this.#isServing || this.#restoring !== undefined) return;
    if (this.#holds?.epoch === epoch && this.#holds.digest === digest) {
      this.#say();
      return;
    }
    this.#restoring = { epoch, digest };
    // While they are written, the slots hold nothing whole.
    this.#holds = null;
    this.#actions.push({ type: 'restore', epoch, digest });
  }

  #takeAdmit({ token, epoch, digest, firstStep }: CoordinatorMessage & { type: 'admit' }): void {
    if (token < this.#token || this.#swapping().length > 0) return;
    if (token > this.#token) {
      this.#drop();
      this.#token = token;
      if (this.#holds?.epoch === epoch && this.#holds.digest === digest) {
        this.#isServing = true;
        this.#servesFrom = firstStep;
      } else this.#isServing = false;
    }
    this.#say();
  }

  #begun(step: number): StepAnswer {
    if (!this.#isServing) return { status: 'fenced', reason: this.#reason };
    const open = this.#open;
    if (open?.state === 'armed' && step > open.lastStep) {
      return { status: 'wait', reason: `the decision on epoch ${open.epoch} is waited for` };
    }
    if (open?.state === 'decided' && step >= open.firstStep) {
      const { token, layers, epoch, digest } = open;
      open.state = 'swapping';
      this.#actions.push({ type: 'swap', token, layers, epoch, digest });
    }
    if (open?.state === 'swapping') return { status: 'wait', reason: `epoch ${open.epoch} is swapped in` };
    if (step < this.#servesFrom) {
      const fromStep = this.#servesFrom;
      return { status: 'wait', reason: `this rank serves from step ${fromStep} on`, fromStep };
    }
    this.#step = step;
    const { epoch, digest } = this.#holds!;
    return { status: 'serve', epoch, digest };
  }

  /** Serves no more. What was under way is dropped. */
  #fence(reason: string, broken: readonly number[], token = this.#open?.token ?? this.#token): void {
    this.#isServing = false;
    this.#reason = shortText(reason);
    const isSwapping = this.#open?.state === 'swapping';
    if (isSwapping || broken.length > 0) this.#holds = null;
    if (broken.length > 0) {
      this.#broken = [...new Set([...this.#broken, ...broken])].sort((a, b) => a - b);
    }
    this.#drop();
    this.#token = token;
    this.#say();
  }

  /** The layers that a swap under way leaves undefined when it is cut off. */
  #swapping(): readonly number[] {
    return this.#open?.state === 'swapping' ? this.#open.layers : [];
  }

  /** Lets go of the operation under way. */
  #drop(): void {
    const open = this.#open;
    if (open !== undefined && open.state !== 'refused') {
      this.#actions.push({ type: 'drop', token: open.token });
    }
    this.#open = undefined;
  }

  /** Says how it stands: all that the coordinator may have missed. */
  #say(): void {
    const incarnation = this.#incarnation;
    const open = this.#open;
    if (!this.#isServing) {
      const common = { holds: this.#holds, reason: this.#reason, broken: this.#broken };
      this.#messages.push({ type: 'hello', incarnation, token: this.#token, ...common });
    } else if (open?.state === 'refused') {
      this.#messages.push({ type: 'refused', incarnation, token: open.token, ...open.refusal! });
    } else if (open?.state === 'armed') {
      const { token, lastStep } = open;
      this.#messages.push({ type: 'armed', incarnation, token, lastStep });
    } else if (open?.prepared.size && (open.state === 'preparing' || open.state === 'prepared')) {
      const layers = [...open.prepared].sort((a, b) => a - b);
      this.#messages.push({ type: 'prepared', incarnation, token: open.token, layers });
    } else {
      this.#messages.push({
        type: 'confirmed',
        incarnation,
        token: this.#token,
        epoch: this.#holds!.epoch,
      });
    }
  }

  #openOf(token: number, layers: readonly number[]): Open | undefined {
    checkWhole('token', token, 0);
    checkLayers(layers, this.#numLayers);
    return this.#open?.token === token ? this.#open : undefined;
  }
}
