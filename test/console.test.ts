import { afterEach, expect, it, vi } from "vitest";
import { countCalls } from "./support/calls.ts";
import { request } from "./support/client.ts";

// The answers that the operators' console is made of; test/console.node.test.ts drives it in a browser.

afterEach(() => vi.restoreAllMocks());

/** The page, and the paths of its own that it names. */
async function openConsole() {
  const response = await request("GET", "/operator");
  const page = await response.text();
  const paths = [...page.matchAll(/(?:src|href)="(?!data:)([^"]+)"/g)].map(([, path = ""]) => path);
  return { response, page, paths: [...new Set(paths)] };
}

const gzipped = async (text: string) =>
  (await new Response(new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer())
    .byteLength;

it("lets the page at /operator run and call nothing but its own, and nobody keep it, frame it or learn where it leads", async () => {
  const { headers, status } = await request("GET", "/operator");
  expect(status).toBe(200);
  expect(headers.get("content-type")).toBe("text/html; charset=UTF-8");
  expect(headers.get("cache-control")).toBe("no-store");
  expect(headers.get("referrer-policy")).toBe("no-referrer");
  expect(headers.get("cross-origin-opener-policy")).toBe("same-origin");
  expect(headers.get("x-frame-options")).toBe("DENY");
  expect(headers.get("x-content-type-options")).toBe("nosniff");
  const policy = headers.get("content-security-policy") ?? "";
  expect(policy.split("; ")).toEqual([
    "default-src 'none'",
    expect.stringMatching(/^script-src 'nonce-[\w-]{36}'$/),
    expect.stringMatching(/^style-src 'nonce-[\w-]{36}'$/),
    "img-src data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ]);
});

it("names its files under a new nonce for each answer, and has nothing inline", async () => {
  const nonces = await Promise.all(
    [1, 2].map(async () => {
      const { response, page } = await openConsole();
      const [, nonce = ""] =
        /script-src 'nonce-([\w-]+)'/.exec(response.headers.get("content-security-policy") ?? "") ?? [];
      const tags = page.match(/<(script|style|link rel="(stylesheet|modulepreload)")[^>]*>/g) ?? [];
      expect(tags.length).toBeGreaterThan(3);
      for (const tag of tags) expect(tag).toContain(` nonce="${nonce}" `);
      expect(page.match(/<script\b[^>]*>/g)).toEqual([
        expect.stringMatching(/src="\/operator\/[\da-f]{12}\/main\.client\.js"/),
      ]);
      expect(page).not.toMatch(/<style| on\w+="| style="|(src|href)="(https?:)?\/\//);
      return nonce;
    }),
  );
  expect(new Set(nonces).size).toBe(2);
});

it("serves each of them to be kept for good, of the type that it has, and imports no file that is not there", async () => {
  const { paths } = await openConsole();
  const texts = await Promise.all(
    paths.map(async (path) => {
      const response = await request("GET", path);
      expect({ path, status: response.status }).toEqual({ path, status: 200 });
      expect(response.headers.get("content-type")).toBe(
        path.endsWith(".css") ? "text/css; charset=UTF-8" : "text/javascript; charset=UTF-8",
      );
      expect(response.headers.get("cache-control")).toBe("public, max-age=31536000, immutable");
      return response.text();
    }),
  );
  const imported = texts.flatMap((text) =>
    [...text.matchAll(/from "\.\/([\w.-]+)"/g)].map(([, name]) => name),
  );
  expect(imported.length).toBeGreaterThan(20);
  const names = new Set(paths.map((path) => path.replace(/^.*\//, "")));
  expect(imported.filter((name = "") => !names.has(name))).toEqual([]);
});

it("is less than 36 KB gzipped in all, and 22 KB more for uPlot with the first plot", async () => {
  const { page, paths } = await openConsole();
  const [base = ""] = /^\/operator\/[\da-f]{12}\//.exec(paths[0] ?? "") ?? [];
  const sizeOf = async (path: string) => gzipped(await (await request("GET", path)).text());
  const sizes = await Promise.all([gzipped(page), ...paths.map(sizeOf)]);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(36 * 1024);
  expect(await sizeOf(`${base}uplot.js`)).toBeLessThan(23 * 1024);
});

it.each([
  ["another version's file", "/operator/0123456789ab/main.client.js"],
  ["a file that is not the console's", "VERSION/page.ts"],
  ["a name that every object has", "VERSION/constructor"],
])("answers 404 for %s", async (_name, path) => {
  const { paths } = await openConsole();
  const base = paths[0]?.replace(/\/[^/]+$/, "") ?? "";
  expect((await request("GET", path.replace("VERSION", base))).status).toBe(404);
});

it("asks nobody when it is opened, and takes no other method", async () => {
  const calls = countCalls();
  const { paths } = await openConsole();
  for (const path of ["/operator", ...paths.slice(0, 2)])
    for (const method of ["GET", "HEAD"]) expect((await request(method, path)).status).toBe(200);
  const refused = await request("POST", "/operator", { body: {} });
  expect(refused.status).toBe(405);
  expect(refused.headers.get("allow")).toBe("GET, HEAD, OPTIONS");
  expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
});
