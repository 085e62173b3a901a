import { stage } from "./client.ts";
import { AT_SITE, SITE } from "./site.ts";

/** Every row of every table of the databases that has this text anywhere in it, with its table's name before it. */
export async function foundAnywhere(text: string): Promise<string[]> {
  const found: string[] = [];
  for (const as of SITE.host === null ? [stage] : [stage, AT_SITE.stage]) {
    const tables = await as`
      select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = relnamespace
      where relkind in ('r', 'p') and (nspname in ('control', 'public', 'partywall') or nspname ^@ 'site_')`;
    for (const { schema, name } of tables) {
      const rows = await as.query(
        `select t::text as row from "${String(schema)}"."${String(name)}" t where t::text like $1`,
        [`%${text}%`],
      );
      found.push(...rows.map(({ row }) => `${String(name)}: ${String(row)}`));
    }
  }
  return found;
}
