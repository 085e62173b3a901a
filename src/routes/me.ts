import { sql } from "drizzle-orm";
import * as v from "valibot";
import { ROLES } from "../authority.ts";
import { factory, forRequest } from "../context.ts";
import { tenantsOfUser } from "../db/across-tenants.ts";
import { whileClosing } from "../edge/access.ts";
import { query, type Given } from "../db/query.ts";
import { invalidToken } from "../identity/bearer.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";

const Tenant = v.object({ id: v.string(), slug: v.string(), name: v.string() });
const OwnTenant = v.object({ ...Tenant.entries, role: v.picklist(ROLES) });
const Me = v.object({
  user: v.nullable(v.object({ id: v.string(), email: v.string() })),
  api_key: v.nullable(v.object({ id: v.string(), name: v.string() })),
  role: v.nullable(v.picklist(ROLES)),
  scopes: v.array(v.string()),
  tenant: v.union([OwnTenant, Tenant]),
  other_tenants: v.array(OwnTenant),
});
nameSchemas({ Me, TenantMembership: OwnTenant });

const Row = v.object({ name: v.string(), tenants: v.array(OwnTenant) });

const ofKey = query((db, { id }: Given<{ id: string }>) =>
  db.execute(sql`
    select k.name, json_build_array(json_build_object('id', t.id, 'slug', t.slug, 'name', t.name,
      'role', 'viewer')) as tenants
    from api_keys k join tenants t on t.id = k.tenant_id where k.id = ${id}`),
);

export const meRoutes = factory
  .createApp()
  .get(
    "/",
    operation("getMe", { summary: "Who is calling", tag: "Sessions", answers: { 200: Me } }),
    whileClosing,
    async (c) => {
      const caller = c.get("caller");
      const { id, tenantId } = caller;
      const rows =
        caller.kind === "user"
          ? await tenantsOfUser({ id, tenantId, sessionId: caller.sessionId }, forRequest(c))
          : (await c.get("account").read({ found: ofKey({ id }) })).found.rows;
      const [row] = v.parse(v.array(Row), rows);
      const own = row?.tenants.find((tenant) => tenant.id === tenantId);
      if (!row || !own) throw invalidToken();
      const { id: ownId, slug, name } = own;
      const tenant = { id: ownId, slug, name };
      const isUser = caller.kind === "user";
      return c.json({
        user: isUser ? { id, email: row.name } : null,
        api_key: isUser ? null : { id, name: row.name },
        role: isUser ? caller.role : null,
        scopes: [...caller.scopes],
        tenant: isUser ? { ...tenant, role: caller.role } : tenant,
        other_tenants: row.tenants.filter((other) => other !== own),
      });
    },
  );
