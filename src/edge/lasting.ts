import type { Context } from "hono";
import type { Edge } from "../context.ts";
import { mark, markOf } from "./marks.ts";

/** Gives a route longer than other requests have, such as for a body that is an archive. */
export const lasts = (ms: number) => mark({ ms });

/** How long a request may take, in ms, where its route says so. */
export const timeOf = (c: Context<Edge>): number | undefined => markOf(c, "ms") as number | undefined;
