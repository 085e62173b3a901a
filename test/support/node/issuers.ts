import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import {
  base64url,
  CompactSign,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  SignJWT,
  type CryptoKey,
  type JWK,
  type JWTPayload,
} from "jose";

/** What an issuer does when it is asked for its discovery document or its keys. */
export type Behaviour =
  | "answer"
  | "hang"
  | "fail"
  | "redirect"
  | "huge"
  | "no-json"
  | "other-issuer"
  | "keys-inside"
  | "keys-elsewhere"
  | "keys-redirect";

type Pair = { kid: string; publicKey: CryptoKey; privateKey: CryptoKey };
type Issuer = {
  pairs: Map<string, Pair>;
  retired: Map<string, Pair>;
  behaviour: Behaviour;
  fetches: number;
  /** What it publishes as its key set instead of its keys, as JSON. */
  published?: string;
};
type Order = { claims: JWTPayload; alg?: string; header?: Record<string, unknown>; retired?: boolean };

/**
 * OIDC issuers on loopback, one for each first segment of a path, made when first asked for. Each publishes the keys
 * that it has signed with, or those of POST /{name}/publish, and does as POST /{name}/behave says; POST /{name}/sign
 * signs any claims.
 */
export async function startIssuers(): Promise<{ origin: string; stop: () => void }> {
  const issuers = new Map<string, Issuer>();
  const server = createServer((request, response) => {
    void answer(issuers, origin, request, response).catch((error: unknown) => {
      response.writeHead(500).end(String(error));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = () => {
    server.close();
    // Also those that are kept hanging.
    server.closeAllConnections();
  };
  return { origin, stop };
}

async function answer(
  issuers: Map<string, Issuer>,
  origin: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const [, name = "", ...rest] = (request.url ?? "").split("/");
  const issuer: Issuer = issuers.get(name) ?? {
    pairs: new Map(),
    retired: new Map(),
    behaviour: "answer",
    fetches: 0,
  };
  issuers.set(name, issuer);
  const url = `${origin}/${name}`;
  const json = (value: unknown) =>
    void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));

  switch (rest.join("/")) {
    case ".well-known/openid-configuration":
      issuer.fetches += 1;
      return discover(issuer, url, response, json);
    case "jwks":
      if (issuer.published !== undefined) return void response.writeHead(200).end(issuer.published);
      return json({
        keys: await Promise.all(Array.from(issuer.pairs, ([alg, pair]) => publicJwk(alg, pair))),
      });
    // Where a Cloudflare Access team has its keys.
    case "cdn-cgi/access/certs":
      issuer.fetches += 1;
      if (issuer.behaviour !== "answer") return void response.writeHead(500).end("{}");
      return json({ keys: [await publicJwk("RS256", await pairOf(issuer, "RS256"))] });
    case "redirected":
      return void response.writeHead(302, { location: `${url}/jwks` }).end();
    case "behave":
      issuer.behaviour = (await bodyOf(request)) as Behaviour;
      return json(null);
    case "publish":
      issuer.published = await bodyOf(request);
      return json(null);
    case "rotate":
      issuer.retired = new Map(issuer.pairs);
      issuer.pairs.clear();
      return json(null);
    case "fetches":
      return json(issuer.fetches);
    case "sign":
      return json(await sign(issuer, JSON.parse(await bodyOf(request)) as Order));
    default:
      return void response.writeHead(404).end();
  }
}

function discover(
  issuer: Issuer,
  url: string,
  response: ServerResponse,
  json: (value: unknown) => void,
): void {
  const document = { issuer: url, jwks_uri: `${url}/jwks` };
  switch (issuer.behaviour) {
    case "answer":
      return json(document);
    case "hang":
      return;
    case "fail":
      return void response.writeHead(500).end("{}");
    case "redirect":
      return void response.writeHead(302, { location: `${url}/.well-known/openid-configuration` }).end();
    case "huge":
      return json({ ...document, padding: "x".repeat(70_000) });
    case "no-json":
      return void response.writeHead(200).end("<html>");
    case "other-issuer":
      return json({ ...document, issuer: `${url}/` });
    case "keys-inside":
      return json({ ...document, jwks_uri: "http://127.0.0.1:1/jwks" });
    case "keys-elsewhere":
      return json({ ...document, jwks_uri: `${url.replace("127.0.0.1", "localhost")}/jwks` });
    case "keys-redirect":
      return json({ ...document, jwks_uri: `${url}/redirected` });
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk as string;
  return text;
}

async function pairOf({ pairs }: Issuer, alg: string): Promise<Pair> {
  const known = pairs.get(alg);
  if (known) return known;
  const pair = { kid: crypto.randomUUID(), ...(await generateKeyPair(alg, { extractable: true })) };
  pairs.set(alg, pair);
  return pair;
}

const publicJwk = async (alg: string, { kid, publicKey }: Pair): Promise<JWK> => ({
  ...(await exportJWK(publicKey)),
  kid,
  alg,
  use: "sig",
});

/** Signs as an issuer does, and in two ways as only a forger does: with `none`, and with a public key as a secret. */
async function sign(issuer: Issuer, { claims, alg = "ES256", header, retired }: Order): Promise<string> {
  const payload = new TextEncoder().encode(JSON.stringify(claims));
  if (alg === "none") {
    const { kid } = await pairOf(issuer, "ES256");
    return `${base64url.encode(JSON.stringify({ alg, kid, ...header }))}.${base64url.encode(payload)}.`;
  }
  if (alg === "HS256") {
    const { kid, publicKey } = await pairOf(issuer, "RS256");
    const secret = new TextEncoder().encode(await exportSPKI(publicKey));
    return new CompactSign(payload).setProtectedHeader({ alg, kid, ...header }).sign(secret);
  }
  const pair = (retired && issuer.retired.get(alg)) || (await pairOf(issuer, alg));
  return new SignJWT(claims).setProtectedHeader({ alg, kid: pair.kid, ...header }).sign(pair.privateKey);
}
