import fc from "fast-check";
import { beforeAll, expect, it } from "vitest";
import { openTenantDb } from "../src/db/client.ts";
import { Deadline } from "../src/deadline.ts";
import { tasks } from "./support/product/schema.ts";
import {
  answered,
  newProject,
  newTask,
  newTenant,
  request,
  stage,
  type Row,
  type SignedIn,
} from "./support/client.ts";

type Page = { data: (Row & { created_at: string })[]; next_cursor: string | null };

let ada: SignedIn;
beforeAll(async () => {
  ada = await newTenant();
});

const LISTS = [
  (project: string) => `/v1/projects/${project}/tasks?`,
  (project: string) => `/v1/tasks?project_id=${project}&`,
  (project: string) => `/v1/projects/${project}/tasks?status=todo&`,
];

/** Rows that one transaction makes: all of one created_at. Returns their ids. */
async function makeAtOnce(project_id: string, count: number): Promise<string[]> {
  const db = openTenantDb(
    "app",
    ada.tenant.id,
    { id: ada.user.id, as: "owner" },
    {
      id: "test",
      deadline: new Deadline(),
      onAnswer: () => undefined,
    },
  );
  const rows = Array.from({ length: count }, (_, index) => ({ project_id, title: `T${index}` }));
  const { made } = await db.write((q) => ({
    made: q.insert(tasks).values(rows).returning({ id: tasks.id }),
  }));
  return made.map(({ id }) => id);
}

const meanwhile = fc.array(
  fc.oneof(
    fc.record({ what: fc.constant("insert" as const), count: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ what: fc.constantFrom("delete" as const, "change" as const), which: fc.nat() }),
  ),
  { maxLength: 3 },
);

type Changes = typeof meanwhile extends fc.Arbitrary<infer T> ? T : never;

const walk = fc.record({
  list: fc.constantFrom(...LISTS),
  batches: fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 4 }),
  limit: fc.integer({ min: 1, max: 6 }),
  // What happens while each page is read, over and over.
  changes: fc.array(meanwhile, { minLength: 1, maxLength: 5 }),
});

it(
  "skips and repeats no row while rows are inserted, changed and deleted",
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(walk, async ({ list, batches, limit, changes }) => {
        const { token } = ada;
        const project = (await newProject(token)).id;
        const there: string[] = [];
        for (const count of batches) there.push(...(await makeAtOnce(project, count)));
        const deleted = new Set<string>();

        const apply = async (change: Changes[number]) => {
          if (change.what === "insert") return makeAtOnce(project, change.count);
          const id = there[change.which % there.length] ?? "";
          if (change.what === "change")
            return request("PATCH", `/v1/tasks/${id}`, { token, body: { title: "changed" } });
          deleted.add(id);
          return request("DELETE", `/v1/tasks/${id}`, { token });
        };

        const seen: Page["data"] = [];
        let cursor: string | null = "";
        for (let index = 0; cursor !== null; index++) {
          const path: string = `${list(project)}limit=${limit}${cursor && `&cursor=${cursor}`}`;
          const [page]: [Page, ...unknown[]] = await Promise.all([
            answered<Page>(200, request("GET", path, { token })),
            ...(changes[index % changes.length] ?? []).map(apply),
          ]);
          seen.push(...page.data);
          cursor = page.next_cursor;
          // Each row at the start is shown once at most, so this many pages are enough, unless it goes round.
          expect(index).toBeLessThan(there.length + 40);
        }

        const places = seen.map(({ created_at, id }) => `${created_at} ${id}`);
        expect(places).toEqual([...new Set(places)].sort().toReversed());
        const ids = new Set(seen.map(({ id }) => id));
        expect(there.filter((id) => !ids.has(id) && !deleted.has(id))).toEqual([]);
      }),
      { numRuns: 25 },
    );
  },
);

/** Each order that a list of the tests' product declares: what it is ordered by, and a value that a row may have. */
const ORDERS = [
  { list: "/v1/tasks?", by: "due_on", values: [null, "2026-01-01", "2026-01-02", "2026-12-31"] },
  {
    list: "/v1/projects?",
    by: "name",
    values: ["", "a", "B", "ä", "🏠", "x".repeat(199)].map((end) => `n${end}`),
  },
] as const;

const ordered = fc.constantFrom(...ORDERS).chain((order) =>
  fc.record({
    order: fc.constant(order),
    isFalling: fc.boolean(),
    rows: fc.array(fc.nat(order.values.length - 1), { minLength: 1, maxLength: 20 }),
    limit: fc.integer({ min: 1, max: 6 }),
    changes: fc.array(
      fc.record({
        what: fc.constantFrom("insert" as const, "delete" as const, "move" as const, "touch" as const),
        which: fc.nat(),
        value: fc.nat(order.values.length - 1),
      }),
      { maxLength: 8 },
    ),
  }),
);

it(
  "skips and repeats no row whose value stays, in any order that is declared, while rows come, go and change",
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(ordered, async ({ order, isFalling, rows, limit, changes }) => {
        const { token } = await newTenant();
        const project = (await newProject(token, { name: "n" })).id;
        const isTasks = order.by === "due_on";
        const at = isTasks ? "/v1/tasks" : "/v1/projects";
        const bodyOf = (index: number) => ({
          ...(isTasks && { title: "T" }),
          [order.by]: order.values[index],
        });
        const insert = async (index: number) => {
          const path = isTasks ? `/v1/projects/${project}/tasks` : at;
          return (await answered<Row>(201, request("POST", path, { token, body: bodyOf(index) }))).id;
        };
        const there = await Promise.all(rows.map(insert));
        const changed = new Set<string>();
        const apply = async ({ what, which, value }: (typeof changes)[number]): Promise<unknown> => {
          if (what === "insert") return insert(value);
          const id = there[which % there.length] ?? "";
          const body = { [isTasks ? "notes" : "description"]: `Touched ${value}` };
          if (what === "touch") return request("PATCH", `${at}/${id}`, { token, body });
          changed.add(id);
          if (what === "delete") return request("DELETE", `${at}/${id}`, { token });
          return request("PATCH", `${at}/${id}`, { token, body: { [order.by]: order.values[value] } });
        };

        const seen: Row[] = [];
        let cursor: string | null = "";
        for (let index = 0; cursor !== null; index++) {
          const sort = `sort=${isFalling ? "-" : ""}${order.by}`;
          const path: string = `${order.list}${sort}&limit=${limit}${cursor && `&cursor=${cursor}`}`;
          const change = changes[index];
          const [page]: [Page, unknown] = await Promise.all([
            answered<Page>(200, request("GET", path, { token })),
            change && apply(change),
          ]);
          seen.push(...page.data);
          cursor = page.next_cursor;
          expect(index).toBeLessThan(rows.length + changes.length + 2);
        }
        const stayed = there.filter((id) => !changed.has(id));
        const shown = seen.map(({ id }) => id).filter((id) => stayed.includes(id));
        expect(shown.toSorted()).toEqual(stayed.toSorted());
        // Whoever stayed is in the order that Postgres says, nulls at its end.
        const places = await stage.query(
          `select id from ${isTasks ? "tasks" : "projects"} where id = any ($1)
            order by ${order.by} ${isFalling ? "desc" : "asc"}, id ${isFalling ? "desc" : "asc"}`,
          [stayed],
        );
        expect(shown).toEqual(places.map(({ id }) => String(id)));
      }),
      { numRuns: 40 },
    );
  },
);

it("ends a list that is exactly as long as a page, and one that is empty", async () => {
  const { token } = ada;
  const project = (await newProject(token)).id;
  const path = `/v1/projects/${project}/tasks?limit=2`;
  expect(await answered(200, request("GET", path, { token }))).toEqual({ data: [], next_cursor: null });
  await newTask(token, project);
  await newTask(token, project);
  const page = await answered<Page>(200, request("GET", path, { token }));
  expect(page.data).toHaveLength(2);
  expect(page.next_cursor).toBeNull();
});

it("takes a cursor only whole, and only where it came from", async () => {
  const { token } = ada;
  const project = (await newProject(token)).id;
  await makeAtOnce(project, 3);
  const list = `/v1/projects/${project}/tasks`;
  const { next_cursor } = await answered<Page>(200, request("GET", `${list}?limit=1`, { token }));
  const cursor = next_cursor ?? "";
  const status = async (path: string) => (await request("GET", path, { token })).status;
  expect(await status(`${list}?limit=2&cursor=${cursor}`)).toBe(200);
  for (const path of [
    `${list}?cursor=${cursor.slice(1)}`,
    `${list}?cursor=${cursor.slice(0, -2)}`,
    `${list}?cursor=x`,
    `${list}?cursor=`,
    `${list}?status=todo&cursor=${cursor}`,
    `/v1/tasks?project_id=${project}&cursor=${cursor}`,
  ])
    expect([path, await status(path)]).toEqual([path, 400]);
});
