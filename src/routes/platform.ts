import { createHash } from "node:crypto";
import * as v from "valibot";
import { factory } from "../context.ts";
import { pingDatabase } from "../db/client.ts";
import { nameSchemas, operation } from "../http/openapi.ts";
import { jwks } from "../identity/access-token.ts";
import { Problem } from "../problem.ts";
import { tenantObject } from "../tenant/ask.ts";

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
export const platform = factory
  .createApp()
  .get(
    "/health",
    operation({ summary: "Is the Worker up", tag, answers: { 200: Health }, token: false }),
    (c) => c.json({ status: "ok" as const }),
  )
  .get(
    "/ready",
    operation({
      summary: "Do Postgres and the Durable Objects answer",
      tag,
      answers: { 200: Health },
      token: false,
    }),
    async (c) => {
      const parts = {
        postgres: pingDatabase(),
        // The object of no tenant: it holds nothing.
        durable_object: tenantObject(c.env.TENANT, "ready").ping(),
      };
      const results = await Promise.allSettled(Object.values(parts));
      const down = Object.keys(parts).filter((_, index) => results[index]?.status === "rejected");
      if (down.length > 0) {
        throw new Problem("unavailable", {
          detail: `Out of reach: ${down.join(", ")}.`,
          headers: { "retry-after": "5" },
          cause: results
            .flatMap((result) => (result.status === "rejected" ? [String(result.reason)] : []))
            .join("; "),
        });
      }
      return c.json({ status: "ok" as const });
    },
  )
  .get(
    "/.well-known/jwks.json",
    operation({
      summary: "The public keys that verify access tokens",
      tag,
      answers: { 200: Jwks, 304: null },
      token: false,
    }),
    (c) => {
      c.header("Cache-Control", `public, max-age=${KEY_SET_MAX_AGE_S}`);
      c.header("ETag", keySetTag);
      return c.req.header("if-none-match")?.includes(keySetTag) ? c.body(null, 304) : c.json(jwks);
    },
  );
