import * as v from "valibot";
import type { Deadline } from "../deadline.ts";
import { settings } from "../env.ts";
import { remembers } from "../memory.ts";
import { fetchSmallJson } from "../small-json.ts";
import { DAY_MS } from "../usage-figures.ts";
import { Instant } from "../values.ts";
import { daysAfter, NEON_METRICS, type NeonDays, type NeonFigures, type NeonMetric } from "./neon.ts";

const NEON = "https://console.neon.tech";
/** As often as Neon counts anew, and asks to be asked at most. */
const FRESH_MS = 15 * 60_000;
/** How soon Neon is asked again after it did not say. */
const RETRY_MS = 30_000;
const TIMEOUT_MS = 5_000;
/** Several times what 60 days take. */
const MAX_BYTES = 256 * 1024;

/** Whole numbers; beyond 2^53, 12 TB for a month, JSON has rounded them by a byte or so. */
const Count = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(1e18));
/** Neon leaves out what is zero, and of an empty timeframe all of it. */
const Timeframe = v.pipe(
  v.object({
    timeframe_start: v.optional(Instant),
    metrics: v.optional(v.array(v.object({ metric_name: v.string(), value: Count })), []),
  }),
  v.check(({ timeframe_start, metrics }) => timeframe_start !== undefined || metrics.length === 0),
);
const Answer = v.object({
  projects: v.array(
    v.object({
      project_id: v.string(),
      periods: v.array(v.object({ consumption: v.array(Timeframe) })),
    }),
  ),
});

type Found = NeonFigures | "unknown_project" | "no_answer";

const known = remembers<{ at: number; found: Found }>("neon_figures");

/**
 * What the project used on these days, as Neon said at most 15 minutes ago; `unknown_project` if Neon has nothing of it, and
 * `no_answer` if Neon refused or did not answer within 5 s, which is one line in the log. It wakes no compute.
 */
export async function neonFigures(project: string, days: NeonDays, deadline: Deadline): Promise<Found> {
  const name = `${project} ${days.first} ${days.last} ${days.granularity}`;
  const there = known.get(name);
  const freshMs = typeof there?.found === "string" ? RETRY_MS : FRESH_MS;
  if (there && Date.now() - there.at < freshMs) return there.found;
  const found = await ask(project, days, deadline.bound(TIMEOUT_MS)).catch((error: unknown) => {
    console.error({ message: "neon figures not read", project, cause: String(error) });
    return "no_answer" as const;
  });
  known.set(name, { at: Date.now(), found });
  return found;
}

async function ask(project: string, days: NeonDays, timeoutMs: number): Promise<Found> {
  const url = new URL("/api/v2/consumption_history/v2/projects", settings.NEON_API_URL || NEON);
  url.search = String(
    new URLSearchParams({
      project_ids: project,
      org_id: settings.NEON_ORG_ID,
      from: `${days.first}T00:00:00Z`,
      to: `${endOf(days)}T00:00:00Z`,
      granularity: days.granularity,
      metrics: NEON_METRICS.join(","),
    }),
  );
  const headers = { authorization: `Bearer ${settings.NEON_API_KEY}` };
  const answer = v.safeParse(
    Answer,
    await fetchSmallJson(url.href, { headers, timeoutMs, maxBytes: MAX_BYTES }),
  );
  // Its issues would quote the answer.
  if (!answer.success) throw new Error(`${url.href} answered something else than consumption`);
  const own = answer.output.projects.filter(({ project_id }) => project_id === project);
  return own.length === 0 ? "unknown_project" : sumOf(own, days);
}

/** Up to where Neon is to count, and no further: it would round any other day of a month down to the month's first. */
function endOf({ last, granularity }: NeonDays): string {
  const end = daysAfter(last, 1);
  if (granularity === "daily" || end.endsWith("-01")) return end;
  return `${daysAfter(`${end.slice(0, 8)}01`, 31).slice(0, 8)}01`;
}

/** The sums of what is of these days: a timeframe counts where it starts. */
function sumOf(projects: v.InferOutput<typeof Answer>["projects"], { first, last }: NeonDays): NeonFigures {
  const [start, end] = [Date.parse(first), Date.parse(last) + DAY_MS];
  const sums = Object.fromEntries(NEON_METRICS.map((name) => [name, 0n])) as Record<NeonMetric, bigint>;
  const timeframes = projects.flatMap(({ periods }) => periods.flatMap(({ consumption }) => consumption));
  for (const { timeframe_start, metrics } of timeframes) {
    const at = timeframe_start?.getTime() ?? Infinity;
    if (at < start || at >= end) continue;
    for (const { metric_name, value } of metrics)
      if (isMetric(metric_name)) sums[metric_name] += BigInt(value);
  }
  return sums;
}

const isMetric = (name: string): name is NeonMetric => (NEON_METRICS as readonly string[]).includes(name);
