import "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** The configuration of this run's own Postgres and secrets. */
    variables: Record<string, string>;
    /** Where test files that start processes keep what they share. */
    folder: string;
  }
}

declare global {
  interface ImportMeta {
    /** Vite's: the modules whose path is like the pattern. */
    glob: <Module>(pattern: string, options: { eager: true }) => Record<string, Module>;
  }
}
