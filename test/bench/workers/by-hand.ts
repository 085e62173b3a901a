import { neon, neonConfig } from "@neondatabase/serverless";
import { eq, sql } from "drizzle-orm";
import { drizzle, type NeonHttpDatabase } from "drizzle-orm/neon-http";
import { Hono } from "hono";
import { createMiddleware } from "hono/factory";
import { HTTPException } from "hono/http-exception";
import { importJWK, jwtVerify, type CryptoKey } from "jose";
import { projectColumns, projectsTable } from "./projects.ts";

type Env = {
  Bindings: { DATABASE_URL: string; NEON_FETCH_ENDPOINT: string; PUBLIC_JWK: string; ISSUER: string };
  Variables: { tenantId: string };
};

const projects = projectsTable("by_hand_projects");
let key: Promise<CryptoKey | Uint8Array> | undefined;
let db: NeonHttpDatabase | undefined;

const authenticated = createMiddleware<Env>(async (c, next) => {
  const [scheme, token] = (c.req.header("authorization") ?? "").split(" ");
  if (scheme !== "Bearer" || !token) throw new HTTPException(401);
  key ??= importJWK(JSON.parse(c.env.PUBLIC_JWK));
  try {
    const { payload } = await jwtVerify(token, await key, {
      algorithms: ["Ed25519"],
      issuer: c.env.ISSUER,
      audience: c.env.ISSUER,
    });
    c.set("tenantId", String(payload["tid"]));
  } catch {
    throw new HTTPException(401);
  }
  await next();
});

/** What a team would glue together: a verified token, and its tenant in a plain GUC for row level security. */
const app = new Hono<Env>().use("/v1/*", authenticated).get("/v1/projects/:id", async (c) => {
  db ??= connect(c.env);
  const [, [row]] = await db.batch([
    db.execute(sql`select set_config('app.tenant_id', ${c.var.tenantId}, true)`),
    db
      .select(projectColumns(projects))
      .from(projects)
      .where(eq(projects.id, c.req.param("id"))),
  ]);
  return row ? c.json(row) : c.notFound();
});

function connect(env: Env["Bindings"]): NeonHttpDatabase {
  neonConfig.fetchEndpoint = env.NEON_FETCH_ENDPOINT;
  return drizzle(neon(env.DATABASE_URL));
}

export default app;
