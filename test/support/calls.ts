import { vi } from "vitest";
import { settings } from "../../src/env.ts";
import { Tenant } from "../../src/index.ts";
import { request } from "./client.ts";

/** How objects write when their keys were used, and what was used: by themselves, whenever that is due, and for no request. */
const BY_THEMSELVES = /update api_keys k set last_used_at|select record_usage/;

/** What an object tells its tenant's site. */
const DELIVERY = "select receive";

/**
 * Counts calls of tenants' objects and requests to the database from now on, until vi.restoreAllMocks() or the next. What
 * the control plane tells a site counts by itself.
 */
export function countCalls(): { object: number; sql: number; site: number } {
  vi.restoreAllMocks();
  const calls = { object: 0, sql: 0, site: 0 };
  for (const method of ["admit", "learn", "receive", "relocate", "ping"] as const) {
    const original: (...args: never[]) => unknown = Tenant.prototype[method];
    vi.spyOn(Tenant.prototype, method).mockImplementation(function counted(this: Tenant, ...args: unknown[]) {
      calls.object += 1;
      return original.apply(this, args as never[]) as never;
    });
  }
  const fetching = globalThis.fetch;
  vi.spyOn(globalThis, "fetch").mockImplementation((input, init) => {
    const body = String(init?.body);
    if (String(input) === settings.NEON_FETCH_ENDPOINT && !BY_THEMSELVES.test(body))
      calls[body.includes(DELIVERY) ? "site" : "sql"] += 1;
    return fetching(input, init);
  });
  return calls;
}

/** What a request with this token is told, which calls it made, and how many errors were logged. */
export async function answerTo(token: string) {
  const calls = countCalls();
  const logged = vi.spyOn(console, "error");
  const response = await request("GET", "/v1/projects", { token });
  const { headers, status } = response;
  const problem = await response.json<Record<string, unknown>>();
  return {
    status,
    contentType: headers.get("content-type"),
    challenge: headers.get("www-authenticate")?.replace(/, error_description=.*/, ""),
    type: problem["type"],
    errors: logged.mock.calls.length,
    calls,
  };
}

/** The answer to a token that is worth nothing, which this isolate finds by itself. */
export const REFUSED = {
  status: 401,
  contentType: "application/problem+json",
  challenge: 'Bearer realm="partywall", error="invalid_token"',
  type: "/problems/unauthenticated",
  errors: 0,
  calls: { object: 0, sql: 0, site: 0 },
};
