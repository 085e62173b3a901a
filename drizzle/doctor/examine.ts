import type { ClientBase } from "pg";
import { code, context } from "./code.ts";
import type { Check, Finding } from "./check.ts";
import { control } from "./control.ts";
import { HOUSE } from "./catalog.ts";
import { keys } from "./keys.ts";
import { planes } from "./planes.ts";
import { grants, roles } from "./roles.ts";
import { server } from "./server.ts";
import { audit, policies, tables } from "./tables.ts";

export const CHECKS: readonly Check[] = [
  ...tables,
  ...policies,
  ...control,
  ...planes,
  ...audit,
  ...keys,
  ...code,
  ...context,
  ...roles,
  ...grants,
  ...server,
];

// One query: one round trip, and far less for Postgres to plan.
const QUERY = `${HOUSE} ${CHECKS.map(
  (check) => `select '${check.code}' as code, to_jsonb(found) as row from (${check.sql}) found`,
).join(" union all ")}`;

type Row = Record<string, unknown>;

/**
 * What is wrong with the database that the client is in, in the order of CHECKS. Reads the catalog alone, so any role
 * will do. Runs in the client's transaction, whose search_path it sets: names that Postgres prints depend on it.
 */
export async function examine(client: ClientBase): Promise<Finding[]> {
  await client.query("set local search_path = pg_catalog, pg_temp");
  await client.query("set local jit = off");
  const { rows } = await client.query<{ code: string; row: Row }>(QUERY);
  return CHECKS.flatMap((check) =>
    rows.filter(({ code: name }) => name === check.code).map(({ row }) => finding(check, row)),
  );
}

function finding({ code: name, severity = "error", what, why, mend }: Check, row: Row): Finding {
  const fill = (text: string) =>
    text.replaceAll(/\{(\w+)\}/g, (_, key: string) => {
      const value = row[key];
      if (typeof value !== "string") throw new Error(`the check ${name} returns no text named ${key}`);
      return value;
    });
  return {
    code: name,
    severity,
    object: fill("{object}"),
    what: fill(what),
    why: fill(why),
    mend: mend.startsWith("--") ? fill(mend) : `${fill(mend)};`,
  };
}
