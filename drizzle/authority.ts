import type pg from "pg";
import { MANAGES, SCOPES } from "../src/authority.ts";
import { STATES } from "../src/tenant-states.ts";

const array = (texts: readonly string[]) =>
  `'{${texts.map((text) => JSON.stringify(text)).join(",")}}'::text[]`;

/** The texts that a table has for an argument of a function; none for any other text. */
function found(table: Record<string, readonly string[]>, argument = "$1"): string {
  const cases = Object.entries(table).map(([name, texts]) => `WHEN '${name}' THEN ${array(texts)}`);
  return `CASE ${argument} ${cases.join(" ")} ELSE '{}'::text[] END`;
}

/** Who brings a tenant from one state to another, by `<from> <to>`. */
const TRANSITIONS = Object.fromEntries(
  Object.entries(STATES).flatMap(([from, { next }]) =>
    Object.entries(next).map(([to, by]) => [`${from} ${to}`, by]),
  ),
);

const FUNCTIONS = [
  { name: "manages(text, text)", returns: "boolean", source: ` SELECT $2 = ANY (${found(MANAGES)}) ` },
  {
    name: "may_follow(text, text, text)",
    returns: "boolean",
    source: ` SELECT $3 = ANY (${found(TRANSITIONS, "$1 || ' ' || $2")}) `,
  },
  { name: "role_scopes(text)", returns: "text[]", source: ` SELECT ${found(SCOPES)} ` },
];

/**
 * Gives Postgres the tables of src/authority.ts and src/tenant-states.ts as functions, for its triggers; one that is there already is
 * left alone.
 */
export async function tellAuthority(client: pg.Client): Promise<void> {
  for (const { name, returns, source } of FUNCTIONS) {
    const { rows } = await client.query<{ prosrc: string }>(
      "select prosrc from pg_proc where oid = to_regprocedure($1)",
      [`control.${name}`],
    );
    if (rows[0]?.prosrc === source) continue;
    await client.query(
      `CREATE OR REPLACE FUNCTION control.${name} RETURNS ${returns} LANGUAGE sql IMMUTABLE PARALLEL SAFE
        SET search_path = '' AS $$${source}$$`,
    );
  }
}
