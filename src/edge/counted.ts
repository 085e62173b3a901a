import type { Context } from "hono";
import { factory, type Edge } from "../context.ts";
import { noteAnswer } from "../tenant/usage-notes.ts";
import { CLIENT_LEFT } from "./gateway.ts";

/** Notes of each answer to a tenant what is counted of it here (docs/usage.md): errors, bytes, and what Postgres took. */
export const counted = factory.createMiddleware(async function counted(c, next) {
  const { json } = c;
  // The text is nowhere to be had once it is in the answer, unless the answer is read again.
  c.json = ((value: unknown, ...rest: [200]) => {
    const text = JSON.stringify(value);
    c.set("bytes", Buffer.byteLength(text));
    return rest.length > 1 ? json(value, ...rest) : c.body(text, rest[0] ?? 200, JSON_TYPE);
  }) as typeof c.json;
  await next();
  const credential = c.get("credential");
  // Without an answer to anybody.
  if (!credential || c.res.status === CLIENT_LEFT) return;
  noteAnswer(credential, Date.now(), c.res.status >= 500, bytesOf(c), c.get("waits")?.db ?? 0);
});

const JSON_TYPE = { "Content-Type": "application/json" };

/** The bytes of the answer's body before any compression; 0 where nobody has said. */
function bytesOf(c: Context<Edge>): number {
  if (c.req.raw.method === "HEAD") return 0;
  return c.get("bytes") ?? Number(c.res.headers.get("content-length") ?? 0);
}
