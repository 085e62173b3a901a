import { MANAGES, SCOPES } from "../src/identity/authority.ts";

const array = (texts: readonly string[]) =>
  `'{${texts.map((text) => JSON.stringify(text)).join(",")}}'::text[]`;

/** A function of Postgres that finds an array of texts by the text in its first parameter; none for any other text. */
const lookup = (
  head: string,
  answer: (found: string) => string,
  table: Record<string, readonly string[]>,
) => {
  const cases = Object.entries(table).map(([name, texts]) => `WHEN '${name}' THEN ${array(texts)}`);
  const found = `CASE $1 ${cases.join(" ")} ELSE '{}'::text[] END`;
  return `CREATE OR REPLACE FUNCTION ${head} LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = ''
    AS $$ SELECT ${answer(found)} $$`;
};

/** Who may do what to whom, for the triggers of Postgres: the tables of src/identity/authority.ts as functions. */
export const AUTHORITY = [
  lookup("public.manages(acting text, role text) RETURNS boolean", (roles) => `$2 = ANY (${roles})`, MANAGES),
  lookup("public.role_scopes(role text) RETURNS text[]", (scopes) => scopes, SCOPES),
].join(";\n");
