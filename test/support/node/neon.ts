import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/** What Neon's API does when it is asked for a project. */
export type Behaviour =
  | "answer"
  | "answer-more"
  | "hang"
  | "fail"
  | "redirect"
  | "huge"
  | "no-json"
  | "strange"
  | "without-days";

/** What a project used, by day and metric. */
export type Days = Record<string, Record<string, number>>;
/** What somebody asked of a project, with which authorization. */
export type Asked = { path: string; query: Record<string, string>; authorization: string | undefined };

type Project = { days: Days; behaviour: Behaviour; asked: Asked[] };
type Neon = { origin: string; key: string; org: string; stop: () => void };

const PATH = "/api/v2/consumption_history/v2/projects";
const METRICS = new Set(
  `compute_unit_seconds root_branch_bytes_month child_branch_bytes_month instant_restore_bytes_month
   snapshot_storage_bytes_month public_network_transfer_bytes private_network_transfer_bytes extra_branches_month`.split(
    /\s+/,
  ),
);
const DAY_MS = 86_400_000;
const LOOKBACK_MS = { hourly: 7 * DAY_MS, daily: 60 * DAY_MS, monthly: 365 * DAY_MS };
type Granularity = keyof typeof LOOKBACK_MS;

/**
 * Neon's consumption API as its guide has it (https://neon.com/docs/guides/consumption-metrics), on loopback. A project used
 * what POST /{project}/use says, and the API does with it as POST /{project}/behave says; GET /{project}/asked lists what was
 * asked.
 */
export async function startNeon(): Promise<Neon> {
  const projects = new Map<string, Project>();
  const [key, org] = ["napi_test0123456789", "org-test-dawn-12345678"];
  const server = createServer((request, response) => {
    void answer(projects, { key, org }, request, response).catch((error: unknown) => {
      response.writeHead(500).end(String(error));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  return { origin, key, org, stop };
}

async function answer(
  projects: Map<string, Project>,
  { key, org }: Pick<Neon, "key" | "org">,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? "", "http://neon");
  const query = Object.fromEntries(searchParams);
  const [, first = "", action] = pathname.split("/");
  const name = query["project_ids"] ?? first;
  const project = projects.get(name) ?? { days: {}, behaviour: "answer", asked: [] };
  projects.set(name, project);
  const { authorization } = request.headers;
  const json = (status: number, value: unknown) =>
    void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
  const refuse = (status: number, code: string) => json(status, { code, message: code, request_id: "1" });

  if (action === "use") {
    project.days = JSON.parse(await text(request)) as Days;
    return json(200, null);
  }
  if (action === "behave") {
    project.behaviour = (await text(request)) as Behaviour;
    return json(200, null);
  }
  if (action === "asked") return json(200, project.asked);

  project.asked.push({ path: pathname, query, authorization });
  if (pathname !== PATH) return refuse(404, "NOT_FOUND");
  if (authorization !== `Bearer ${key}`) return refuse(401, "UNAUTHORIZED");
  if (query["org_id"] !== org) return refuse(404, "ORG_NOT_FOUND");
  const granularity = query["granularity"] as Granularity;
  const [from = NaN, to = NaN] = ["from", "to"].map((end) => rounded(query[end] ?? "", granularity));
  const metrics = (query["metrics"] ?? "").split(",");
  if (!(from < to) || !(granularity in LOOKBACK_MS) || !metrics.every((metric) => METRICS.has(metric)))
    return refuse(400, "BAD_REQUEST");
  if (from < Date.now() - LOOKBACK_MS[granularity]) return refuse(406, "OUT_OF_RANGE");

  const whole = consumptionOf(name, project.days, { from, to, granularity, metrics });
  switch (project.behaviour) {
    case "answer":
      return json(200, whole);
    case "answer-more":
      return json(200, withMore(whole));
    case "hang":
      return;
    case "fail":
      return refuse(500, "INTERNAL");
    case "redirect":
      return void response.writeHead(307, { location: `/elsewhere?project_ids=${name}` }).end();
    case "huge":
      return json(200, { ...whole, padding: "x".repeat(300_000) });
    case "no-json":
      return void response.writeHead(200).end(`${authorization} is not what was expected`);
    case "strange":
      return json(200, { projects: [{ project_id: name, periods: authorization }] });
    case "without-days":
      return json(200, {
        projects: [
          {
            project_id: name,
            periods: [{ consumption: [{ metrics: [valueOf("compute_unit_seconds", 1)] }] }],
          },
        ],
      });
  }
}

/** To the start of the hour, day or month that it is in, as Neon does; in ms. */
const rounded = (at: string, granularity: Granularity): number =>
  Date.parse(
    { hourly: `${at.slice(0, 14)}00:00Z`, daily: at.slice(0, 10), monthly: `${at.slice(0, 8)}01` }[
      granularity
    ],
  );

type Asking = { from: number; to: number; granularity: Granularity; metrics: string[] };

const valueOf = (metric_name: string, value: number) => ({ metric_name, value });

/** What is zero is left out, as is a timeframe without anything, and a project without any. */
function consumptionOf(project_id: string, days: Days, { from, to, granularity, metrics }: Asking) {
  const sums = new Map<string, Record<string, number>>();
  for (const [day, used] of Object.entries(days)) {
    if (Date.parse(day) < from || Date.parse(day) >= to) continue;
    const start = granularity === "monthly" ? `${day.slice(0, 8)}01` : day;
    const sum = sums.get(start) ?? {};
    for (const [metric, value] of Object.entries(used))
      if (metrics.includes(metric)) sum[metric] = (sum[metric] ?? 0) + value;
    sums.set(start, sum);
  }
  const consumption = Array.from(sums, ([day, used]) => ({
    timeframe_start: `${day}T00:00:00Z`,
    timeframe_end: new Date(Date.parse(day) + DAY_MS).toISOString(),
    metrics: Object.entries(used).flatMap(([metric, value]) => (value === 0 ? [] : [valueOf(metric, value)])),
  }));
  const period = {
    period_id: "90c7f107-3fe7-4652-b1da-c61f71043128",
    period_plan: "launch",
    period_start: "2026-02-02T18:04:52Z",
    consumption,
  };
  return {
    projects: consumption.length > 0 ? [{ project_id, periods: [period] }] : [],
    pagination: { cursor: project_id },
  };
}

/** The same with another project, another metric, an empty timeframe, and a day of long ago. */
function withMore(whole: ReturnType<typeof consumptionOf>) {
  const much = [valueOf("compute_unit_seconds", 1e9), valueOf("root_branch_bytes_month", 1e15)];
  const longAgo = {
    timeframe_start: "2024-03-01T00:00:00Z",
    timeframe_end: "2024-03-02T00:00:00Z",
    metrics: much,
  };
  const projects = whole.projects.map(({ project_id, periods }) => ({
    project_id,
    periods: periods.map(({ consumption, ...period }) => ({
      ...period,
      consumption: [
        longAgo,
        {},
        ...consumption.map(({ metrics, ...of }) => ({
          ...of,
          metrics: [...metrics, valueOf("tea_leaves", 7)],
        })),
      ],
    })),
  }));
  const [first] = projects;
  return { ...whole, projects: [{ ...first, project_id: "somebody-else-1" }, ...projects] };
}
