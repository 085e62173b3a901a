import { isDeepStrictEqual } from "node:util";
import type { Ask } from "./load.ts";
import type { Served } from "./workerd.ts";

/** What clients of an API do all day. */
const REQUEST_NAMES = ["read", "list", "create", "patch"] as const;
export type RequestName = (typeof REQUEST_NAMES)[number];

/** Those that `--only` names, or all. Throws when it names another. */
export function chosenRequests(only: readonly string[]): readonly RequestName[] {
  const unknown = only.find((name) => !REQUEST_NAMES.some((known) => known === name));
  if (unknown !== undefined)
    throw new Error(`There is no request ${unknown}, only ${REQUEST_NAMES.join(", ")}.`);
  return only.length === 0 ? REQUEST_NAMES : REQUEST_NAMES.filter((name) => only.includes(name));
}

/** A kind of request, with what a load sends in turn, and the status that answers each. */
export type Request = { title: string; asks: readonly Ask[]; status: number; writes: boolean };

/** Each row is patched to one text after the other, so that every patch changes it. */
const TEXTS = ["in spring", "in summer", "in autumn", "in winter"];

/** The requests to a tenant's projects with these ids. */
export function requestsTo(ids: readonly string[]): Record<RequestName, Request> {
  const [id = ""] = ids;
  const path = "/v1/projects";
  const project = JSON.stringify({ name: "Roof", description: "Before the winter." });
  return {
    read: { title: "GET /v1/projects/{id}", asks: [{ path: `${path}/${id}` }], status: 200, writes: false },
    list: { title: "GET /v1/projects, a page of 50", asks: [{ path }], status: 200, writes: false },
    create: {
      title: "POST /v1/projects",
      asks: [{ method: "POST", path, body: project }],
      status: 201,
      writes: true,
    },
    patch: {
      title: `PATCH /v1/projects/{id}, ${ids.length} projects in turn`,
      asks: TEXTS.flatMap((description) =>
        ids.map((one): Ask => ({
          method: "PATCH",
          path: `${path}/${one}`,
          body: JSON.stringify({ description }),
        })),
      ),
      status: 200,
      writes: true,
    },
  };
}

/** What a Worker makes itself: of an instant or an id, the form must be the same; of a cursor, that there is one. */
const OWN: Record<RequestName, readonly string[]> = {
  read: [],
  list: ["next_cursor"],
  create: ["id", "created_at", "updated_at"],
  patch: ["updated_at"],
};

type Answer = { status: number; body: Record<string, unknown> };

/** Throws when not all Workers answer each request with the same status and body, and a list with the same second page. */
export async function compareAnswers(
  workers: readonly Served[],
  requests: Record<RequestName, Request>,
  token: string,
): Promise<void> {
  for (const name of REQUEST_NAMES) {
    const { asks, status } = requests[name];
    const [ask] = asks;
    if (!ask) throw new Error(`Nothing asks for ${name}.`);
    const answers = await Promise.all(workers.map((worker) => answerOf(worker, ask, token)));
    const pages = answers.map(async ({ body }, index) => {
      const worker = workers[index];
      if (name !== "list" || !worker) return undefined;
      const cursor = encodeURIComponent(String(body["next_cursor"]));
      return comparable(name, await answerOf(worker, { path: `${ask.path}?cursor=${cursor}` }, token));
    });
    const [first, ...others] = await Promise.all(
      answers.map(async (answer, index) => [comparable(name, answer), await pages[index]]),
    );
    if (answers[0]?.status !== status || others.some((other) => !isDeepStrictEqual(other, first)))
      throw new Error(`The Workers answer differently: ${JSON.stringify([first, ...others])}`);
  }
}

async function answerOf(worker: Served, { method = "GET", path, body }: Ask, token: string): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${worker.port}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) },
    ...(body && { body }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

function comparable(name: RequestName, { status, body }: Answer): Answer {
  const formOf = (key: string, value: unknown) =>
    key === "next_cursor" ? typeof value : String(value).replaceAll(/[\da-f]/g, "0");
  const own = OWN[name].map((key) => [key, formOf(key, body[key])]);
  return { status, body: { ...body, ...Object.fromEntries(own) } };
}
