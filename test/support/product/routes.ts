import { eq, lt, type SQLWrapper } from "drizzle-orm";
import * as v from "valibot";
import type { Scope } from "../../../src/authority.ts";
import { factory } from "../../../src/context.ts";
import { violatedConstraint } from "../../../src/db/client.ts";
import { query, type Given } from "../../../src/db/query.ts";
import { needs } from "../../../src/edge/needs.ts";
import { Day, Uuid } from "../../../src/values.ts";
import { answerNew, answerRow, IfMatch } from "../../../src/http/etag.ts";
import { IDEMPOTENCY_PROBLEMS, IdempotencyKey } from "../../../src/http/idempotency.ts";
import { pageOf } from "../../../src/http/page.ts";
import { resource } from "../../../src/edge/resource.ts";
import { rowsOf, searched } from "../../../src/http/rows.ts";
import { shownOf } from "../../../src/http/shape.ts";
import { ById, valid } from "../../../src/http/valid.ts";
import { nameSchemas, operation } from "../../../src/openapi/operation.ts";
import { Problem } from "../../../src/problem.ts";
import { PROJECT_STATUSES, projects, TASK_STATUSES, tasks } from "./schema.ts";
import { type PRODUCT_SCOPES } from "./scopes.ts";

/** Asks for a scope of this product; the types know those of src/product, which it takes the place of. */
const asks = (scope: (typeof PRODUCT_SCOPES)["viewer" | "member"][number]) => needs(scope as string as Scope);

const TASKS = { name: "Tasks", description: "What there is to do in a project." };

const ProjectStatus = v.picklist(PROJECT_STATUSES);
const NewProject = v.strictObject({
  name: v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(200)),
  // As a merge patch (RFC 7396) takes a member away: null stands for the value of a project made without it.
  description: v.optional(v.nullable(v.pipe(v.string(), v.maxLength(10_000)), "")),
  status: v.optional(v.nullable(ProjectStatus, "active")),
});
const shown = shownOf(projects, "name", "description", "status", "created_by");
const projectRows = rowsOf(projects, shown, {
  filters: { status: ProjectStatus, q: searched(projects.name, projects.description) },
  sorts: ["name"],
});

const projectRoutes = resource(projectRows, {
  one: "project",
  many: "projects" as string as never,
  tag: { name: "Projects", description: "What the tenant works on." },
  takes: NewProject,
});

// Written out, as a resource may be.
const TaskStatus = v.picklist(TASK_STATUSES);
const Task = v.object({
  id: v.string(),
  project_id: v.string(),
  title: v.string(),
  notes: v.string(),
  status: TaskStatus,
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
  status: v.optional(v.nullable(TaskStatus, "todo")),
  assignee_id: v.optional(v.nullable(Uuid)),
  due_on: v.optional(v.nullable(Day)),
});
const TaskPatch = v.partial(NewTask);
nameSchemas({ Task, NewTask, TaskPatch });
/** The project is in the path: a task of one that is not there is not there either. */
function refuseTask(error: unknown): never {
  throw violatedConstraint(error) === "tasks_project" ? new Problem("not_found", { cause: error }) : error;
}

const taskRows = rowsOf(tasks, Task, {
  filters: {
    status: TaskStatus,
    assignee_id: Uuid,
    project_id: Uuid,
    due_before: [Day, (day: SQLWrapper) => lt(tasks.due_on, day)],
  },
  sorts: ["due_on"],
  refuse: refuseTask,
});
const OfProject = v.omit(taskRows.query, ["project_id"]);

const projectThere = query((db, { id }: Given<{ id: string }>) =>
  db.select({ id: projects.id }).from(projects).where(eq(projects.id, id)),
);

/** The tasks of one project, under /v1/projects. */
const projectTaskRoutes = factory
  .createApp()
  .get(
    "/:id/tasks",
    operation("listProjectTasks", {
      summary: "List a project's tasks, newest first",
      tag: TASKS,
      answers: { 200: pageOf(Task) },
      problems: ["not_found"],
    }),
    asks("tasks:read"),
    valid("param", ById),
    valid("query", OfProject),
    (c) => {
      const { id } = c.req.valid("param");
      return taskRows.page(c, async (page) => {
        const { project, found } = await c
          .get("db")
          .read({ project: projectThere({ id }), found: taskRows.list({ ...page, project_id: id }) });
        if (!project[0]) throw new Problem("not_found");
        return found;
      });
    },
  )
  .post(
    "/:id/tasks",
    operation("createProjectTask", {
      summary: "Add a task to a project",
      tag: TASKS,
      made: Task,
      problems: ["not_found", ...IDEMPOTENCY_PROBLEMS],
    }),
    asks("tasks:write"),
    valid("param", ById),
    valid("header", IdempotencyKey),
    valid("json", NewTask),
    async (c) => {
      const values = { ...c.req.valid("json"), project_id: c.req.valid("param").id };
      return answerNew(c, await taskRows.create(c, values), "/v1/tasks");
    },
  );

const taskRoutes = factory
  .createApp()
  .get(
    "/",
    operation("listTasks", {
      summary: "List the tasks of all projects, newest first",
      tag: TASKS,
      answers: { 200: pageOf(Task) },
    }),
    asks("tasks:read"),
    valid("query", taskRows.query),
    (c) => taskRows.page(c),
  )
  .get(
    "/:id",
    operation("getTask", { summary: "A task", tag: TASKS, row: Task, problems: ["not_found"] }),
    asks("tasks:read"),
    valid("param", ById),
    async (c) => answerRow(c, await taskRows.find(c)),
  )
  .patch(
    "/:id",
    operation("updateTask", {
      summary: "Change a task (merge patch)",
      tag: TASKS,
      row: Task,
      problems: ["not_found", "precondition_failed"],
    }),
    asks("tasks:write"),
    valid("param", ById),
    valid("header", IfMatch),
    valid("json", TaskPatch),
    async (c) => answerRow(c, await taskRows.change(c, c.req.valid("json"))),
  )
  .delete(
    "/:id",
    operation("deleteTask", {
      summary: "Delete a task",
      tag: TASKS,
      answers: { 204: null },
      problems: ["not_found", "precondition_failed"],
    }),
    asks("tasks:write"),
    valid("param", ById),
    valid("header", IfMatch),
    async (c) => c.body(await taskRows.remove(c), 204),
  );

export const productRoutes = factory
  .createApp()
  .route("/projects", projectRoutes)
  .route("/projects", projectTaskRoutes)
  .route("/tasks", taskRoutes);
