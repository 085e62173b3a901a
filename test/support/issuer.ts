import { expect, inject } from "vitest";
import type { Behaviour } from "./node/issuers.ts";
import { answered, request, type Row, type SignedIn } from "./client.ts";

const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE = "urn:ietf:params:oauth:token-type:";
export const AUDIENCE = "partywall-app";

export type Claims = Record<string, unknown>;
type Signing = { alg?: string; header?: Record<string, unknown>; retired?: boolean };

/** A real OIDC issuer, on loopback, that does what a test says. */
export type TestIssuer = {
  url: string;
  sign: (claims: Claims, signing?: Signing) => Promise<string>;
  behave: (behaviour: Behaviour) => Promise<void>;
  rotate: () => Promise<void>;
  /** Has it publish this key set instead of its keys. */
  publish: (jwks: unknown) => Promise<void>;
  /** The key set that it publishes. */
  keySet: () => Promise<{ keys: JsonWebKey[] }>;
  /** How often its discovery document was asked for. */
  fetches: () => Promise<number>;
};

export function newIssuer(): TestIssuer {
  const url = `${inject("variables")["LOCAL_ISSUERS"]}/${crypto.randomUUID()}`;
  const post = async <T>(action: string, body: string): Promise<T> =>
    answered<T>(200, fetch(`${url}/${action}`, { method: "POST", body }));
  return {
    url,
    sign: (claims, signing = {}) =>
      post<string>("sign", JSON.stringify({ claims: { iss: url, ...fresh(), ...claims }, ...signing })),
    behave: (behaviour) => post("behave", behaviour),
    rotate: () => post("rotate", ""),
    publish: (jwks) => post("publish", JSON.stringify(jwks)),
    keySet: () => answered<{ keys: JsonWebKey[] }>(200, fetch(`${url}/jwks`)),
    fetches: () => post<number>("fetches", ""),
  };
}

/** What an ID token of anybody says; a claim set to undefined is left out. */
function fresh(): Claims {
  const now = Math.floor(Date.now() / 1000);
  return { aud: AUDIENCE, iat: now, exp: now + 300, sub: "anybody", email_verified: true };
}

/** Has the tenant trust the issuer: by default for any newcomer of acme.test, as a member. */
export const trust = (who: SignedIn, issuer: TestIssuer, rules: object = {}): Promise<Row> =>
  answered<Row>(
    201,
    request("POST", "/v1/issuers", {
      token: who.token,
      body: {
        issuer: issuer.url,
        audience: AUDIENCE,
        default_role: "member",
        email_domains: ["acme.test"],
        just_in_time: true,
        ...rules,
      },
    }),
  );

/** A token request, as OAuth clients send it. */
export const tokenRequest = (form: Record<string, string> | string): Promise<Response> =>
  request("POST", "/v1/token", {
    body: typeof form === "string" ? form : String(new URLSearchParams(form)),
    headers: { "content-type": "application/x-www-form-urlencoded" },
  });

export const exchangeForm = (subject_token: string, more: Record<string, string> = {}) => ({
  grant_type: TOKEN_EXCHANGE,
  subject_token,
  subject_token_type: `${TYPE}id_token`,
  ...more,
});

export const exchange = (token: string, more?: Record<string, string>): Promise<Response> =>
  tokenRequest(exchangeForm(token, more));

/** The access token that the subject token is exchanged for. */
export async function exchanged(token: string, more?: Record<string, string>): Promise<string> {
  const { access_token } = await answered<{ access_token: string }>(200, exchange(token, more));
  return access_token;
}

/** Expects the answer to be a refusal of the subject token. */
export async function expectRefused(response: Response | Promise<Response>, detail?: RegExp): Promise<void> {
  const answer = await response;
  const problem = await answer.json<Record<string, unknown>>();
  expect(problem).toMatchObject({
    type: expect.stringMatching(/\/problems\/subject_token_refused$/) as string,
    status: 400,
    error: "invalid_request",
  });
  expect(answer.status).toBe(400);
  expect(answer.headers.get("content-type")).toBe("application/problem+json");
  if (detail) expect(problem["detail"]).toMatch(detail);
}
