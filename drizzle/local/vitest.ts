import type { TestProject } from "vitest/node";
import { type Stack, startStack } from "./stack.ts";

declare module "vitest" {
  interface ProvidedContext {
    neon: Pick<Stack, "endpoint" | "superuserUrl">;
  }
}

/** For Vitest's `globalSetup`: an empty database for the run, which `inject("neon")` names, and which ends with it. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stack = await startStack();
  project.provide("neon", { endpoint: stack.endpoint, superuserUrl: stack.superuserUrl });
  return () => stack.stop();
}
