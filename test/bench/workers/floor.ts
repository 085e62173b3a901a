import { neon, neonConfig } from "@neondatabase/serverless";
import { and, eq } from "drizzle-orm";
import { drizzle, type NeonHttpDatabase } from "drizzle-orm/neon-http";
import { Hono } from "hono";
import { projectColumns, projectsTable } from "./projects.ts";

type Bindings = { DATABASE_URL: string; NEON_FETCH_ENDPOINT: string; TENANT_ID: string };

const projects = projectsTable("floor_projects");
let db: NeonHttpDatabase | undefined;

/** Neither who asks nor how often, no transaction and no wall: the least that answers a request with a row. */
const app = new Hono<{ Bindings: Bindings }>().get("/v1/projects/:id", async (c) => {
  db ??= connect(c.env);
  const [row] = await db
    .select(projectColumns(projects))
    .from(projects)
    .where(and(eq(projects.id, c.req.param("id")), eq(projects.tenant_id, c.env.TENANT_ID)));
  return row ? c.json(row) : c.notFound();
});

function connect(env: Bindings): NeonHttpDatabase {
  neonConfig.fetchEndpoint = env.NEON_FETCH_ENDPOINT;
  return drizzle(neon(env.DATABASE_URL));
}

export default app;
