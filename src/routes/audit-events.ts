import { and, eq } from "drizzle-orm";
import * as v from "valibot";
import { factory } from "../context.ts";
import { query, type Given } from "../db/query.ts";
import { ACTOR_TYPES, AUDIT_ACTIONS, auditEvents } from "../db/site.ts";
import { needs } from "../edge/needs.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { answerPage, newestFirst, pageFrom, pageOf, PageQuery, type PageStart } from "../http/page.ts";
import { valid } from "../http/valid.ts";
import { Uuid } from "../values.ts";

const Table = v.pipe(v.string(), v.regex(/^[a-z][a-z0-9_]{0,62}$/, "a table's name, such as projects"));
const AuditEvent = v.object({
  id: v.string(),
  /** `name` is an operator's: of `support`, one whom the tenant had let in. */
  actor: v.object({ type: v.picklist(ACTOR_TYPES), id: v.string(), name: v.nullable(v.string()) }),
  action: v.picklist(AUDIT_ACTIONS),
  resource: v.string(),
  resource_id: v.string(),
  changed: v.array(v.string()),
  request_id: v.nullable(v.string()),
  /** Why an operator of the service did it. */
  reason: v.nullable(v.string()),
  created_at: v.string(),
});
nameSchemas({ AuditEvent });
const ListQuery = v.object({
  ...PageQuery.entries,
  actor_id: v.optional(Uuid),
  resource: v.optional(Table),
  resource_id: v.optional(Uuid),
  action: v.optional(v.picklist(AUDIT_ACTIONS)),
});

const shown = {
  id: auditEvents.id,
  actor: { type: auditEvents.actor_type, id: auditEvents.actor_id, name: auditEvents.actor_name },
  action: auditEvents.action,
  resource: auditEvents.resource,
  resource_id: auditEvents.resource_id,
  changed: auditEvents.changed,
  request_id: auditEvents.request_id,
  reason: auditEvents.reason,
  created_at: auditEvents.created_at,
};

const FILTERS = ["actor_id", "resource", "resource_id", "action"] as const;
type Filters = Omit<v.InferOutput<typeof ListQuery>, keyof typeof PageQuery.entries>;

const list = query((db, values: Given<PageStart & Filters>) =>
  pageFrom(
    () => db.select(shown).from(auditEvents).$dynamic(),
    newestFirst(auditEvents),
    values,
    and(...FILTERS.map((name) => values[name] && eq(auditEvents[name], values[name]))),
  ),
);

/**
 * Who did what to which row. An event shows when its change commits, which is a little after its created_at: pages
 * that follow one another repeat and skip nothing that had committed when the first one was read.
 */
export const auditEventRoutes = factory.createApp().get(
  "/",
  operation("listAuditEvents", {
    summary: "List who changed what, newest first",
    tag: "Audit",
    answers: { 200: pageOf(AuditEvent) },
  }),
  needs("audit:read"),
  valid("query", ListQuery),
  (c) =>
    answerPage(c, async (page) => {
      const { found } = await c.get("db").read({ found: list(page) });
      return found;
    }),
);
