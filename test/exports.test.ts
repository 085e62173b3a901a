import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { SHARED_SITE } from "../src/db/places.ts";
import { bindings } from "../src/env.ts";
import { archiveOf, objectsOf } from "../src/lifecycle/archive.ts";
import { runExport } from "../src/lifecycle/export.ts";
import { takingTurns } from "../src/lifecycle/steps.ts";
import {
  answered,
  newMember,
  newProject,
  newTask,
  newTenant,
  operate,
  request,
  stage,
  storedKey,
  type SignedIn,
} from "./support/client.ts";
import {
  download,
  ended,
  erase,
  exportTenant,
  rowsIn,
  unzipped,
  type Exported,
} from "./support/lifecycle.ts";
import { newOperator } from "./support/operators.ts";
import { SITE } from "./support/site.ts";
import { end, enterTenant, setMode } from "./support/support.ts";

type Manifest = {
  format: number;
  instant: string;
  tenant: string;
  tables: {
    name: string;
    file: string;
    rows: number;
    bytes: number;
    sha256: string;
    columns: { name: string }[];
  }[];
  control: { name: string; file: string; rows: number; sha256: string }[];
};

describe("an export", () => {
  it("has every row of the tenant, as NDJSON, with a manifest that says what each file comes to", async () => {
    const [owner, other] = await Promise.all([newTenant(), newTenant()]);
    const member = await newMember(owner.tenant.id, "member");
    const project = await newProject(owner.token, { name: 'Röof\n\u2028 "quoted"' });
    const task = await newTask(owner.token, project.id, { title: "Tiles" });
    await newProject(other.token, { name: "Somebody else's" });
    const key = await storedKey(owner);

    const exported = await exportTenant(owner.token);
    expect(exported).toMatchObject({ status: "done" });
    const archive = await download(owner.token, exported.id);
    expect(exported.bytes).toBe(archive.length);
    expect(exported.sha256).toBe(createHash("sha256").update(archive).digest("hex"));

    const files = await unzipped(archive);
    const manifest = JSON.parse(files.get("manifest.json") ?? "") as Manifest;
    expect(manifest).toMatchObject({ format: 1, tenant: owner.tenant.id });
    for (const { file, rows, sha256 } of [...manifest.tables, ...manifest.control]) {
      const text = files.get(file) ?? "";
      expect([file, createHash("sha256").update(text).digest("hex")]).toEqual([file, sha256]);
      expect([file, text.split("\n").length - 1]).toEqual([file, rows]);
    }
    expect([...files.keys()].toSorted()).toEqual(
      ["manifest.json", ...[...manifest.tables, ...manifest.control].map(({ file }) => file)].toSorted(),
    );
    expect(rowsIn(files, "content/projects.ndjson")).toMatchObject([
      { id: project.id, name: 'Röof\n\u2028 "quoted"', created_by: owner.user.id },
    ]);
    expect(rowsIn(files, "content/tasks.ndjson")).toMatchObject([{ id: task.id, project_id: project.id }]);
    expect(rowsIn(files, "control/members.ndjson")).toMatchObject([
      { id: owner.user.id, email: owner.user.email, role: "owner" },
      { id: member.user.id, role: "member" },
    ]);
    expect(rowsIn(files, "control/api_keys.ndjson")).toMatchObject([{ id: key.id, name: "CI" }]);
    expect(rowsIn(files, "content/audit_events.ndjson").length).toBeGreaterThan(0);
    const all = [...files.values()].join("");
    expect(all).not.toContain("Somebody else's");
    expect(all).not.toContain("tenant_id");
    // The parts that it was made of are gone.
    const { objects } = await bindings.ARCHIVES.list({ prefix: objectsOf(owner.tenant.id) });
    expect(objects.map(({ key: name }) => name)).toEqual([
      archiveOf(owner.tenant.id, "exports", exported.id),
    ]);
  });

  it("has all columns of the control plane but hashes, secrets and what only partywall needs", async () => {
    const owner = await newTenant();
    const files = await unzipped(await download(owner.token, (await exportTenant(owner.token)).id));
    const columns = await stage`
      select c.relname as t, a.attname as name, format_type(atttypid, atttypmod) as type from pg_class c
      join pg_attribute a on attrelid = c.oid and attnum > 0 and not attisdropped
      where relnamespace = 'control'::regnamespace and relkind = 'r'
        and c.relname in ('invitations', 'api_keys', 'issuers', 'memberships', 'support_sessions') order by 1, 2`;
    await stage`insert into control.invitations (id, tenant_id, email, role, token_hash, invited_by, expires_at)
      values (gen_random_uuid(), ${owner.tenant.id}, 'x@x.test', 'member', '\\x00', ${owner.user.id}, now())`;
    await stage`insert into control.issuers (tenant_id, issuer, audience, email_domains, registered_by)
      values (${owner.tenant.id}, 'https://issuer.test', 'a', '{x.test}', ${owner.user.id})`;
    await answered(200, setMode(owner, "on"));
    const operator = await newOperator("support");
    const session = await enterTenant(operator, owner, { reason: "Ticket 4712" });
    await answered(204, end(owner, session.id));
    await storedKey(owner);
    const again = await unzipped(await download(owner.token, (await exportTenant(owner.token)).id));
    expect(files.size).toBe(again.size);
    const isLeftOut = ({ name, type }: Record<string, unknown>) =>
      type === "bytea" || ["tenant_id", "version", "vouched_by", "told"].includes(String(name));
    for (const [table, file] of Object.entries({
      invitations: "invitations",
      api_keys: "api_keys",
      issuers: "issuers",
      memberships: "members",
      support_sessions: "support_sessions",
    })) {
      const [row = {}] = rowsIn(again, `control/${file}.ndjson`);
      const wanted = columns
        .filter((each) => each["t"] === table && !isLeftOut(each))
        .map(({ name }) => name);
      const shown = Object.keys(row).map((name) =>
        table === "memberships" && name === "id" ? "user_id" : name,
      );
      expect([table, shown.filter((name) => name !== "email" || table !== "memberships").toSorted()]).toEqual(
        [table, wanted.map(String).toSorted()],
      );
    }
    // Who looked, when and why, and what ended it.
    expect(rowsIn(again, "control/support_sessions.ndjson")).toMatchObject([
      {
        id: session.id,
        operator_id: operator.id,
        operator: operator.email,
        reason: "Ticket 4712",
        end_reason: "ended",
        ended_by: owner.user.id,
      },
    ]);
  });

  it("is joined while it is under way, listed, and gone once it is deleted", async () => {
    const { token, tenant } = await newTenant();
    const begin = () => answered<Exported>(202, request("POST", "/v1/tenant/exports", { token }));
    const [first, second] = await Promise.all([begin(), begin()]);
    expect(second?.id).toBe(first?.id);
    const { id } = first ?? { id: "" };
    expect(["queued", "running", "done"]).toContain(first?.status);
    await ended(id);
    const list = () => answered<{ data: Exported[] }>(200, request("GET", "/v1/tenant/exports", { token }));
    expect(await list()).toMatchObject({ data: [{ id, status: "done" }], next_cursor: null });
    // Postgres reads an id in capitals too; it is the same everywhere.
    await answered(204, request("DELETE", `/v1/tenant/exports/${id.toUpperCase()}`, { token }));
    expect(await list()).toEqual({ data: [], next_cursor: null });
    for (const [method, path] of [
      ["GET", ""],
      ["GET", "/archive"],
      ["DELETE", ""],
    ] as const)
      await answered(404, request(method, `/v1/tenant/exports/${id}${path}`, { token }));
    expect((await bindings.ARCHIVES.list({ prefix: objectsOf(tenant.id) })).objects).toEqual([]);
  });

  it("leaves nothing behind that a late step has stored of a tenant erased meanwhile", async () => {
    const { tenant } = await newTenant();
    const job = { kind: "export", tenant: tenant.id, job: crypto.randomUUID() } as const;
    await stage`insert into control.jobs (id, tenant_id, kind, source, target, epoch, token)
      select ${job.job}, id, 'export', site, site, epoch, 1 from control.tenants where id = ${tenant.id}`;
    const archive = archiveOf(job.tenant, "exports", job.job);
    await runExport(job, async (name, work) => {
      const result = await work();
      if (name === "archive") {
        const stored = await (await bindings.ARCHIVES.get(archive))?.arrayBuffer();
        await erase(tenant.id);
        await bindings.ARCHIVES.put(archive, stored ?? "");
      }
      return result;
    });
    expect((await bindings.ARCHIVES.list({ prefix: objectsOf(tenant.id) })).objects).toEqual([]);
  });

  it("is downloaded in ranges", async () => {
    const { token } = await newTenant();
    const { id } = await exportTenant(token);
    const whole = await download(token, id);
    const part = await request("GET", `/v1/tenant/exports/${id}/archive`, {
      token,
      headers: { range: "bytes=10-19" },
    });
    expect(part.status).toBe(206);
    expect(part.headers.get("content-range")).toBe(`bytes 10-19/${whole.length}`);
    expect(Buffer.from(await part.arrayBuffer())).toEqual(whole.subarray(10, 20));
  });

  it("is refused to another tenant, to a role or key without the scope, when it has expired, and after suspension", async () => {
    const [owner, other] = await Promise.all([newTenant(), newTenant()]);
    const member = await newMember(owner.tenant.id, "member");
    const key = await storedKey(owner);
    const exporter = await storedKey(owner, { scopes: ["export"] });
    const { id } = await exportTenant(owner.token);
    const ask = (token: string) => request("GET", `/v1/tenant/exports/${id}/archive`, { token });
    expect((await ask(exporter.text)).status).toBe(200);
    await answered(404, ask(other.token));
    await answered(403, ask(member.token));
    await answered(403, ask(key.text));
    await answered(403, request("POST", "/v1/tenant/exports", { token: member.token }));
    await operate(owner.tenant.id, { status: "suspended" });
    await answered(403, ask(owner.token));
    await answered(403, ask(exporter.text));
    await operate(owner.tenant.id, { status: "active" });
    expect((await ask(owner.token)).status).toBe(200);
    await stage`update control.jobs set kept_until = now() where id = ${id}`;
    await answered(404, ask(owner.token));
  });

  it("goes on in a tenant that can only be read, and for the owner of one that closes", async () => {
    const owner = await newTenant();
    await newProject(owner.token);
    await operate(owner.tenant.id, { status: "read_only" });
    expect(await exportTenant(owner.token)).toMatchObject({ status: "done" });
    await operate(owner.tenant.id, { status: "closing" });
    const { id, status } = await exportTenant(owner.token);
    expect(status).toBe("done");
    expect((await download(owner.token, id)).length).toBeGreaterThan(0);
  });

  it.skipIf(SITE.name !== SHARED_SITE.name)(
    "mixes up no tenants: of 50 that export at once, each archive has its own rows alone",
    async () => {
      const owners: SignedIn[] = [];
      while (owners.length < 50) {
        const owner = await newTenant();
        await newProject(owner.token, { name: `marker ${owner.tenant.id}` });
        owners.push(owner);
      }
      const archives = await Promise.all(
        owners.map(async ({ token, tenant }) => {
          const { id } = await exportTenant(token);
          return {
            tenant: tenant.id,
            text: [...(await unzipped(await download(token, id))).values()].join(""),
          };
        }),
      );
      for (const { tenant, text } of archives) {
        const markers = new Set(text.match(/marker [\da-f-]{36}/g));
        expect([...markers]).toEqual([`marker ${tenant}`]);
      }
    },
    // About 40 s where nothing else runs: 50 Workflows of real steps.
    120_000,
  );
});

it("lets others in the isolate have their turn while it compresses what is there", async () => {
  const order: string[] = [];
  const other = scheduler.wait(1).then(() => order.push("other"));
  async function* chunks() {
    for (let at = 0; at < 8; at++) yield await Promise.resolve(new Uint8Array(1 << 20));
  }
  for await (const _ of takingTurns(chunks())) order.push("chunk");
  await other;
  expect(order.indexOf("other")).toBeLessThan(8);
});
