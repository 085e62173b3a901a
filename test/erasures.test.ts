import { createScheduledController, runInDurableObject } from "cloudflare:test";
import { createLocalJWKSet, importJWK, compactVerify, decodeProtectedHeader, type JSONWebKeySet } from "jose";
import { describe, expect, it } from "vitest";
import { bindings } from "../src/env.ts";
import worker from "../src/index.ts";
import { SHARED_SITE } from "../src/db/places.ts";
import { objectsOf } from "../src/lifecycle/archive.ts";
import { eraseTenantInTime } from "../src/lifecycle/closing.ts";
import { sweep } from "../src/lifecycle/sweep.ts";
import { tenantObject } from "../src/tenant/stub.ts";
import {
  answered,
  catchUp,
  newMember,
  newProject,
  newTask,
  newTenant,
  operate,
  PASSWORD,
  request,
  signedUp,
  signIn,
  stage,
  storedKey,
  type SignedIn,
} from "./support/client.ts";
import { foundAnywhere } from "./support/everywhere.ts";
import { ended, erase, exportTenant, operator } from "./support/lifecycle.ts";
import { AT_SITE, PLACE, SITE } from "./support/site.ts";

const tableOf = (row: string): string => row.split(":")[0] ?? "";
/** Where the tenant's id still stands, but for the operators' trail, which says what was done to which tenant. */
const leftOf = async (id: string) =>
  (await foundAnywhere(id)).map(tableOf).filter((table) => table !== "operator_events");

/** A tenant with something of everything, every text of which has the marker. */
async function furnished(marker: string): Promise<SignedIn> {
  const owner = await newTenant();
  const member = await newMember(owner.tenant.id, "admin");
  const leaver = await newMember(owner.tenant.id, "member");
  const project = await newProject(owner.token, { name: marker, description: marker });
  await newTask(owner.token, project.id, { title: marker, assignee_id: member.user.id });
  await request("POST", "/v1/projects", {
    token: owner.token,
    body: { name: marker },
    headers: { "idempotency-key": `"${marker}"` },
  });
  await storedKey(owner);
  await stage`insert into control.invitations (id, tenant_id, email, role, token_hash, invited_by, expires_at)
    values (gen_random_uuid(), ${owner.tenant.id}, ${`${marker}@x.test`}, 'member', '\\x00', ${owner.user.id}, now())`;
  await stage`insert into control.issuers (tenant_id, issuer, audience, email_domains, registered_by)
    values (${owner.tenant.id}, ${`https://${marker}.test`}, 'a', '{x.test}', ${owner.user.id})`;
  await answered(204, request("DELETE", `/v1/members/${leaver.user.id}`, { token: owner.token }));
  await exportTenant(owner.token);
  return owner;
}

const markerOf = () => `marker-${crypto.randomUUID().slice(0, 8)}`;

describe("an erasure", () => {
  it("does not begin when its tenant was restored since the time was up", async () => {
    const { tenant, token } = await newTenant();
    await answered(202, request("DELETE", "/v1/tenant", { token }));
    await stage`alter table control.tenants disable trigger change_status`;
    await stage`update control.tenants set closes_at = now() - interval '1 minute' where id = ${tenant.id}`;
    await stage`alter table control.tenants enable trigger change_status`;
    await answered(200, request("POST", "/v1/tenant/restore", { token }));
    await expect(eraseTenantInTime(tenant.id)).rejects.toMatchObject({ code: "tenant_state" });
    expect(await answered(200, request("GET", "/v1/tenant", { token }))).toMatchObject({ status: "active" });
  });

  it("goes to what a restore under way has kept, and another tenant's job with its id does not hold it up", async () => {
    const [{ tenant }, other] = await Promise.all([newTenant(), newTenant()]);
    await stage`insert into control.jobs (id, tenant_id, kind, source, target, epoch, token)
      values (${tenant.id}, ${other.tenant.id}, 'export', 'shared', 'shared', 1, 1)`;
    const job = crypto.randomUUID();
    await stage`insert into control.jobs (id, tenant_id, kind, source, target, epoch, token)
      select ${job}, id, 'restore', site, site, epoch, 1 from control.tenants where id = ${tenant.id}`;
    await erase(tenant.id);
    const [row] = await stage`select places from control.erasures where id = ${tenant.id}`;
    expect(row?.["places"]).toContainEqual(
      expect.objectContaining({ name: `undo-${job.replaceAll("-", "")}` }),
    );
  });

  it("leaves nothing of the tenant anywhere but in the ledger, the fence and the operators' trail", async () => {
    const marker = markerOf();
    const owner = await furnished(marker);
    const { id } = owner.tenant;
    const other = await newTenant();
    const kept = await newProject(other.token, { name: "kept" });
    await runInDurableObject(tenantObject(id), (_, state) => state.storage.put("more", marker));
    // As an export leaves it that has ended early.
    await AT_SITE.stage.query(
      `insert into ${PLACE.schema}.change_log (tenant, table_name, key, image) values ($1, 'projects', '{x}', $2)`,
      [id, marker],
    );

    await erase(id);
    expect(await foundAnywhere(marker)).toEqual([]);
    expect(await foundAnywhere(owner.user.email)).toEqual([]);
    expect((await leftOf(id)).toSorted()).toEqual(["erasures", "fences"]);
    expect((await bindings.ARCHIVES.list({ prefix: objectsOf(id) })).objects).toEqual([]);
    expect(await runInDurableObject(tenantObject(id), (_, state) => [...state.storage.kv.list()])).toEqual(
      [],
    );
    expect(await runInDurableObject(tenantObject(id), (_, state) => state.storage.getAlarm())).toBeNull();
    await answered(401, request("GET", "/v1/projects", { token: owner.token }));
    // Asking has not brought anything back.
    expect(await runInDurableObject(tenantObject(id), (_, state) => [...state.storage.kv.list()])).toEqual(
      [],
    );
    await answered(200, request("GET", `/v1/projects/${kept.id}`, { token: other.token }));
  });

  it("gives a receipt without personal data, which any library verifies with the public keys", async () => {
    const owner = await furnished(markerOf());
    const receipt = await erase(owner.tenant.id);
    const keys = await answered<JSONWebKeySet>(200, request("GET", "/.well-known/jwks.json"));
    const { payload, protectedHeader } = await compactVerify(receipt, createLocalJWKSet(keys));
    expect(protectedHeader.typ).toBe("erasure-receipt+jwt");
    const claims = JSON.parse(new TextDecoder().decode(payload)) as Record<string, unknown>;
    expect(claims).toMatchObject({
      sub: owner.tenant.id,
      erased: {
        [SITE.name]: { projects: 2, tasks: 1, members: 2, former_members: 1, idempotency_keys: 1 },
        control: { tenants: 1, memberships: 2, api_keys: 1, invitations: 1, issuers: 1, users: 2 },
      },
    });
    const until = (Date.parse(String(claims["backups_until"])) - Date.now()) / 86_400_000;
    expect(until).toBeGreaterThan(29.9);
    expect(JSON.stringify(claims)).not.toContain("@");
    // By WebCrypto alone, and worth nothing as an access token.
    const [header = "", body = "", signature = ""] = receipt.split(".");
    const jwk = keys.keys.find(({ kid }) => kid === decodeProtectedHeader(receipt).kid);
    const key = (await importJWK(jwk ?? {}, jwk?.alg ?? "")) as CryptoKey;
    const algorithm = jwk?.kty === "EC" ? { name: "ECDSA", hash: "SHA-256" } : { name: "Ed25519" };
    const signed = new TextEncoder().encode(`${header}.${body}`);
    expect(await crypto.subtle.verify(algorithm, key, Buffer.from(signature, "base64url"), signed)).toBe(
      true,
    );
    await answered(401, request("GET", "/v1/me", { token: receipt }));
    const { data } = await answered<{ data: object[] }>(200, operator("GET", "erasures"));
    expect(data).toContainEqual(expect.objectContaining({ id: owner.tenant.id, receipt }));
    await answered(404, request("GET", `/v1/erasures/${crypto.randomUUID()}`));
  });

  it("takes the people who are in no other tenant, and leaves the others where they are", async () => {
    const first = await signedUp();
    const slug = `${first.tenant.slug}-2`;
    const body = { email: first.user.email, password: PASSWORD, tenant: { name: slug, slug } };
    await answered(201, request("POST", "/v1/signup", { body }));
    const alone = await newMember(first.tenant.id, "member", PASSWORD);
    await erase(first.tenant.id);
    expect((await signIn(first.user.email)).tenant.slug).toBe(slug);
    await answered(
      401,
      request("POST", "/v1/sessions", { body: { email: alone.user.email, password: PASSWORD } }),
    );
    expect(await foundAnywhere(alone.user.email)).toEqual([]);
  });

  it("comes at the end of the grace period, and not before", async () => {
    const owner = await newTenant();
    const { id } = owner.tenant;
    await answered(202, request("DELETE", "/v1/tenant", { token: owner.token }));
    await sweep(Date.now());
    expect(await answered(200, request("GET", "/v1/tenant", { token: owner.token }))).toMatchObject({
      status: "closing",
    });
    await stage`alter table control.tenants disable trigger change_status`;
    await stage`update control.tenants set closes_at = now() where id = ${id}`;
    await stage`alter table control.tenants enable trigger change_status`;
    const controller = createScheduledController({ scheduledTime: new Date() });
    await worker.scheduled(controller);
    await ended(id);
    expect(await answered(200, request("GET", `/v1/erasures/${id}`))).toMatchObject({
      receipt: expect.any(String),
    });
    expect(await foundAnywhere(owner.user.email)).toEqual([]);
  });

  it("goes on after an instance that has ended, and ends whatever else is under way", async () => {
    const owner = await furnished(markerOf());
    const { id } = owner.tenant;
    // An export whose instance is gone, and then an erasure whose instance is gone.
    await stage`insert into control.jobs (id, tenant_id, kind, source, target, epoch, token)
      select gen_random_uuid(), ${id}, 'export', ${SITE.name}, ${SITE.name}, 1, 1 + max(token) from control.jobs where tenant_id = ${id}`;
    await stage`select control.begin_erasure(${id})`;
    await catchUp(id);
    await stage`update control.erasures set worked_at = now() - interval '1 hour' where id = ${id}`;
    const now = Date.now();
    await sweep(now);
    await ended(`${id}-${now}`);
    expect((await leftOf(id)).toSorted()).toEqual(["erasures", "fences"]);
  });

  it("is repeated for who came back from a backup", async () => {
    const owner = await newTenant();
    const { id } = owner.tenant;
    const [row] = await stage`select t::text as text from control.tenants t where id = ${id}`;
    await erase(id);
    await stage`delete from control.erasures where id = ${id}`;
    await stage.query(`insert into control.tenants select (r).* from (select $1::control.tenants as r) x`, [
      row?.["text"],
    ]);
    const now = Date.now();
    await sweep(now);
    await ended(`${id}-${now}`);
    expect(await answered(200, request("GET", `/v1/erasures/${id}`))).toMatchObject({
      receipt: expect.any(String),
    });
    expect(await stage`select from control.tenants where id = ${id}`).toEqual([]);
  });

  it("lets nothing in afterwards that comes late", async () => {
    const owner = await newTenant();
    await newProject(owner.token);
    await operate(owner.tenant.id, { status: "suspended" });
    await erase(owner.tenant.id);
    const [fence] = await AT_SITE.stage.query(
      `select mode, epoch from ${PLACE.schema}.fences where tenant = $1`,
      [owner.tenant.id],
    );
    expect(fence).toEqual({ mode: "closed", epoch: 0 });
  });

  it("reaches every place where the tenant ever was", async () => {
    const owner = await newTenant();
    const { id } = owner.tenant;
    await newProject(owner.token);
    // As a move leaves its rows for three days, closed.
    const isElsewhere = SITE.name !== SHARED_SITE.name;
    if (isElsewhere) {
      await stage`insert into public.projects (tenant_id, id, name, created_by) values (${id}, gen_random_uuid(), 'left behind', ${id})`;
      await stage`insert into public.fences (tenant, epoch, mode, token) values (${id}, 1, 'closed', 1)`;
      await stage`insert into control.jobs (id, tenant_id, kind, source, target, epoch, token, finished_at, outcome)
        values (gen_random_uuid(), ${id}, 'move', 'shared', ${SITE.name}, 1, 1, now(), 'done')`;
    }
    await erase(id);
    expect((await leftOf(id)).toSorted()).toEqual(["erasures", ...(isElsewhere ? ["fences"] : []), "fences"]);
  });
});
