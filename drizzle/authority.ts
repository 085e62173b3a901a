import type pg from "pg";
import { MANAGES, SCOPES } from "../src/authority.ts";

const array = (texts: readonly string[]) =>
  `'{${texts.map((text) => JSON.stringify(text)).join(",")}}'::text[]`;

/** The texts that a table has for the first argument of a function; none for any other text. */
function found(table: Record<string, readonly string[]>): string {
  const cases = Object.entries(table).map(([name, texts]) => `WHEN '${name}' THEN ${array(texts)}`);
  return `CASE $1 ${cases.join(" ")} ELSE '{}'::text[] END`;
}

const FUNCTIONS = [
  { name: "manages(text, text)", returns: "boolean", source: ` SELECT $2 = ANY (${found(MANAGES)}) ` },
  { name: "role_scopes(text)", returns: "text[]", source: ` SELECT ${found(SCOPES)} ` },
];

/**
 * Gives Postgres the tables of src/authority.ts as functions, for its triggers; one that is there already is
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
