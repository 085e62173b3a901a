-- The signed context of a site, the place of tenants' content. The Worker opens each transaction with
--   set_config('app.tenant', '<letter>1.<kid>.<tenant>.<actor>.<epoch>.<expiry>.<hmac-sha256>', true)
-- and nothing but these functions reads it. The letter is the actor's role or kind. The text has a fixed width: kid 8,
-- tenant and actor 36 each, epoch 8 digits, expiry 10 digits of epoch seconds, MAC 64 hex digits. The MAC also covers
-- the site's name and the login role, so a context for another site, or for another role, is worthless here. The name
-- is written in here by `db:migrate`, for {site}.

-- The tenant of this transaction's signed context. Raises SQLSTATE 28000 when the context is missing, forged, expired,
-- or made for another site or role; never null. plpgsql, and one query, so that no key becomes a plan's constant.
CREATE FUNCTION public.current_tenant_id() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	context text := pg_catalog.current_setting('app.tenant', true);
	genuine boolean;
BEGIN
	IF pg_catalog.length(context) = 170 THEN
		SELECT pg_catalog.encode(pg_catalog.sha256(k.outer_pad || pg_catalog.sha256(k.inner_pad
				|| pg_catalog.convert_to(pg_catalog.left(context, 105) || '.site {site}.' || session_user, 'UTF8'))), 'hex')
			= pg_catalog.right(context, 64)
			INTO genuine
			FROM partywall.context_keys k
			WHERE k.kid = pg_catalog.substr(context, 4, 8);
		-- Only what the MAC covers is parsed: null AND … would parse what a forger wrote.
		IF genuine THEN
			IF pg_catalog.substr(context, 96, 10)::bigint
					> pg_catalog.date_part('epoch', pg_catalog.statement_timestamp()) THEN
				RETURN pg_catalog.substr(context, 13, 36)::uuid;
			END IF;
		END IF;
	END IF;
	RAISE EXCEPTION 'no valid tenant context' USING ERRCODE = '28000';
END $$;
--> statement-breakpoint
-- Who acts in this transaction, from the same signed context; raises as current_tenant_id() does.
CREATE FUNCTION public.current_actor_id() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM public.current_tenant_id();
	RETURN pg_catalog.substr(pg_catalog.current_setting('app.tenant'), 50, 36)::uuid;
END $$;
--> statement-breakpoint
-- The tenant that the context names, verified or not; null where it names none. For the default of tenant_id alone: the
-- policies verify each row that it fills in, as they do a tenant_id that SQL names. It reads what a forger may have
-- written, so it parses a UUID or nothing. Without SET, which each row would pay for: every name in it has its schema.
CREATE FUNCTION public.claimed_tenant_id() RETURNS uuid LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	claimed text := pg_catalog.substr(pg_catalog.current_setting('app.tenant', true), 13, 36);
BEGIN
	IF claimed OPERATOR(pg_catalog.~) '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
		RETURN claimed::pg_catalog.uuid;
	END IF;
	RETURN NULL;
END $$;
--> statement-breakpoint
-- Counts a row's updates and dates them, so that no handler has to.
CREATE FUNCTION public.touch_row() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	NEW.version := OLD.version + 1;
	NEW.updated_at := pg_catalog.now();
	RETURN NEW;
END $$;
