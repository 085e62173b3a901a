import { createHash } from "node:crypto";
import yazl from "yazl";
import { beforeAll, describe, expect, it } from "vitest";
import { SHARED_SITE } from "../src/db/places.ts";
import { bindings } from "../src/env.ts";
import { archiveOf, objectsOf } from "../src/lifecycle/archive.ts";
import {
  answered,
  newMember,
  newProject,
  newTask,
  newTenant,
  request,
  stage,
  type SignedIn,
} from "./support/client.ts";
import {
  download,
  ended,
  exportTenant,
  importInto,
  rowsIn,
  sendArchive,
  unzipped,
} from "./support/lifecycle.ts";
import { AT_SITE, PLACE, SITE } from "./support/site.ts";

/** A ZIP of these files. */
async function zipped(files: Map<string, string>): Promise<Buffer> {
  const zip = new yazl.ZipFile();
  for (const [name, text] of files) zip.addBuffer(Buffer.from(text), name);
  zip.end();
  const chunks: Buffer[] = [];
  for await (const chunk of zip.outputStream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

type Listed = { name: string; file: string; rows: number; bytes: number; sha256: string };
type Manifest = {
  format: number;
  tables: (Listed & { columns: { name: string; type: string }[] })[];
  control: Listed[];
};

/** The archive with another text in one of its files, and a manifest that says so. */
async function forged(archive: Buffer, name: string, text: string): Promise<Buffer> {
  const files = await unzipped(archive);
  files.set(name, text);
  const manifest = JSON.parse(files.get("manifest.json") ?? "") as Manifest;
  for (const each of [...manifest.tables, ...manifest.control])
    if (each.file === name)
      Object.assign(each, {
        rows: text.split("\n").length - 1,
        bytes: Buffer.byteLength(text),
        sha256: createHash("sha256").update(text).digest("hex"),
      });
  files.set("manifest.json", JSON.stringify(manifest));
  return zipped(files);
}

/** A tenant with some rows, and what it exports. */
async function exporting(): Promise<{ owner: SignedIn; archive: Buffer }> {
  const owner = await newTenant();
  const member = await newMember(owner.tenant.id, "member");
  const projects = await Promise.all(
    ["Roof", "Cellar", "Garden"].map((name) => newProject(owner.token, { name })),
  );
  for (const { id } of projects) {
    await newTask(owner.token, id, { title: "Tiles", due_on: "2026-02-28" });
    await newTask(owner.token, id, { title: "Mortar", assignee_id: member.user.id });
  }
  const { id } = await exportTenant(owner.token);
  return { owner, archive: await download(owner.token, id) };
}

const contentOf = (files: Map<string, string>) =>
  ["projects", "tasks", "counters"].map((name) => files.get(`content/${name}.ndjson`));

let owner: SignedIn;
let exported: Buffer;
beforeAll(async () => ({ owner, archive: exported } = await exporting()));

describe("an import", () => {
  it("brings all rows with their ids, so that an export of them is the same to the byte", async () => {
    // Nobody of the old tenant is in the new one, so a task is nobody's, as when a member leaves.
    const files = await unzipped(exported);
    const tasks = (files.get("content/tasks.ndjson") ?? "").replaceAll(
      /"assignee_id":"[^"]*"/g,
      '"assignee_id":null',
    );
    const target = await newTenant();
    const imported = await importInto(target.token, exported);
    expect(imported).toMatchObject({ status: "done", reason: null });
    const again = await unzipped(await download(target.token, (await exportTenant(target.token)).id));
    files.set("content/tasks.ndjson", tasks);
    expect(contentOf(again)).toEqual(contentOf(files));

    const list = (who: SignedIn) =>
      answered<{ data: object[] }>(200, request("GET", "/v1/projects", { token: who.token }));
    expect(await list(target)).toEqual(await list(owner));
    const invited = await answered<{ data: { email: string; role: string }[] }>(
      200,
      request("GET", "/v1/invitations", { token: target.token }),
    );
    expect(invited.data.map(({ email }) => email).toSorted()).toEqual(
      rowsIn(files, "control/members.ndjson")
        .map(({ email }) => String(email))
        .toSorted(),
    );
    // It works on: a row more, and its own members alone.
    await newProject(target.token);
    const [{ count }] = (await AT_SITE.stage.query(
      `select count(*)::int from ${PLACE.schema}.members where tenant_id = $1`,
      [target.tenant.id],
    )) as [{ count: number }];
    expect(count).toBe(1);
    expect(
      (await bindings.ARCHIVES.list({ prefix: `${objectsOf(target.tenant.id)}imports/` })).objects,
    ).toEqual([]);
  });
});

// The same wherever the tenants are.
describe.skipIf(SITE.name !== SHARED_SITE.name)("an import", () => {
  it("is refused, with a reason and without a row, into a tenant that has any", async () => {
    const target = await newTenant();
    const project = await newProject(target.token);
    expect(await importInto(target.token, exported)).toMatchObject({
      status: "failed",
      reason: "The tenant is not empty: it has rows in projects.",
    });
    const { data } = await answered<{ data: object[] }>(
      200,
      request("GET", "/v1/projects", { token: target.token }),
    );
    expect(data).toMatchObject([{ id: project.id }]);
  });

  it.each<[string, (archive: Buffer) => Promise<Buffer>, RegExp]>([
    ["no ZIP", async () => Buffer.from("nothing of the kind"), /not a ZIP/],
    ["a ZIP without a manifest", async () => zipped(new Map([["a", "b"]])), /no manifest/],
    [
      "a manifest of another version",
      async (archive) => {
        const files = await unzipped(archive);
        return zipped(
          files.set(
            "manifest.json",
            (files.get("manifest.json") ?? "").replace('"format": 1', '"format": 2'),
          ),
        );
      },
      /not that of an export of this version/,
    ],
    [
      "a file that was changed",
      async (archive) => {
        const files = await unzipped(archive);
        return zipped(
          files.set(
            "content/projects.ndjson",
            (files.get("content/projects.ndjson") ?? "").replace("Roof", "Rooz"),
          ),
        );
      },
      /content\/projects.ndjson is not as manifest.json says/,
    ],
    [
      "a file that is missing",
      async (archive) => {
        const files = await unzipped(archive);
        files.delete("content/tasks.ndjson");
        return zipped(files);
      },
      /content\/tasks.ndjson is not as manifest.json says/,
    ],
    [
      "a table of other columns",
      async (archive) => {
        const files = await unzipped(archive);
        return zipped(
          files.set("manifest.json", (files.get("manifest.json") ?? "").replace('"title"', '"headline"')),
        );
      },
      /the tables tasks are not the same here/,
    ],
    [
      "a table whose name reads like an attempt's end",
      async (archive) => {
        const files = await unzipped(archive);
        const name = "another attempt works on this job, or it has ended";
        return zipped(
          files.set(
            "manifest.json",
            (files.get("manifest.json") ?? "").replace('"name": "tasks"', `"name": "${name}"`),
          ),
        );
      },
      /the tables tasks, another attempt/,
    ],
    [
      "a row that its table does not take",
      async (archive) => {
        const text = (await unzipped(archive)).get("content/projects.ndjson") ?? "";
        return forged(archive, "content/projects.ndjson", text.replace(/"name":"[^"]*"/, '"name":null'));
      },
      /does not take \(SQLSTATE 23502\)/,
    ],
    [
      "rows that refer to what is not there",
      async (archive) => forged(archive, "content/projects.ndjson", ""),
      /6 rows of the archive collide with others, or refer to rows/,
    ],
    [
      "two rows of one key",
      async (archive) => {
        const text = (await unzipped(archive)).get("content/projects.ndjson") ?? "";
        return forged(archive, "content/projects.ndjson", text + text);
      },
      /rows of the same key/,
    ],
  ])("is refused, with a reason and without a row, of %s", async (_, made, reason) => {
    const target = await newTenant();
    const imported = await importInto(target.token, await made(exported));
    expect(imported).toMatchObject({ status: "failed", reason: expect.stringMatching(reason) });
    for (const path of ["projects", "tasks"])
      expect(await answered(200, request("GET", `/v1/${path}`, { token: target.token }))).toMatchObject({
        data: [],
      });
    const { data } = await answered<{ data: { resource: string }[] }>(
      200,
      request("GET", "/v1/audit-events", { token: target.token }),
    );
    expect(data.filter(({ resource }) => resource === "projects")).toEqual([]);
    // The tenant is as it was: it can be used, and import what is right.
    expect(await importInto(target.token, exported)).toMatchObject({ status: "done" });
  });

  it("puts rows into no other tenant, whatever the archive says", async () => {
    const [victim, target] = await Promise.all([newTenant(), newTenant()]);
    const text = ((await unzipped(exported)).get("content/projects.ndjson") ?? "").replaceAll(
      '{"id"',
      `{"tenant_id":"${victim.tenant.id}","id"`,
    );
    expect(
      await importInto(target.token, await forged(exported, "content/projects.ndjson", text)),
    ).toMatchObject({
      status: "done",
    });
    expect(await answered(200, request("GET", "/v1/projects", { token: victim.token }))).toMatchObject({
      data: [],
    });
  });

  it("is for an owner, and for archives of a size", async () => {
    const admin = await newMember(owner.tenant.id, "admin");
    await answered(403, sendArchive(admin.token, Buffer.from("x")));
    await answered(415, sendArchive(owner.token, Buffer.from("x"), { "content-type": "application/gzip" }));
    await answered(413, sendArchive(owner.token, Buffer.from("x"), { "content-length": "100000001" }));
    const bad = await sendArchive(owner.token, Buffer.from("x"), { "content-length": "none" });
    await answered(400, bad);
    const prefix = `${objectsOf(owner.tenant.id)}imports/`;
    expect((await bindings.ARCHIVES.list({ prefix })).objects).toEqual([]);
  });

  it("waits for no other job, and keeps no archive of what it refuses", async () => {
    const target = await newTenant();
    await stage`insert into control.jobs (id, tenant_id, kind, source, target, epoch, token)
      values (gen_random_uuid(), ${target.tenant.id}, 'move', 'shared', 'shared', 1, 1)`;
    const underWay = { type: "/problems/job_under_way" };
    expect(await answered(409, sendArchive(target.token, Buffer.from("x")))).toMatchObject(underWay);
    expect(await answered(409, request("POST", "/v1/tenant/exports", { token: target.token }))).toMatchObject(
      underWay,
    );
    expect((await bindings.ARCHIVES.list({ prefix: objectsOf(target.tenant.id) })).objects).toEqual([]);
  });

  it.each([
    ["once its rows were there", "open", { isLoaded: true }],
    ["while it loaded them", "loading", { isLoading: true }],
  ])("goes on where an instance before it has ended, %s", async (_, mode, progress) => {
    const target = await newTenant();
    await importInto(target.token, exported);
    // As if that had ended before it could say that it is done.
    await AT_SITE.stage.query(`update ${PLACE.schema}.fences set mode = $1 where tenant = $2`, [
      mode,
      target.tenant.id,
    ]);
    if (mode === "open") await newProject(target.token, { name: "written since" });
    const [{ id }] = (await stage`update control.jobs set finished_at = null, outcome = null, result = null,
        progress = ${JSON.stringify(progress)}
      where tenant_id = ${target.tenant.id} and kind = 'import' returning id`) as [{ id: string }];
    await bindings.ARCHIVES.put(archiveOf(target.tenant.id, "imports", id), exported);
    await bindings.LIFECYCLE.create({
      id: `${id}-2`,
      params: { kind: "import", tenant: target.tenant.id, job: id },
    });
    await ended(`${id}-2`);
    const files = await unzipped(exported);
    const again = await unzipped(await download(target.token, (await exportTenant(target.token)).id));
    const since = mode === "open" ? 1 : 0;
    const lines = again
      .get("content/projects.ndjson")
      ?.split("\n")
      .toSpliced(-1 - since, since);
    expect(lines?.join("\n")).toBe(files.get("content/projects.ndjson"));
    expect(rowsIn(again, "content/projects.ndjson").at(-1)?.["name"] === "written since").toBe(since === 1);
    expect(rowsIn(again, "content/tasks.ndjson")).toHaveLength(6);
    expect(
      await answered(200, request("GET", `/v1/tenant/imports/${id}`, { token: target.token })),
    ).toMatchObject({ status: "done", reason: null });
  });
});
