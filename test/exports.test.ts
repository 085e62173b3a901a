import { introspectWorkflow } from "cloudflare:test";
import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { bindings } from "../src/env.ts";
import {
  answered,
  newMember,
  newProject,
  newTask,
  newTenant,
  request,
  type SignedIn,
} from "./support/client.ts";

it("exports", async () => {
  const owner = await newTenant();
  const project = await newProject(owner.token);
  await newTask(owner.token, project.id);
  const made = await answered<{ id: string }>(
    202,
    request("POST", "/v1/tenant/exports", { token: owner.token }),
  );
  for (let i = 0; i < 100; i++) {
    const e = await answered<{ status: string }>(
      200,
      request("GET", `/v1/tenant/exports/${made.id}`, { token: owner.token }),
    );
    if (e.status === "done" || e.status === "failed") {
      console.log(JSON.stringify(e));
      break;
    }
    await scheduler.wait(100);
  }
  const a = await request("GET", `/v1/tenant/exports/${made.id}/archive`, { token: owner.token });
  console.log(a.status, a.headers.get("content-length"), await a.text().then((t) => t.length));
});
