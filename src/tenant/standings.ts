import * as v from "valibot";
import type { Standing } from "../policy.ts";

/** What is left of each limit, as the API answers it; `reset` is in seconds. */
export const Limits = v.object({
  data: v.array(
    v.object({
      name: v.string(),
      limit: v.number(),
      window: v.union([v.number(), v.literal("month")]),
      remaining: v.number(),
      reset: v.number(),
    }),
  ),
});

export const shownLimits = (standings: readonly Standing[]): v.InferOutput<typeof Limits> => ({
  data: standings.map(({ resetMs, ...standing }) => ({ ...standing, reset: Math.ceil(resetMs / 1000) })),
});
