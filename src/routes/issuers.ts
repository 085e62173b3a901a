import { and, desc, eq, sql } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { ISSUED_ROLES } from "../authority.ts";
import { factory } from "../context.ts";
import { violatedConstraint } from "../db/client.ts";
import { issuers } from "../db/schema.ts";
import { needs, signedIn } from "../edge/needs.ts";
import { answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { invalidToken } from "../identity/bearer.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { pageOf, PageQuery, Pager } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import { holdActing, isActing, refuseManaging, stands, vouchedBy } from "../identity/acting.ts";
import { endedLately, membersChanged, readEnded } from "../identity/ended.ts";
import { isIssuerUrl } from "../identity/issuer-url.ts";
import { listOf } from "../list-of.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { teachTenant } from "../tenant/stub.ts";

type Queries = Parameters<Parameters<TenantDb["write"]>[0]>[0];

const tag = "Issuers";
const MAX_ENTRIES = 100;

const IssuerUrl = v.pipe(
  v.string(),
  v.maxLength(500),
  v.url(),
  v.check(isIssuerUrl, "the https URL of a public host, as the issuer itself spells it"),
);
const Name = v.pipe(v.string(), v.minLength(1), v.maxLength(255));
const Role = v.picklist(ISSUED_ROLES);
const Domain = v.pipe(
  v.string(),
  v.maxLength(253),
  v.regex(/^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$/, "a domain in lower case"),
);
const RoleMap = v.pipe(v.record(Name, Role), v.maxEntries(MAX_ENTRIES));
const Domains = listOf(Domain, 1, MAX_ENTRIES);

const Issuer = v.object({
  id: v.string(),
  issuer: v.string(),
  audience: v.string(),
  role_claim: v.nullable(v.string()),
  role_map: v.record(v.string(), Role),
  default_role: v.nullable(Role),
  email_domains: v.array(v.string()),
  just_in_time: v.boolean(),
  registered_by: v.string(),
  status: v.picklist(["active", "suspended"]),
  created_at: v.string(),
  updated_at: v.string(),
});
const rules = {
  role_claim: v.optional(v.nullable(Name)),
  role_map: v.optional(RoleMap),
  default_role: v.optional(v.nullable(Role)),
  email_domains: Domains,
  just_in_time: v.optional(v.boolean()),
};
const NewIssuer = v.strictObject({ issuer: IssuerUrl, audience: Name, ...rules });
// Its users are this issuer's, by the subjects that it gave them: another issuer is another registration.
const IssuerPatch = v.partial(
  v.strictObject({
    ...rules,
    role_map: v.nullable(v.pipe(v.record(Name, v.nullable(Role)), v.maxEntries(MAX_ENTRIES))),
  }),
);
nameSchemas({ Issuer, NewIssuer, IssuerPatch });

const shown = {
  id: issuers.id,
  issuer: issuers.issuer,
  audience: issuers.audience,
  role_claim: issuers.role_claim,
  role_map: issuers.role_map,
  default_role: issuers.default_role,
  email_domains: issuers.email_domains,
  just_in_time: issuers.just_in_time,
  registered_by: issuers.registered_by,
  status: sql<
    "active" | "suspended"
  >`case when ${issuers.suspended_at} is null then 'active' else 'suspended' end`,
  created_at: issuers.created_at,
  updated_at: issuers.updated_at,
};
const versioned = { ...shown, version: issuers.version };

const isIssuer = (tenantId: string, id: string) => and(eq(issuers.tenant_id, tenantId), eq(issuers.id, id));

/** Locks the issuer, so that an exchange that is under way is done, and its session seen, before what follows. */
const hold = (db: Queries, tenantId: string, id: string) =>
  db.select({ id: issuers.id }).from(issuers).where(isIssuer(tenantId, id)).for("update");

function refuse(error: unknown): never {
  if (violatedConstraint(error) === "issuers_issuer") throw new Problem("issuer_exists", { cause: error });
  if (violatedConstraint(error) === "role_map_size") throw tooLargeMap();
  // One of its users is an owner.
  return refuseManaging(error);
}

const tooLargeMap = () =>
  new Problem("invalid_input", {
    errors: [
      {
        pointer: "/role_map",
        detail: `The map would have more than ${MAX_ENTRIES} entries, or more than 16 KiB.`,
      },
    ],
  });

/** The OIDC issuers that the tenant trusts to say who its members are. */
export const issuerRoutes = factory
  .createApp()
  .get(
    "/",
    operation({
      summary: "List trusted issuers, newest first",
      tag,
      answers: { 200: pageOf(Issuer) },
    }),
    needs("tenant:write"),
    valid("query", PageQuery),
    async (c) => {
      const { tenantId } = c.get("caller");
      const pager = new Pager(c.req.valid("query"), tenantId, c.req.path);
      const [rows] = await c.get("identity").read((db) => [
        db
          .select(shown)
          .from(issuers)
          .where(and(eq(issuers.tenant_id, tenantId), pager.after(issuers)))
          .orderBy(desc(issuers.created_at), desc(issuers.id))
          .limit(pager.rows),
      ]);
      return c.json(pager.page(rows));
    },
  )
  .post(
    "/",
    operation({
      summary: "Trust an issuer",
      tag,
      answers: { 201: Issuer },
      problems: ["issuer_exists"],
    }),
    needs("tenant:write"),
    valid("json", NewIssuer),
    async (c) => {
      const caller = signedIn(c.get("caller"));
      const { tenantId } = caller;
      const { issuer, audience, role_claim, role_map = {}, ...trusted } = c.req.valid("json");
      const id = uuidv7();
      const [acting, , [row]] = await c
        .get("identity")
        .write((db) => [
          db.execute(holdActing(caller)),
          db.execute(sql`
            insert into issuers (id, tenant_id, issuer, audience, role_claim, role_map, default_role, email_domains,
              just_in_time, registered_by, vouched_by)
            select ${id}::uuid, a.tenant_id, ${issuer}, ${audience}, ${role_claim ?? null},
              ${JSON.stringify(role_map)}::jsonb, ${trusted.default_role ?? null},
              ${sql.param(trusted.email_domains, issuers.email_domains)}::text[], ${trusted.just_in_time ?? false},
              a.user_id, ${vouchedBy(caller)} from memberships a where ${isActing(caller)}`),
          db.select(versioned).from(issuers).where(isIssuer(tenantId, id)),
        ])
        .catch(refuse);
      if (acting.rows.length === 0) throw invalidToken();
      if (!row) throw new Error("the insert made no row");
      c.header("Location", `/v1/issuers/${row.id}`);
      return answerRow(c, row, 201);
    },
  )
  .get(
    "/:id",
    operation({ summary: "A trusted issuer", tag, answers: { 200: Issuer }, problems: ["not_found"] }),
    needs("tenant:write"),
    valid("param", ById),
    async (c) => {
      const { tenantId } = c.get("caller");
      const { id } = c.req.valid("param");
      const [[row]] = await c
        .get("identity")
        .read((db) => [db.select(versioned).from(issuers).where(isIssuer(tenantId, id))]);
      if (!row) throw new Problem("not_found");
      return answerRow(c, row);
    },
  )
  .patch(
    "/:id",
    operation({
      summary: "Change what an issuer is trusted with (merge patch); ends the sessions that it vouched for",
      tag,
      answers: { 200: Issuer },
      problems: ["not_found", "precondition_failed"],
    }),
    needs("tenant:write"),
    valid("param", ById),
    valid("header", IfMatch),
    valid("json", IssuerPatch),
    async (c) => {
      const caller = signedIn(c.get("caller"));
      const { tenantId } = caller;
      const { id } = c.req.valid("param");
      const { role_map, ...patch } = c.req.valid("json");
      // A merge patch goes into the map as well: null takes an entry, or all of them, away.
      const merged =
        role_map && sql`jsonb_strip_nulls(${issuers.role_map} || ${JSON.stringify(role_map)}::jsonb)`;
      const {
        within: [acting, [row], [there], ended],
        after: [changed],
      } = await c
        .get("identity")
        .writeAround({
          within: (db) => [
            db.execute(holdActing(caller)),
            db
              .update(issuers)
              .set({
                ...patch,
                ...(role_map !== undefined && { role_map: merged ?? {} }),
                registered_by: caller.id,
                vouched_by: vouchedBy(caller),
                suspended_at: null,
                updated_at: sql`now()`,
              })
              .where(and(isIssuer(tenantId, id), stands(caller), ifMatch(issuers, c.req.valid("header"))))
              .returning(versioned),
            db.select({ id: issuers.id }).from(issuers).where(isIssuer(tenantId, id)),
            db.execute(endedLately(tenantId)),
          ],
          after: (db) => [db.execute(membersChanged)],
        })
        .catch(refuse);
      if (acting.rows.length === 0) throw invalidToken();
      await teachTenant(tenantId, readEnded(ended, changed));
      if (!row) throw new Problem(there ? "precondition_failed" : "not_found");
      return answerRow(c, row);
    },
  )
  .delete(
    "/:id",
    operation({
      summary: "Trust an issuer no longer; deletes its users and ends the sessions that it vouched for",
      tag,
      answers: { 204: null },
      problems: ["not_found", "last_owner", "precondition_failed"],
    }),
    needs("tenant:write"),
    valid("param", ById),
    valid("header", IfMatch),
    async (c) => {
      const caller = signedIn(c.get("caller"));
      const { tenantId } = caller;
      const { id } = c.req.valid("param");
      const {
        within: [acting, , [gone], [there], ended],
        after: [changed],
      } = await c
        .get("identity")
        .writeAround({
          within: (db) => [
            db.execute(holdActing(caller)),
            hold(db, tenantId, id),
            db
              .delete(issuers)
              .where(and(isIssuer(tenantId, id), stands(caller), ifMatch(issuers, c.req.valid("header"))))
              .returning({ id: issuers.id }),
            db.select({ id: issuers.id }).from(issuers).where(isIssuer(tenantId, id)),
            db.execute(endedLately(tenantId)),
          ],
          after: (db) => [db.execute(membersChanged)],
        })
        .catch(refuse);
      if (acting.rows.length === 0) throw invalidToken();
      await teachTenant(tenantId, readEnded(ended, changed));
      if (!gone) throw new Problem(there ? "precondition_failed" : "not_found");
      return c.body(null, 204);
    },
  );
