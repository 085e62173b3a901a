import { sValidator } from "@hono/standard-validator";
import { neon, neonConfig } from "@neondatabase/serverless";
import { eq, sql } from "drizzle-orm";
import { drizzle, type NeonHttpDatabase } from "drizzle-orm/neon-http";
import { Hono } from "hono";
import { createMiddleware } from "hono/factory";
import { HTTPException } from "hono/http-exception";
import { importJWK, jwtVerify, type CryptoKey } from "jose";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { after, newestFirst, page, PAGE, projectColumns, projectsTable } from "./projects.ts";

type Env = {
  Bindings: { DATABASE_URL: string; NEON_FETCH_ENDPOINT: string; PUBLIC_JWK: string; ISSUER: string };
  Variables: { tenantId: string; userId: string; db: NeonHttpDatabase };
};

const projects = projectsTable("by_hand_projects");
const shown = projectColumns(projects);

const ById = v.object({ id: v.pipe(v.string(), v.uuid()) });
const ListQuery = v.object({
  limit: v.optional(
    v.pipe(v.string(), v.toNumber(), v.integer(), v.minValue(1), v.maxValue(100)),
    String(PAGE),
  ),
  cursor: v.optional(v.pipe(v.string(), v.base64())),
});
const NewProject = v.strictObject({
  name: v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(200)),
  description: v.optional(v.pipe(v.string(), v.maxLength(10_000))),
  status: v.optional(v.picklist(["active", "archived"])),
});
const ProjectPatch = v.partial(NewProject);

let key: Promise<CryptoKey | Uint8Array> | undefined;
let opened: NeonHttpDatabase | undefined;

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
    c.set("userId", String(payload.sub));
  } catch {
    throw new HTTPException(401);
  }
  c.set("db", (opened ??= connect(c.env)));
  await next();
});

/** Row level security goes by this setting, for the rest of its transaction. */
const enter = ({ db, tenantId }: Env["Variables"]) =>
  db.execute(sql`select set_config('app.tenant_id', ${tenantId}, true)`);

/** What a team would glue together: a verified token, validated input, and row level security by a plain GUC. */
const app = new Hono<Env>()
  .use("/v1/*", authenticated)
  .get("/v1/projects", sValidator("query", ListQuery), async (c) => {
    const { limit, cursor } = c.req.valid("query");
    const [, rows] = await c.var.db.batch([
      enter(c.var),
      c.var.db
        .select(shown)
        .from(projects)
        .where(after(projects, cursor))
        .orderBy(...newestFirst(projects))
        .limit(limit + 1),
    ]);
    return c.json(page(rows, limit));
  })
  .post("/v1/projects", sValidator("json", NewProject), async (c) => {
    const { tenantId, userId } = c.var;
    const own = { tenant_id: tenantId, id: uuidv7(), created_by: userId };
    const [, [row]] = await c.var.db.batch([
      enter(c.var),
      c.var.db
        .insert(projects)
        .values({ ...own, ...c.req.valid("json") })
        .returning(shown),
    ]);
    return c.json(row, 201);
  })
  .get("/v1/projects/:id", sValidator("param", ById), async (c) => {
    const [, [row]] = await c.var.db.batch([
      enter(c.var),
      c.var.db
        .select(shown)
        .from(projects)
        .where(eq(projects.id, c.req.valid("param").id)),
    ]);
    return row ? c.json(row) : c.notFound();
  })
  .patch("/v1/projects/:id", sValidator("param", ById), sValidator("json", ProjectPatch), async (c) => {
    const [, [row]] = await c.var.db.batch([
      enter(c.var),
      c.var.db
        .update(projects)
        .set({ ...c.req.valid("json"), updated_at: sql`now()` })
        .where(eq(projects.id, c.req.valid("param").id))
        .returning(shown),
    ]);
    return row ? c.json(row) : c.notFound();
  });

function connect(env: Env["Bindings"]): NeonHttpDatabase {
  neonConfig.fetchEndpoint = env.NEON_FETCH_ENDPOINT;
  return drizzle(neon(env.DATABASE_URL));
}

export default app;
