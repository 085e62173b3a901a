import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { forgetAll } from "../src/memory.ts";
import { request } from "./support/client.ts";
import { newIssuer, type Claims, type TestIssuer } from "./support/issuer.ts";
import { newOperator } from "./support/operators.ts";
import { status } from "./support/people.ts";

// Where a deployment says so, Cloudflare Access stands in front of the operators' routes, and what comes around it is refused.

const AUD = "0f2c6c5d";
const begun = { ...settings };
let team: TestIssuer;
let token: string;

beforeEach(async () => {
  team = newIssuer();
  Object.assign(settings, { ACCESS_TEAM_URL: team.url, ACCESS_AUD: AUD });
  ({ token } = await newOperator("viewer"));
});
afterEach(() => {
  Object.assign(settings, begun);
  vi.restoreAllMocks();
});

const assertion = (claims: Claims = {}, alg = "RS256") => team.sign({ aud: [AUD], ...claims }, { alg });
const list = (passed: string | undefined, bearer: string | undefined = token) =>
  status(
    request("GET", "/v1/operator/operators", {
      token: bearer,
      ...(passed !== undefined && { headers: { "cf-access-jwt-assertion": passed } }),
    }),
  );

it("lets through whom the team let through, and asks for the operator's own token all the same", async () => {
  expect(await list(await assertion())).toBe(200);
  expect(await list(await assertion(), "x".repeat(43))).toBe(401);
  expect(await list(await assertion(), settings.OPERATOR_TOKEN)).toBe(200);
  // The keys are fetched once.
  expect(await team.fetches()).toBe(1);
});

it("refuses what came around it, was made for another application, by another team, or is over", async () => {
  const other = newIssuer();
  const now = Math.floor(Date.now() / 1000);
  for (const passed of [
    undefined,
    "",
    "no.jwt.atall",
    await assertion({ aud: ["another"] }),
    await assertion({ iss: other.url }),
    await assertion({ exp: now - 60 }),
    await assertion({ exp: undefined }),
    await assertion({}, "HS256"),
    await assertion({}, "none"),
    await other.sign({ aud: [AUD], iss: team.url }, { alg: "RS256" }),
  ])
    expect([passed, await list(passed)]).toEqual([passed, 401]);
  const body = { email: "x@operators.test", password: "x", code: "000000" };
  const signIn = await request("POST", "/v1/operator/sessions", { body });
  expect(await signIn.json()).toMatchObject({
    detail: "Cloudflare Access has not let this request through.",
  });
});

it("closes while the team's keys are out of reach", async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  const passed = await assertion();
  await team.behave("fail");
  forgetAll();
  expect(await list(passed)).toBe(503);
});

it("is no matter of a tenant's routes", async () => {
  expect(await status(request("GET", "/health"))).toBe(200);
  expect(await status(request("GET", "/v1/me"))).toBe(401);
});
