import { randomUUID } from "node:crypto";
import type { Client } from "pg";
import { SIDES, type Side, type Sides } from "./sides.ts";
import { numbered, type Statement } from "./statements.ts";
import type { Size, Tenant } from "./tenancy.ts";

/** How Postgres answers a statement. */
export type Plan = {
  statement: Statement;
  size: Size;
  side: Side;
  /** From the top, without InitPlans: `Limit < Index Scan tasks_newest`. */
  nodes: string;
  /** Tenant tables that are read from end to end. */
  scans: number;
  /** How often the context was verified. */
  verified: number;
};

type Node = {
  "Node Type": string;
  "Index Name"?: string;
  "Parent Relationship"?: string;
  Plans?: Node[];
};

/** Explains and runs each statement for each tenant, as a superuser who becomes each side's role; changes nothing. */
export async function inspectPlans(
  superuser: Client,
  { roles, contextOf }: Sides,
  statements: readonly Statement[],
  tenants: readonly Tenant[],
): Promise<Plan[]> {
  const plans: Plan[] = [];
  await superuser.query("set track_functions = 'pl'");
  for (const side of SIDES) {
    // The context is signed for the login role, which is then this one.
    await superuser.query(`set session authorization ${roles[side]}`);
    for (const statement of statements)
      for (const tenant of tenants) {
        await superuser.query("begin");
        await superuser.query("select set_config('app.tenant', $1, true)", [contextOf(side, tenant)]);
        plans.push(await inspect(superuser, statement, tenant, side));
        await superuser.query("rollback");
      }
    await superuser.query("reset session authorization");
  }
  return plans;
}

async function inspect(client: Client, statement: Statement, tenant: Tenant, side: Side): Promise<Plan> {
  const { text, names } = numbered(statement[side]);
  const id = statement.name === "insert" ? randomUUID() : (tenant.ids[0] ?? "");
  const values = names.map((name) => ({ ...tenant, id })[name]);
  const explained = await client.query<{ "QUERY PLAN": [{ Plan: Node }] }>(
    `explain (format json) ${text}`,
    values,
  );
  const before = await verifications(client);
  await client.query(text, values);
  const nodes = nodesOf(explained.rows[0]?.["QUERY PLAN"][0].Plan);
  return {
    statement,
    size: tenant.size,
    side,
    nodes: nodes.map((node) => `${node["Node Type"]} ${node["Index Name"] ?? ""}`.trim()).join(" < "),
    scans: nodes.filter((node) => node["Node Type"] === "Seq Scan").length,
    verified: (await verifications(client)) - before,
  };
}

function nodesOf(node: Node | undefined): Node[] {
  if (!node || node["Parent Relationship"] === "InitPlan") return [];
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)];
}

/** Calls of current_tenant_id() in this transaction. */
async function verifications(client: Client): Promise<number> {
  const { rows } = await client.query<{ calls: number }>(
    "select calls::int from pg_stat_xact_user_functions where funcname = 'current_tenant_id'",
  );
  return rows[0]?.calls ?? 0;
}
