import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestHarness } from "wrangler";
import { makeBed } from "./bench/bed.ts";
import { makeFolder } from "./bench/workerd.ts";
import { openBrowser } from "./support/node/browser.ts";
import { startMigrated } from "./support/node/cluster.ts";

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
}, 60_000);
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

it("serves the files that the page names, to be kept for good", async () => {
  const files = await namedFiles();
  expect(files).toHaveLength(2);
  for (const path of files) {
    const response = await fetch(origin + path);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toMatch(/^text\/(css|javascript)/);
    expect(response.headers.get("cache-control")).toContain("immutable");
    const again = await fetch(origin + path, {
      headers: { "if-none-match": response.headers.get("etag") ?? "" },
    });
    expect(again.status).toBe(304);
  }
});

it.each([
  "/docs/index.html",
  "/docs/swagger-ui.css.map",
  "/docs/..%2fpackage.json",
  "/package.json",
  "/swagger-ui.css",
])("does not serve %s, though it lies beside them", async (path) => {
  expect((await fetch(origin + path)).status).toBe(404);
});

describe.skipIf(!browser)("in a browser", () => {
  const views = [
    ["a phone", "light", "dark", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
    ["a desktop", "dark", "light", { viewport: { width: 1280, height: 900 } }],
  ] as const;

  it.each(views)(
    "lists every operation and tries one with a token, on %s in %s mode, and follows when that changes to %s",
    async (device, first, then, size) => {
      await using context = await browser?.newContext({ ...size, colorScheme: first });
      const page = await context?.newPage();
      if (!page) throw new Error("There is no browser.");
      const complaints = listen(page);
      await page.goto(`${origin}/docs`);

      const { paths } = await send<{ paths: Record<string, object> }>("/openapi.json");
      const described = Object.entries(paths).flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
      );
      await page.locator(".opblock").first().waitFor();
      const listed = await page
        .locator(".opblock-summary-control")
        .evaluateAll((all) =>
          all.map(
            (one) =>
              `${one.firstElementChild?.textContent} ${one.querySelector("[data-path]")?.getAttribute("data-path")}`,
          ),
        );
      expect(listed.toSorted()).toEqual(described.toSorted());

      await page.getByRole("button", { name: "Authorize" }).click();
      await page.locator(".auth-container", { hasText: "accessToken" }).getByRole("textbox").fill(token);
      await page.keyboard.press("Enter");
      await page.getByRole("button", { name: "Close" }).last().click();

      const rename = page.locator(".opblock-patch", { has: page.locator(`[data-path="/v1/tenant"]`) });
      await rename.locator(".opblock-summary-control").click();
      const name = `Seen on ${device}`;
      await rename.getByRole("textbox", { name: "Request body" }).fill(JSON.stringify({ name }));
      await rename.getByRole("button", { name: "Execute" }).click();
      const shown = await rename
        .locator(".live-responses-table .response-col_description pre")
        .first()
        .textContent();
      const tenant = JSON.parse(shown ?? "") as { name: string };
      expect(tenant).toMatchObject({ name });
      expect(await send("/v1/tenant")).toEqual(tenant);

      for (const colorScheme of [first, then]) {
        await page.emulateMedia({ colorScheme });
        await page.locator(colorScheme === "dark" ? "html.dark-mode" : "html:not(.dark-mode)").waitFor();
        expect(await isDark(page)).toBe(colorScheme === "dark");
        expect(await widthOf(page)).toBe(size.viewport.width);
      }
      expect(complaints).toEqual([]);
    },
    60_000,
  );
});

/** What the page asks of other hosts, and every error and warning in its console, such as of its policy. */
function listen(page: Page): string[] {
  const complaints: string[] = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && url.protocol !== "data:") complaints.push(`It asked ${url.href}`);
  });
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  return complaints;
}

/** Whether the page's ground is dark; one that is see-through is the browser's own, white. */
async function isDark(page: Page): Promise<boolean> {
  const ground = await page.evaluate<string>("getComputedStyle(document.documentElement).backgroundColor");
  const [red = 255, , , opacity = 1] = (ground.match(/[\d.]+/g) ?? []).map(Number);
  return opacity === 1 && red < 64;
}

/** How wide it is, with what could be scrolled to sideways. */
const widthOf = (page: Page): Promise<number> => page.locator("html").evaluate((html) => html.scrollWidth);
