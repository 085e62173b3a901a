import * as v from "valibot";
import type { Scope } from "../authority.ts";
import { factory, type Parsed } from "../context.ts";
import { needs } from "./needs.ts";
import { nameSchemas, operation, type Tag } from "../openapi/operation.ts";
import type { ProblemCode } from "../problem.ts";
import { answerNew, answerRow, IfMatch } from "../http/etag.ts";
import { IDEMPOTENCY_PROBLEMS, IdempotencyKey } from "../http/idempotency.ts";
import { pageOf } from "../http/page.ts";
import { ById, valid } from "../http/valid.ts";

/** What scopes are of: `projects`, where `projects:read` and `projects:write` are scopes. */
type Scoped = { [S in Scope]: S extends `${infer Of}:read` ? Of : never }[Scope];

type Page = { limit: number; cursor?: string | undefined };
type KeyHeader = v.InferOutput<typeof IdempotencyKey>;
type MatchHeader = v.InferOutput<typeof IfMatch>;
type Answer = Response | Promise<Response>;

/** What rowsOf() gives. */
type Rows<Insert, Patch, Row> = {
  shape: v.GenericSchema;
  mayCollide: boolean;
  query: v.GenericSchema<unknown, Page>;
  page: (c: Parsed<{ query: Page }>) => Answer;
  find: (c: Parsed<{ param: { id: string } }>) => Promise<Row>;
  create: (c: Parsed<{ header: KeyHeader }>, values: Insert) => Promise<Row>;
  change: (c: Parsed<{ param: { id: string }; header: MatchHeader }>, patch: Patch) => Promise<Row>;
  remove: (c: Parsed<{ param: { id: string }; header: MatchHeader }>) => Promise<null>;
};

type Entries = Record<string, v.GenericSchema>;

/** The usual handlers, of routes that take these bodies. */
type Handlers<Taken, Changed> = {
  list: (c: Parsed<{ query: Page }>) => Answer;
  create: (c: Parsed<{ header: KeyHeader; json: Taken }>) => Answer;
  find: (c: Parsed<{ param: { id: string } }>) => Answer;
  change: (c: Parsed<{ param: { id: string }; header: MatchHeader; json: Changed }>) => Answer;
  remove: (c: Parsed<{ param: { id: string }; header: MatchHeader }>) => Answer;
};
type Verb = keyof Handlers<never, never>;

/** A handler in the place of the usual one; false for no route. */
type Given<H> = { [V in keyof H]?: H[V] | false };
/**
 * The usual create and change write their body as it is. Where its type does not fit the table, a handler, or false, is
 * required.
 */
type Arguments<Insert, Patch, Taken, Changed, H = Handlers<Taken, Changed>> = Taken extends Insert
  ? Changed extends Patch
    ? [given?: Given<H>]
    : [given: Given<H> & Required<Pick<Given<H>, "change" & keyof H>>]
  : [given: Given<H> & Required<Pick<Given<H>, "create" & keyof H>>];

type Resource<Takes, Changes> = {
  /** Its name in operations, such as `project`. */
  one: string;
  /** The same of several, which its scopes are named by. */
  many: Scoped;
  tag: Tag;
  /** What makes a row. */
  takes: Takes;
  /** What changes one, as a merge patch: any part of `takes` unless said. */
  changes?: Changes;
  /** Problems of its own that a route may answer. */
  problems?: Partial<Record<Verb, readonly ProblemCode[]>>;
  summaries?: Partial<Record<Verb, string>>;
};

/**
 * The five usual routes of a tenant's table: list, create, find, change and delete. A handler that is given replaces the
 * usual one, and `false` leaves its route out. Further routes can be chained to what it returns.
 *
 *     export const noteRoutes = resource(rowsOf(notes, Note), { one: "note", many: "notes", tag, takes: NewNote });
 */
export function resource<
  Insert,
  Patch,
  Row extends { id: string; version: number },
  E extends Entries,
  Takes extends v.StrictObjectSchema<E, undefined>,
  Changes extends v.GenericSchema = v.GenericSchema<unknown, Partial<v.InferOutput<Takes>>>,
>(
  rows: Rows<Insert, Patch, Row>,
  { one, many, tag, takes, changes, problems = {}, summaries = {} }: Resource<Takes, Changes>,
  ...[given]: Arguments<Insert, Patch, v.InferOutput<Takes>, v.InferOutput<Changes>>
) {
  const patch: v.GenericSchema = changes ?? v.partial(takes);
  const [One, Many] = [pascal(one), pascal(many)];
  const [read, write] = [needs(`${many}:read`), needs(`${many}:write` as Scope)];
  const a = `${/^[aeiou]/.test(one) ? "an" : "a"} ${one.replaceAll("_", " ")}`;
  const missing = ["not_found", "precondition_failed"] as const;
  const taken = rows.mayCollide ? (["value_taken"] as const) : [];
  const says = (verb: Verb, summary: string, usual: readonly ProblemCode[] = []) => ({
    summary: summaries[verb] ?? summary,
    tag,
    problems: [...usual, ...(problems[verb] ?? [])],
  });
  const usual: Handlers<v.InferOutput<Takes>, unknown> = {
    list: (c) => rows.page(c),
    create: async (c) => answerNew(c, await rows.create(c, c.req.valid("json") as Insert)),
    find: async (c) => answerRow(c, await rows.find(c)),
    change: async (c) => answerRow(c, await rows.change(c, c.req.valid("json") as Patch)),
    remove: async (c) => c.body(await rows.remove(c), 204),
  };
  const { list, create, find, change, remove } = { ...usual, ...given };

  // One that no route takes would stand in the document for nothing.
  nameSchemas({
    [One]: rows.shape,
    ...(create && { [`New${One}`]: takes }),
    ...(change && { [`${One}Patch`]: patch }),
  });
  const routes = factory.createApp();
  if (list)
    routes.get(
      "/",
      operation(`list${Many}`, {
        ...says("list", `List ${many.replaceAll("_", " ")}, newest first`),
        answers: { 200: pageOf(rows.shape) },
      }),
      read,
      valid("query", rows.query),
      list,
    );
  if (create)
    routes.post(
      "/",
      operation(`create${One}`, {
        ...says("create", `Create ${a}`, [...IDEMPOTENCY_PROBLEMS, ...taken]),
        made: rows.shape,
      }),
      write,
      valid("header", IdempotencyKey),
      valid("json", takes),
      create,
    );
  if (find)
    routes.get(
      "/:id",
      operation(`get${One}`, { ...says("find", `Get ${a}`, ["not_found"]), row: rows.shape }),
      read,
      valid("param", ById),
      find,
    );
  if (change)
    routes.patch(
      "/:id",
      operation(`update${One}`, {
        ...says("change", `Change ${a} (merge patch)`, [...missing, ...taken]),
        row: rows.shape,
      }),
      write,
      valid("param", ById),
      valid("header", IfMatch),
      valid("json", patch),
      change,
    );
  if (remove)
    routes.delete(
      "/:id",
      operation(`delete${One}`, {
        ...says("remove", `Delete ${a}`, [...missing, "row_in_use"]),
        answers: { 204: null },
      }),
      write,
      valid("param", ById),
      valid("header", IfMatch),
      remove,
    );
  return routes;
}

/** `invoice_lines` as `InvoiceLines`. */
const pascal = (name: string) =>
  name.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
