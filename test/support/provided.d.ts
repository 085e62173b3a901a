import "vitest";
import type { Site } from "../../src/db/places.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The configuration of this run's own Postgres and secrets. */
    variables: Record<string, string>;
    /** The site where this run's tenants are made, with its logins' connection strings; none is the shared one. */
    site: ({ site: Site } & Record<"app" | "courier" | "migrator" | "stage", string>) | null;
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
