import { neon } from "@neondatabase/serverless";
import { exports } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { drizzle } from "drizzle-orm/neon-http";
import { v7 as uuidv7 } from "uuid";
import { inject } from "vitest";
import { apiKeys, memberships, outboxHeads, tenants, users } from "../../src/db/control.ts";
import { Deadline } from "../../src/deadline.ts";
import { settings } from "../../src/env.ts";
import type { Role } from "../../src/authority.ts";
import { makeApiKey } from "../../src/identity/api-key.ts";
import { hashPassword } from "../../src/identity/password.ts";
import {
  granted,
  signIn as grantSession,
  signUp as grantTenant,
  type Grant,
  type Session,
} from "../../src/identity/session.ts";
import type { Policy } from "../../src/policy.ts";
import { updateTenant } from "../../src/tenant/stub.ts";
import { checkDocumented } from "./contract.ts";

export const HOST = "api.partywall.test";
export const PASSWORD = "correct horse battery staple";

export type RequestOptions = {
  token?: string | undefined;
  /** Sent as JSON; a string, bytes or a stream are sent as they are. */
  body?: unknown;
  headers?: Record<string, string>;
  /** The API's own unless given. */
  host?: string | undefined;
};

const isRaw = (body: unknown): body is string | Uint8Array | ReadableStream =>
  typeof body === "string" || body instanceof Uint8Array || body instanceof ReadableStream;

/**
 * A client's request through the whole Worker, from an IP address of its own unless it says one. Throws when the answer is
 * not one that /openapi.json describes.
 */
export async function request(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
  const { token, body, headers, host = HOST } = options;
  const response = await exports.default.fetch(
    new Request(`https://${host}${path}`, {
      method,
      headers: {
        "cf-connecting-ip": crypto.randomUUID(),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: isRaw(body) ? body : JSON.stringify(body) }),
    }),
  );
  await checkDocumented(method, path, response);
  return response;
}

/** The database as the role of this connection string, with no context of any kind. */
export const login = (
  name: `${"" | "ACCOUNT_" | "IDENTITY_" | "OPERATOR_" | "MIGRATION_" | "STAGE_"}DATABASE_URL`,
) => neon(inject("variables")[name] ?? "");

/** Sets the stage of a test: as a superuser, whom no wall binds, in the control plane. */
export const stage = login("STAGE_DATABASE_URL");
export const stageDb = drizzle(stage);

/** A request that a database is opened for, when there is none. */
export const noRequest = () => ({
  id: uuidv7(),
  deadline: new Deadline(),
  onAnswer: () => undefined,
});

/** Someone signed in: the session, and its access token at hand. */
export type SignedIn = Session & { token: string };

/** The answer's body as JSON. Throws, with the body, when the status is another. */
export async function answered<T>(status: number, response: Response | Promise<Response>): Promise<T> {
  const answer = await response;
  if (answer.status !== status)
    throw new Error(`expected ${status}, got ${answer.status}: ${await answer.text()}`);
  const text = await answer.text();
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

const ROOMY: Policy[] = [{ name: "minute", limit: 100_000, window: 60 }];

/** What the operator of the deployment may change of a tenant; in force when this returns. */
export const operate = (tenantId: string, change: object) =>
  answered(
    200,
    request("PATCH", `/v1/operator/tenants/${tenantId}`, {
      token: settings.OPERATOR_TOKEN,
      body: { reason: "the test says so", ...change },
    }),
  );

/** A hash that no password has: what does not test passwords does not wait 140 ms for each. */
const NO_PASSWORD = `scrypt$16384$8$5$${"A".repeat(43)}`;

/** The session, with its access token at hand; the tenant has these limits of its own, with null its plan's. */
async function entered(session: Session, limits: Policy[] | null): Promise<SignedIn> {
  if (limits) {
    // Not as an operator: that would be in the tenant's audit trail.
    await stageDb.update(tenants).set({ limits }).where(eq(tenants.id, session.tenant.id));
    await catchUp(session.tenant.id);
  }
  return { ...session, token: session.access_token };
}

/** The session that was granted. Throws when none was. */
export function sessionOf(grant: Grant | undefined): Promise<Session> {
  if (!grant) throw new Error("they cannot sign in, or the slug or the email is taken");
  return granted(grant);
}

const nobody = (email: string) => ({
  email,
  hashes: [NO_PASSWORD] as [string],
  isHost: false,
  from: { userAgent: "", country: null },
});

/** Has somebody confirm their address, as the link in a mail does. */
const confirmEmail = (email: string) =>
  stageDb.update(users).set({ email_verified_at: new Date() }).where(eq(users.email, email));
const newSlug = () => `t-${crypto.randomUUID().slice(0, 13)}`;

/**
 * A new tenant, with its owner signed in, made as sign-up makes them, but for a password, and their address confirmed. Its
 * limits are its own, and roomy; with null they are its plan's.
 */
export async function newTenant(limits: Policy[] | null = ROOMY): Promise<SignedIn> {
  const slug = newSlug();
  const email = `owner@${slug}.test`;
  const grant = await grantTenant({ ...nobody(email), slug, name: slug }, noRequest());
  await confirmEmail(email);
  return entered(await sessionOf(grant), limits);
}

/** A new tenant, with its owner signed in, made by sign-up: the owner's password is PASSWORD. */
export async function signedUp(limits: Policy[] | null = ROOMY): Promise<SignedIn> {
  const slug = newSlug();
  const body = { email: `owner@${slug}.test`, password: PASSWORD, tenant: { name: slug, slug } };
  return entered(await answered<Session>(201, request("POST", "/v1/signup", { body })), limits);
}

/** A session of somebody whose password is PASSWORD. */
export async function signIn(email: string, tenant?: string): Promise<SignedIn> {
  const session = await answered<Session>(
    201,
    request("POST", "/v1/sessions", { body: { email, password: PASSWORD, tenant } }),
  );
  return entered(session, null);
}

/** A session more of an owner of newTenant() or of a newMember(), in the tenant of this slug if they are in several. */
export async function anotherSession({ user }: SignedIn, slug?: string): Promise<SignedIn> {
  const grant = await grantSession({ ...nobody(user.email), slug });
  return entered(await sessionOf(grant), null);
}

/** Another user of the tenant, signed in; without a password unless one is given. */
export async function newMember(tenantId: string, role: Role, password?: string): Promise<SignedIn> {
  const [id, email] = [uuidv7(), `${crypto.randomUUID()}@members.test`];
  const hash = password === undefined ? NO_PASSWORD : await hashPassword(email, password);
  await stageDb.insert(users).values({ id, email, password_hash: hash, email_verified_at: new Date() });
  await stageDb.insert(memberships).values({ tenant_id: tenantId, user_id: id, role });
  const grant = await grantSession({ ...nobody(email), hashes: [hash], slug: undefined });
  return entered(await sessionOf(grant), null);
}

export type Row = { id: string };

export const newProject = (token: string, body: object = { name: "Roof" }): Promise<Row> =>
  answered<Row>(201, request("POST", "/v1/projects", { token, body }));

export const newTask = (token: string, project: string, body: object = { title: "Tiles" }): Promise<Row> =>
  answered<Row>(201, request("POST", `/v1/projects/${project}/tasks`, { token, body }));

/** Has the tenant's object confirm what changed in Postgres without it. */
export async function catchUp(tenantId: string): Promise<void> {
  const [row] = await stageDb
    .select({ head: outboxHeads.head })
    .from(outboxHeads)
    .where(eq(outboxHeads.tenant_id, tenantId));
  await updateTenant(tenantId, row?.head ?? 0);
}

/** An API key of the user's, as the tenant's object knows it. */
export async function storedKey(
  { tenant, user }: Session,
  change: Partial<typeof apiKeys.$inferInsert> = {},
): Promise<{ id: string; text: string }> {
  const { text, hash, hint } = makeApiKey(tenant.id);
  const id = uuidv7();
  const key = { id, tenant_id: tenant.id, name: "CI", scopes: ["members:read" as const], hash, hint };
  await stageDb.insert(apiKeys).values({ ...key, created_by: user.id, ...change });
  await catchUp(tenant.id);
  return { id, text };
}
