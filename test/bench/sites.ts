import { readFileSync } from "node:fs";
import { createTenant } from "../../drizzle/create-tenant.ts";

import { localDatabase } from "../../drizzle/local-database.ts";
import { startStack } from "../../drizzle/local/stack.ts";
import { addSite } from "../../drizzle/site-add.ts";
import { TESTS_MIGRATIONS } from "../support/node/product.ts";
import { aimsTable } from "./aims.ts";
import { ask, makeFleetBed, runSql } from "./bed.ts";
import { cpuOf } from "./cpu.ts";
import { ratio, shown, shownSpread, spread, table } from "./figures.ts";
import { startLoad } from "./load.ts";
import type { Options, Result } from "./subject.ts";
import { bundleDeployed, makeFolder, serve } from "./workerd.ts";

const KINDS = ["shared", "schema", "dedicated"] as const;
type Kind = (typeof KINDS)[number];
type Round = { perSecond: number; workerdUs: number };

/** Databases of their own that one isolate serves. */
const MANY = 100;
const LIMITS = JSON.stringify([{ name: "minute", limit: 60_000_000, window: 60 }]);
const QUIET = { ...TESTS_MIGRATIONS, say: () => undefined };
const WARM_UP_S = 2;

/** What it costs a request that its tenant's content is not where most tenants' is, and an isolate that there are many sites. */
export async function sites(bench: AsyncDisposableStack, options: Options): Promise<Result> {
  const { connections, seconds, rounds, say } = options;
  say("starting two Postgres servers, bundling the Worker");
  const { bed, variables } = await makeFleetBed(bench, connections);
  const second = await startStack({ dir: makeFolder(bench), ephemeral: true });
  bench.defer(() => second.stop());
  const worker = await serve(bench, await bundleDeployed(bench), bed.variables);
  const newSite = async (name: string, schema: boolean) => {
    const databaseUrl = schema ? undefined : await localDatabase(name, second.superuserUrl);
    await addSite({ name, schema, databaseUrl }, variables, QUIET);
  };
  const newTenant = async (slug: string, site: string): Promise<Side> => {
    const owner = `${slug}@bench.test`;
    const { invitation } = await createTenant({ slug, site, owner, plan: "enterprise" }, variables);
    await runSql(bed.superuserUrl, "update control.tenants set limits = $2 where slug = $1", [slug, LIMITS]);
    const { access_token } = await ask<{ access_token: string }>(worker, "/v1/invitations/accept", {
      body: { token: invitation, password: "correct horse battery staple" },
    });
    const { id } = await ask<{ id: string }>(worker, "/v1/projects", {
      token: access_token,
      body: { name: "Roof" },
    });
    return { path: `/v1/projects/${id}`, tokens: [access_token] };
  };

  await newSite("schema", true);
  await newSite("dedicated", false);
  const sides = {} as Record<Kind, Side>;
  for (const kind of KINDS) sides[kind] = await newTenant(`at-${kind}`, kind);
  const load = startLoad(bench);
  const found: Record<Kind, Round[]> = { shared: [], schema: [], dedicated: [] };
  for (let round = 0; round <= rounds; round++)
    for (const kind of round % 2 === 0 ? KINDS : KINDS.toReversed()) {
      const before = cpuOf(worker.pid);
      const { perSecond, answers, statuses } = await load.run({
        port: worker.port,
        ...sides[kind],
        connections,
        seconds: round === 0 ? WARM_UP_S : seconds,
      });
      if (statuses[200] !== answers) throw new Error(`Not all answers were 200: ${JSON.stringify(statuses)}`);
      say(
        `${round === 0 ? "warm-up" : `round ${round} of ${rounds}`}: ${kind}, ${shown(perSecond)} requests/s`,
      );
      if (round > 0) found[kind].push({ perSecond, workerdUs: (cpuOf(worker.pid) - before) / answers });
    }

  say(`making ${MANY} sites in databases of their own`);
  const many: Side[] = [];
  const fresh = await serve(bench, await bundleDeployed(bench), bed.variables);
  for (let at = 0; at < MANY; at++) {
    await newSite(`many-${at}`, false);
    many.push(await newTenant(`many-${at}`, `many-${at}`));
  }
  const memory = [memoryOf(fresh.pid)];
  const times: number[][] = [[], []];
  for (const turn of times)
    for (const { path, tokens } of many) {
      const began = performance.now();
      await ask(fresh, path, { token: tokens[0] ?? "" });
      turn.push(performance.now() - began);
    }
  memory.push(memoryOf(fresh.pid));
  return report(found, times, memory);
}

type Side = { path: string; tokens: string[] };

/** Resident memory of a process, in MiB. */
function memoryOf(pid: number): number {
  const [, kib = "0"] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kib) / 1024;
}

function report(found: Record<Kind, Round[]>, times: number[][], memory: number[]): Result {
  const of = (kind: Kind, key: keyof Round) => found[kind].map((round) => round[key]);
  const figures = Object.fromEntries(
    KINDS.map((kind) => [
      kind,
      {
        perSecond: spread(of(kind, "perSecond")),
        workerdUs: spread(of(kind, "workerdUs")),
        toShared: ratio(of(kind, "perSecond"), of("shared", "perSecond")),
      },
    ]),
  );
  const [first = [], later = []] = times;
  const [before = 0, after = 0] = memory;
  const data = {
    kinds: figures,
    many: { firstMs: spread(first), laterMs: spread(later), memoryMiB: { before, after } },
  };
  const aims = (["schema", "dedicated"] as const).map((kind) => ({
    aim: `a point read at a ${kind} site, requests/s of the shared one's`,
    is: figures[kind]?.toShared.median ?? NaN,
    least: 0.97,
  }));
  return {
    data,
    text: [
      "A point read, by where the tenant's content is.",
      table(
        ["site", "requests/s", "of shared", "workerd µs"],
        KINDS.map((kind) => {
          const { perSecond, toShared, workerdUs } = figures[kind] ?? {};
          return [
            kind,
            perSecond ? shownSpread(perSecond) : "",
            toShared ? shownSpread(toShared, 2) : "",
            workerdUs ? shownSpread(workerdUs) : "",
          ];
        }),
      ),
      `${MANY} databases from one isolate: the first request to each ${shownSpread(spread(first), 1)} ms, the next ${shownSpread(spread(later), 1)} ms;` +
        ` workerd has ${shown(before)} MiB before, ${shown(after)} MiB after.`,
      aimsTable(aims),
    ].join("\n\n"),
  };
}
