import { EplbError, isOwnError } from '../../core/errors.ts';
import type { MemoryBudget } from '../memory-budget.ts';
import { NumpyType, PickleBytes } from './numpy-scalar.ts';
import { PickleDict, PickleList, type PickleMade, PickleTuple, type PickleValue } from './pickle-values.ts';

const EMPTY_TUPLE = new PickleTuple([]);

/** Makes what a pickle only names. Each throws an Error that says what is refused. */
export interface PickleMaker {
  global(module: string, name: string): PickleMade;
  call(callee: PickleValue, args: readonly PickleValue[]): PickleValue;
  persistent(id: PickleValue): PickleMade;
}

/**
 * Bytes that things take in memory, about. What is on the stack is moved to other lists, and those as they
 * grow.
 */
const COST = {
  stacked: 24,
  place: 8,
  list: 40,
  tuple: 64,
  text: 32,
  table: 200,
  entry: 40,
  kept: 64,
  made: 100,
} as const;

/** Where in the stack a group of values begins. */
const MARK = Symbol('mark');

type Slot = PickleValue | typeof MARK;

/**
 * Reads a pickle as torch.save writes it, in the protocols 2 (its own choice) to 5: plain values, lists,
 * tuples, dicts, and what the maker allows. Every other instruction is refused by its name, before it
 * does anything.
 *
 * @param name - the file, for messages
 * @param budget - what all of it may take in memory: an instruction of a byte can make a list
 * @throws EplbError EPLB_FORMAT
 */
export function readPickle(
  bytes: Uint8Array,
  name: string,
  maker: PickleMaker,
  budget: MemoryBudget,
): PickleValue {
  return readPickleAt(bytes, 0, name, maker, budget).value;
}

/** {@link readPickle} of one that begins at a byte, and where it ends: one may stand behind another. */
export function readPickleAt(
  bytes: Uint8Array,
  at: number,
  name: string,
  maker: PickleMaker,
  budget: MemoryBudget,
): { readonly value: PickleValue; readonly end: number } {
  const machine = new Machine(bytes, maker, budget);
  machine.at = at;
  try {
    return { value: machine.run(), end: machine.at };
  } catch (error) {
    if (isOwnError(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new EplbError('EPLB_FORMAT', `${name}: at byte ${machine.at} of its pickle: ${reason}`);
  }
}

/** The instructions that torch.save writes, by their codes. The names are those of Python's pickletools. */
const READERS: ReadonlyMap<number, (machine: Machine) => void> = new Map([
  [0x80, (m) => m.protocol()],
  [0x28, (m) => m.push(MARK)], // MARK
  [0x30, (m) => void m.pop()], // POP
  [0x4e, (m) => m.push(null)], // NONE
  [0x88, (m) => m.push(true)], // NEWTRUE
  [0x89, (m) => m.push(false)], // NEWFALSE
  [0x4a, (m) => m.push(m.int32())], // BININT
  [0x4b, (m) => m.push(m.uint8())], // BININT1
  [0x4d, (m) => m.push(m.uint16())], // BININT2
  [0x8a, (m) => m.push(m.long())], // LONG1
  [0x47, (m) => m.push(m.float64())], // BINFLOAT
  [0x58, (m) => m.pushText(m.uint32())], // BINUNICODE
  [0x5d, (m) => m.pushMade(new PickleList(), COST.list)], // EMPTY_LIST
  [0x61, (m) => m.append([m.popValue()])], // APPEND
  [0x65, (m) => m.append(m.popToMark())], // APPENDS
  [0x29, (m) => m.push(EMPTY_TUPLE)], // EMPTY_TUPLE
  [0x85, (m) => m.tuple(1)], // TUPLE1
  [0x86, (m) => m.tuple(2)], // TUPLE2
  [0x87, (m) => m.tuple(3)], // TUPLE3
  [0x74, (m) => m.pushTuple(m.popToMark())], // TUPLE
  [0x7d, (m) => m.pushMade(new PickleDict(), COST.list)], // EMPTY_DICT
  [0x73, (m) => m.setItems(m.popMany(2))], // SETITEM
  [0x75, (m) => m.setItems(m.popToMark())], // SETITEMS
  [0x71, (m) => m.put(m.uint8())], // BINPUT
  [0x72, (m) => m.put(m.uint32())], // LONG_BINPUT
  [0x68, (m) => m.get(m.uint8())], // BINGET
  [0x6a, (m) => m.get(m.uint32())], // LONG_BINGET
  [0x63, (m) => m.global()], // GLOBAL
  [0x52, (m) => m.reduce()], // REDUCE
  [0x51, (m) => m.persistent()], // BINPERSID
  [0x62, (m) => m.build()], // BUILD
]);

/** Those that came with later protocols, and the first that has them. */
const LATER_READERS: ReadonlyMap<number, { since: number; read: (machine: Machine) => void }> = new Map([
  [0x42, { since: 3, read: (m) => m.pushBytes(m.uint32()) }], // BINBYTES
  [0x43, { since: 3, read: (m) => m.pushBytes(m.uint8()) }], // SHORT_BINBYTES
  [0x8c, { since: 4, read: (m) => m.pushText(m.uint8()) }], // SHORT_BINUNICODE
  [0x8d, { since: 4, read: (m) => m.pushText(m.uint64()) }], // BINUNICODE8
  [0x8e, { since: 4, read: (m) => m.pushBytes(m.uint64()) }], // BINBYTES8
  [0x93, { since: 4, read: (m) => m.stackGlobal() }], // STACK_GLOBAL
  [0x94, { since: 4, read: (m) => m.memoize() }], // MEMOIZE
  [0x95, { since: 4, read: (m) => void m.uint64() }], // FRAME
  [0x96, { since: 5, read: (m) => m.pushBytes(m.uint64()) }], // BYTEARRAY8
]);

const MOST_PROTOCOL = 5;

const STOP = 0x2e;

/** Names of instructions that a pickle may hold and torch.save does not write, for messages. */
const REFUSED: ReadonlyMap<number, string> = new Map([
  [0x62, 'BUILD'],
  [0x69, 'INST'],
  [0x6f, 'OBJ'],
  [0x81, 'NEWOBJ'],
  [0x92, 'NEWOBJ_EX'],
  [0x93, 'STACK_GLOBAL'],
  [0x94, 'MEMOIZE'],
  [0x82, 'EXT1'],
  [0x83, 'EXT2'],
  [0x84, 'EXT4'],
  [0x50, 'PERSID'],
  [0x8f, 'EMPTY_SET'],
  [0x95, 'FRAME'],
  [0x97, 'NEXT_BUFFER'],
]);

class Machine {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #maker: PickleMaker;
  readonly #budget: MemoryBudget;
  readonly #stack: Slot[] = [];
  /** The longest that it was. */
  #most = 0;
  readonly #memo = new Map<number, PickleValue>();
  #protocol = 2;

  constructor(bytes: Uint8Array, maker: PickleMaker, budget: MemoryBudget) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#maker = maker;
    this.#budget = budget;
  }

  run(): PickleValue {
    for (;;) {
      const code = this.uint8();
      if (code === STOP) return this.popValue();
      const later = LATER_READERS.get(code);
      const reader = READERS.get(code) ?? (later && this.#protocol >= later.since ? later.read : undefined);
      if (reader === undefined) throw refusedCode(code);
      reader(this);
    }
  }

  push(value: Slot): void {
    this.#stack.push(value);
    if (this.#stack.length <= this.#most) return;
    this.#most = this.#stack.length;
    this.#budget.spend(COST.stacked);
  }

  /** Pushes something that was made for it. */
  pushMade(value: Slot, cost: number): void {
    this.#budget.spend(cost);
    this.push(value);
  }

  pop(): Slot {
    const value = this.#stack.pop();
    if (value === undefined) throw new Error('the stack is empty');
    return value;
  }

  popValue(): PickleValue {
    const value = this.pop();
    if (value === MARK) throw new Error('a mark stands where a value belongs');
    return value;
  }

  popMany(count: number): PickleValue[] {
    const values = Array.from({ length: count }, () => this.popValue());
    return values.reverse();
  }

  popToMark(): PickleValue[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark === -1) throw new Error('there is no mark');
    const values = this.#stack.splice(mark) as PickleValue[];
    values.shift();
    return values;
  }

  #top(): PickleValue {
    const value = this.popValue();
    this.push(value);
    return value;
  }

  protocol(): void {
    const version = this.uint8();
    if (version < 2 || version > MOST_PROTOCOL) {
      throw new Error(`protocol ${version}; the protocols 2 to ${MOST_PROTOCOL} are read`);
    }
    this.#protocol = version;
  }

  tuple(count: number): void {
    this.pushTuple(this.popMany(count));
  }

  pushTuple(items: PickleValue[]): void {
    this.pushMade(new PickleTuple(items), COST.tuple + COST.place * items.length);
  }

  pushText(length: number): void {
    this.pushMade(this.text(length), COST.text + length);
  }

  pushBytes(length: number): void {
    const start = this.#take(length);
    const bytes = this.#bytes.slice(start, start + length);
    this.pushMade(new PickleBytes(bytes), COST.text + length);
  }

  stackGlobal(): void {
    const name = this.popValue();
    const module = this.popValue();
    if (typeof name !== 'string' || typeof module !== 'string') throw new Error('a global without a name');
    this.pushMade(this.#maker.global(module, name), COST.made);
  }

  memoize(): void {
    this.put(this.#memo.size);
  }

  /** Sets what something is made of: only NumPy's types have anything that matters. */
  build(): void {
    const made = this.#stack.at(-2);
    if (!(made instanceof NumpyType)) throw refusedCode(0x62);
    made.build(this.popValue());
  }

  append(values: PickleValue[]): void {
    const list = this.#top();
    if (!(list instanceof PickleList)) throw new Error('values are appended to what is not a list');
    this.#budget.spend(COST.place * values.length);
    list.add(values);
  }

  setItems(values: readonly PickleValue[]): void {
    const dict = this.#top();
    if (!(dict instanceof PickleDict)) throw new Error('keys are set in what is not a dict');
    if (values.length % 2 !== 0) throw new Error('a key has no value');
    for (let i = 0; i < values.length; i += 2) {
      const value = values[i]!;
      const key = typeof value === 'number' ? String(value) : value;
      if (typeof key !== 'string') throw new Error('a key of a dict is neither text nor a number');
      this.#budget.spend(dict.isEmpty ? COST.table + COST.entry : COST.entry);
      dict.set(key, values[i + 1]!);
    }
  }

  put(index: number): void {
    if (!this.#memo.has(index)) this.#budget.spend(COST.kept);
    this.#memo.set(index, this.#top());
  }

  get(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw new Error(`nothing was kept under ${index}`);
    this.push(value);
  }

  global(): void {
    this.pushMade(this.#maker.global(this.#line(), this.#line()), COST.made);
  }

  reduce(): void {
    const args = this.popValue();
    if (!(args instanceof PickleTuple)) throw new Error('a call without a tuple of arguments');
    this.pushMade(this.#maker.call(this.popValue(), args.items), 2 * COST.made);
  }

  persistent(): void {
    this.pushMade(this.#maker.persistent(this.popValue()), COST.made);
  }

  uint8(): number {
    return this.#bytes[this.#take(1)]!;
  }

  uint16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  uint32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  uint64(): number {
    return Number(this.#view.getBigUint64(this.#take(8), true));
  }

  int32(): number {
    return this.#view.getInt32(this.#take(4), true);
  }

  float64(): number {
    return this.#view.getFloat64(this.#take(8), false);
  }

  /** A whole number of up to 8 bytes, in two's complement. */
  long(): number | bigint {
    const length = this.uint8();
    if (length > 8) throw new Error(`a whole number of ${length} bytes; up to 8 are read`);
    const start = this.#take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[start + i]!);
    const signed = BigInt.asIntN(8 * length, value);
    return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
  }

  text(length: number): string {
    const start = this.#take(length);
    return Buffer.from(this.#bytes.subarray(start, start + length)).toString('utf8');
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.at);
    if (end === -1) throw new Error('it ends inside a name');
    const line = this.text(end - this.at);
    this.at = end + 1;
    return line;
  }

  #take(count: number): number {
    const start = this.at;
    if (!(start + count <= this.#bytes.length)) throw new Error('it ends inside an instruction');
    this.at = start + count;
    return start;
  }
}

function refusedCode(code: number): Error {
  const shown = `0x${code.toString(16).padStart(2, '0')}`;
  const known = REFUSED.get(code);
  const name = known === undefined ? shown : `${known} (${shown})`;
  return new Error(`the instruction ${name} is refused: torch.save writes none for tensors`);
}
