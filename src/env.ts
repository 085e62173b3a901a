import { env } from "cloudflare:workers";
import { readSettings } from "./settings.ts";

/** This deployment's configuration, checked when the Worker starts: a fault stops the start. */
export const settings = readSettings(env);
