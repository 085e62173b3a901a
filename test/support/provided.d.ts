import "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** The configuration of this run's own Postgres and secrets. */
    variables: Record<string, string>;
    /** Where test files that start processes keep what they share. */
    folder: string;
  }
}
