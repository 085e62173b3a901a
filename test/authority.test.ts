import { describe, expect, it } from "vitest";
import { MANAGES, ROLES } from "../src/authority.ts";
import { answered, newMember, newTenant, request, type Row, type SignedIn, stage } from "./support/client.ts";
import { exchange, exchanged, expectRefused, newIssuer, trust } from "./support/issuer.ts";

// What a request may do is what its credential says, and nothing outlives the authority that granted it.

const identity = stage;
const domainOf = ({ user }: SignedIn) => user.email.slice(user.email.indexOf("@") + 1);
const status = async (token: string) => (await request("GET", "/v1/projects", { token })).status;
const change = (token: string, who: SignedIn, role: string) =>
  request("PATCH", `/v1/members/${who.user.id}`, { token, body: { role } });
const remove = (token: string, who: SignedIn) => request("DELETE", `/v1/members/${who.user.id}`, { token });
const roleOf = async ({ user, tenant }: SignedIn) => {
  const [row] =
    await identity`select role from memberships where user_id = ${user.id} and tenant_id = ${tenant.id}`;
  return row?.["role"] as string | undefined;
};

/** An access token of this member that an issuer vouched for, which this admin or owner registered. */
async function vouched(by: SignedIn, who: SignedIn): Promise<{ token: string; issuer: Row }> {
  const idp = newIssuer();
  const issuer = await trust(by, idp, { email_domains: [domainOf(who)] });
  return { token: await exchanged(await idp.sign({ email: who.user.email })), issuer };
}

describe("an owner's session that an issuer vouched for", () => {
  it("has no owner's rights on any path, and leaves as it came", async () => {
    const owner = await newTenant();
    const [admin, other] = [
      await newMember(owner.tenant.id, "admin"),
      await newMember(owner.tenant.id, "owner"),
    ];
    const { token } = await vouched(admin, owner);
    const invitation = { email: "new@x.test", role: "owner" };
    for (const refused of [
      await change(token, admin, "owner"),
      await change(token, owner, "admin"),
      await change(token, other, "viewer"),
      await remove(token, other),
      await remove(token, owner),
      await request("POST", "/v1/invitations", { token, body: invitation }),
      await request("DELETE", "/v1/tenant", { token }),
    ])
      expect(refused.status).toBe(403);
    expect(await Promise.all([owner, other, admin].map(roleOf))).toEqual(["owner", "owner", "admin"]);
    const { data } = await answered<{ data: object[] }>(
      200,
      request("GET", "/v1/audit-events?resource=memberships", { token: owner.token }),
    );
    expect(data).toEqual([]);
    // Their own session has them: the control.
    expect((await change(owner.token, admin, "owner")).status).toBe(200);
  });

  it("works within an admin's rights", async () => {
    const owner = await newTenant();
    const { token } = await vouched(owner, owner);
    const body = { name: "CI", scopes: ["projects:read"] };
    const { key } = await answered<{ key: string }>(201, request("POST", "/v1/api-keys", { token, body }));
    expect(await status(key)).toBe(200);
    const viewer = await newMember(owner.tenant.id, "viewer");
    expect((await change(token, viewer, "member")).status).toBe(200);
  });
});

describe("an owner", () => {
  it("is removed by no admin who deletes the issuer that they came from", async () => {
    const owner = await newTenant();
    const [admin, idp] = [await newMember(owner.tenant.id, "admin"), newIssuer()];
    const { id } = await trust(owner, idp);
    const token = await exchanged(await idp.sign({ email: "ann@acme.test" }));
    const { user } = await answered<SignedIn>(200, request("GET", "/v1/me", { token }));
    const ann = { ...owner, user };
    await answered(200, change(owner.token, ann, "owner"));

    const end = (by: SignedIn) => request("DELETE", `/v1/issuers/${id}`, { token: by.token });
    expect((await end(admin)).status).toBe(403);
    expect(await roleOf(ann)).toBe("owner");
    expect((await end(owner)).status).toBe(204);
    expect(await roleOf(ann)).toBeUndefined();
  });
});

describe("an invitation", () => {
  const invite = (by: SignedIn, role: string, email = `${crypto.randomUUID()}@x.test`) =>
    answered<Row>(201, request("POST", "/v1/invitations", { token: by.token, body: { email, role } }));
  const listed = async (by: SignedIn) =>
    (await answered<{ data: Row[] }>(200, request("GET", "/v1/invitations", { token: by.token }))).data.map(
      ({ id }) => id,
    );

  it.each([
    ["removed", (by: SignedIn, who: SignedIn) => remove(by.token, who), []],
    ["made a member", (by: SignedIn, who: SignedIn) => change(by.token, who, "member"), []],
    ["made an admin", (by: SignedIn, who: SignedIn) => change(by.token, who, "admin"), ["admin", "viewer"]],
  ] as const)("of an owner who is %s is worth what they may still give", async (_, end, left) => {
    const owner = await newTenant();
    const maker = await newMember(owner.tenant.id, "owner");
    const ids = new Map<string, string>();
    for (const role of ["viewer", "admin", "owner"] as const) ids.set(role, (await invite(maker, role)).id);
    const kept = await invite(owner, "owner");
    expect((await end(owner, maker)).ok).toBe(true);
    expect(await listed(owner)).toEqual([kept.id, ...left.map((role) => ids.get(role))]);
  });

  it("made in a session that an issuer vouched for ends with that issuer", async () => {
    const owner = await newTenant();
    const admin = await newMember(owner.tenant.id, "admin");
    const { token } = await vouched(admin, owner);
    const body = { email: "mole@x.test", role: "admin" };
    await answered(201, request("POST", "/v1/invitations", { token, body }));
    const { key } = await answered<{ key: string }>(
      201,
      request("POST", "/v1/api-keys", { token, body: { name: "mole", scopes: ["projects:read"] } }),
    );
    const own = await answered<{ key: string }>(
      201,
      request("POST", "/v1/api-keys", {
        token: owner.token,
        body: { name: "own", scopes: ["projects:read"] },
      }),
    );
    const second = await trust({ ...owner, token }, newIssuer());
    expect(await Promise.all([token, key, own.key].map(status))).toEqual([200, 200, 200]);
    await answered(204, remove(owner.token, admin));
    expect(await listed(owner)).toEqual([]);
    expect(await Promise.all([token, key, own.key].map(status))).toEqual([401, 401, 200]);
    expect(
      await answered(200, request("GET", `/v1/issuers/${second.id}`, { token: owner.token })),
    ).toMatchObject({ status: "suspended" });
  });
});

describe("an issuer", () => {
  it("whose registrar was removed admits nobody until an owner or admin confirms it", async () => {
    const owner = await newTenant();
    const [admin, idp] = [await newMember(owner.tenant.id, "admin"), newIssuer()];
    const { id } = await trust(admin, idp, { default_role: "admin" });
    const ann = await idp.sign({ sub: "ann", email: "ann@acme.test" });
    const token = await exchanged(ann);
    const path = `/v1/issuers/${id}`;
    const shown = () => answered(200, request("GET", path, { token: owner.token }));
    expect(await shown()).toMatchObject({ status: "active", registered_by: admin.user.id });

    await answered(200, change(owner.token, admin, "member"));
    expect(await status(token)).toBe(401);
    await expectRefused(exchange(ann), /suspended/);
    expect(await shown()).toMatchObject({ status: "suspended", registered_by: admin.user.id });
    // To be an admin again does not confirm it.
    await answered(200, change(owner.token, admin, "admin"));
    await expectRefused(exchange(ann), /suspended/);

    await answered(200, request("PATCH", path, { token: owner.token, body: {} }));
    expect(await shown()).toMatchObject({ status: "active", registered_by: owner.user.id });
    expect(await status(await exchanged(ann))).toBe(200);
  });

  it("has at most 100 entries in its map of roles, however many patches add them", async () => {
    const owner = await newTenant();
    const { id } = await trust(owner, newIssuer());
    const entries = (from: number) =>
      Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`g${from + index}`, "viewer"]));
    const patch = (role_map: object) =>
      request("PATCH", `/v1/issuers/${id}`, { token: owner.token, body: { role_map } });
    await answered(200, patch(entries(0)));
    const refused = await patch(entries(100));
    expect(refused.status).toBe(422);
    expect(await refused.json()).toMatchObject({ errors: [{ pointer: "/role_map" }] });
    // What takes away as much as it adds is no more than there was.
    await answered(200, patch({ g0: null, another: "member" }));
  });
});

it("Postgres has the same table of who manages whom", async () => {
  const rows = await identity`
    select acting, role, manages(acting, role) as may from unnest(${Object.keys(MANAGES)}::text[]) acting,
      unnest(${[...ROLES]}::text[]) role`;
  expect(rows).toHaveLength(Object.keys(MANAGES).length * ROLES.length);
  for (const { acting, role, may } of rows)
    expect({ acting, role, may }).toEqual({
      acting,
      role,
      may: MANAGES[acting as keyof typeof MANAGES].includes(role as never),
    });
});
