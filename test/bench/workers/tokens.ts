import { decodeJwt } from "jose";
import { factory } from "../../../src/context.ts";
import { answerProblem, observe } from "../../../src/edge/gateway.ts";
import { signedIn } from "../../../src/edge/needs.ts";
import { createApiKey } from "../../../src/identity/api-keys.ts";
import type { Credential } from "../../../src/caller.ts";
import { identify } from "../../../src/edge/identify.ts";
import { admit } from "../../../src/edge/admit.ts";
import { bearerToken } from "../../../src/identity/bearer.ts";

let believed: Credential | undefined;

/** Stands in for `identify`, and verifies nothing: whoever calls is who the first token said. */
const believe = factory.createMiddleware(async function believe(c, next) {
  const token = bearerToken(c.req.raw.headers) ?? "";
  if (!believed) {
    const { tid, sub, sid } = decodeJwt(token);
    const [tenantId, userId, sessionId] = [tid, sub, sid].map(String);
    believed = {
      kind: "user",
      tenantId: tenantId ?? "",
      userId: userId ?? "",
      sessionId: sessionId ?? "",
      role: "owner",
      version: Number.MAX_SAFE_INTEGER,
      authTime: 0,
      amr: [],
    };
  }
  c.set("credential", believed);
  await next();
});

/** The way of a request up to its handler, which does nothing, with verification and without. */
export default factory
  .createApp()
  .use(observe)
  .post("/bench/keys", identify, admit, async (c) => {
    const key = { name: "bench", scopes: ["members:read" as const], expiresAt: null };
    const { row } = await createApiKey(c.get("account"), signedIn(c.get("caller")), key, undefined);
    return c.json({ key: row.key });
  })
  .use("/bench/believed", believe, admit)
  .use("/bench/verified", identify, admit)
  .get("/bench/believed", (c) => c.json({ id: c.get("caller").id }))
  .get("/bench/verified", (c) => c.json({ id: c.get("caller").id }))
  .onError(answerProblem);

export { Tenant } from "../../../src/tenant/object.ts";
