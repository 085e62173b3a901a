-- A range of keys is the same at two servers only if both sort alike, and this way the keys' own index sorts.
ALTER TABLE public.idempotency_keys ALTER COLUMN key TYPE text COLLATE "C";
--> statement-breakpoint
ALTER TABLE public.counters ALTER COLUMN name TYPE text COLLATE "C";
--> statement-breakpoint
-- The tenant of this transaction's signed context, unless the tenant's fence here refuses it. Raises 28000 when the context
-- is missing, forged, expired, or made for another site or role; never null. The fence's refusals have SQLSTATEs of their
-- own, and whoever gets one has done nothing yet: PW003 the tenant has moved away for good, PW004 its writes are held for a
-- moment, PW005 the context is of another epoch, PW006 a newer attempt works on the tenant. plpgsql, and one query, so that
-- no key becomes a plan's constant.
-- What frozen lets through depends on a setting that only the start of a transaction sets: see the advisory lock in
-- set_fence().
CREATE OR REPLACE FUNCTION public.current_tenant_id() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	context text := pg_catalog.current_setting('app.tenant', true);
	-- A variable, not an expression in the query: with that, Postgres reads the fences one after the other.
	of_tenant text := pg_catalog.substr(context, 13, 36);
	fence record;
BEGIN
	IF pg_catalog.length(context) = 170 THEN
		SELECT pg_catalog.encode(pg_catalog.sha256(k.outer_pad || pg_catalog.sha256(k.inner_pad
				|| pg_catalog.convert_to(pg_catalog.left(context, 105) || '.site {site}.' || session_user, 'UTF8'))), 'hex')
			= pg_catalog.right(context, 64) AS genuine, f.mode, f.epoch, f.token, f.until
			INTO fence
			FROM partywall.context_keys k LEFT JOIN public.fences f ON f.tenant = of_tenant
			WHERE k.kid = pg_catalog.substr(context, 4, 8);
		-- Only what the MAC covers is parsed: null AND … would parse what a forger wrote.
		IF fence.genuine THEN
			IF pg_catalog.substr(context, 96, 10)::bigint
					> pg_catalog.date_part('epoch', pg_catalog.statement_timestamp()) THEN
				IF session_user = 'partywall_mover' THEN
					-- Its contexts bear its token in the place of the epoch.
					IF fence.token = pg_catalog.substr(context, 87, 8)::bigint THEN
						RETURN of_tenant::uuid;
					END IF;
					RAISE EXCEPTION 'another attempt works on this tenant' USING ERRCODE = 'PW006';
				END IF;
				IF fence.mode = 'loading' OR COALESCE(fence.epoch, 1) <> pg_catalog.substr(context, 87, 8)::integer THEN
					RAISE EXCEPTION 'the tenant is not here in this epoch' USING ERRCODE = 'PW005';
				ELSIF fence.mode = 'closed' THEN
					RAISE EXCEPTION 'the tenant has moved away' USING ERRCODE = 'PW003';
				ELSIF fence.mode = 'frozen' AND fence.until > pg_catalog.statement_timestamp()
						AND pg_catalog.current_setting('transaction_read_only') <> 'on' THEN
					RAISE EXCEPTION 'the tenant''s writes are held' USING ERRCODE = 'PW004';
				END IF;
				RETURN of_tenant::uuid;
			END IF;
		END IF;
	END IF;
	RAISE EXCEPTION 'no valid tenant context' USING ERRCODE = '28000';
END $$;
--> statement-breakpoint
-- Sets the fence of the context's tenant, for the attempt at a job that the context names, and returns the mode before.
-- Every transaction that writes for a tenant takes this lock shared in its first statement, and has a newer snapshot in each
-- later one. So once this has the lock no earlier writer is under way, and once it commits none passes that the fence
-- refuses. `closed` cannot be taken back: what was read from here until then is all that there is.
CREATE FUNCTION public.set_fence(to_mode text, of_epoch integer, held_ms integer) RETURNS text
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
		SET epoch = excluded.epoch, mode = excluded.mode, token = excluded.token, until = excluded.until;
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
-- Has the context's tenant's writes held for so long from now on, if they still are; returns until when they were before.
-- It does not take the lock, which the attempt itself holds meanwhile: it counts only if it has ended before that time.
CREATE FUNCTION public.extend_hold(held_ms integer) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	of_tenant text := public.current_tenant_id();
	was timestamptz;
BEGIN
	SELECT f.until INTO was FROM public.fences f WHERE f.tenant = of_tenant AND f.mode = 'frozen' FOR UPDATE;
	IF was > pg_catalog.clock_timestamp() THEN
		UPDATE public.fences f SET until = pg_catalog.clock_timestamp() + held_ms * interval '1 millisecond'
			WHERE f.tenant = of_tenant;
		RETURN was;
	END IF;
	RAISE EXCEPTION 'the tenant''s writes are not held any more' USING ERRCODE = 'PW007';
END $$;
--> statement-breakpoint
-- Notes that this row was changed, while its tenant is `logged`. Its arguments name the columns of the key. Whoever changes
-- it: by the row's tenant, not by a context's, so that what a migration changes is noted as well.
CREATE FUNCTION public.log_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	of_tenant text := COALESCE(NEW.tenant_id, OLD.tenant_id);
BEGIN
	PERFORM FROM public.fences f WHERE f.tenant = of_tenant AND f.mode IN ('logged', 'frozen');
	IF FOUND THEN
		INSERT INTO public.change_log (tenant, table_name, key)
			SELECT DISTINCT of_tenant, TG_TABLE_NAME, ARRAY(SELECT image ->> name
					FROM pg_catalog.unnest(TG_ARGV::text[]) WITH ORDINALITY AS k (name, at) ORDER BY at)
			FROM (VALUES (CASE WHEN TG_OP <> 'INSERT' THEN pg_catalog.to_jsonb(OLD) END),
				(CASE WHEN TG_OP <> 'DELETE' THEN pg_catalog.to_jsonb(NEW) END)) AS i (image)
			WHERE image IS NOT NULL;
	END IF;
	RETURN NULL;
END $$;
--> statement-breakpoint
-- Rows of the context's tenant that were changed while it is `logged`, at most so many, each once, with the entries that
-- say so.
CREATE FUNCTION public.changes(most integer) RETURNS TABLE (table_name text, key text[], ids uuid[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	of_tenant text := public.current_tenant_id();
BEGIN
	RETURN QUERY SELECT l.table_name, l.key, pg_catalog.array_agg(l.id) FROM public.change_log l
		WHERE l.tenant = of_tenant GROUP BY l.table_name, l.key LIMIT most;
END $$;
--> statement-breakpoint
-- Deletes these entries of the context's tenant, and none that came later.
CREATE FUNCTION public.forget_changes(ids uuid[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	of_tenant text := public.current_tenant_id();
BEGIN
	DELETE FROM public.change_log l WHERE l.tenant = of_tenant AND l.id = ANY (ids);
END $$;
--> statement-breakpoint
-- Enters rows of the context's tenant again, which are to be copied once more. Each key is an array in JSON.
CREATE FUNCTION public.note_changes(of_table text, keys jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	of_tenant text := public.current_tenant_id();
BEGIN
	INSERT INTO public.change_log (tenant, table_name, key)
		SELECT of_tenant, of_table, ARRAY(SELECT pg_catalog.jsonb_array_elements_text(k)) FROM pg_catalog.jsonb_array_elements(keys) k;
END $$;
--> statement-breakpoint
-- Runs an INSERT of the caller's over these rows, each as Postgres prints it; one by one if together they collide with what
-- is there, or refer to what is not there yet. Returns the places of those that still do, counted from 1.
CREATE FUNCTION public.load_rows(loading text, rows text[]) RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
	refused integer[] := '{}';
BEGIN
	SET CONSTRAINTS ALL IMMEDIATE;
	BEGIN
		EXECUTE loading USING rows;
		RETURN refused;
	EXCEPTION WHEN unique_violation OR exclusion_violation OR foreign_key_violation THEN
		NULL;
	END;
	FOR at IN 1 .. pg_catalog.cardinality(rows) LOOP
		BEGIN
			EXECUTE loading USING rows[at : at];
		EXCEPTION WHEN unique_violation OR exclusion_violation OR foreign_key_violation THEN
			refused := refused || at;
		END;
	END LOOP;
	RETURN refused;
END $$;
