import { runInDurableObject } from "cloudflare:test";
import { tenantObject } from "../../src/tenant/stub.ts";

/** A reason that the pool does not print once for each request it breaks. */
const SILENT_CRASH = "Instance dispose";

/** Ends the tenant's object as a crash does: its memory is lost, and so is what storage had not yet confirmed. */
export const crash = (tenantId: string): Promise<void> =>
  runInDurableObject(tenantObject(tenantId), (_, state) => state.abort(SILENT_CRASH)).catch(() => undefined);
