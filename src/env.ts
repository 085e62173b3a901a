import { env } from "cloudflare:workers";
import { readSettings } from "./settings.ts";

/** This deployment's configuration, checked when the Worker starts: a fault stops the start. */
export const settings = readSettings(env);

/** This deployment's bindings. They are read here and nowhere else, as the settings are. */
export const bindings: Bindings = { ...env };

type Bindings = Env & {
  /** Optional, in wrangler.toml: a flood guard by tenant in front of its object. */
  TENANT_GUARD?: RateLimit;
  /** Optional, in wrangler.toml: sends mail where MAIL_URL is cloudflare. */
  EMAIL?: SendEmail;
  /** Optional, in wrangler.toml: a datapoint for each request, by tenant, in Workers Analytics Engine. */
  USAGE?: AnalyticsEngineDataset;
};

/**
 * Whether a request may wait for what another one does: only where workerd resumes each in its own context. It does by
 * default; the Vitest pool switches that off.
 */
export const CAN_JOIN = Cloudflare.compatibilityFlags["handle_cross_request_promise_resolution"] === true;
