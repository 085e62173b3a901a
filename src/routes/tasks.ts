import { and, desc, eq, lt, sql } from "drizzle-orm";
import * as v from "valibot";
import { factory } from "../context.ts";
import { violatedConstraint } from "../db/client.ts";
import { projects, TASK_STATUSES, tasks } from "../db/schema.ts";
import { needs } from "../edge/needs.ts";
import { Day } from "../http/calendar.ts";
import { answerRow, IfMatch, ifMatch } from "../http/etag.ts";
import { createOnce, IDEMPOTENCY_PROBLEMS, IdempotencyKey } from "../http/idempotency.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { pageOf, PageQuery, Pager } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";
import { Problem } from "../problem.ts";

const tag = "Tasks";

const Uuid = v.pipe(v.string(), v.uuid());
const Status = v.picklist(TASK_STATUSES);
const Task = v.object({
  id: v.string(),
  project_id: v.string(),
  title: v.string(),
  notes: v.string(),
  status: Status,
  assignee_id: v.nullable(v.string()),
  due_on: v.nullable(v.string()),
  created_at: v.string(),
  updated_at: v.string(),
  created_by: v.string(),
});
const NewTask = v.strictObject({
  title: v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(500)),
  // As a merge patch (RFC 7396) takes a member away: null stands for the value of a task made without it.
  notes: v.optional(v.nullable(v.pipe(v.string(), v.maxLength(10_000)), "")),
  status: v.optional(v.nullable(Status, "todo")),
  assignee_id: v.optional(v.nullable(Uuid)),
  due_on: v.optional(v.nullable(Day)),
});
const TaskPatch = v.partial(NewTask);
nameSchemas({ Task, NewTask, TaskPatch });
const OfProjectQuery = v.object({
  ...PageQuery.entries,
  status: v.optional(Status),
  assignee_id: v.optional(Uuid),
  due_before: v.optional(Day),
});
const ListQuery = v.object({ ...OfProjectQuery.entries, project_id: v.optional(Uuid) });

const shown = {
  id: tasks.id,
  project_id: tasks.project_id,
  title: tasks.title,
  notes: tasks.notes,
  status: tasks.status,
  assignee_id: tasks.assignee_id,
  due_on: tasks.due_on,
  created_at: tasks.created_at,
  updated_at: tasks.updated_at,
  created_by: tasks.created_by,
};
const versioned = { ...shown, version: tasks.version };

const matching = (query: v.InferOutput<typeof ListQuery>) =>
  and(
    query.status === undefined ? undefined : eq(tasks.status, query.status),
    query.assignee_id === undefined ? undefined : eq(tasks.assignee_id, query.assignee_id),
    query.project_id === undefined ? undefined : eq(tasks.project_id, query.project_id),
    query.due_before === undefined ? undefined : lt(tasks.due_on, query.due_before),
  );

/** The foreign keys tell what the write referred to in vain; both start with tenant_id, so neither tells more. */
function refuse(error: unknown): never {
  switch (violatedConstraint(error)) {
    case "tasks_project":
      throw new Problem("not_found", { cause: error });
    case "tasks_assignee": {
      const errors = [{ pointer: "/assignee_id", detail: "There is no such member in this tenant." }];
      throw new Problem("invalid_input", { errors, cause: error });
    }
    default:
      throw error;
  }
}

/** The tasks of one project, under /v1/projects. */
export const projectTasks = factory
  .createApp()
  .get(
    "/:id/tasks",
    operation({
      summary: "List a project's tasks, newest first",
      tag,
      answers: { 200: pageOf(Task) },
      problems: ["not_found"],
    }),
    needs("tasks:read"),
    valid("param", ById),
    valid("query", OfProjectQuery),
    async (c) => {
      const { id } = c.req.valid("param");
      const query = c.req.valid("query");
      const pager = new Pager(query, c.get("caller").tenantId, c.req.path);
      const [[project], rows] = await c.get("db").read((db) => [
        db.select({ id: projects.id }).from(projects).where(eq(projects.id, id)),
        db
          .select(shown)
          .from(tasks)
          .where(and(matching({ ...query, project_id: id }), pager.after(tasks)))
          .orderBy(desc(tasks.created_at), desc(tasks.id))
          .limit(pager.rows),
      ]);
      if (!project) throw new Problem("not_found");
      return c.json(pager.page(rows));
    },
  )
  .post(
    "/:id/tasks",
    operation({
      summary: "Add a task to a project",
      tag,
      answers: { 201: Task },
      problems: ["not_found", ...IDEMPOTENCY_PROBLEMS],
    }),
    needs("tasks:write"),
    valid("param", ById),
    valid("header", IdempotencyKey),
    valid("json", NewTask),
    async (c) => {
      const project_id = c.req.valid("param").id;
      const values = { ...c.req.valid("json"), project_id };
      const row = await createOnce(c, tasks, values, versioned).catch(refuse);
      c.header("Location", `/v1/tasks/${row.id}`);
      return answerRow(c, row, 201);
    },
  );

export const taskRoutes = factory
  .createApp()
  .get(
    "/",
    operation({
      summary: "List the tasks of all projects, newest first",
      tag,
      answers: { 200: pageOf(Task) },
    }),
    needs("tasks:read"),
    valid("query", ListQuery),
    async (c) => {
      const query = c.req.valid("query");
      const pager = new Pager(query, c.get("caller").tenantId, c.req.path);
      const [rows] = await c.get("db").read((db) => [
        db
          .select(shown)
          .from(tasks)
          .where(and(matching(query), pager.after(tasks)))
          .orderBy(desc(tasks.created_at), desc(tasks.id))
          .limit(pager.rows),
      ]);
      return c.json(pager.page(rows));
    },
  )
  .get(
    "/:id",
    operation({ summary: "A task", tag, answers: { 200: Task }, problems: ["not_found"] }),
    needs("tasks:read"),
    valid("param", ById),
    async (c) => {
      const { id } = c.req.valid("param");
      const [[row]] = await c
        .get("db")
        .read((db) => [db.select(versioned).from(tasks).where(eq(tasks.id, id))]);
      if (!row) throw new Problem("not_found");
      return answerRow(c, row);
    },
  )
  .patch(
    "/:id",
    operation({
      summary: "Change a task (merge patch)",
      tag,
      answers: { 200: Task },
      problems: ["not_found", "precondition_failed"],
    }),
    needs("tasks:write"),
    valid("param", ById),
    valid("header", IfMatch),
    valid("json", TaskPatch),
    async (c) => {
      const { id } = c.req.valid("param");
      const [[row], [there]] = await c
        .get("db")
        .write((db) => [
          db
            .update(tasks)
            .set({ ...c.req.valid("json"), updated_at: sql`now()` })
            .where(and(eq(tasks.id, id), ifMatch(tasks, c.req.valid("header"))))
            .returning(versioned),
          db.select({ id: tasks.id }).from(tasks).where(eq(tasks.id, id)),
        ])
        .catch(refuse);
      if (!row) throw new Problem(there ? "precondition_failed" : "not_found");
      return answerRow(c, row);
    },
  )
  .delete(
    "/:id",
    operation({
      summary: "Delete a task",
      tag,
      answers: { 204: null },
      problems: ["not_found", "precondition_failed"],
    }),
    needs("tasks:write"),
    valid("param", ById),
    valid("header", IfMatch),
    async (c) => {
      const { id } = c.req.valid("param");
      const [[gone], [there]] = await c.get("db").write((db) => [
        db
          .delete(tasks)
          .where(and(eq(tasks.id, id), ifMatch(tasks, c.req.valid("header"))))
          .returning({ id: tasks.id }),
        db.select({ id: tasks.id }).from(tasks).where(eq(tasks.id, id)),
      ]);
      if (!gone) throw new Problem(there ? "precondition_failed" : "not_found");
      return c.body(null, 204);
    },
  );
