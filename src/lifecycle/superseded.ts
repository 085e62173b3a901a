import { NonRetryableError } from "cloudflare:workflows";

const MESSAGE = "another attempt works on this job, or it has ended";
/** All of its text: others' texts may have words of a client's in them. */
const TEXT = new RegExp(`^(\\w+: )*${MESSAGE}$`);

/** A newer attempt works on the job, or it has ended. Whoever finds out has nothing to do any more. */
export class Superseded extends NonRetryableError {
  constructor() {
    super(MESSAGE, "Superseded");
  }
}

/** Whether that is why a step failed: of an error that has come out of a step its name and message are left. */
export const isSuperseded = (error: unknown): boolean => TEXT.test(String(error));
