import { runInDurableObject } from "cloudflare:test";
import { expect, it } from "vitest";
import { newTenant, request, stage } from "./support/client.ts";
import { tenantObject } from "../src/tenant/stub.ts";

it("x", async () => {
  const ada = await newTenant();
  for (let i = 0; i < 5; i++) await request("GET", "/v1/projects", { token: ada.token });
  const object = tenantObject(ada.tenant.id);
  await runInDurableObject(object, async (_, state) => {
    console.log(await state.storage.getAlarm(), [...state.storage.kv.list()].map(([k]) => k));
  });
  await scheduler.wait(9000);
  await runInDurableObject(object, (instance) => instance.alarm?.());
  console.log(JSON.stringify(await stage`select * from control.usage_days where tenant_id = ${ada.tenant.id}`));
  console.log(JSON.stringify(await stage`select * from control.usage_months where tenant_id = ${ada.tenant.id}`));
  expect(1).toBe(1);
});
