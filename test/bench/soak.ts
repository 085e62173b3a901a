import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { aimsTable } from "./aims.ts";
import { ask, makeBed, signIn, signUp } from "./bed.ts";
import { shown, table } from "./figures.ts";
import { serveWhole } from "./miniflare.ts";
import { connect } from "./sides.ts";
import type { Options, Result } from "./subject.ts";
import { bundleDeployed, makeFolder, type Served } from "./workerd.ts";

const TENANTS = 2000;
const REQUESTS = 100_000;
/** Of so many tenants one works on after the time that makes its rows old; the others are idle. */
const ONE_WORKS_OF = 10;
const LATER_REQUESTS = 5;
/** More than any rule of the plan of sign-ups lets rows grow. */
const DAYS = 200;
/** Sweeps after which there is nothing left to do, or something is wrong. */
const MAX_SWEEPS = 1000;

/** What grows with requests, and what says how old a row is. */
const GROWING = {
  "control.sessions": "expires_at",
  "public.idempotency_keys": "created_at",
  "public.audit_events": "created_at",
} as const;

/** Works for thousands of tenants, lets months pass, and sweeps until nothing is due. */
export async function soak(
  bench: AsyncDisposableStack,
  { connections, rows, say }: Options,
): Promise<Result> {
  const requests = rows ?? REQUESTS;
  const bed = await makeBed(bench, connections);
  const worker = await serveWhole(
    bench,
    await bundleDeployed(bench),
    { ...bed.variables, LOG_REQUESTS: "off" },
    makeFolder(bench),
  );
  const superuser = await connect(bench, bed.superuserUrl);
  const started = performance.now();
  say(`${shown(TENANTS)} tenants sign up, and make ${shown(requests)} requests`);
  const projects = await eachOf(numbers(TENANTS), connections, async (tenant) => {
    const { token } = await signUp(worker, `soak-${tenant}`);
    const body = { name: "Roof" };
    const { id } = await ask<{ id: string }>(worker, "/v1/projects", { token, body });
    for (let n = 2; n < requests / TENANTS; n++) await work(worker, token, id, n);
    return id;
  });
  const before = await rowsOf(superuser);
  say(`${DAYS} days pass; one tenant of ${ONE_WORKS_OF} works on`);
  await letTimePass(superuser);
  const atWork = numbers(TENANTS / ONE_WORKS_OF).map((n) => n * ONE_WORKS_OF);
  await eachOf(atWork, connections, async (at) => {
    const { token } = await signIn(worker, `soak-${at}`);
    for (let n = 1; n < LATER_REQUESTS; n++) await work(worker, token, projects[at], n);
  });
  const old = await rowsOf(superuser, `< now() - interval '${DAYS / 2} days'`);
  const due = await rowsOf(superuser);
  const sweepingFrom = performance.now();
  let sweeps = 0;
  while ((await tenantsDue(superuser)) > 0) {
    if (sweeps++ === MAX_SWEEPS) throw new Error("The sweeps come to no end.");
    await worker.sweep();
  }
  const seconds = (performance.now() - sweepingFrom) / 1000;
  const after = await rowsOf(superuser);
  const names = Object.keys(GROWING) as (keyof typeof GROWING)[];
  const kept = (name: keyof typeof GROWING) => due[name] - old[name];
  return {
    data: { tenants: TENANTS, requests, before, due, old, after, sweeps, seconds },
    text: [
      `${shown(TENANTS)} tenants sign up and make ${shown(requests)} requests; ${DAYS} days later one of ${ONE_WORKS_OF} works on. Then ${shown(sweeps)} sweeps`,
      `delete what has a rule, in ${shown(seconds)} s; it all takes ${shown((performance.now() - started) / 1000)} s.`,
      "",
      table(
        ["rows", "after the requests", "before the sweeps", "within the rule", "after the sweeps"],
        names.map((name) => [
          name,
          ...[before[name], due[name], kept(name), after[name]].map((n) => shown(n)),
        ]),
      ),
      "",
      aimsTable(
        names.flatMap((name) => [
          { aim: `${name}: rows that should be gone`, is: after[name] - kept(name), most: 0 },
          { aim: `${name}: rows that should be there`, is: after[name] - kept(name), least: 0 },
        ]),
      ),
    ].join("\n"),
  };
}

/** One request, which is repeated under its key as clients do, or changes a project. */
async function work(worker: Served, token: string, project: string | undefined, n: number) {
  const isNew = n % 2 === 0;
  for (;;) {
    const response = await fetch(`http://127.0.0.1:${worker.port}/v1/projects${isNew ? "" : `/${project}`}`, {
      method: isNew ? "POST" : "PATCH",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        ...(isNew && { "idempotency-key": `"${crypto.randomUUID()}"` }),
      },
      body: JSON.stringify({ name: `Roof ${n}` }),
    });
    const text = await response.text();
    if (response.ok) return;
    if (response.status !== 429) throw new Error(`A request of the soak got ${response.status}: ${text}`);
    await delay(1000 * Number(response.headers.get("retry-after")));
  }
}

/** Makes all rows that grow older by so many days, and each tenant due to be looked at. */
async function letTimePass(superuser: pg.Client): Promise<void> {
  const ageing = Object.entries(GROWING).map(
    ([name, at]) => `update ${name} set ${at} = ${at} - interval '${DAYS} days'`,
  );
  await superuser.query(
    `set session_replication_role = replica; ${ageing.join("; ")};
     update control.outbox_heads set swept_at = '-infinity'; set session_replication_role = origin`,
  );
}

/** How many rows each table has, or those whose age is so. */
async function rowsOf(superuser: pg.Client, age?: string): Promise<Record<keyof typeof GROWING, number>> {
  const counts = Object.entries(GROWING).map(
    ([name, at]) => `(select count(*)::int from ${name} ${age ? `where ${at} ${age}` : ""}) as "${name}"`,
  );
  const { rows } = await superuser.query(`select ${counts.join(", ")}`);
  return rows[0] as Record<keyof typeof GROWING, number>;
}

async function tenantsDue(superuser: pg.Client): Promise<number> {
  const { rows } = await superuser.query(
    "select count(*)::int as due from control.outbox_heads where swept_at < now() - interval '24 hours'",
  );
  return (rows[0] as { due: number }).due;
}

const numbers = (many: number): number[] => [...Array(many).keys()];

/** What `act` makes of each, so many at once. */
async function eachOf<T, R>(all: readonly T[], atOnce: number, act: (one: T) => Promise<R>): Promise<R[]> {
  const made: R[] = [];
  // One iterator for all, so that each is taken once.
  const left = all.entries();
  const worker = async (): Promise<void> => {
    for (const [at, one] of left) made[at] = await act(one);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return made;
}
