import { validator } from "hono-openapi";
import type { ValidationTargets } from "hono";
import * as v from "valibot";
import { factory } from "../context.ts";
import { Problem } from "../problem.ts";

type Schema = v.GenericSchema | v.GenericSchemaAsync;
type Issue = { message: string; path?: readonly (PropertyKey | { key: PropertyKey })[] | undefined };

/** Parses one part of the request. A path that cannot name anything is `not_found`, the rest `invalid_input`. */
export const valid = <Target extends keyof ValidationTargets, S extends Schema>(target: Target, schema: S) =>
  validator(target, schema, (result) => {
    if (result.success) return;
    if (target === "param") throw new Problem("not_found");
    const errors = result.error.map((issue: Issue) => ({ pointer: pointerTo(issue), detail: issue.message }));
    throw new Problem("invalid_input", { errors });
  });

/** Refuses a body that does not say it is JSON; merge patches (RFC 7396) count as JSON. */
export const jsonBodies = factory.createMiddleware(async function jsonBodies(c, next) {
  const type = c.req.header("content-type");
  const isJson = /^application\/(merge-patch\+)?json\s*(;|$)/i.test(type ?? "");
  if (c.req.raw.body && !isJson) throw new Problem("unsupported_media_type");
  await next();
});

/** RFC 6901. */
function pointerTo({ path = [] }: Issue): string {
  const keys = path.map((step) => String(typeof step === "object" ? step.key : step));
  return keys.map((key) => `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/** A path parameter that names a row. */
export const ById = v.object({ id: v.pipe(v.string(), v.uuid()) });
