import { and, desc, eq, gt, sql } from "drizzle-orm";
import * as v from "valibot";
import { factory } from "../context.ts";
import { violatedConstraint, type TenantDb } from "../db/client.ts";
import { apiKeys, ISSUED_ROLES, issuers, sessions, users } from "../db/schema.ts";
import { answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { nameSchemas, operation } from "../http/openapi.ts";
import { pageOf, PageQuery, Pager } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import { needs } from "../identity/identify.ts";
import { isIssuerUrl } from "../identity/issuer-url.ts";
import { Problem } from "../problem.ts";
import { teachTenant } from "../tenant/ask.ts";
import { GONE, type Floor } from "../tenant/credentials.ts";

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
const Domains = v.pipe(v.array(Domain), v.minLength(1), v.maxLength(MAX_ENTRIES));

const Issuer = v.object({
  id: v.string(),
  issuer: v.string(),
  audience: v.string(),
  role_claim: v.nullable(v.string()),
  role_map: v.record(v.string(), Role),
  default_role: v.nullable(Role),
  email_domains: v.array(v.string()),
  just_in_time: v.boolean(),
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
  created_at: issuers.created_at,
  updated_at: issuers.updated_at,
};
const versioned = { ...shown, version: issuers.version };

const isIssuer = (tenantId: string, id: string) => and(eq(issuers.tenant_id, tenantId), eq(issuers.id, id));

/** The sessions that the issuer vouched for and whose tokens may still be about, revoked ones as well. */
const vouchedFor = (tenantId: string, id: string) =>
  and(
    eq(sessions.tenant_id, tenantId),
    eq(sessions.issuer_id, id),
    gt(sessions.expires_at, sql`now() - interval '1 minute'`),
  );

const ended = (rows: { id: string }[]): Floor[] => rows.map(({ id }) => [id, GONE]);

/** Locks the issuer, so that an exchange that is under way is done, and its session seen, before what follows. */
const hold = (db: Queries, tenantId: string, id: string) =>
  db.select({ id: issuers.id }).from(issuers).where(isIssuer(tenantId, id)).for("update");

function refuse(error: unknown): never {
  const constraint = violatedConstraint(error);
  if (constraint === "issuers_issuer") throw new Problem("issuer_exists", { cause: error });
  // One of its users was made the tenant's only owner.
  if (constraint === "last_owner") throw new Problem("last_owner", { cause: error });
  throw error;
}

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
      const { tenantId } = c.get("caller");
      const values = { ...c.req.valid("json"), tenant_id: tenantId };
      const [[row]] = await c
        .get("identity")
        .write((db) => [db.insert(issuers).values(values).returning(versioned)])
        .catch(refuse);
      if (!row) throw new Error("the insert returned no row");
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
      const { tenantId } = c.get("caller");
      const { id } = c.req.valid("param");
      const { role_map, ...patch } = c.req.valid("json");
      // A merge patch goes into the map as well: null takes an entry, or all of them, away.
      const merged =
        role_map && sql`jsonb_strip_nulls(${issuers.role_map} || ${JSON.stringify(role_map)}::jsonb)`;
      const [[row], [there], revoked] = await c.get("identity").write((db) => [
        db
          .update(issuers)
          .set({
            ...patch,
            ...(role_map !== undefined && { role_map: merged ?? {} }),
            updated_at: sql`now()`,
          })
          .where(and(isIssuer(tenantId, id), ifMatch(issuers, c.req.valid("header"))))
          .returning(versioned),
        db.select({ id: issuers.id }).from(issuers).where(isIssuer(tenantId, id)),
        // Only if this transaction has written the issuer's row.
        db
          .update(sessions)
          .set({ revoked_at: sql`coalesce(revoked_at, now())` })
          .where(
            and(
              vouchedFor(tenantId, id),
              sql`exists (select from issuers i where i.id = ${id} and i.xmin = pg_current_xact_id()::xid)`,
            ),
          )
          .returning({ id: sessions.id }),
      ]);
      if (!row) throw new Problem(there ? "precondition_failed" : "not_found");
      await teachTenant(c.env.TENANT, tenantId, { floors: ended(revoked) });
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
      const { tenantId } = c.get("caller");
      const { id } = c.req.valid("param");
      const [, revoked, keys, [gone], [there]] = await c
        .get("identity")
        .write((db) => [
          hold(db, tenantId, id),
          db.select({ id: sessions.id }).from(sessions).where(vouchedFor(tenantId, id)),
          db
            .select({ id: apiKeys.id })
            .from(apiKeys)
            .innerJoin(users, eq(users.id, apiKeys.created_by))
            .where(and(eq(apiKeys.tenant_id, tenantId), eq(users.issuer_id, id))),
          db
            .delete(issuers)
            .where(and(isIssuer(tenantId, id), ifMatch(issuers, c.req.valid("header"))))
            .returning({ id: issuers.id }),
          db.select({ id: issuers.id }).from(issuers).where(isIssuer(tenantId, id)),
        ])
        .catch(refuse);
      if (!gone) throw new Problem(there ? "precondition_failed" : "not_found");
      await teachTenant(c.env.TENANT, tenantId, {
        floors: ended(revoked),
        deletedKeys: keys.map((key) => key.id),
      });
      return c.body(null, 204);
    },
  );
