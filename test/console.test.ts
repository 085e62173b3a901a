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
      expect(tags).toHaveLength(2);
      for (const tag of tags) expect(tag).toContain(` nonce="${nonce}" `);
      expect(page.match(/<script\b[^>]*>/g)).toEqual([expect.stringContaining(`src="/operator/console.js"`)]);
      expect(page).not.toMatch(/<style| on\w+="| style="|(src|href)="(https?:)?\/\//);
      return nonce;
    }),
  );
  expect(new Set(nonces).size).toBe(2);
});

it("serves each of them, and what they load later, of the type that it has, to be kept while it is the same", async () => {
  const { paths } = await openConsole();
  const script = await (await request("GET", "/operator/console.js")).text();
  const loaded = [...script.matchAll(/"\.\/([\w.-]+\.js)"/g)].map(([, name]) => `/operator/${name}`);
  expect(loaded).toEqual(["/operator/uplot.js"]);
  for (const path of [...paths, ...loaded]) {
    const response = await request("GET", path);
    expect({ path, status: response.status }).toEqual({ path, status: 200 });
    expect(response.headers.get("content-type")).toBe(
      path.endsWith(".css") ? "text/css; charset=UTF-8" : "text/javascript; charset=UTF-8",
    );
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    expect(response.headers.get("cache-control")).toBe("no-cache");
    const etag = response.headers.get("etag") ?? "";
    expect((await request("GET", path, { headers: { "if-none-match": etag } })).status).toBe(304);
    expect((await request("GET", path, { headers: { "if-none-match": '"another"' } })).status).toBe(200);
  }
});

it("is less than 24 KB gzipped in all, and 22 KB more for uPlot with the first plot", async () => {
  const { page, paths } = await openConsole();
  const sizeOf = async (path: string) => gzipped(await (await request("GET", path)).text());
  const sizes = await Promise.all([gzipped(page), ...paths.map(sizeOf)]);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(24 * 1024);
  expect(await sizeOf("/operator/uplot.js")).toBeLessThan(23 * 1024);
});

it.each([
  ["a source", "/operator/main.client.js"],
  ["another page's file", "/operator/..%2faccount%2faccount.js"],
  ["a name that every object has", "/operator/constructor"],
  ["a file without its page's path", "/console.js"],
])("answers 404 for %s", async (_name, path) => {
  expect((await request("GET", path)).status).toBe(404);
});

it("asks nobody when it is opened, and takes no other method", async () => {
  const calls = countCalls();
  const { paths } = await openConsole();
  for (const path of ["/operator", ...paths])
    for (const method of ["GET", "HEAD"]) expect((await request(method, path)).status).toBe(200);
  const refused = await request("POST", "/operator", { body: {} });
  expect(refused.status).toBe(405);
  expect(refused.headers.get("allow")).toBe("GET, HEAD, OPTIONS");
  expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
});
