/**
 * Recorded loads, read step by step. Every reader of a format gives one, whatever its file looks like: a step
 * holds the loads of logical experts, already added over ranks, in layers counted from 0 that all have
 * experts.
 */
export interface LoadRecording {
  /** Name of the format it was read as, such as `npy`. */
  readonly format: string;
  readonly numLayers: number;
  readonly numLogicalExperts: number;
  /** How many steps there are, or undefined where only reading to the end shows it. */
  readonly numSteps: number | undefined;
  /**
   * Size of the files behind it, in bytes: what a progress bar counts against {@link RecordedStep.bytesRead}.
   */
  readonly numBytes: number;
  /**
   * The model's own numbers of the layers, ascending, where the file has them: TensorRT-LLM counts all
   * layers of the model, and SGLang's rows of dense layers, which are left out, count too. Placements are
   * written back under them.
   */
  readonly layerNumbers?: readonly number[];
  /**
   * What a reader had to assume, or left out, one sentence each: for people. Some is known only when all was
   * read, and is added then.
   */
  readonly notes: readonly string[];
  /** The type of the file's numbers, where it has one: `int32`. */
  readonly numberType?: string;
  /**
   * Where steps have loads by the rank that tokens are on: how many ranks there were. See
   * {@link RecordedStep.sourceLoads}.
   */
  readonly numSourceRanks?: number;
  /** The routes behind the steps, where the file holds routes and not loads. */
  readonly routes?: RecordedRoutes;
  /**
   * True where a checksum of all steps together is looked at when all are read: in .npz and .pt. Reading a
   * part of the steps cannot look at it. The records of SGLang have one each, which every reading looks at.
   */
  readonly hasChecksums?: boolean;
  /**
   * The steps from `from` to before `to` (all of them when left out), in order. Reads on as the caller asks
   * for more, and may be called again to read from the beginning. Where the file has checksums, they are
   * looked at before the last step is handed out: the steps before it were not checked when they were.
   *
   * The files are opened when the first step is asked for, and closed when the steps end: at the last one, at
   * an error, or when the loop over them is left. An iterator that is used by hand and dropped in the middle
   * keeps its file open until {@link close}.
   *
   * @throws EplbError `EPLB_CLOSED` when the recording is closed; while iterating, EplbError and its
   *   subclasses for a file that turns out broken, with the place in the text
   */
  steps(range?: StepRange): AsyncIterable<RecordedStep>;
  /**
   * Ends all reading and closes the files. Nothing can be read any more: `EPLB_CLOSED`. Does nothing the
   * second time.
   */
  close(): Promise<void>;
  /** {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A recording as the reader of its format gives it. `close` gives its files back, and what is read later
 * opens them again.
 */
export interface StoredRecording extends Omit<LoadRecording, typeof Symbol.asyncDispose | 'notes'> {
  /** One list for good: what is known only when all was read is added to it then. */
  readonly notes: string[];
}

/** Adds the notes that a list does not have yet. */
export function addNotes(notes: string[], more: readonly string[]): void {
  for (const note of more) if (!notes.includes(note)) notes.push(note);
}

/** Half-open range of steps or tokens. */
export interface StepRange {
  readonly from?: number;
  readonly to?: number;
}

/** One recorded step. */
export interface RecordedStep {
  /** Its number in the recording, from 0. */
  readonly step: number;
  /**
   * [layers x logical], finite and not negative. The reader's own: valid until the next step is asked for.
   */
  readonly loads: Float32Array;
  /**
   * [layers x ranks x logical], where the recording has them: `loads` by the rank that the tokens were on,
   * finite and not negative. Valid as long as `loads`.
   */
  readonly sourceLoads?: Float32Array;
  /** Bytes of the files read so far. */
  readonly bytesRead: number;
}

/** Recorded routes: which experts every token was sent to. */
export interface RecordedRoutes {
  readonly numTokens: number;
  readonly topK: number;
  /** Tokens that one step of the recording adds up. */
  readonly tokensPerStep: number;
  /** Runs of tokens from `from` to before `to`, in order; a run is valid until the next is asked for. */
  read(range?: StepRange): AsyncIterable<RouteRun>;
}

/** A run of tokens. */
export interface RouteRun {
  /** The number of its first token. */
  readonly firstToken: number;
  readonly numTokens: number;
  /** [tokens x layers x topK], ids checked. 65,535 stands for no expert, which files say as -1. */
  readonly ids: Uint16Array;
}
