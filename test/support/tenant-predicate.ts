/** A column of the whole key that joins two tables, such as `a.tenant_id = b.tenant_id` and `t.id = i.tenant_id`. */
const JOIN = /(?<![$\w".])"?[a-z][\w".]* = [\w".]*\btenant_id\b"?|[\w".]*\btenant_id\b"? = "?[a-z][\w".]*/g;
/** The columns that an INSERT fills, with the wall's default for the tenant, and those of the key that it may find taken. */
const COLUMNS = /insert into [\w".]+ \([^)]*\)|on conflict \([^)]*\)/g;
/** The columns that a statement shows. */
const SHOWN = /\b(?:select|returning) (?:(?:"\w+"\.)?"\w+"(?:, )?)+/g;

/** A join of two tables, up to the next one or the end of the FROM. */
const JOINED =
  /\bjoin (?!lateral)[\w".]+(?: (?:as )?"?\w+"?)? on (.*?)(?= (?:inner|left|right|full|cross)? ?join | where | group by | order by | limit |$)/gs;

/** A join of tenant tables that lacks the tenant: Postgres finds no index for it. */
export function joinWithoutTenant(statement: string): string | undefined {
  for (const [whole, condition = ""] of statement.matchAll(JOINED))
    if (!/"?tenant_id"? = [\w".]*"?tenant_id"?/.test(condition)) return whole;
  return undefined;
}

/** What a statement says of its tenant beyond joining by whole keys: nothing, if the wall alone says whose rows it means. */
export function tenantPredicate(statement: string): string | undefined {
  const rest = statement.replaceAll(COLUMNS, "").replaceAll(SHOWN, "").replaceAll(JOIN, "");
  return /\S*\btenant_id\b.{0,20}/.exec(rest)?.[0];
}
