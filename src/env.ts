import { env } from "cloudflare:workers";
import { readSettings } from "./settings.ts";

/** This deployment's configuration, checked when the Worker starts: a fault stops the start. */
export const settings = readSettings(env);

/**
 * Whether a request may wait for what another one does: only where workerd resumes each in its own context. It does by
 * default; the Vitest pool switches that off.
 */
export const CAN_JOIN = Cloudflare.compatibilityFlags["handle_cross_request_promise_resolution"] === true;
