/** How each subject is to be measured. */
export type Options = {
  rounds: number;
  connections: number;
  /** Of each measurement. */
  seconds: number;
  /** In the database, of a subject that fills it; undefined for its default. */
  rows: number | undefined;
  /** Which requests of `pipeline` and `profile`, and parts of `move`, to measure; empty for their defaults. */
  only: readonly string[];
  /** The folder of another checkout, for `beside`. */
  checkout: string | undefined;
  /** Tells whoever waits how far it is. */
  say: (line: string) => void;
};

/** The figures, and the same for people. */
export type Result = { data: object; text: string };

/** Measures one thing; what it starts, `bench` ends. */
export type Subject = (bench: AsyncDisposableStack, options: Options) => Promise<Result>;
