import { decodeJwt } from "jose";
import { v7 as uuidv7 } from "uuid";
import { factory } from "../../../src/context.ts";
import { answerProblem, observe } from "../../../src/edge/gateway.ts";
import { makeApiKey } from "../../../src/identity/api-key.ts";
import type { Credential } from "../../../src/caller.ts";
import { identify } from "../../../src/edge/identify.ts";
import { admit } from "../../../src/edge/admit.ts";
import { bearerToken } from "../../../src/identity/bearer.ts";
import { teachTenant } from "../../../src/tenant/stub.ts";

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
    const { tenantId } = c.get("credential");
    const { text, hash } = makeApiKey(tenantId);
    const key = { id: uuidv7(), hash: Buffer.from(hash).toString("base64url"), expiresAt: null, version: 1 };
    await teachTenant(tenantId, { keys: [{ ...key, scopes: ["members:read"] }] });
    return c.json({ key: text });
  })
  .use("/bench/believed", believe, admit)
  .use("/bench/verified", identify, admit)
  .get("/bench/believed", (c) => c.json({ id: c.get("caller").id }))
  .get("/bench/verified", (c) => c.json({ id: c.get("caller").id }))
  .onError(answerProblem);

export { Tenant } from "../../../src/tenant/object.ts";
