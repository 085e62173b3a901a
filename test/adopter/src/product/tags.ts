import * as v from "valibot";
import { resource } from "../edge/resource.ts";
import { rowsOf } from "../http/rows.ts";
import { shownOf } from "../http/shape.ts";
import { textOf } from "./input.ts";
import { tags } from "./schema.ts";

export const Tag = shownOf(tags, "name");

export const tagRoutes = resource(rowsOf(tags, Tag, { sorts: ["name"] }), {
  one: "tag",
  many: "tags",
  tag: { name: "Tags", description: "What invoices are sorted by." },
  takes: v.strictObject({ name: textOf(50) }),
});
