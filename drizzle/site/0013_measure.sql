-- How many rows the context's tenant has at this site, and about how many bytes they take, for its object. Rows are counted up
-- to `most` in each table; beyond that they are told from a sample of about 2,000 of the table's pages. Bytes are the rows
-- times the mean size of up to 1,000 of them (what is kept apart for its size included, as it is kept), 28 bytes of header
-- each, and each row's share of the table's indexes beyond two pages of each, once Postgres knows how many rows the table has.
CREATE FUNCTION public.measure(most integer) RETURNS TABLE (row_count bigint, bytes bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	tenant uuid := public.current_tenant_id();
	t record;
	counted bigint;
	sampled bigint;
	width float8;
	share float8;
	page integer := pg_catalog.current_setting('block_size')::integer;
BEGIN
	IF pg_catalog.left(pg_catalog.current_setting('app.tenant'), 1) <> 'd' THEN
		RAISE EXCEPTION 'what is stored is the tenant''s object''s to measure' USING ERRCODE = '42501', TABLE = 'members';
	END IF;
	row_count := 0;
	bytes := 0;
	FOR t IN SELECT c.oid::pg_catalog.regclass AS name, c.reltuples, c.relpages, w.widths,
				(SELECT count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid) AS indexes, c.oid
			FROM pg_catalog.pg_class c
			JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
			CROSS JOIN LATERAL (SELECT pg_catalog.string_agg(pg_catalog.format(
					'COALESCE(pg_catalog.pg_column_size(r.%I), 0)', o.attname), ' + ') AS widths
				FROM pg_catalog.pg_attribute o WHERE o.attrelid = c.oid AND o.attnum > 0 AND NOT o.attisdropped) w
			WHERE c.relkind = 'r' AND c.relnamespace =
				(SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = 'public.fences'::pg_catalog.regclass) LOOP
		EXECUTE pg_catalog.format('SELECT count(*) FROM (SELECT FROM %s WHERE tenant_id = $1 LIMIT $2) r', t.name)
			INTO counted USING tenant, most;
		CONTINUE WHEN counted = 0;
		IF counted = most THEN
			share := LEAST(100, 100 * 2000.0 / GREATEST(t.relpages, 1));
			EXECUTE pg_catalog.format('SELECT count(*) FROM %s TABLESAMPLE SYSTEM ($2) WHERE tenant_id = $1', t.name)
				INTO sampled USING tenant, share;
			counted := GREATEST(counted, (sampled * 100 / share)::bigint);
		END IF;
		EXECUTE pg_catalog.format('SELECT avg(%s) FROM (SELECT * FROM %s WHERE tenant_id = $1 LIMIT 1000) r', t.widths, t.name)
			INTO width USING tenant;
		row_count := row_count + counted;
		bytes := bytes + (counted * (COALESCE(width, 0) + 28 + CASE WHEN t.reltuples > 0
			THEN GREATEST(0, pg_catalog.pg_indexes_size(t.oid) - 2 * page * t.indexes) / GREATEST(t.reltuples, counted) ELSE 0 END))::bigint;
	END LOOP;
	RETURN NEXT;
END $$;
