import { and, desc, eq, sql } from "drizzle-orm";
import * as v from "valibot";
import { factory } from "../context.ts";
import { PROJECT_STATUSES, projects } from "../db/schema.ts";
import { needs } from "../edge/needs.ts";
import { answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { createOnce, IDEMPOTENCY_PROBLEMS, IdempotencyKey } from "../http/idempotency.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { pageOf, PageQuery, Pager } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import { Problem } from "../problem.ts";

const tag = "Projects";

const Name = v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(200));
const Description = v.pipe(v.string(), v.maxLength(10_000));
const Status = v.picklist(PROJECT_STATUSES);
const Project = v.object({
  id: v.string(),
  name: v.string(),
  description: v.string(),
  status: Status,
  created_at: v.string(),
  updated_at: v.string(),
  created_by: v.string(),
});
const NewProject = v.strictObject({
  name: Name,
  // As a merge patch (RFC 7396) takes a member away: null stands for the value of a project made without it.
  description: v.optional(v.nullable(Description, "")),
  status: v.optional(v.nullable(Status, "active")),
});
const ProjectPatch = v.partial(NewProject);
nameSchemas({ Project, NewProject, ProjectPatch });
const ListQuery = v.object({ ...PageQuery.entries, status: v.optional(Status) });

const shown = {
  id: projects.id,
  name: projects.name,
  description: projects.description,
  status: projects.status,
  created_at: projects.created_at,
  updated_at: projects.updated_at,
  created_by: projects.created_by,
};
const versioned = { ...shown, version: projects.version };

export const projectRoutes = factory
  .createApp()
  .get(
    "/",
    operation({
      summary: "List projects, newest first",
      tag,
      answers: { 200: pageOf(Project) },
    }),
    needs("projects:read"),
    valid("query", ListQuery),
    async (c) => {
      const query = c.req.valid("query");
      const pager = new Pager(query, c.get("caller").tenantId, c.req.path);
      const [rows] = await c.get("db").read((db) => [
        db
          .select(shown)
          .from(projects)
          .where(and(query.status && eq(projects.status, query.status), pager.after(projects)))
          .orderBy(desc(projects.created_at), desc(projects.id))
          .limit(pager.rows),
      ]);
      return c.json(pager.page(rows));
    },
  )
  .post(
    "/",
    operation({
      summary: "Create a project",
      tag,
      answers: { 201: Project },
      problems: IDEMPOTENCY_PROBLEMS,
    }),
    needs("projects:write"),
    valid("header", IdempotencyKey),
    valid("json", NewProject),
    async (c) => {
      const row = await createOnce(c, projects, c.req.valid("json"), versioned);
      c.header("Location", `/v1/projects/${row.id}`);
      return answerRow(c, row, 201);
    },
  )
  .get(
    "/:id",
    operation({ summary: "A project", tag, answers: { 200: Project }, problems: ["not_found"] }),
    needs("projects:read"),
    valid("param", ById),
    async (c) => {
      const { id } = c.req.valid("param");
      const [[row]] = await c
        .get("db")
        .read((db) => [db.select(versioned).from(projects).where(eq(projects.id, id))]);
      if (!row) throw new Problem("not_found");
      return answerRow(c, row);
    },
  )
  .patch(
    "/:id",
    operation({
      summary: "Change a project (merge patch)",
      tag,
      answers: { 200: Project },
      problems: ["not_found", "precondition_failed"],
    }),
    needs("projects:write"),
    valid("param", ById),
    valid("header", IfMatch),
    valid("json", ProjectPatch),
    async (c) => {
      const { id } = c.req.valid("param");
      const [[row], [there]] = await c.get("db").write((db) => [
        db
          .update(projects)
          .set({ ...c.req.valid("json"), updated_at: sql`now()` })
          .where(and(eq(projects.id, id), ifMatch(projects, c.req.valid("header"))))
          .returning(versioned),
        db.select({ id: projects.id }).from(projects).where(eq(projects.id, id)),
      ]);
      if (!row) throw new Problem(there ? "precondition_failed" : "not_found");
      return answerRow(c, row);
    },
  )
  .delete(
    "/:id",
    operation({
      summary: "Delete a project and its tasks",
      tag,
      answers: { 204: null },
      problems: ["not_found", "precondition_failed"],
    }),
    needs("projects:write"),
    valid("param", ById),
    valid("header", IfMatch),
    async (c) => {
      const { id } = c.req.valid("param");
      const [[gone], [there]] = await c.get("db").write((db) => [
        db
          .delete(projects)
          .where(and(eq(projects.id, id), ifMatch(projects, c.req.valid("header"))))
          .returning({ id: projects.id }),
        db.select({ id: projects.id }).from(projects).where(eq(projects.id, id)),
      ]);
      if (!gone) throw new Problem(there ? "precondition_failed" : "not_found");
      return c.body(null, 204);
    },
  );
