import { eq, lt, type SQLWrapper } from "drizzle-orm";
import * as v from "valibot";
import { factory } from "../context.ts";
import { violatedConstraint } from "../db/client.ts";
import { query, type Given } from "../db/query.ts";
import { projects, TASK_STATUSES, tasks } from "./schema.ts";
import { bulkOf } from "../edge/bulk.ts";
import { needs } from "../edge/needs.ts";
import { Day, Uuid } from "../values.ts";
import { answerNew } from "../http/etag.ts";
import { IDEMPOTENCY_PROBLEMS, IdempotencyKey, once } from "../http/idempotency.ts";
import { pageOf } from "../http/page.ts";
import { resource } from "../edge/resource.ts";
import { rowsOf } from "../http/rows.ts";
import { shownOf } from "../http/shape.ts";
import { ById, valid } from "../http/valid.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";

const tag = { name: "Tasks", description: "What there is to do in a project." };

const Status = v.picklist(TASK_STATUSES);
const Task = shownOf(tasks, "project_id", "title", "notes", "status", "assignee_id", "due_on", "created_by");
const NewTask = v.strictObject({
  title: v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(500), v.examples(["Order the tiles"])),
  // As a merge patch (RFC 7396) takes a member away: null stands for the value of a task made without it.
  notes: v.optional(v.nullable(v.pipe(v.string(), v.maxLength(10_000)), "")),
  status: v.optional(v.nullable(Status, "todo")),
  assignee_id: v.optional(v.nullable(Uuid)),
  due_on: v.optional(v.nullable(Day)),
});

nameSchemas({ NewTask });

/** The project is in the path: a task of one that is not there is not there either. */
function refuseTask(error: unknown): never {
  throw violatedConstraint(error) === "tasks_project" ? new Problem("not_found", { cause: error }) : error;
}

const NewTasks = v.strictObject({ tasks: v.pipe(v.array(NewTask), v.minLength(1), v.maxLength(100)) });
const bulk = bulkOf(100);

const rows = rowsOf(tasks, Task, {
  filters: {
    status: Status,
    assignee_id: Uuid,
    project_id: Uuid,
    due_before: [Day, (day: SQLWrapper) => lt(tasks.due_on, day)],
  },
  sorts: ["due_on"],
  refuse: refuseTask,
});

/** Tasks of all projects; one is made in its project. */
export const taskRoutes = resource(
  rows,
  {
    one: "task",
    many: "tasks",
    tag,
    takes: NewTask,
    summaries: { list: "List the tasks of all projects, newest first" },
  },
  { create: false },
);

const projectThere = query((db, { id }: Given<{ id: string }>) =>
  db.select({ id: projects.id }).from(projects).where(eq(projects.id, id)),
);

/** The tasks of one project, under /v1/projects. */
export const projectTaskRoutes = factory
  .createApp()
  .get(
    "/:id/tasks",
    operation("listProjectTasks", {
      summary: "List a project's tasks, newest first",
      tag,
      answers: { 200: pageOf(Task) },
      problems: ["not_found"],
    }),
    needs("tasks:read"),
    valid("param", ById),
    valid("query", v.omit(rows.query, ["project_id"])),
    (c) => {
      const { id } = c.req.valid("param");
      return rows.page(c, async (page) => {
        const { project, found } = await c
          .get("db")
          .read({ project: projectThere({ id }), found: rows.list({ ...page, project_id: id }) });
        if (!project[0]) throw new Problem("not_found");
        return found;
      });
    },
  )
  .post(
    "/:id/tasks",
    operation("createProjectTask", {
      summary: "Add a task to a project",
      tag,
      made: Task,
      problems: ["not_found", ...IDEMPOTENCY_PROBLEMS],
    }),
    needs("tasks:write"),
    valid("param", ById),
    valid("header", IdempotencyKey),
    valid("json", NewTask),
    async (c) => {
      const values = { ...c.req.valid("json"), project_id: c.req.valid("param").id };
      return answerNew(c, await rows.create(c, values), "/v1/tasks");
    },
  )
  .post(
    "/:id/tasks/bulk",
    operation("createProjectTasks", {
      summary: "Add many tasks to a project: all or none",
      tag,
      answers: { 201: v.object({ data: v.array(Task) }) },
      problems: ["not_found", ...IDEMPOTENCY_PROBLEMS],
    }),
    needs("tasks:write"),
    bulk.costs,
    valid("param", ById),
    valid("query", bulk.query),
    valid("header", IdempotencyKey),
    valid("json", NewTasks),
    async (c) => {
      const given = c.req.valid("json").tasks;
      bulk.check(c, given);
      const project_id = c.req.valid("param").id;
      const { data } = await once(c, (q) => ({
        data: q
          .insert(tasks)
          .values(given.map((task) => ({ ...task, project_id })))
          .returning(rows.shown),
      })).catch(rows.refuse);
      return c.json({ data }, 201);
    },
  );
