import { eq, sql } from "drizzle-orm";
import * as v from "valibot";
import { factory, timed } from "../context.ts";
import { identityDb, rethrow } from "../db/client.ts";
import { memberships, ROLES, tenants, users } from "../db/schema.ts";
import { operation } from "../http/openapi.ts";
import { SCOPES } from "../identity/caller.ts";
import { Problem } from "../problem.ts";

const Tenant = v.object({ id: v.string(), slug: v.string(), name: v.string(), role: v.picklist(ROLES) });
const Me = v.object({
  user: v.object({ id: v.string(), email: v.string() }),
  role: v.picklist(ROLES),
  scopes: v.array(v.string()),
  tenant: Tenant,
  other_tenants: v.array(Tenant),
});

export const me = factory
  .createApp()
  .get("/", operation({ summary: "Who is calling", tag: "Sessions", answers: { 200: Me } }), async (c) => {
    const { userId, tenantId, role } = c.get("caller");
    const started = performance.now();
    const rows = await identityDb
      .select({
        email: users.email,
        id: tenants.id,
        slug: tenants.slug,
        name: tenants.name,
        role: memberships.role,
      })
      .from(memberships)
      .innerJoin(users, eq(users.id, memberships.user_id))
      .innerJoin(tenants, eq(tenants.id, memberships.tenant_id))
      .where(eq(memberships.user_id, userId))
      .orderBy(sql`${tenants.slug}`)
      .catch(rethrow);
    timed(c, "db", started);
    const mine = rows.map(({ id, slug, name, role: held }) => ({ id, slug, name, role: held }));
    const tenant = mine.find(({ id }) => id === tenantId);
    const [first] = rows;
    if (!first || !tenant) throw new Problem("unauthenticated");
    return c.json({
      user: { id: userId, email: first.email },
      role,
      scopes: [...SCOPES[role]],
      tenant,
      other_tenants: mine.filter((other) => other !== tenant),
    });
  });
