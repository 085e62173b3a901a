import { sql } from "drizzle-orm";
import * as v from "valibot";
import { ROLES } from "../authority.ts";
import { factory, timed } from "../context.ts";
import { identityDb, rethrow } from "../db/client.ts";
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

/**
 * Runs without a tenant's context, as it lists the user's other tenants. A session that an issuer of this tenant vouched
 * for does not see them. Tenants that the user cannot enter are left out.
 */
const ofUser = query(
  (db, { id, tenantId, sessionId }: Given<{ id: string; tenantId: string; sessionId: string }>) =>
    db.execute(sql`
      select u.email as name, json_agg(json_build_object('id', t.id, 'slug', t.slug, 'name', t.name,
        'role', m.role) order by t.slug) as tenants
      from users u join memberships m on m.user_id = u.id join tenants t on t.id = m.tenant_id
      where u.id = ${id} and (t.id = ${tenantId} or t.status = 'active' and exists (select from sessions
        where id = ${sessionId} and issuer_id is null)) group by u.id`),
);
const ofKey = query((db, { id }: Given<{ id: string }>) =>
  db.execute(sql`
    select k.name, json_agg(json_build_object('id', t.id, 'slug', t.slug, 'name', t.name,
      'role', 'viewer')) as tenants
    from api_keys k join tenants t on t.id = k.tenant_id where k.id = ${id} group by k.id`),
);

export const meRoutes = factory
  .createApp()
  .get(
    "/",
    operation("getMe", { summary: "Who is calling", tag: "Sessions", answers: { 200: Me } }),
    async (c) => {
      const caller = c.get("caller");
      const { id, tenantId } = caller;
      const started = performance.now();
      const { rows } = await identityDb
        .batch([
          caller.kind === "user" ? ofUser({ id, tenantId, sessionId: caller.sessionId }) : ofKey({ id }),
        ])
        .then(([found]) => found, rethrow);
      timed(c, "db", started);
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
