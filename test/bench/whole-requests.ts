import { randomUUID } from "node:crypto";
import { neon, neonConfig } from "@neondatabase/serverless";
import { spread } from "./figures.ts";
import { SIDES, type Side, type Sides } from "./sides.ts";
import { numbered, type Statement } from "./statements.ts";
import type { Size, Tenant } from "./tenancy.ts";

/** Requests of one kind in a round; of a slow read so many as fit into this time, but two at least. */
const TURNS = 40;
const BATCH_MS = 60;
const WARM_UP_TURNS = 5;

/** Both sides in a batch after `set_config`, and the statement by hand alone, without a transaction of its own. */
const KINDS = [...SIDES, "alone"] as const;
export type Kind = (typeof KINDS)[number];

/** Median ms a request, round by round. */
export type Requests = { statement: Statement; size: Size; times: Record<Kind, number[]> };

const each = <T>(make: () => T): Record<Kind, T> => ({ walled: make(), byHand: make(), alone: make() });

const ENTER =
  "select set_config('app.tenant', $1, true), set_config('search_path', 'pg_catalog, public, pg_temp', true)";

/** Times whole requests to the endpoint, one after the other, the kinds in turn. Leaves as many rows as it found. */
export async function measureRequests(
  endpoint: string,
  sides: Sides,
  statements: readonly Statement[],
  tenants: readonly Tenant[],
  rounds: number,
): Promise<Requests[]> {
  neonConfig.fetchEndpoint = endpoint;
  const login = (kind: Kind) => neon(sides.urls[kind], { arrayMode: true, fullResults: true });
  const logins = { walled: login("walled"), byHand: login("byHand"), alone: login("alone") };
  const ask = async (kind: Kind, statement: Statement, tenant: Tenant, id: string): Promise<number> => {
    const side: Side = kind === "walled" ? "walled" : "byHand";
    const { text, names } = numbered(statement[side]);
    const values = { ...tenant, id };
    const query = logins[kind].query(
      text,
      names.map((name) => values[name]),
    );
    const readOnly = statement.kind === "read";
    const enter = kind === "alone" ? undefined : logins[kind].query(ENTER, [sides.contextOf(side, tenant)]);
    const began = performance.now();
    const answers = enter ? await logins[kind].transaction([enter, query], { readOnly }) : [await query];
    const took = performance.now() - began;
    if (text.includes(" id = ") && answers.at(-1)?.rows.length !== 1)
      throw new Error(`${statement.name} found nothing.`);
    return took;
  };

  const made = new Map(tenants.map((tenant) => [tenant, [] as string[]]));
  /** A task of the tenant, a fresh id for one, or one that was made here and is to go. */
  const pick = ({ name }: Statement, tenant: Tenant, turn: number): string => {
    if (name === "delete") return made.get(tenant)?.pop() ?? "";
    if (name !== "insert") return tenant.ids[turn % tenant.ids.length] ?? "";
    const id = randomUUID();
    made.get(tenant)?.push(id);
    return id;
  };
  const cells = statements.flatMap((statement) =>
    tenants.map((tenant) => ({ statement, tenant, turns: WARM_UP_TURNS, times: each((): number[] => []) })),
  );
  for (let round = 0; round <= rounds; round++)
    for (const cell of cells) {
      const { statement, tenant, times } = cell;
      const took = each((): number[] => []);
      for (let turn = 0; turn < cell.turns; turn++)
        for (const kind of turn % 2 === 0 ? KINDS : KINDS.toReversed())
          took[kind].push(await ask(kind, statement, tenant, pick(statement, tenant, turn)));
      for (const kind of KINDS) if (round > 0) times[kind].push(spread(took[kind]).median);
      // Every write is cheap, and there must be as many inserts as deletes.
      const fitting = Math.max(2, Math.floor(BATCH_MS / spread(took.walled).median));
      if (round === 0) cell.turns = statement.kind === "write" ? TURNS : Math.min(TURNS, fitting);
    }
  return cells.map(({ statement, tenant: { size }, times }) => ({ statement, size, times }));
}
