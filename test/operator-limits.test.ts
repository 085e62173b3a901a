import { expect, it } from "vitest";
import { answered, newTenant, request } from "./support/client.ts";
import { asOperator, newOperator } from "./support/operators.ts";

// What is left of a tenant's limits, as an operator sees it.

type Limits = { data: { name: string; limit: number; remaining: number; reset: number }[] };

it("shows an operator what is left of a tenant's limits, and uses nothing of it", async () => {
  const [{ token, tenant }, viewer] = await Promise.all([newTenant(), newOperator("viewer")]);
  for (let spent = 0; spent < 3; spent++) await answered(200, request("GET", "/v1/me", { token }));
  const look = () => answered<Limits>(200, asOperator(viewer.token, "GET", `tenants/${tenant.id}/limits`));
  const minute = ({ data }: Limits) => data.find(({ name }) => name === "minute");
  const seen = minute(await look());
  expect(minute(await look())).toMatchObject({ remaining: seen?.remaining });
  const own = await answered<Limits>(200, request("GET", "/v1/tenant/limits", { token }));
  // The tenant's own question costs it a unit.
  expect(minute(own)?.remaining).toBe((seen?.remaining ?? 0) - 1);
  expect((seen?.limit ?? 0) - (seen?.remaining ?? 0)).toBe(3);
  expect(seen?.reset).toBeGreaterThan(0);
});

it("answers 404 for a tenant that is not there, and 401 to a tenant's own token", async () => {
  const [{ token, tenant }, viewer] = await Promise.all([newTenant(), newOperator("viewer")]);
  const unknown = `tenants/${crypto.randomUUID()}/limits`;
  expect((await asOperator(viewer.token, "GET", unknown)).status).toBe(404);
  expect((await asOperator(token, "GET", `tenants/${tenant.id}/limits`)).status).toBe(401);
  expect((await asOperator(undefined, "GET", `tenants/${tenant.id}/limits`)).status).toBe(401);
});
