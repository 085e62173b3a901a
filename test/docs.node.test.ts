import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestHarness } from "wrangler";
import { makeBed } from "./bench/bed.ts";
import { makeFolder } from "./bench/workerd.ts";
import { barriers } from "./support/node/barriers.ts";
import { openBrowser } from "./support/node/browser.ts";
import { startMigrated } from "./support/node/cluster.ts";

/** Shows what the page looks like: a folder for pictures. */
const PICTURES = process.env["PICTURES"];

const root = join(import.meta.dirname, "..");
const resources = new AsyncDisposableStack();
const browser: Browser | undefined = await openBrowser(makeFolder(resources));
if (browser) resources.defer(() => browser.close());

let origin: string;
let token: string;

beforeAll(async () => {
  const bed = await makeBed(resources, 8, startMigrated);
  const server = createTestHarness({
    root,
    workers: [{ configPath: "wrangler.toml", secrets: bed.variables }],
  });
  resources.defer(() => server.close());
  origin = (await server.listen()).url.origin;
  const body = {
    email: "ada@docs.test",
    password: "correct horse battery staple",
    tenant: { name: "Docs", slug: "docs-page" },
  };
  token = (await send<{ access_token: string }>("/v1/signup", body)).access_token;
}, 120_000);
afterAll(() => resources.disposeAsync());

/** The JSON answered to a GET with the token, or to a POST of the body without one. */
async function send<T>(path: string, body?: object): Promise<T> {
  const response = await fetch(
    origin + path,
    body
      ? { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }
      : { headers: { authorization: `Bearer ${token}` } },
  );
  expect(response.ok).toBe(true);
  return (await response.json()) as T;
}

/** The files that the page names. */
const namedFiles = async () =>
  [...(await (await fetch(`${origin}/docs`)).text()).matchAll(/(?:src|href)="(\/docs\/[^"]+)"/g)].map(
    ([, path = ""]) => path,
  );

it("lets the page load and call nothing but this API, and nobody frame it", async () => {
  const { headers } = await fetch(`${origin}/docs`);
  const policy = (headers.get("content-security-policy") ?? "").split("; ");
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("connect-src 'self'");
  expect(policy).toContain("frame-ancestors 'none'");
  expect(policy.join()).not.toMatch(/unsafe|https?:|\*/);
});

it("serves the files that the page names, to be kept while they are the same", async () => {
  const files = await namedFiles();
  expect(files.toSorted()).toEqual(["/docs/page.js", "/docs/scalar.js"]);
  for (const path of files) {
    const response = await fetch(origin + path);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toMatch(/^text\/(css|javascript)/);
    expect(response.headers.get("cache-control")).toBe("no-cache");
    const again = await fetch(origin + path, {
      headers: { "if-none-match": response.headers.get("etag") ?? "" },
    });
    expect(again.status).toBe(304);
  }
});

it.each([
  "/docs/index.html",
  "/docs/docs-page.client.js",
  "/docs/..%2fpackage.json",
  "/package.json",
  "/docs/..%2foperator%2fconsole.js",
  "/operator/console.css.map",
])("does not serve %s, though it lies beside them", async (path) => {
  expect((await fetch(origin + path)).status).toBe(404);
});

describe.skipIf(!browser)("in a browser", () => {
  const views = [
    ["phone", "dark", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
    ["desktop", "light", { viewport: { width: 1280, height: 900 } }],
  ] as const;

  it.each(views)(
    "is as wide as a %s, and %s where the device is; it asks no other host, and its policy stops nothing that it needs",
    async (device, colorScheme, size) => {
      await using context = await browser?.newContext({ ...size, colorScheme });
      const { page, complaints } = await open(context);
      await page.locator(`body.${colorScheme}-mode`).waitFor();
      expect(await isDark(page)).toBe(colorScheme === "dark");
      expect(await widthOf(page)).toBe(size.viewport.width);
      await picture(page, device);
      expect(complaints).toEqual([]);
      expect(await barriers(page)).toEqual([]);
    },
    120_000,
  );

  it.each(["light", "dark"] as const)(
    "%s where the device is, / has no barrier either",
    async (colorScheme) => {
      await using context = await browser?.newContext({ colorScheme, viewport: { width: 320, height: 640 } });
      const page = await context?.newPage();
      if (!page) throw new Error("There is no browser.");
      await page.goto(origin);
      expect(await barriers(page)).toEqual([]);
      expect(await widthOf(page)).toBe(320);
    },
  );

  it("lists every operation of the document, grouped as people think", async () => {
    await using context = await browser?.newContext();
    const { page, complaints } = await open(context);
    const { paths } = await send<{ paths: Record<string, object> }>("/openapi.json");
    const described = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()}${path}`),
    );
    const closed = page.getByRole("complementary").getByRole("button", { name: /^Open Group - (?!Models)/ });
    while ((await closed.count()) > 0) await closed.first().click();
    const links = await page
      .getByRole("complementary")
      .getByRole("link")
      .evaluateAll((all) => all.map((link) => link.getAttribute("href") ?? ""));
    const listed = links.flatMap((link) => /#tag\/[^/]+\/([A-Z]+\/.*)$/.exec(link)?.[1] ?? []);
    expect(listed.toSorted()).toEqual(described.toSorted());
    expect(complaints).toEqual([]);
  }, 120_000);

  it("sends a real request with a token, which it keeps nowhere", async () => {
    await using context = await browser?.newContext({ viewport: { width: 1280, height: 900 } });
    const { page, complaints } = await open(context, "#tag/tenant/GET/v1/tenant");
    await page.getByLabel("Bearer Token").fill(token);
    await page.getByRole("button", { name: /Test Request\s*\(get \/v1\/tenant\)/ }).click();
    const answered = page.waitForResponse((response) => response.url() === `${origin}/v1/tenant`);
    await page.locator("[data-addressbar-action=send]:visible").click();
    expect(await (await answered).json()).toMatchObject({ slug: "docs-page" });
    await page.getByText("docs-page").first().waitFor();
    await picture(page, "request");
    const kept = await page.evaluate<string>(
      "JSON.stringify([localStorage, sessionStorage, document.cookie])",
    );
    expect(kept).not.toContain(token);
    expect(complaints).toEqual([]);
  }, 120_000);
});

/** The page, once it shows the reference, and what is wrong with it. */
async function open(context: BrowserContext | undefined, hash = "") {
  const page = await context?.newPage();
  if (!page) throw new Error("There is no browser.");
  const complaints = listen(page);
  await page.goto(`${origin}/docs${hash}`);
  await page.locator("h1").waitFor();
  return { page, complaints };
}

/** Shows what the page looks like. */
async function picture(page: Page, name: string): Promise<void> {
  if (PICTURES) await page.screenshot({ path: join(PICTURES, `docs-${name}.png`) });
}

/** What the page asks of other hosts, and every error and warning in its console, such as of its policy. */
function listen(page: Page): string[] {
  const complaints: string[] = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && url.protocol !== "data:") complaints.push(`It asked ${url.href}`);
  });
  page.on("console", (message) => {
    // Scalar names itself.
    if (message.type() !== "info") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  return complaints;
}

/** Whether the page's ground is dark; one that is see-through is the browser's own, white. */
async function isDark(page: Page): Promise<boolean> {
  const ground = await page.evaluate<string>("getComputedStyle(document.body).backgroundColor");
  const [red = 255, , , opacity = 1] = (ground.match(/[\d.]+/g) ?? []).map(Number);
  return opacity === 1 && red < 64;
}

/** How wide it is, with what could be scrolled to sideways. */
const widthOf = (page: Page): Promise<number> => page.locator("html").evaluate((html) => html.scrollWidth);
