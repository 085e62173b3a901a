import { NonRetryableError } from "cloudflare:workflows";

/** A newer attempt works on the job, or it has ended. Whoever finds out has nothing to do any more. */
export class Superseded extends NonRetryableError {
  constructor() {
    super("another attempt works on this job, or it has ended", "Superseded");
  }
}

/** Whether that is why a step failed: of an error that has come out of a step its name and message are left. */
export const isSuperseded = (error: unknown): boolean => String(error).includes("Superseded");
