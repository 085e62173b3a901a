import * as v from "valibot";
import { resource } from "../edge/resource.ts";
import { rowsOf, searched } from "../http/rows.ts";
import { shownOf } from "../http/shape.ts";
import { PROJECT_STATUSES, projects } from "./schema.ts";

const Status = v.picklist(PROJECT_STATUSES);
const NewProject = v.strictObject({
  name: v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(200)),
  // As a merge patch (RFC 7396) takes a member away: null stands for the value of a project made without it.
  description: v.optional(v.nullable(v.pipe(v.string(), v.maxLength(10_000)), "")),
  status: v.optional(v.nullable(Status, "active")),
});

const rows = rowsOf(projects, shownOf(projects, "name", "description", "status", "created_by"), {
  filters: { status: Status, q: searched(projects.name, projects.description) },
  sorts: ["name"],
});

export const projectRoutes = resource(rows, {
  one: "project",
  many: "projects",
  tag: { name: "Projects", description: "What the tenant works on." },
  takes: NewProject,
  summaries: { remove: "Delete a project and its tasks" },
});
