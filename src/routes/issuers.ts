import * as v from "valibot";
import { ISSUED_ROLES } from "../authority.ts";
import { factory } from "../context.ts";
import { query, type Given } from "../db/query.ts";
import { issuers } from "../db/control.ts";
import { needs, recently, signedIn } from "../edge/needs.ts";
import { answerNew, answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { answerPage, newestFirst, pageFrom, pageOf, PageQuery, type PageStart } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import { isIssuerUrl } from "../identity/issuer-url.ts";
import {
  changeIssuer,
  createIssuer,
  deleteIssuer,
  findIssuer,
  MAX_ENTRIES,
  shownIssuer,
} from "../identity/issuers.ts";
import { listOf } from "../list-of.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";

const tag = "Issuers";

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

const list = query((db, page: Given<PageStart>) =>
  pageFrom(() => db.select(shownIssuer).from(issuers).$dynamic(), newestFirst(issuers), page),
);

/** The OIDC issuers that the tenant trusts to say who its members are. */
export const issuerRoutes = factory
  .createApp()
  .get(
    "/",
    operation("listIssuers", {
      summary: "List trusted issuers, newest first",
      tag,
      answers: { 200: pageOf(Issuer) },
    }),
    needs("tenant:write"),
    valid("query", PageQuery),
    (c) =>
      answerPage(c, async (page) => {
        const { found } = await c.get("account").read({ found: list(page) });
        return found;
      }),
  )
  .post(
    "/",
    operation("createIssuer", {
      summary: "Trust an issuer",
      tag,
      made: Issuer,
      problems: ["issuer_exists", "step_up_required"],
    }),
    needs("tenant:write"),
    valid("json", NewIssuer),
    async (c) => {
      const caller = recently(c.get("caller"));
      return answerNew(c, await createIssuer(c.get("account"), caller, c.req.valid("json")));
    },
  )
  .get(
    "/:id",
    operation("getIssuer", { summary: "A trusted issuer", tag, row: Issuer, problems: ["not_found"] }),
    needs("tenant:write"),
    valid("param", ById),
    async (c) => {
      const { id } = c.req.valid("param");
      return answerRow(c, await findIssuer(c.get("account"), id));
    },
  )
  .patch(
    "/:id",
    operation("updateIssuer", {
      summary: "Change what an issuer is trusted with (merge patch); ends the sessions that it vouched for",
      tag,
      row: Issuer,
      problems: ["not_found", "precondition_failed", "step_up_required"],
    }),
    needs("tenant:write"),
    valid("param", ById),
    valid("header", IfMatch),
    valid("json", IssuerPatch),
    async (c) => {
      const caller = recently(c.get("caller"));
      const { id } = c.req.valid("param");
      const only = ifMatch(issuers, c.req.valid("header"));
      return answerRow(c, await changeIssuer(c.get("account"), caller, id, c.req.valid("json"), only));
    },
  )
  .delete(
    "/:id",
    operation("deleteIssuer", {
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
      const only = ifMatch(issuers, c.req.valid("header"));
      await deleteIssuer(c.get("account"), caller, c.req.valid("param").id, only);
      return c.body(null, 204);
    },
  );
