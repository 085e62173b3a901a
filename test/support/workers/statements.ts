import { neonConfig } from "@neondatabase/serverless";
import { afterAll } from "vitest";
import "../../../src/db/client.ts";
import { joinWithoutTenant, tenantPredicate } from "../tenant-predicate.ts";

// Reads every statement that the Worker sends in a tenant's name, in all tests: none names the tenant by hand, and none of
// the product's joins two tables by part of their key.

type Sent = { headers: Record<string, string>; body: string; deadline?: unknown };
type Statement = { query: string };

/** Whoever looks across tenants, in no tenant's context. */
const ACROSS = new Set(["partywall_identity", "partywall_operator"]);

const { fetchFunction: send } = neonConfig;
const offending = new Set<string>();

neonConfig.fetchFunction = (url: string, init: Sent) => {
  const role = new URL(init.headers["Neon-Connection-String"] ?? "").username;
  // What tests send by themselves has no deadline.
  if (init.deadline && !ACROSS.has(role)) {
    const { queries }: { queries: Statement[] } = JSON.parse(init.body);
    for (const { query } of queries) {
      if (tenantPredicate(query)) offending.add(`names its tenant: ${role}: ${query}`);
      // Of the control plane's tables not all have the tenant in their key.
      if (role === "partywall_app" && joinWithoutTenant(query))
        offending.add(`joins by part of a key: ${query}`);
    }
  }
  return send(url, init);
};

afterAll(() => {
  neonConfig.fetchFunction = send;
  if (offending.size > 0) throw new Error(`A statement by hand:\n${[...offending].join("\n")}`);
});
