import { sql } from "drizzle-orm";
import * as v from "valibot";
import type { Context } from "hono";
import { ROLES } from "../authority.ts";
import type { Caller } from "../caller.ts";
import { factory, forRequest, type Edge } from "../context.ts";
import { changeProfile, personalData } from "../db/accounts.ts";
import { tenantsOfUser } from "../db/across-tenants.ts";
import { query, type Given } from "../db/query.ts";
import { whileClosing } from "../edge/access.ts";
import { costs } from "../edge/cost.ts";
import { slowGuessing } from "../edge/guessing.ts";
import { recently, signedIn } from "../edge/needs.ts";
import { valid } from "../http/valid.ts";
import { NewPassword, Password } from "../identity/account.ts";
import {
  accountOfCaller,
  askEmailChange,
  askVerification,
  changePassword,
  endAccount,
  notOwn,
  selfOf,
} from "../identity/accounts.ts";
import { invalidToken } from "../identity/bearer.ts";
import { ShownFactor } from "../identity/factors.ts";
import { MAIL_COST } from "../mail/mail.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";
import { Email } from "../values.ts";

const tag = "Account";

const Tenant = v.object({ id: v.string(), slug: v.string(), name: v.string() });
const OwnTenant = v.object({ ...Tenant.entries, role: v.picklist(ROLES) });
const User = v.object({
  id: v.string(),
  email: v.string(),
  name: v.nullable(v.string()),
  locale: v.nullable(v.string()),
  email_verified: v.boolean(),
});
const Me = v.object({
  user: v.nullable(User),
  email_verified: v.nullable(v.boolean()),
  api_key: v.nullable(v.object({ id: v.string(), name: v.string() })),
  role: v.nullable(v.picklist(ROLES)),
  scopes: v.array(v.string()),
  tenant: v.union([OwnTenant, Tenant]),
  other_tenants: v.array(OwnTenant),
  /** The operator who calls, where the tenant has let one in. */
  act: v.nullable(
    v.object({
      sub: v.string(),
      name: v.string(),
      session_id: v.string(),
      reason: v.string(),
      write: v.boolean(),
      expires_at: v.string(),
    }),
  ),
});

/** A language tag of BCP 47, as it is usually written. */
const Locale = v.pipe(
  v.string(),
  v.maxLength(35),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    try {
      const [locale] = Intl.getCanonicalLocales(dataset.value);
      if (locale) return locale;
    } catch {
      // Intl throws at what is no tag.
    }
    addIssue({ message: "a language tag such as en-GB" });
    return NEVER;
  }),
);
const MePatch = v.partial(
  v.strictObject({
    name: v.nullable(v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(100))),
    locale: v.nullable(Locale),
  }),
);
const PasswordChange = v.strictObject({ current_password: Password, password: NewPassword });
const EmailChange = v.strictObject({ email: Email, password: Password });
nameSchemas({ Me, TenantMembership: OwnTenant, MePatch, PasswordChange, EmailChange });

const Data = v.object({
  user: v.object({
    id: v.string(),
    email: v.string(),
    name: v.nullable(v.string()),
    locale: v.nullable(v.string()),
    email_verified_at: v.nullable(v.string()),
    created_at: v.string(),
  }),
  memberships: v.array(
    v.object({
      tenant_id: v.string(),
      slug: v.string(),
      name: v.string(),
      role: v.picklist(ROLES),
      created_at: v.string(),
    }),
  ),
  sessions: v.array(
    v.object({
      id: v.string(),
      tenant_id: v.string(),
      user_agent: v.string(),
      country: v.nullable(v.string()),
      created_at: v.string(),
      last_used_at: v.string(),
      expires_at: v.string(),
    }),
  ),
  factors: v.array(ShownFactor),
});
nameSchemas({ PersonalData: Data });

const OfUser = v.object({ user: User, tenants: v.array(OwnTenant) });
const OfKey = v.object({ name: v.string(), tenant: Tenant });

const ofKey = query((db, { id }: Given<{ id: string }>) =>
  db.execute(sql`
    select k.name, json_build_object('id', t.id, 'slug', t.slug, 'name', t.name) as tenant
    from api_keys k join tenants t on t.id = k.tenant_id where k.id = ${id}`),
);

const OfSupport = v.object({ reason: v.string(), expires_at: v.string(), tenant: Tenant });
const ofSupport = query((db, { sessionId }: Given<{ sessionId: string }>) =>
  db.execute(sql`
    select s.reason, to_json(s.expires_at) #>> '{}' as expires_at,
      json_build_object('id', t.id, 'slug', t.slug, 'name', t.name) as tenant
    from support_sessions s join tenants t on t.id = s.tenant_id where s.id = ${sessionId}`),
);

type Of<Kind> = Extract<Caller, { kind: Kind }>;

async function aboutUser(c: Context<Edge>, { id, tenantId, sessionId, role, scopes }: Of<"user">) {
  const rows = await tenantsOfUser({ id, tenantId, sessionId }, forRequest(c));
  const [row] = v.parse(v.array(OfUser), rows);
  const own = row?.tenants.find((tenant) => tenant.id === tenantId);
  if (!row || !own) throw invalidToken();
  return {
    user: row.user,
    email_verified: row.user.email_verified,
    api_key: null,
    role,
    scopes: [...scopes],
    tenant: { id: own.id, slug: own.slug, name: own.name, role },
    other_tenants: row.tenants.filter((other) => other !== own),
    act: null,
  };
}

async function aboutKey(c: Context<Edge>, { id, scopes }: Of<"api_key">) {
  const { found } = await c.get("account").read({ found: ofKey({ id }) });
  const [row] = v.parse(v.array(OfKey), found.rows);
  if (!row) throw invalidToken();
  return {
    user: null,
    email_verified: null,
    api_key: { id, name: row.name },
    role: null,
    scopes: [...scopes],
    tenant: row.tenant,
    other_tenants: [],
    act: null,
  };
}

async function aboutOperator(c: Context<Edge>, { id, name, sessionId, role, scopes }: Of<"support">) {
  const { found } = await c.get("account").read({ found: ofSupport({ sessionId }) });
  const [row] = v.parse(v.array(OfSupport), found.rows);
  if (!row) throw invalidToken();
  const { reason, tenant } = row;
  const expires_at = new Date(row.expires_at).toISOString();
  return {
    user: null,
    email_verified: null,
    api_key: null,
    role: null,
    scopes: [...scopes],
    tenant,
    other_tenants: [],
    act: { sub: id, name, session_id: sessionId, reason, write: role === "support_write", expires_at },
  };
}

function aboutCaller(c: Context<Edge>, caller: Caller) {
  if (caller.kind === "user") return aboutUser(c, caller);
  return caller.kind === "api_key" ? aboutKey(c, caller) : aboutOperator(c, caller);
}

const wrongPassword = () => new Problem("wrong_password");

/** Whoever calls, and their account, which is of all their tenants: it is theirs while one of those closes. */
export const meRoutes = factory
  .createApp()
  .get(
    "/",
    operation("getMe", { summary: "Who is calling", tag, answers: { 200: Me } }),
    whileClosing,
    async (c) => {
      return c.json(await aboutCaller(c, c.get("caller")));
    },
  )
  .patch(
    "/",
    operation("updateMe", {
      summary: "Change your name and language (merge patch)",
      tag,
      answers: { 200: Me },
    }),
    whileClosing,
    valid("json", MePatch),
    async (c) => {
      const caller = signedIn(c.get("caller"));
      const { name, locale } = c.req.valid("json");
      if ((await changeProfile(selfOf(caller), name, locale)).length === 0) throw notOwn();
      return c.json(await aboutUser(c, caller));
    },
  )
  .delete(
    "/",
    operation("deleteMe", {
      summary: "End your account: you leave your tenants, where what you made stays without a name",
      tag,
      answers: { 204: null },
      problems: ["owner_of_tenants", "step_up_required"],
    }),
    whileClosing,
    async (c) => {
      await endAccount(recently(c.get("caller")), c.get("requestId"));
      return c.body(null, 204);
    },
  )
  .get(
    "/data",
    operation("getMyData", {
      summary: "What is stored about you: your account, tenants, sessions and second factors",
      tag,
      answers: { 200: Data },
    }),
    whileClosing,
    async (c) => {
      const [data] = v.parse(v.array(Data), await personalData(selfOf(signedIn(c.get("caller")))));
      if (!data) throw notOwn();
      return c.json(data);
    },
  )
  .post(
    "/password",
    operation("changePassword", {
      summary: "Change your password; your other sessions end",
      tag,
      answers: { 204: null },
      problems: ["wrong_password"],
    }),
    whileClosing,
    valid("json", PasswordChange),
    async (c) => {
      const caller = signedIn(c.get("caller"));
      const account = await accountOfCaller(caller);
      const changed = await slowGuessing(c, account.email, () =>
        changePassword(caller, account, c.req.valid("json")),
      );
      if (!changed) throw wrongPassword();
      return c.body(null, 204);
    },
  )
  .post(
    "/email",
    operation("changeEmail", {
      summary: "Change your address, once the link that is mailed to the new one is opened",
      tag,
      answers: { 202: null },
      problems: ["wrong_password", "mail_not_set_up"],
    }),
    whileClosing,
    costs(MAIL_COST),
    valid("json", EmailChange),
    async (c) => {
      const caller = signedIn(c.get("caller"));
      const account = await accountOfCaller(caller);
      const asked = await slowGuessing(c, account.email, () =>
        askEmailChange(caller, account, c.req.valid("json")),
      );
      if (!asked) throw wrongPassword();
      return c.body(null, 202);
    },
  );

export const ownVerificationRoutes = factory.createApp().post(
  "/",
  operation("createEmailVerification", {
    summary: "Mail the link that confirms your address again",
    tag,
    answers: { 202: null },
    problems: ["mail_not_set_up", "no_address"],
  }),
  whileClosing,
  costs(MAIL_COST),
  async (c) => {
    await askVerification(signedIn(c.get("caller")));
    return c.body(null, 202);
  },
);
