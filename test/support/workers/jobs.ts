import { afterAll } from "vitest";
import { bindings } from "../../../src/env.ts";

// After each file, the Workflows that it has started come to their end: reset() would end them in the middle of a step.

const GOING_ON = new Set(["queued", "running", "waiting", "waitingForPause"]);

/** Those of this file whose end no test has waited for. */
export const started = new Map<string, WorkflowInstance>();

const { LIFECYCLE } = bindings;
const create = LIFECYCLE.create.bind(LIFECYCLE);
LIFECYCLE.create = async (options) => {
  const instance = await create(options);
  started.set(instance.id, instance);
  return instance;
};

afterAll(async () => {
  LIFECYCLE.create = create;
  await settled();
});

/** Returns once all of them have ended. */
export async function settled(): Promise<void> {
  for (const instance of started.values()) while (await isGoingOn(instance)) await scheduler.wait(20);
  started.clear();
}

/** Not one that a test has watched by other means: it is gone then. */
const isGoingOn = (instance: WorkflowInstance): Promise<boolean> =>
  instance.status().then(
    ({ status }) => GOING_ON.has(status),
    () => false,
  );
