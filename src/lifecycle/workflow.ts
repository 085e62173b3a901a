import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from "cloudflare:workers";
import { runErasure } from "./erasure.ts";
import { runExport } from "./export.ts";
import { runImport } from "./import.ts";
import type { Job } from "./jobs.ts";
import { stepOf, type Do } from "./steps.ts";

const RUN: Record<Job["kind"], (job: Job, step: Do) => Promise<void>> = {
  export: runExport,
  import: runImport,
  erasure: runErasure,
};

/**
 * What is done to a tenant's content as a whole. A platform's retry may overlap the attempt before: each attempt that counts
 * claims the job anew, and what an earlier one still sends does nothing.
 */
export class Lifecycle extends WorkflowEntrypoint<Env, Job> {
  override async run({ payload }: Readonly<WorkflowEvent<Job>>, step: WorkflowStep): Promise<void> {
    await RUN[payload.kind](payload, stepOf(step));
  }
}
