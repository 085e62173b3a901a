import worker from "../../../src/index.ts";
import { tenantObject } from "../../../src/tenant/stub.ts";
import { Tenant as Uncounted, type Answers } from "../../../src/tenant/object.ts";

/** What partywall's Worker and its objects have done; they run in one isolate. */
const counts = { rows: 0, objectCalls: 0, decisions: 0, databaseRequests: 0 };

const uncounted = globalThis.fetch;
// Only the database driver fetches.
globalThis.fetch = (...request: Parameters<typeof fetch>) => {
  counts.databaseRequests += 1;
  return uncounted(...request);
};

/** The deployed class, counting the calls to it and the rows that it writes. */
export class Tenant extends Uncounted {
  constructor(ctx: DurableObjectState, env: Env) {
    countCalls(ctx.storage, "put");
    countCalls(ctx.storage.kv, "put");
    countCalls(ctx.storage.sql, "exec");
    super(ctx, env);
  }

  override admit(...call: Parameters<Uncounted["admit"]>): ReturnType<Uncounted["admit"]> {
    counts.objectCalls += 1;
    counts.decisions += call[1].length;
    return super.admit(...call);
  }
}

/** Has each call of a storage method count as one row written. */
function countCalls(storage: object, method: string): void {
  const write: unknown = Reflect.get(storage, method);
  if (typeof write !== "function") throw new Error(`The storage has no ${method}().`);
  Object.defineProperty(storage, method, {
    value: (...args: unknown[]): unknown => {
      counts.rows += 1;
      return Reflect.apply(write, storage, args);
    },
  });
}

/** Calls one tenant's object with `batch` requests at a time, `callers` at once, for so many ms. */
async function saturate(parameters: URLSearchParams): Promise<object> {
  const [batch = 1, callers = 1, ms = 0] = ["batch", "callers", "ms"].map((name) =>
    Number(parameters.get(name)),
  );
  const object = tenantObject(parameters.get("tenant") ?? "");
  const demand = [1, "read", crypto.randomUUID(), crypto.randomUUID(), 1] as const;
  const demands = Array.from({ length: batch }, () => demand);
  const started = Date.now();
  let [calls, admitted] = [0, 0];
  const keepCalling = async (): Promise<void> => {
    while (Date.now() - started < ms) {
      const { admissions }: Answers = JSON.parse(await object.admit(crypto.randomUUID(), demands));
      calls += 1;
      admitted += admissions.filter(
        (answer) => !answer.refused && answer.decision.outcome === "admitted",
      ).length;
    }
  };
  await Promise.all(Array.from({ length: callers }, keepCalling));
  return { calls, admitted, ms: Date.now() - started };
}

export default {
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/bench/counts") return Response.json(counts);
    if (pathname === "/bench/saturate") return Response.json(await saturate(searchParams));
    return worker.fetch(request, env, ctx);
  },
} satisfies ExportedHandler<Env>;
