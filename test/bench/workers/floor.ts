import { neon, neonConfig } from "@neondatabase/serverless";
import { and, eq, sql } from "drizzle-orm";
import { drizzle, type NeonHttpDatabase } from "drizzle-orm/neon-http";
import { Hono } from "hono";
import { v7 as uuidv7 } from "uuid";
import { after, newestFirst, page, PAGE, projectColumns, projectsTable } from "./projects.ts";

type Env = {
  Bindings: { DATABASE_URL: string; NEON_FETCH_ENDPOINT: string; TENANT_ID: string; USER_ID: string };
};

const projects = projectsTable("floor_projects");
const shown = projectColumns(projects);
let opened: NeonHttpDatabase | undefined;

/** Neither who asks nor how often, no validation, no transaction and no wall: the least that answers with the rows. */
const app = new Hono<Env>()
  .get("/v1/projects", async (c) => {
    const rows = await connected(c.env)
      .select(shown)
      .from(projects)
      .where(and(eq(projects.tenant_id, c.env.TENANT_ID), after(projects, c.req.query("cursor"))))
      .orderBy(...newestFirst(projects))
      .limit(PAGE + 1);
    return c.json(page(rows, PAGE));
  })
  .post("/v1/projects", async (c) => {
    const own = { tenant_id: c.env.TENANT_ID, id: uuidv7(), created_by: c.env.USER_ID };
    const [row] = await connected(c.env)
      .insert(projects)
      .values({ ...(await c.req.json()), ...own })
      .returning(shown);
    return c.json(row, 201);
  })
  .get("/v1/projects/:id", async (c) => {
    const [row] = await connected(c.env)
      .select(shown)
      .from(projects)
      .where(mine(c.env, c.req.param("id")));
    return row ? c.json(row) : c.notFound();
  })
  .patch("/v1/projects/:id", async (c) => {
    const [row] = await connected(c.env)
      .update(projects)
      .set({ ...(await c.req.json()), updated_at: sql`now()` })
      .where(mine(c.env, c.req.param("id")))
      .returning(shown);
    return row ? c.json(row) : c.notFound();
  });

const mine = (env: Env["Bindings"], id: string) =>
  and(eq(projects.id, id), eq(projects.tenant_id, env.TENANT_ID));

function connected(env: Env["Bindings"]): NeonHttpDatabase {
  neonConfig.fetchEndpoint = env.NEON_FETCH_ENDPOINT;
  return (opened ??= drizzle(neon(env.DATABASE_URL)));
}

export default app;
