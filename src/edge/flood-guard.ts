import { factory } from "../context.ts";
import { bindings } from "../env.ts";
import { Problem } from "../problem.ts";
import { networkOf } from "./client.ts";
import { strangersInFlight } from "./in-flight.ts";

/** All who show no token, as one. */
const STRANGERS = "strangers";

/**
 * Lets a network make only so many requests without a token (approximate), and all together only so many at once, before
 * any work is done for one. Every route without a token that asks Postgres, an object or anything else outside this
 * isolate begins with it.
 */
export const floodGuard = factory.createMiddleware(async function floodGuard(c, next) {
  const { success } = await bindings.FLOOD_GUARD.limit({ key: networkOf(c) });
  if (!success) throw new Problem("too_many_attempts", { headers: { "retry-after": "60" } });
  const deadline = c.get("deadline");
  strangersInFlight.enter(STRANGERS, deadline);
  try {
    await next();
  } finally {
    strangersInFlight.leave(STRANGERS, deadline);
  }
});
