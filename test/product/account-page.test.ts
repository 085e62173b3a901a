import { afterEach, expect, it, vi } from "vitest";
import { countCalls } from "../support/calls.ts";
import { request } from "../support/client.ts";

afterEach(() => vi.restoreAllMocks());

it("lets the page at /account run and call nothing but its own, and nobody keep it, frame it or learn where it leads", async () => {
  const { headers, status } = await request("GET", "/account");
  expect(status).toBe(200);
  expect(headers.get("content-type")).toBe("text/html; charset=UTF-8");
  expect(headers.get("cache-control")).toBe("no-store");
  expect(headers.get("referrer-policy")).toBe("no-referrer");
  expect(headers.get("x-frame-options")).toBe("DENY");
  const policy = headers.get("content-security-policy") ?? "";
  expect(policy.split("; ")).toEqual(
    expect.arrayContaining([
      "default-src 'none'",
      "connect-src 'self'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
    ]),
  );
  expect(policy).not.toMatch(/unsafe|https?:|\*/);
});

it("makes a new nonce for each answer, and all that runs has it", async () => {
  const nonces = await Promise.all(
    [1, 2].map(async () => {
      const response = await request("GET", "/account");
      const [, nonce = ""] =
        /script-src 'nonce-([\w-]+)'/.exec(response.headers.get("content-security-policy") ?? "") ?? [];
      const page = await response.text();
      const tags = page.match(/<(script|style|link rel="stylesheet")[^>]*>/g);
      expect(tags).toEqual([
        `<link rel="stylesheet" nonce="${nonce}" href="/account/account.css" />`,
        `<script type="module" nonce="${nonce}" src="/account/account.js">`,
        `<script type="application/json" id="texts">`,
      ]);
      // Nothing in the data ends it early.
      expect(page.match(/<\/script/g)).toHaveLength(2);
      expect(page).not.toMatch(/ on\w+="| style="|(src|href)="(https?:)?\/\//);
      return nonce;
    }),
  );
  expect(new Set(nonces).size).toBe(2);
});

it("is less than 14 KB gzipped, with its script and its stylesheet, and nothing else lies beside them", async () => {
  const sizes = ["/account", "/account/account.js", "/account/account.css"].map(async (path) => {
    const { body, status } = await request("GET", path);
    expect(status).toBe(200);
    return (await new Response(body?.pipeThrough(new CompressionStream("gzip"))).arrayBuffer()).byteLength;
  });
  expect((await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)).toBeLessThan(14 * 1024);
  for (const path of [
    "/account/page.ts",
    "/account/account.client.js",
    "/account/..%2foperator%2fconsole.js",
  ])
    expect((await request("GET", path)).status).toBe(404);
});

it("changes nothing when it is opened, whatever token a link has, and takes no other method", async () => {
  const calls = countCalls();
  for (const method of ["GET", "HEAD"])
    for (const path of ["/account", "/account?verification=a-token"])
      expect((await request(method, path)).status).toBe(200);
  const refused = await request("POST", "/account", { body: {} });
  expect(refused.status).toBe(405);
  expect(refused.headers.get("allow")).toBe("GET, HEAD, OPTIONS");
  expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
});

/** What only a program that is wrong is answered, and what leads to a view or a field instead of a text. */
const UNSPOKEN = new Set(
  (
    "invalid_json invalid_header invalid_cursor idempotency_key_unsupported body_too_large unsupported_media_type " +
    "cost_above_limit second_factor_required second_factor_enrolment_required step_up_required link_gone invitation_gone " +
    "invalid_input"
  ).split(" "),
);

it("has a sentence for people for each problem that the API may answer to it, and none for a form that is not there", async () => {
  const page = await (await request("GET", "/account")).text();
  const script = await (await request("GET", "/account/account.js")).text();
  const [, json = ""] = /<script type="application\/json" id="texts">([^]*?)<\/script>/.exec(page) ?? [];
  const texts = JSON.parse(json) as Record<string, Record<string, string>>;
  const { PROBLEM_TEXTS = {}, GONE_TEXTS = {} } = texts;

  const { paths } = await (
    await request("GET", "/openapi.json")
  ).json<{
    paths: Record<string, Record<string, { responses: Record<string, { $ref?: string }> }>>;
  }>();
  // Without a method it is a mailed link that is followed, by POST.
  const calls = [
    ...script.matchAll(/"(GET|POST|PATCH|DELETE)",["`](\/v1\/[^"`]*)/g),
    ...script.matchAll(/(\()"(\/v1\/[^"]*)/g),
  ].map(([, method = "", path = ""]) => ({
    method: method === "(" ? "post" : method.toLowerCase(),
    path: path.replaceAll(/(?<!\/)\$\{[^}]*\}/g, "").replaceAll(/\$\{[^}]*\}/g, "{id}"),
  }));
  expect(calls.length).toBeGreaterThan(25);
  const silent = calls.flatMap(({ method, path }) => {
    const operation = (paths[path] ?? paths[path.replace(/\/current$/, "/{id}")])?.[method];
    if (!operation) return [`${method} ${path} is no route`];
    const codes = Object.values(operation.responses).flatMap(({ $ref = "" }) =>
      $ref.replace("#/components/responses/", "").split(".").filter(Boolean),
    );
    return codes
      .filter((code) => !UNSPOKEN.has(code) && !PROBLEM_TEXTS[code])
      .map((code) => `${path}: ${code}`);
  });
  expect(silent).toEqual([]);

  const acts = [
    ...Object.keys(PROBLEM_TEXTS),
    ...Object.keys(GONE_TEXTS).map((act) => `gone ${act.split(" ")[0]}`),
  ];
  const forms = new Set([...page.matchAll(/data-act="([^"]+)"/g)].map(([, act]) => act));
  expect(acts.map((key) => key.split(" ")[1]).filter((act) => act !== undefined && !forms.has(act))).toEqual(
    [],
  );
});
