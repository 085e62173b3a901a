import { runInDurableObject } from "cloudflare:test";
import { decodeJwt } from "jose";
import fc from "fast-check";
import { afterEach, expect, it, vi } from "vitest";
import { openTenantDb } from "../src/db/client.ts";
import { bindings } from "../src/env.ts";
import { archiveOf, objectsOf } from "../src/lifecycle/archive.ts";
import { eraseTenantNow } from "../src/lifecycle/closing.ts";
import { SCRIPT } from "../src/operator.ts";
import { runErasure } from "../src/lifecycle/erasure.ts";
import { runExport } from "../src/lifecycle/export.ts";
import { beginJob } from "../src/lifecycle/exports.ts";
import { runImport } from "../src/lifecycle/import.ts";
import type { Job } from "../src/lifecycle/jobs.ts";
import type { Do } from "../src/lifecycle/steps.ts";
import { isSuperseded } from "../src/lifecycle/superseded.ts";
import { STATES, type TenantStatus } from "../src/tenant-states.ts";
import { tenantObject } from "../src/tenant/stub.ts";
import { answered, newTenant, noRequest, operate, request, type SignedIn, stage } from "./support/client.ts";
import { crash } from "./support/crash.ts";
import { foundAnywhere } from "./support/everywhere.ts";
import { download, rowsIn, unzipped } from "./support/lifecycle.ts";

// Whole lives of tenants, while their jobs meet every fault there is: Postgres does not answer, or its answer is lost; a step
// is done twice, one after the other or both at once; the instance ends between two steps and another one begins from the
// start; the tenant's object crashes. No acknowledged row is lost before an erasure, and none is left anywhere after it.

afterEach(() => vi.restoreAllMocks());

/** What the next step meets. */
const FATES = ["goes well", "goes well", "is done twice", "overlaps itself", "ends its instance"] as const;
const ANSWERS = ["comes", "comes", "comes", "comes", "never was asked", "is lost"] as const;
type Faults = { steps: (typeof FATES)[number][]; answers: (typeof ANSWERS)[number][]; crashes: boolean };

class InstanceEnded extends Error {}

/** Postgres answers partywall's logins as it is said, and then always. */
function meddle(answers: Faults["answers"]): void {
  const fetching = globalThis.fetch;
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const login = new Headers(init?.headers).get("neon-connection-string") ?? "";
    const fate = login.includes("//partywall_") ? answers.shift() : undefined;
    if (fate === "never was asked") return new Response(null, { status: 502 });
    const response = await fetching(input, init);
    return fate === "is lost" ? new Response(null, { status: 502 }) : response;
  });
  vi.spyOn(console, "error").mockImplementation(() => undefined);
}

async function hasFinished({ kind, tenant, job }: Job): Promise<boolean> {
  const [row] =
    kind === "erasure"
      ? await stage`select receipt is not null as done from control.erasures where id = ${tenant}`
      : await stage`select finished_at is not null as done from control.jobs where id = ${job}`;
  return row?.["done"] === true;
}

/** More often than there are faults. */
const MAX_TRIES = 40;

/** Has a job done by as many instances as it takes, each of whose steps meets the next fault. */
async function carryOut(run: (job: Job, step: Do) => Promise<void>, job: Job, faults: Faults): Promise<void> {
  const { steps, answers, crashes } = structuredClone(faults);
  meddle(answers);
  const strays: Promise<unknown>[] = [];
  for (let isDone = false; !isDone;) {
    let hasEnded = false;
    const step: Do = async (_, work) => {
      if (hasEnded) throw new InstanceEnded();
      const fate = steps.shift();
      for (let tries = 1; ; tries++)
        try {
          if (fate === "overlaps itself") strays.push(work().catch(() => undefined));
          let outcome = await work();
          if (fate === "is done twice") outcome = await work();
          if (fate === "ends its instance") {
            hasEnded = true;
            throw new InstanceEnded();
          }
          return outcome;
        } catch (error) {
          if (hasEnded || isSuperseded(error) || tries === MAX_TRIES) throw error;
        }
    };
    await run(job, step).catch((error: unknown) => {
      if (!(error instanceof InstanceEnded)) throw error;
    });
    await Promise.all(strays.splice(0));
    if (crashes) await crash(job.tenant);
    // Another instance begins, as a sweep has it, where the last one has ended or was overtaken by itself.
    isDone = await hasFinished(job);
  }
  vi.restoreAllMocks();
}

/** A tenant as the model knows it. */
type Life = {
  owner: SignedIn;
  status: TenantStatus;
  /** As which its people see it: one that closes while it is suspended is suspended still. */
  seen: TenantStatus;
  rows: Set<string>;
  marker: string;
};

async function born(): Promise<Life> {
  const owner = await newTenant();
  return {
    owner,
    status: "active",
    seen: "active",
    rows: new Set(),
    marker: `marker-${owner.tenant.id}`,
  };
}

const accountOf = ({ owner }: Life) =>
  openTenantDb("account", owner.tenant.id, { id: owner.user.id, as: "owner" }, noRequest());
const begin = async (life: Life, kind: "export" | "import") => {
  const caller = {
    kind: "user",
    tenantId: life.owner.tenant.id,
    id: life.owner.user.id,
    role: "owner",
    sessionId: "",
    authTime: 0,
    amr: [],
    scopes: [],
  } as const;
  const { id } = await beginJob(accountOf(life), caller, kind);
  return { kind, tenant: life.owner.tenant.id, job: id };
};

async function write(life: Life): Promise<void> {
  const name = `${life.marker} ${crypto.randomUUID()}`;
  for (;;) {
    const response = await request("POST", "/v1/projects", {
      token: life.owner.token,
      body: { name },
      headers: { "idempotency-key": `"${name}"` },
    });
    // While an import of another step's is under way.
    if (response.status === 503) continue;
    expect(response.status).toBe(201);
    life.rows.add(name);
    return;
  }
}

class World {
  readonly lives: Life[] = [];
  /** The latest archive, and the names of the rows in it. */
  archive: { bytes: Buffer; names: Set<string> } | undefined;

  pick(index: number): Life | undefined {
    const living = this.lives.filter(({ status }) => status !== "erasing");
    return living[index % Math.max(living.length, 1)];
  }
}

type Act = (world: World, life: Life, faults: Faults) => Promise<void>;

const ACTS: Record<string, Act> = {
  async write(_, life) {
    if (life.status !== "active") return;
    await Promise.all([write(life), write(life), write(life)]);
  },
  async export(world, life, faults) {
    if (!STATES[life.seen].admits.includes("leave")) return;
    const before = new Set(life.rows);
    const job = await begin(life, "export");
    // The tenant works on meanwhile.
    await Promise.all([
      carryOut(runExport, job, faults),
      ...(life.status === "active" ? [write(life), write(life)] : []),
    ]);
    const bytes = await download(life.owner.token, job.job);
    const names = new Set(
      rowsIn(await unzipped(bytes), "content/projects.ndjson").map(({ name }) => String(name)),
    );
    expect([...before].filter((name) => !names.has(name))).toEqual([]);
    expect([...names].filter((name) => !life.rows.has(name))).toEqual([]);
    world.archive = { bytes, names };
  },
  async import(world, _, faults) {
    if (!world.archive) return;
    const life = await born();
    world.lives.push(life);
    const job = await begin(life, "import");
    await bindings.ARCHIVES.put(archiveOf(job.tenant, "imports", job.job), world.archive.bytes);
    await carryOut(runImport, job, faults);
    const [row] = await stage`select outcome, result from control.jobs where id = ${job.job}`;
    expect(row).toMatchObject({ outcome: "done" });
    for (const name of world.archive.names) life.rows.add(name);
  },
  async importInVain(world, life, faults) {
    if (!world.archive || life.status !== "active" || life.rows.size === 0) return;
    const job = await begin(life, "import");
    await bindings.ARCHIVES.put(archiveOf(job.tenant, "imports", job.job), world.archive.bytes);
    await carryOut(runImport, job, faults);
    const [row] = await stage`select outcome, result from control.jobs where id = ${job.job}`;
    expect(row).toMatchObject({ outcome: "failed" });
  },
  readOnly: (_, life) => become(life, "read_only"),
  suspend: (_, life) => become(life, "suspended"),
  reinstate: (_, life) => become(life, "active"),
  close: (_, life) => become(life, "closing"),
  async erase(_, life, faults) {
    const { id } = life.owner.tenant;
    await eraseTenantNow(id, { operator: SCRIPT, reason: "asked to", requestId: null });
    life.status = life.seen = "erasing";
    await carryOut(runErasure, { kind: "erasure", tenant: id, job: id }, faults);
  },
};

async function become(life: Life, status: TenantStatus): Promise<void> {
  const may = STATES[life.status].next[status]?.includes("operator") || life.status === status;
  const change = operate(life.owner.tenant.id, { status });
  if (!may) {
    await expect(change).rejects.toThrow("tenant_state");
    return;
  }
  await change;
  if (status !== life.status)
    life.seen = status === "closing" && life.status === "suspended" ? "suspended" : status;
  life.status = status;
}

/** What the API lets in, and what there is, are what the model says. */
async function check({ lives }: World): Promise<void> {
  for (const { owner, seen: status, rows, marker } of lives) {
    const { token, tenant } = owner;
    const ask = async (method: string, path: string) => (await request(method, path, { token })).status;
    if (status === "erasing") {
      expect(await ask("GET", "/v1/projects")).toBe(401);
      const left = (await foundAnywhere(tenant.id)).filter(
        (row) => !/^(erasures|fences|operator_events):/.test(row),
      );
      // Its archive may live on in another tenant, whose rows and trail then name it.
      const isElsewhere = (row: string) =>
        /^(projects|audit_events):/.test(row) && !row.includes(`(${tenant.id},`);
      expect(left.filter((row) => !isElsewhere(row))).toEqual([]);
      const people = await foundAnywhere(owner.user.email);
      expect(people.filter((row) => !/^(former_members|invitations):/.test(row))).toEqual([]);
      expect((await bindings.ARCHIVES.list({ prefix: objectsOf(tenant.id) })).objects).toEqual([]);
      expect(
        await runInDurableObject(tenantObject(tenant.id), (_, state) => [...state.storage.kv.list()]),
      ).toEqual([]);
      const { receipt } = await answered<{ receipt: string }>(
        200,
        request("GET", `/v1/erasures/${tenant.id}`),
      );
      expect(decodeJwt(receipt)["erased"]).toMatchObject({
        shared: { projects: rows.size },
        control: { tenants: 1 },
      });
      continue;
    }
    const admits = (access: "read" | "write" | "leave") => STATES[status].admits.includes(access);
    expect([status, await ask("GET", "/v1/projects")]).toEqual([status, admits("read") ? 200 : 403]);
    expect([status, await ask("GET", "/v1/tenant")]).toEqual([status, admits("leave") ? 200 : 403]);
    const found = await stage`select name from public.projects where tenant_id = ${tenant.id}`;
    expect(found.map(({ name }) => String(name)).toSorted()).toEqual([...rows].toSorted());
    expect(marker).toContain(tenant.id);
  }
}

const RUNS = Math.ceil(Number(import.meta.env["PROPERTY_RUNS"] ?? 300) / 25);

it(
  "no row is lost before an erasure, none is left after it, and no status lets in what it should not",
  async () => {
    const faults = fc.record({
      steps: fc.array(fc.constantFrom(...FATES), { maxLength: 30 }),
      answers: fc.array(fc.constantFrom(...ANSWERS), { maxLength: 20 }),
      crashes: fc.boolean(),
    });
    const act = fc.record({
      name: fc.constantFrom("write", "write", "export", "export", "import", ...Object.keys(ACTS)),
      whose: fc.nat(7),
      faults,
    });
    const outcome = await fc.check(
      fc.asyncProperty(fc.array(act, { minLength: 4, maxLength: 12 }), async (acts) => {
        const world = new World();
        world.lives.push(await born(), await born());
        for (const { name, whose, faults: met } of acts) {
          const life = world.pick(whose);
          if (!life) break;
          await ACTS[name]?.(world, life, met);
          vi.restoreAllMocks();
        }
        await check(world);
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
    expect(outcome.failed ? [fc.defaultReportMessage(outcome), outcome.errorInstance] : []).toEqual([]);
  },
  60_000 + RUNS * 20_000,
);
