-- Sets the fence of the context's tenant, for the attempt at a job that the context names, and returns the mode before.
-- Every transaction that writes for a tenant takes this lock shared in its first statement, and has a newer snapshot in each
-- later one. So once this has the lock no earlier writer is under way, and once it commits none passes that the fence
-- refuses. `closed` cannot be taken back: what was read from here until then is all that there is. Whoever comes after an
-- export finds a log that notes each change: keep_images() alone has it keep each row once.
CREATE OR REPLACE FUNCTION public.set_fence(to_mode text, of_epoch integer, held_ms integer) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '500ms' AS $$
DECLARE
	of_tenant text := pg_catalog.substr(pg_catalog.current_setting('app.tenant', true), 13, 36);
	own_token bigint := pg_catalog.substr(pg_catalog.current_setting('app.tenant', true), 87, 8)::bigint;
	was public.fences;
	lapsed boolean;
BEGIN
	PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('site {site} ' || of_tenant, 0));
	SELECT * INTO was FROM public.fences f WHERE f.tenant = of_tenant;
	IF was.token > own_token THEN
		RAISE EXCEPTION 'a newer attempt works on this tenant' USING ERRCODE = 'PW006';
	END IF;
	lapsed := was.mode = 'frozen' AND was.until <= pg_catalog.clock_timestamp();
	IF NOT COALESCE(CASE to_mode
			-- The tenant works here, and an attempt begins, goes on, or gives up.
			WHEN 'logged' THEN was.mode IS NULL OR was.epoch = of_epoch AND was.mode IN ('open', 'logged', 'frozen')
			-- Again while it holds, to hold longer.
			WHEN 'frozen' THEN was.token = own_token AND was.epoch = of_epoch AND was.mode IN ('logged', 'frozen') AND NOT lapsed
			-- The tenant moves away, or what was loaded here is given up.
			WHEN 'closed' THEN was.token = own_token
				AND (was.mode = 'loading' OR was.mode = 'frozen' AND was.epoch = of_epoch AND NOT lapsed)
			-- Nobody works here: not yet, or not any more, or by an attempt that ended before its tenant was sent here.
			WHEN 'loading' THEN was.mode IS NULL OR was.mode IN ('closed', 'loading') OR was.mode = 'open' AND was.epoch = of_epoch
			-- All is loaded, or the attempt gives up. While it is frozen nobody has written, if it is frozen still.
			WHEN 'open' THEN was.mode = 'loading' AND was.token = own_token
				OR was.epoch = of_epoch AND was.mode IN ('open', 'logged', 'frozen')
			END, false) THEN
		RAISE EXCEPTION '% cannot follow % here', to_mode, COALESCE(was.mode, 'no fence') USING ERRCODE = 'PW007';
	END IF;
	INSERT INTO public.fences (tenant, epoch, mode, token, until)
		VALUES (of_tenant, of_epoch, to_mode, own_token, CASE to_mode
			WHEN 'frozen' THEN pg_catalog.clock_timestamp() + held_ms * interval '1 millisecond' END)
		ON CONFLICT (tenant) DO UPDATE
		SET epoch = excluded.epoch, mode = excluded.mode, token = excluded.token, until = excluded.until, exported_by = NULL;
	-- The fence has this token now. So this verifies the context, which nothing has until here.
	IF public.current_tenant_id() IS NULL OR session_user <> 'partywall_mover' THEN
		RAISE EXCEPTION 'no attempt''s context' USING ERRCODE = '28000';
	END IF;
	IF to_mode = 'open' THEN
		DELETE FROM public.change_log l WHERE l.tenant = of_tenant;
	END IF;
	RETURN COALESCE(was.mode, '');
END $$;
--> statement-breakpoint
-- Has the change log of the context's tenant keep each row as it is now before its first change: an export reads by it, page
-- after page, what was there at this moment. Begun again by a later attempt at the same export, it goes on with what it has.
CREATE FUNCTION public.keep_images(of_epoch integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '500ms' AS $$
DECLARE
	of_tenant text := pg_catalog.substr(pg_catalog.current_setting('app.tenant', true), 13, 36);
	job text := pg_catalog.substr(pg_catalog.current_setting('app.tenant', true), 50, 36);
	was text := (SELECT f.exported_by FROM public.fences f WHERE f.tenant = of_tenant);
BEGIN
	PERFORM public.set_fence('logged', of_epoch, 0);
	IF was IS DISTINCT FROM job THEN
		DELETE FROM public.change_log l WHERE l.tenant = of_tenant;
	END IF;
	UPDATE public.fences f SET exported_by = job WHERE f.tenant = of_tenant;
END $$;
--> statement-breakpoint
-- A row as a text that reads back as the same row, whatever the session's settings.
CREATE FUNCTION public.image_of(of_row record) RETURNS text LANGUAGE plpgsql SET search_path = ''
SET extra_float_digits = 3 SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET bytea_output = 'hex' SET timezone = 'UTC' AS $$
BEGIN
	RETURN of_row::text;
END $$;
--> statement-breakpoint
-- Notes that this row was changed, while its tenant is `logged`. Its arguments name the columns of the key. Whoever changes
-- it: by the row's tenant, not by a context's, so that what a migration changes is noted as well. For an export the row
-- before its first change is kept, and later ones are not noted: the row's lock, which whoever changes it has, keeps
-- others from noting the same one.
CREATE OR REPLACE FUNCTION public.log_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	of_tenant text := COALESCE(NEW.tenant_id, OLD.tenant_id);
	fence public.fences;
	was_key text[];
	is_key text[];
BEGIN
	SELECT f.* INTO fence FROM public.fences f WHERE f.tenant = of_tenant AND f.mode IN ('logged', 'frozen');
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	IF TG_OP <> 'INSERT' THEN
		was_key := ARRAY(SELECT pg_catalog.to_jsonb(OLD) ->> name FROM pg_catalog.unnest(TG_ARGV::text[]) WITH ORDINALITY AS k (name, at) ORDER BY at);
	END IF;
	IF TG_OP <> 'DELETE' THEN
		is_key := ARRAY(SELECT pg_catalog.to_jsonb(NEW) ->> name FROM pg_catalog.unnest(TG_ARGV::text[]) WITH ORDINALITY AS k (name, at) ORDER BY at);
	END IF;
	IF fence.exported_by IS NULL THEN
		INSERT INTO public.change_log (tenant, table_name, key)
			SELECT DISTINCT of_tenant, TG_TABLE_NAME, key FROM (VALUES (was_key), (is_key)) AS k (key) WHERE key IS NOT NULL;
		RETURN NULL;
	END IF;
	IF was_key IS NOT NULL THEN
		INSERT INTO public.change_log (tenant, table_name, key, image)
			SELECT of_tenant, TG_TABLE_NAME, was_key, public.image_of(OLD) WHERE NOT EXISTS (SELECT FROM public.change_log l
				WHERE l.tenant = of_tenant AND l.table_name = TG_TABLE_NAME AND l.key = was_key);
	END IF;
	IF is_key IS DISTINCT FROM was_key AND is_key IS NOT NULL THEN
		INSERT INTO public.change_log (tenant, table_name, key)
			SELECT of_tenant, TG_TABLE_NAME, is_key WHERE NOT EXISTS (SELECT FROM public.change_log l
				WHERE l.tenant = of_tenant AND l.table_name = TG_TABLE_NAME AND l.key = is_key);
	END IF;
	RETURN NULL;
END $$;
--> statement-breakpoint
-- Of the context's tenant's rows of a table that were changed since its export began: their keys, and the rows as they were.
CREATE FUNCTION public.images(of_table text) RETURNS TABLE (key text[], image text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	of_tenant text := public.current_tenant_id();
BEGIN
	RETURN QUERY SELECT l.key, l.image FROM public.change_log l WHERE l.tenant = of_tenant AND l.table_name = of_table;
END $$;
--> statement-breakpoint
-- Counts what is here of the context's tenant after its erasure: by every table that has a column tenant_id, whatever its
-- policies say, and by the log of its changes, as their owner. Only those of which there is something.
CREATE FUNCTION public.left_behind() RETURNS TABLE (table_name text, left_over bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	of_tenant uuid := public.current_tenant_id();
	t record;
BEGIN
	FOR t IN SELECT c.relname, c.oid::pg_catalog.regclass AS name FROM pg_catalog.pg_class c
			JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
			WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace =
				(SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = 'public.fences'::pg_catalog.regclass) LOOP
		EXECUTE pg_catalog.format('SELECT count(*) FROM %s WHERE tenant_id = $1', t.name) INTO left_over USING of_tenant;
		IF left_over > 0 THEN
			table_name := t.relname;
			RETURN NEXT;
		END IF;
	END LOOP;
	SELECT 'change_log', count(*) INTO table_name, left_over FROM public.change_log l WHERE l.tenant = of_tenant::text;
	IF left_over > 0 THEN
		RETURN NEXT;
	END IF;
END $$;
