/** The type of bodies in JSON. */
export const JSON_TYPE = 'application/json';

/** An answer: JSON of a value, or content of a type. */
export interface Reply {
  readonly status: number;
  readonly type: string;
  readonly content: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}
