import { beforeEach, describe, expect, it } from "vitest";
import type { Session } from "../src/identity/session.ts";
import { answered, operate, PASSWORD, request, signedUp, type SignedIn } from "./support/client.ts";

describe.each(["closing", "suspended"] as const)("a tenant that is %s", (status) => {
  let first: SignedIn;
  let others: Session[];
  const signIn = (tenant?: string) =>
    request("POST", "/v1/sessions", { body: { email: first.user.email, password: PASSWORD, tenant } });
  const end = ({ tenant }: Session) => operate(tenant.id, { status });

  beforeEach(async () => {
    first = await signedUp();
    others = [];
    for (let index = 2; index <= 3; index++) {
      const slug = `${first.tenant.slug}-${index}`;
      const body = { email: first.user.email, password: PASSWORD, tenant: { name: slug, slug } };
      others.push(await answered<Session>(201, request("POST", "/v1/signup", { body })));
    }
  });

  it("is no choice at sign-in: the one tenant that is left is entered without a question", async () => {
    const [second, third] = others;
    await end(first);
    const asked = await answered<{ errors: object[] }>(422, signIn());
    const slugs = `${second?.tenant.slug}, ${third?.tenant.slug}`;
    expect(asked.errors).toEqual([{ pointer: "/tenant", detail: `Say which tenant: ${slugs}.` }]);
    if (third) await end(third);
    expect((await answered<Session>(201, signIn())).tenant).toEqual(second?.tenant);
    for (const slug of [first.tenant.slug, third?.tenant.slug])
      expect(await answered(403, signIn(slug))).toMatchObject({ type: `/problems/tenant_${status}` });
  });

  it("is said to be so at sign-in when there is no other", async () => {
    await Promise.all([first, ...others].map(end));
    expect(await answered(403, signIn())).toMatchObject({ type: `/problems/tenant_${status}` });
  });

  it("is not listed among one's other tenants, and cannot be switched to", async () => {
    const [second, third] = others;
    if (third) await end(third);
    const me = await answered<{ tenant: unknown; other_tenants: unknown }>(
      200,
      request("GET", "/v1/me", { token: first.token }),
    );
    expect(me.other_tenants).toEqual([second?.tenant]);
    expect(me.tenant).toEqual(first.tenant);
    const to = (tenant?: string) =>
      request("POST", "/v1/sessions/switch", { token: first.token, body: { tenant } });
    expect(await answered(403, to(third?.tenant.slug))).toMatchObject({ type: `/problems/tenant_${status}` });
    await answered(201, to(second?.tenant.slug));
  });
});
