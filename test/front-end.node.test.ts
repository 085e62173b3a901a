import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build } from "esbuild";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestHarness } from "wrangler";
import { makeBed } from "./bench/bed.ts";
import { makeFolder } from "./bench/workerd.ts";
import { openBrowser } from "./support/node/browser.ts";
import { startMigrated } from "./support/node/cluster.ts";

// A front end at another origin of the same site, with the program of docs/front-end.md in a real browser.

const root = join(import.meta.dirname, "..");
const resources = new AsyncDisposableStack();
const browser: Browser | undefined = await openBrowser(makeFolder(resources));
if (browser) resources.defer(() => browser.close());

const PASSWORD = "correct horse battery staple";
const REFRESH = "/v1/sessions/refresh";
let script = "";
let pages: string;
let stranger: string;
let api: string;

beforeAll(async () => {
  [pages, stranger] = await Promise.all([servePages(), servePages()]);
  const bed = await makeBed(resources, 8, startMigrated);
  const secrets = { ...bed.variables, ALLOWED_ORIGINS: pages };
  const server = createTestHarness({
    root,
    workers: [{ configPath: "wrangler.toml", secrets, vars: { BROWSER_SESSIONS: "on" } }],
  });
  resources.defer(() => server.close());
  // The cookie is for a secure place, as browsers take a name for this machine to be.
  api = `http://localhost:${(await server.listen()).url.port}`;
  script = await programFor(api);
}, 120_000);
afterAll(() => resources.disposeAsync());

/** Serves a page that runs the script, at an origin of its own. */
async function servePages(): Promise<string> {
  const server = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end(`<!doctype html><title>A front end</title><script>${script}</script>`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  resources.defer(() => void server.close());
  return `http://localhost:${(server.address() as AddressInfo).port}`;
}

/** The program that docs/front-end.md shows, as `frontEnd`, for the API at this origin. */
async function programFor(origin: string): Promise<string> {
  const section = readFileSync(join(root, "docs/front-end.md"), "utf8").split("\n## The client\n")[1] ?? "";
  const [, example = ""] = /```ts\n([\s\S]*?)```/.exec(section) ?? [];
  const { outputFiles } = await build({
    stdin: {
      contents: example.replace("https://api.example.com", origin),
      resolveDir: join(root, "src/client"),
      loader: "ts",
    },
    bundle: true,
    format: "iife",
    globalName: "frontEnd",
    write: false,
  });
  return (outputFiles[0]?.text ?? "").replaceAll("</script", "<\\/script");
}

/** What an expression becomes in the page. Throws what the page throws, without a stack that leads to no file. */
async function run<T>(page: Page, expression: string): Promise<T> {
  const told = `(async () => ({ value: ${expression} }))().catch((error) => ({ thrown: String(error) }))`;
  const { value, thrown } = await page.evaluate<{ value: T; thrown?: string }>(told);
  if (thrown !== undefined) throw new Error(thrown);
  return value;
}
const whoIsIn = (page: Page) =>
  run<string | null>(page, `(await frontEnd.client.GET("/v1/me")).data?.user?.email ?? null`);

async function newOwner(slug: string): Promise<string> {
  const email = `${slug}@front-end.test`;
  const response = await fetch(`${api}/v1/signup`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email, password: PASSWORD, tenant: { name: slug, slug } }),
  });
  expect(response.status).toBe(201);
  return email;
}

describe.skipIf(!browser)("a page at another host of the site", () => {
  it("signs in, goes on when it is loaded again and when its token is over, and signs out, by a cookie that no script reads", async () => {
    const email = await newOwner("cookie");
    await using context = await browser?.newContext();
    const page = await context?.newPage();
    if (!page) throw new Error("There is no browser.");
    await page.goto(pages);
    expect(await run(page, "await frontEnd.resume()")).toBe(false);
    await run(page, `await frontEnd.signIn("${email}", "${PASSWORD}")`);
    expect(await whoIsIn(page)).toBe(email);
    expect(await run(page, "frontEnd.client.getSession().refresh_token")).toBe("");
    expect(await run(page, "document.cookie")).toBe("");

    await page.reload();
    expect(await whoIsIn(page)).toBeNull();
    expect(await run(page, "await frontEnd.resume()")).toBe(true);
    expect(await whoIsIn(page)).toBe(email);

    const refreshed = page.waitForResponse((response) => response.url() === api + REFRESH);
    await run(
      page,
      "await frontEnd.client.setSession({ ...frontEnd.client.getSession(), expires_at_ms: Date.now() })",
    );
    expect(await whoIsIn(page)).toBe(email);
    expect((await refreshed).status()).toBe(200);

    await run(page, "await frontEnd.signOut()");
    await page.reload();
    expect(await run(page, "await frontEnd.resume()")).toBe(false);
  });

  it("is answered nothing that it can read where its origin is not allowed, though the browser has the cookie", async () => {
    const email = await newOwner("stranger");
    await using context = await browser?.newContext();
    const page = await context?.newPage();
    if (!page) throw new Error("There is no browser.");
    await page.goto(pages);
    await run(page, `await frontEnd.signIn("${email}", "${PASSWORD}")`);
    await page.goto(stranger);
    await expect(run(page, "await frontEnd.resume()")).rejects.toThrow("Failed to fetch");
    await page.goto(pages);
    expect(await run(page, "await frontEnd.resume()")).toBe(true);
  });
});
