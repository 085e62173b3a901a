import { eq, lt, type SQLWrapper } from "drizzle-orm";
import * as v from "valibot";
import { factory } from "../context.ts";
import { violatedConstraint } from "../db/client.ts";
import { query, type Given } from "../db/query.ts";
import { projects, TASK_STATUSES, tasks } from "./schema.ts";
import { needs } from "../edge/needs.ts";
import { Day, Uuid } from "../values.ts";
import { answerNew, answerRow, IfMatch } from "../http/etag.ts";
import { IDEMPOTENCY_PROBLEMS, IdempotencyKey } from "../http/idempotency.ts";
import { answerPage, pageOf } from "../http/page.ts";
import { rowsOf } from "../http/rows.ts";
import { ById, valid } from "../http/valid.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";

const tag = { name: "Tasks", description: "What there is to do in a project." };

const Status = v.picklist(TASK_STATUSES);
const Task = v.object({
  id: v.string(),
  project_id: v.string(),
  title: v.pipe(v.string(), v.examples(["Order the tiles"])),
  notes: v.string(),
  status: Status,
  assignee_id: v.nullable(v.string()),
  due_on: v.nullable(v.string()),
  created_at: v.string(),
  updated_at: v.string(),
  created_by: v.string(),
});
const NewTask = v.strictObject({
  title: v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(500), v.examples(["Order the tiles"])),
  // As a merge patch (RFC 7396) takes a member away: null stands for the value of a task made without it.
  notes: v.optional(v.nullable(v.pipe(v.string(), v.maxLength(10_000)), "")),
  status: v.optional(v.nullable(Status, "todo")),
  assignee_id: v.optional(v.nullable(Uuid)),
  due_on: v.optional(v.nullable(Day)),
});
const TaskPatch = v.partial(NewTask);
nameSchemas({ Task, NewTask, TaskPatch });
/** The project is in the path: a task of one that is not there is not there either. */
function refuseTask(error: unknown): never {
  throw violatedConstraint(error) === "tasks_project" ? new Problem("not_found", { cause: error }) : error;
}

const rows = rowsOf(tasks, Task, {
  filters: {
    status: Status,
    assignee_id: Uuid,
    project_id: Uuid,
    due_before: [Day, (day: SQLWrapper) => lt(tasks.due_on, day)],
  },
  refuse: refuseTask,
});
const OfProject = v.omit(rows.query, ["project_id"]);

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
    valid("query", OfProject),
    (c) => {
      const { id } = c.req.valid("param");
      return answerPage(c, async (page) => {
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
  );

export const taskRoutes = factory
  .createApp()
  .get(
    "/",
    operation("listTasks", {
      summary: "List the tasks of all projects, newest first",
      tag,
      answers: { 200: pageOf(Task) },
    }),
    needs("tasks:read"),
    valid("query", rows.query),
    (c) => rows.page(c),
  )
  .get(
    "/:id",
    operation("getTask", { summary: "A task", tag, row: Task, problems: ["not_found"] }),
    needs("tasks:read"),
    valid("param", ById),
    async (c) => answerRow(c, await rows.find(c)),
  )
  .patch(
    "/:id",
    operation("updateTask", {
      summary: "Change a task (merge patch)",
      tag,
      row: Task,
      problems: ["not_found", "precondition_failed"],
    }),
    needs("tasks:write"),
    valid("param", ById),
    valid("header", IfMatch),
    valid("json", TaskPatch),
    async (c) => answerRow(c, await rows.change(c, c.req.valid("json"))),
  )
  .delete(
    "/:id",
    operation("deleteTask", {
      summary: "Delete a task",
      tag,
      answers: { 204: null },
      problems: ["not_found", "precondition_failed"],
    }),
    needs("tasks:write"),
    valid("param", ById),
    valid("header", IfMatch),
    async (c) => c.body(await rows.remove(c), 204),
  );
