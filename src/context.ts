import type { Context } from "hono";
import { createFactory } from "hono/factory";
import type { Caller, Credential } from "./caller.ts";
import type { Deadline } from "./deadline.ts";
import type { Operator } from "./operator.ts";
import type { Standing } from "./policy.ts";
import type { TenantDb } from "./tenant-db.ts";

/** What each step of the pipeline adds to the request's context. */
export type Edge = {
  Variables: {
    /** From the first step: `X-Request-Id`. */
    requestId: string;
    /** From the first step: until when it is to be answered. */
    deadline: Deadline;
    /** From what was waited for so far: how long, in ms. */
    waits: Partial<Record<"admit" | "db", number>>;
    /** From whoever wrote the answer: its bytes, where that is known. */
    bytes: number;
    /** From identify: what the request showed to say who calls. */
    credential: Credential;
    /** From admit: who calls. */
    caller: Caller;
    /** From operatorOnly, on the operators' routes alone: who operates. */
    operator: Operator;
    /** From admit: what is left of the tenant's limits. */
    standings: Standing[];
    /** From admit: the tenant's rows, and no others. */
    db: TenantDb;
    /** From admit: the tenant's people and their credentials, and no others. */
    account: TenantDb;
  };
};

export const factory = createFactory<Edge>();

/** The context of a route that has parsed these parts of the request with valid(). */
export type Parsed<Parts extends object> = Context<Edge, string, { out: Parts }>;

/** The request, for the databases that are opened for it. */
export const forRequest = (c: Context<Edge>) => ({
  id: c.get("requestId"),
  deadline: c.get("deadline"),
  onAnswer: (started: number) => timed(c, "db", started),
});

/** Notes, in `Server-Timing` too, that the request waited so many ms, since `started`, for this part. */
export function timed(c: Context<Edge>, part: "admit" | "db", started: number): void {
  // The answer is out, and what it was for is carried on with.
  if (c.finalized) return;
  const ms = Math.round((performance.now() - started) * 10) / 10;
  c.header("Server-Timing", `${part};dur=${ms}`, { append: true });
  c.set("waits", { ...c.get("waits"), [part]: ms });
}
