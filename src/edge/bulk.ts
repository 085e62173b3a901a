import * as v from "valibot";
import type { Parsed } from "../context.ts";
import { Problem } from "../problem.ts";
import { costs } from "./cost.ts";

/**
 * A route that takes up to `max` rows at once, and costs a unit a row. What a request costs has to be known before its body
 * is read, so `?rows=` says it, and check() refuses a body of another number. The window of a plan's smallest limit has to
 * have room for that many.
 *
 *     const bulk = bulkOf(200);
 *     … bulk.costs, valid("query", bulk.query), valid("json", Import), (c) => { bulk.check(c, c.req.valid("json").rows) …
 */
export function bulkOf(max: number) {
  const Rows = v.pipe(
    v.string(),
    v.regex(/^[1-9]\d{0,3}$/, `a whole number from 1 to ${max}`),
    v.toNumber(),
    v.maxValue(max),
    v.description("How many rows the body has: the request costs as many units."),
  );
  return {
    query: v.object({ rows: Rows }),
    // More than are taken are refused, and not paid for.
    costs: costs((c) => Math.min(Number(c.req.query("rows")), max)),
    /** Throws `invalid_input` unless there are as many rows as the query says. */
    check(c: Parsed<{ query: { rows: number } }>, rows: unknown[]): void {
      const { rows: said } = c.req.valid("query");
      if (rows.length === said) return;
      const detail = `The body has another number of rows: ${rows.length}.`;
      throw new Problem("invalid_input", { errors: [{ pointer: "/rows", detail }] });
    },
  };
}
