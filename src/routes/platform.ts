import { createHash } from "node:crypto";
import * as v from "valibot";
import { factory } from "../context.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { isKnown } from "../http/etag.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { jwks } from "../identity/access-token.ts";
import { Problem } from "../problem.ts";
import { findOutages } from "../tenant/readiness.ts";

const tag = "Platform";
const Health = v.object({ status: v.literal("ok") });
const Jwk = v.object({
  kty: v.picklist(["OKP", "EC"]),
  kid: v.string(),
  alg: v.picklist(["Ed25519", "ES256"]),
  use: v.literal("sig"),
  crv: v.picklist(["Ed25519", "P-256"]),
  x: v.string(),
  y: v.exactOptional(v.string()),
});
const Jwks = v.object({ keys: v.array(Jwk) });
nameSchemas({ Health, KeySet: Jwks });

/** A verifier's copy of the key set is no older; drizzle/rotate.ts waits for so long before a new key signs. */
const KEY_SET_MAX_AGE_S = 300;
const keySetTag = `"${createHash("sha256").update(JSON.stringify(jwks)).digest("base64url")}"`;

/** The service itself: is it up, which keys sign its tokens. */
export const platformRoutes = factory
  .createApp()
  .get(
    "/health",
    operation("getHealth", { summary: "Is the Worker up", tag, answers: { 200: Health }, token: false }),
    (c) => c.json({ status: "ok" as const }),
  )
  .get(
    "/ready",
    floodGuard,
    operation("getReady", {
      summary: "Do Postgres and the Durable Objects answer",
      tag,
      answers: { 200: Health },
      token: false,
    }),
    async (c) => {
      const outages = await findOutages((probe) => c.executionCtx.waitUntil(probe));
      if (outages.length > 0)
        throw new Problem("unavailable", {
          detail: `Out of reach: ${outages.map(({ part }) => part).join(", ")}.`,
          headers: { "retry-after": "5" },
          cause: outages.map(({ cause }) => cause).join("; "),
        });
      return c.json({ status: "ok" as const });
    },
  )
  .get(
    "/.well-known/jwks.json",
    operation("getWellKnownJwksJson", {
      summary: "The public keys that verify access tokens",
      tag,
      answers: { 200: Jwks, 304: null },
      token: false,
    }),
    (c) => {
      c.header("Cache-Control", `public, max-age=${KEY_SET_MAX_AGE_S}`);
      c.header("ETag", keySetTag);
      return isKnown(c, keySetTag) ? c.body(null, 304) : c.json(jwks);
    },
  );
