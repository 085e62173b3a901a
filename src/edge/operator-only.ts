import { createHash, timingSafeEqual } from "node:crypto";
import { factory } from "../context.ts";
import { settings } from "../env.ts";
import { bearerToken } from "../identity/bearer.ts";
import { Problem } from "../problem.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest();

/** Lets on whoever runs this deployment, by a token that no client has. */
export const operatorOnly = factory.createMiddleware(async function operatorOnly(c, next) {
  const token = bearerToken(c.req.raw.headers) ?? "";
  if (!timingSafeEqual(sha256(token), sha256(settings.OPERATOR_TOKEN))) {
    throw new Problem("unauthenticated", { headers: { "www-authenticate": 'Bearer realm="operator"' } });
  }
  await next();
});
