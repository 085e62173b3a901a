import { introspectWorkflowInstance } from "cloudflare:test";
import type { Readable } from "node:stream";
import yauzl from "yauzl";
import { bindings, settings } from "../../src/env.ts";
import { answered, request } from "./client.ts";
import { started } from "./workers/jobs.ts";

/** Waits until the instance of this name has ended well, or as it is said. */
export async function ended(id: string, status: "complete" | "errored" = "complete"): Promise<void> {
  await using instance = await introspectWorkflowInstance(bindings.LIFECYCLE, id);
  await instance.waitForStatus(status);
  // Once it has been watched, its instance is gone.
  started.delete(id);
}

export type Exported = {
  id: string;
  status: string;
  rows: number;
  bytes: number | null;
  sha256: string | null;
  expires_at: string | null;
};

/** Begins an export, and waits until it is done. */
export async function exportTenant(token: string): Promise<Exported> {
  const { id } = await answered<Exported>(202, request("POST", "/v1/tenant/exports", { token }));
  await ended(id);
  return answered<Exported>(200, request("GET", `/v1/tenant/exports/${id}`, { token }));
}

/** The bytes of an export's archive. */
export async function download(token: string, id: string): Promise<Buffer> {
  const response = await request("GET", `/v1/tenant/exports/${id}/archive`, { token });
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
  return Buffer.from(await response.arrayBuffer());
}

/** The texts of an archive's files, by their names. */
export async function unzipped(archive: Buffer): Promise<Map<string, string>> {
  const zip = await new Promise<yauzl.ZipFile>((resolve, reject) =>
    yauzl.fromBuffer(archive, { lazyEntries: true, autoClose: false }, (error, opened) =>
      error ? reject(error) : resolve(opened),
    ),
  );
  const entries: yauzl.Entry[] = [];
  await new Promise<void>((resolve, reject) => {
    zip.on("error", reject);
    zip.on("end", resolve);
    zip.on("entry", (entry: yauzl.Entry) => {
      entries.push(entry);
      zip.readEntry();
    });
    zip.readEntry();
  });
  const files = new Map<string, string>();
  for (const entry of entries) {
    const stream = await new Promise<Readable>((resolve, reject) =>
      zip.openReadStream(entry, (error, opened) => (error ? reject(error) : resolve(opened))),
    );
    files.set(entry.fileName, await textOf(stream));
  }
  return files;
}

async function textOf(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

/** The rows of a file of NDJSON. */
export const rowsIn = (files: Map<string, string>, name: string): Record<string, unknown>[] =>
  (files.get(name) ?? "")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);

export type Imported = { id: string; status: string; rows: number; reason: string | null };

/** Begins an import, and waits until it has ended, well or not. */
export async function importInto(token: string, archive: Buffer): Promise<Imported> {
  const { id } = await answered<Imported>(202, sendArchive(token, archive));
  await ended(id);
  return answered<Imported>(200, request("GET", `/v1/tenant/imports/${id}`, { token }));
}

export const sendArchive = (token: string, archive: Buffer, headers: Record<string, string> = {}) =>
  request("POST", "/v1/tenant/imports", {
    token,
    body: new Uint8Array(archive),
    headers: { "content-type": "application/zip", "content-length": String(archive.length), ...headers },
  });

export const operator = (method: string, path: string, body?: object) =>
  request(method, `/v1/operator/${path}`, { token: settings.OPERATOR_TOKEN, body });

/** Has the operator erase a tenant, and waits until it is done. Returns the receipt. */
export async function erase(tenantId: string): Promise<string> {
  await answered(202, operator("POST", `tenants/${tenantId}/erase`, { reason: "asked to" }));
  await ended(tenantId);
  const { receipt } = await answered<{ receipt: string }>(200, request("GET", `/v1/erasures/${tenantId}`));
  return receipt;
}
