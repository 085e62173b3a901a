import * as v from "valibot";
import { factory } from "../context.ts";
import { PROJECT_STATUSES, projects } from "./schema.ts";
import { needs } from "../edge/needs.ts";
import { answerNew, answerRow, IfMatch } from "../http/etag.ts";
import { IDEMPOTENCY_PROBLEMS, IdempotencyKey } from "../http/idempotency.ts";
import { pageOf } from "../http/page.ts";
import { rowsOf } from "../http/rows.ts";
import { ById, valid } from "../http/valid.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";

const tag = { name: "Projects", description: "What the tenant works on." };

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

const rows = rowsOf(projects, Project, { filters: { status: Status } });

export const projectRoutes = factory
  .createApp()
  .get(
    "/",
    operation("listProjects", {
      summary: "List projects, newest first",
      tag,
      answers: { 200: pageOf(Project) },
    }),
    needs("projects:read"),
    valid("query", rows.query),
    (c) => rows.page(c),
  )
  .post(
    "/",
    operation("createProject", {
      summary: "Create a project",
      tag,
      made: Project,
      problems: IDEMPOTENCY_PROBLEMS,
    }),
    needs("projects:write"),
    valid("header", IdempotencyKey),
    valid("json", NewProject),
    async (c) => answerNew(c, await rows.create(c, c.req.valid("json"))),
  )
  .get(
    "/:id",
    operation("getProject", { summary: "A project", tag, row: Project, problems: ["not_found"] }),
    needs("projects:read"),
    valid("param", ById),
    async (c) => answerRow(c, await rows.find(c)),
  )
  .patch(
    "/:id",
    operation("updateProject", {
      summary: "Change a project (merge patch)",
      tag,
      row: Project,
      problems: ["not_found", "precondition_failed"],
    }),
    needs("projects:write"),
    valid("param", ById),
    valid("header", IfMatch),
    valid("json", ProjectPatch),
    async (c) => answerRow(c, await rows.change(c, c.req.valid("json"))),
  )
  .delete(
    "/:id",
    operation("deleteProject", {
      summary: "Delete a project and its tasks",
      tag,
      answers: { 204: null },
      problems: ["not_found", "precondition_failed"],
    }),
    needs("projects:write"),
    valid("param", ById),
    valid("header", IfMatch),
    async (c) => c.body(await rows.remove(c), 204),
  );
