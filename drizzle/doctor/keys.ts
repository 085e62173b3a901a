import type { Check } from "./check.ts";

// The key's columns but tenant_id, in order, as SQL.
const REST = `select string_agg(pg_get_indexdef(i.indexrelid, k::int, true), ', ' order by k)
  from generate_series(1, i.indnkeyatts) k where i.indkey[k - 1] <> t.attnum`;

/** Keys, indexes and foreign keys. Postgres checks them past row level security. */
export const keys: Check[] = [
  // First: the key that it refers to can only be mended after it.
  {
    code: "foreign_key_crosses",
    what: "refers to {other} without the tenant: {constraint}",
    why: "the check bypasses row level security: a tenant learns which ids others have, and can tie its rows to theirs",
    // Postgres checks the rows there are as the tables' owner, whom FORCE binds too.
    mend: "{loosen}{unique}ALTER TABLE {object} DROP CONSTRAINT {constraint}{definition}{fasten}",
    sql: `select t.object, o.object as other, quote_ident(c.conname) as constraint,
      case when a.attnum = any (c.confkey) or t.attnum = any (c.conkey) then ''
        else format(', ADD CONSTRAINT %I ', c.conname) || regexp_replace(regexp_replace(regexp_replace(
          pg_get_constraintdef(c.oid), '^FOREIGN KEY \\(', 'FOREIGN KEY (tenant_id, '),
          '( REFERENCES [^(]+)\\(', '\\1(tenant_id, '),
          'ON DELETE SET (NULL|DEFAULT)(?! \\()', 'ON DELETE SET \\1 (' || (select string_agg(quote_ident(attname), ', ')
            from pg_attribute where attrelid = t.oid and attnum = any (c.conkey)) || ')') end as definition,
      case when a.attnum = any (c.confkey) or t.attnum = any (c.conkey) or exists (select from pg_index i
          where i.indrelid = o.oid and i.indisunique and i.indnkeyatts = cardinality(c.confkey) + 1
            and i.indkey::int2[] @> (c.confkey || a.attnum)) then ''
        else format('ALTER TABLE %s ADD UNIQUE (tenant_id, %s); ', o.object, (select
          string_agg(quote_ident(attname), ', ') from pg_attribute where attrelid = o.oid and attnum = any (c.confkey)))
        end as unique,
      coalesce((select string_agg(format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY; ', f.oid::regclass), '') from pg_class f
        where f.oid in (t.oid, o.oid) and f.relforcerowsecurity), '') as loosen,
      coalesce((select string_agg(format('; ALTER TABLE %s FORCE ROW LEVEL SECURITY', f.oid::regclass), '') from pg_class f
        where f.oid in (t.oid, o.oid) and f.relforcerowsecurity), '') as fasten
      from tables t join pg_constraint c on c.conrelid = t.oid and c.contype = 'f'
      join relations o on o.oid = c.confrelid and not o.is_control
      join pg_attribute a on a.attrelid = o.oid and a.attname = 'tenant_id' and not a.attisdropped
      where t.attnum is not null and not exists (select from unnest(c.conkey, c.confkey) k (here, there)
        where k.here = t.attnum and k.there = a.attnum)`,
  },
  {
    code: "primary_key",
    what: "has no primary key that starts with tenant_id",
    why: "a taken id is refused whoever has it, which tells one tenant what another has; and no foreign key can carry tenant_id",
    mend: "ALTER TABLE {object} {drop}ADD PRIMARY KEY ({columns})",
    sql: `select t.object, coalesce('DROP CONSTRAINT ' || quote_ident(c.conname) || ' CASCADE, ', '') as drop,
      concat_ws(', ', 'tenant_id', coalesce((${REST}), (select quote_ident(attname) from pg_attribute
        where attrelid = t.oid and attname = 'id' and not attisdropped))) as columns
      from tables t left join pg_index i on i.indrelid = t.oid and i.indisprimary
      left join pg_constraint c on c.conindid = i.indexrelid and c.contype = 'p'
      where t.attnum is not null and i.indkey[0] is distinct from t.attnum`,
  },
  {
    code: "unique_not_led",
    what: "keeps {index} unique over all tenants",
    why: "the duplicate-key error of one tenant tells what another has, and takes the value away from it",
    mend: "{mend}",
    sql: `select t.object, quote_ident(x.relname) as index,
      case when c.oid is null
        then format('DROP INDEX %s; CREATE UNIQUE INDEX %I ON %s USING %I (%s)%s%s', i.indexrelid::regclass, x.relname,
          t.object, m.amname, u.columns, u.nulls, ' WHERE ' || pg_get_expr(i.indpred, i.indrelid))
        else format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE, ADD CONSTRAINT %2$I UNIQUE%s (%s)', t.object, c.conname,
          u.nulls, u.columns) end as mend
      from tables t join pg_index i on i.indrelid = t.oid join pg_class x on x.oid = i.indexrelid
      join pg_am m on m.oid = x.relam
      left join pg_constraint c on c.conindid = i.indexrelid and c.contype = 'u' and c.conrelid = t.oid
      cross join lateral (select concat_ws(', ', 'tenant_id', (${REST})) as columns,
        case when i.indnullsnotdistinct then ' NULLS NOT DISTINCT' else '' end as nulls) u
      where i.indisunique and not i.indisprimary and not i.indisexclusion
        and t.attnum is not null and i.indkey[0] <> t.attnum`,
  },
  {
    code: "exclusion_not_led",
    what: "lets no two tenants' rows overlap: {constraint}",
    why: "its error tells one tenant what another has; tenant_id WITH = must come first (operators from btree_gist)",
    mend: "ALTER TABLE {object} DROP CONSTRAINT {constraint}, ADD CONSTRAINT {constraint} {definition}",
    sql: `select t.object, quote_ident(c.conname) as constraint,
      regexp_replace(pg_get_constraintdef(c.oid), '^(EXCLUDE USING \\w+ \\()', '\\1tenant_id WITH =, ') as definition
      from tables t join pg_constraint c on c.conrelid = t.oid and c.contype = 'x'
      where t.attnum is not null and (c.conkey[1] is distinct from t.attnum
        or (select oprname from pg_operator where pg_operator.oid = c.conexclop[1]) <> '=')`,
  },
  {
    code: "index_missing",
    what: "has no index that starts with tenant_id",
    why: "each query of each tenant reads every tenant's rows, so a large one slows all, and its time tells of others",
    mend: "CREATE INDEX ON {object} (tenant_id)",
    sql: `select t.object from tables t where t.attnum is not null and not exists (select from pg_index i
      where i.indrelid = t.oid and i.indisvalid and i.indpred is null and i.indkey[0] = t.attnum)`,
  },
  {
    code: "foreign_key_to_all",
    severity: "warning",
    what: "refers to {other}, which belongs to no tenant and which the app role cannot read: {constraint}",
    why: "the check bypasses row level security: a tenant that guesses an id learns whether it exists",
    mend: "ALTER TABLE {object} DROP CONSTRAINT {constraint}",
    sql: `select t.object, o.object as other, quote_ident(c.conname) as constraint
      from tables t join pg_constraint c on c.conrelid = t.oid and c.contype = 'f'
      join relations o on o.oid = c.confrelid and not o.is_control cross join house
      where not exists (select from pg_attribute a
        where a.attrelid = o.oid and a.attname = 'tenant_id' and not a.attisdropped)
        and not exists (select from grants g where g.oid = o.oid and g.grantee in (0, house.app))`,
  },
];
