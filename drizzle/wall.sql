-- What each role may do, on one screen. This is a query: it returns what is missing in a place of this database, as
-- statements in the order in which to run them. `db:migrate` asks it after the migrations, as partywall_owner, with the
-- place in its search_path, and runs the answer in the same transaction. Where nothing is missing, nothing runs, and no
-- table is locked. {plane} is `site` or `control`, and {schema} the place's schema; with `database` it is about what is of
-- no place.
-- A tenant table is known by its restrictive policy tenant_only, to the letter: without it, or with another condition,
-- it is granted to nobody. Row security comes before the grants, so a table that is not walled cannot be served.

WITH
-- Read as SQL. On tables there are these grants and those on tenant tables (see wanted), and no others; on functions,
-- PUBLIC has none.
written AS (SELECT g[1] AS privileges, g[2] IS NOT NULL AS on_functions, g[3] AS objects, g[4] AS roles
FROM regexp_matches(CASE '{plane}' WHEN 'site' THEN $$

GRANT EXECUTE ON FUNCTION current_tenant_id(), current_actor_id(), claimed_tenant_id(), next_number(text),
	claim_key(text, bytea) TO partywall_app;
-- All that the control plane's login may do at a site.
GRANT EXECUTE ON FUNCTION receive(bigint, bigint, jsonb), receive_members(bigint, jsonb),
	forget_old(timestamptz, integer), measure(integer) TO partywall_account;
-- What takes a tenant's rows elsewhere, behind the wall as well.
GRANT EXECUTE ON FUNCTION current_tenant_id(), set_fence(text, integer, integer), extend_hold(integer), changes(integer), forget_changes(uuid[]),
	note_changes(text, jsonb), load_rows(text, text[]), keep_images(integer), images(text), left_behind() TO partywall_mover;

$$ WHEN 'control' THEN $$

-- The policies of the control plane ask for it, whoever reads a table.
GRANT EXECUTE ON FUNCTION control.current_tenant_id() TO partywall_account, partywall_identity, partywall_operator;
GRANT EXECUTE ON FUNCTION control.claimed_tenant_id() TO partywall_account;
GRANT EXECUTE ON FUNCTION control.lock_outbox(uuid) TO partywall_account, partywall_identity, partywall_operator;
-- The triggers of memberships ask for these.
GRANT EXECUTE ON FUNCTION control.acting_as(), control.current_actor_id(), control.manages(text, text),
	control.role_scopes(text) TO partywall_account, partywall_identity;

-- Requests that know their tenant. updated_at is touch_row()'s: whatever an UPDATE says of it, the trigger writes. Of a
-- user no request of a tenant sees the password, and only an issuer's users are made and changed.
GRANT SELECT, UPDATE (name, slug, status, closes_at, require_second_factor, support_access, updated_at)
	ON control.tenants TO partywall_account;
GRANT SELECT, INSERT, UPDATE, DELETE ON control.invitations, control.api_keys TO partywall_account;
-- Columns, where others would reach beyond the tenant: a membership handed to another user, a session of a member turned
-- into one that leads into their other tenants, a claim on a domain dated before another tenant's, an upsert onto the row
-- that has the same id in another tenant.
GRANT SELECT, INSERT (user_id, role), UPDATE (role, updated_at), DELETE ON control.memberships TO partywall_account;
GRANT SELECT, INSERT (user_id, issuer_id, user_agent, expires_at), UPDATE (revoked_at), DELETE
	ON control.sessions TO partywall_account;
GRANT SELECT, INSERT (issuer, audience, role_claim, role_map, default_role, email_domains, just_in_time, registered_by,
	vouched_by), UPDATE (role_claim, role_map, default_role, email_domains, just_in_time, registered_by, vouched_by,
	suspended_at, updated_at), DELETE ON control.issuers TO partywall_account;
GRANT SELECT (id, email, issuer_id, subject, version, email_verified_at), INSERT (email, issuer_id, subject), UPDATE (email)
	ON control.users TO partywall_account;
-- tell() and drop_outbox() write them, as their owner. A tenant sees where its own content is, and not what that is billed as.
GRANT SELECT ON control.outbox, control.outbox_heads TO partywall_account;
GRANT SELECT (name, kind, schema, server, host, database, secret, generation, region)
	ON control.sites TO partywall_account, partywall_identity;
GRANT EXECUTE ON FUNCTION control.drop_outbox(bigint), control.commit_move(uuid, integer) TO partywall_account;
-- Exports and imports: a tenant sees its own, and begin_job() and what follows it write them.
GRANT SELECT (id, tenant_id, kind, progress, result, started_at, finished_at, outcome, kept_until)
	ON control.jobs TO partywall_account;
GRANT EXECUTE ON FUNCTION control.begin_job(uuid, text), control.claim_job(uuid), control.note_job(uuid, bigint, jsonb),
	control.finish_job(uuid, bigint, text, jsonb, integer), control.drop_export(uuid), control.forget_old(integer) TO partywall_account;

-- What was used: a tenant sees its own, and its object writes it.
GRANT SELECT ON control.usage_days, control.usage_hours, control.usage_keys TO partywall_account;
GRANT EXECUTE ON FUNCTION control.record_usage(jsonb, jsonb), control.record_storage(bigint, bigint),
	control.forget_usage(integer) TO partywall_account;

-- Operators in the tenant: it sees who, and these functions let them in and out.
GRANT SELECT ON control.support_sessions TO partywall_account, partywall_operator;
GRANT EXECUTE ON FUNCTION control.approve_support(uuid), control.end_support(uuid) TO partywall_account;
GRANT EXECUTE ON FUNCTION control.ask_support_in_session(jsonb, uuid, uuid, uuid, integer, boolean),
	control.leave_tenant(jsonb, uuid, uuid, boolean) TO partywall_operator;

-- Signing up, signing in and refreshing, accepting an invitation.
GRANT SELECT, INSERT ON control.tenants, control.memberships TO partywall_identity;
GRANT SELECT, INSERT, UPDATE (email, password_hash, email_verified_at, name, locale, factor_failures, factor_failed_at, updated_at)
	ON control.users TO partywall_identity;
-- What is of a person: links that were mailed, second factors, proofs that are asked for.
GRANT SELECT, INSERT, UPDATE, DELETE
	ON control.mailed_links, control.factors, control.recovery_codes, control.challenges TO partywall_identity;
GRANT EXECUTE ON FUNCTION control.is_own_session(uuid, uuid), control.keep_link(uuid, text, uuid, text, bytea, jsonb, integer),
	control.give_way(text, uuid), control.end_pending(uuid), control.reset_password(uuid, bytea, text, uuid), control.change_password(uuid, uuid, text[], text),
	control.ask_email_change(uuid, uuid, text[], uuid, text, bytea, text, integer), control.change_email(uuid, bytea, uuid, bytea, integer),
	control.undo_email_change(uuid, bytea), control.sign_up(uuid, bytea, uuid, uuid, text, text),
	control.end_account(uuid, uuid, text), control.reset_factors(uuid) TO partywall_identity;
GRANT SELECT, INSERT, UPDATE ON control.sessions TO partywall_identity;
GRANT SELECT, DELETE ON control.invitations TO partywall_identity;
GRANT SELECT ON control.issuers, control.api_keys, control.outbox, control.outbox_heads TO partywall_identity;
-- What has to be done for tenants without a request of theirs, and the erasures that are done.
GRANT SELECT ON control.jobs, control.erasures TO partywall_identity;
GRANT EXECUTE ON FUNCTION control.begin_erasure(uuid), control.erase_tenant(uuid), control.note_erasure(uuid, text, jsonb),
	control.finish_erasure(uuid, text), control.total_usage(), control.take_support_mails(uuid, integer),
	control.take_usage_mails(integer) TO partywall_identity;

-- Operators read what is about tenants, and change nothing but by functions, which write who did it and why. Of an operator they
-- read neither password nor second factor; of a job, neither its result nor where in the rows it is.
GRANT SELECT ON control.tenants, control.memberships, control.outbox_heads, control.sites, control.erasures,
	control.operator_events TO partywall_operator;
GRANT SELECT (id, tenant_id, kind, source, target, started_at, worked_at, finished_at, outcome, kept_until)
	ON control.jobs TO partywall_operator;
GRANT SELECT (id, email, role, generation, signed_in_at, disabled_at, created_at) ON control.operators TO partywall_operator;
GRANT SELECT ON control.operator_sessions TO partywall_operator;
GRANT EXECUTE ON FUNCTION control.take_operator_guess(text, text[]),
	control.sign_in_operator(uuid, bigint, text, text, text), control.open_operator_session(uuid, uuid, integer),
	control.end_operator_session(jsonb, uuid),
	control.change_operator_password(jsonb, uuid, bigint, text[], text, text),
	control.operate_tenant(jsonb, text, uuid, jsonb, integer, integer[]),
	control.create_tenant(jsonb, uuid, text, text, text, text, uuid, text, bytea, integer),
	control.invite_owner(uuid, uuid, text, bytea, integer),
	control.erase_for_operator(jsonb, uuid), control.export_for_operator(jsonb, uuid, uuid),
	control.end_sessions_of_tenant(jsonb, uuid), control.progress_of(uuid) TO partywall_operator;
GRANT SELECT ON control.usage_days, control.usage_hours, control.usage_keys, control.usage_months, control.usage_totals,
	control.usage_warnings TO partywall_operator;

$$ END, '\mGRANT (.+?)\s+ON (FUNCTION )?(.+?) TO (.+?);', 'g') AS g),

-- Of hundreds of sites in a database each reads its own policies alone: to print one takes long. What is in no site's schema
-- of its own goes with the shared one.
policies AS MATERIALIZED (SELECT p.* FROM pg_policy p JOIN pg_class c ON c.oid = polrelid
	JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE '{plane}' = 'site' AND CASE WHEN '{schema}' ^@ 'site_' THEN nspname = '{schema}' ELSE NOT nspname ^@ 'site_' END),

tenant_tables AS (SELECT polrelid::regclass AS t FROM policies
	CROSS JOIN LATERAL (SELECT pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) p (shown, taken)
	WHERE polname = 'tenant_only' AND NOT polpermissive AND polcmd = '*' AND polroles = '{0}'
		AND shown = '(tenant_id = ( SELECT current_tenant_id() AS current_tenant_id))' AND coalesce(taken, shown) = shown),

-- What is compared with what is meant: the place's own tables, and those that its wall guards elsewhere.
here AS (SELECT c.oid, c.relname, c.relnamespace, c.relkind, c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity
	FROM pg_class c WHERE relowner = current_user::regrole AND '{plane}' IN ('site', 'control')
		AND (relnamespace = '{schema}'::regnamespace OR c.oid IN (SELECT t FROM tenant_tables))),

-- As Postgres prints them, so that they can be compared with what is there; %s is the table. Rows that the mover brings are
-- as they were elsewhere: it has been written down there who changed them.
triggers (t, definition) AS (
	-- An event names its row by a uuid. What partywall keeps beside the content has events of its own, or none.
	SELECT t, 'TRIGGER audit_row AFTER INSERT OR DELETE OR UPDATE ON %s FOR EACH ROW '
		|| 'WHEN ((SESSION_USER <> ''partywall_mover''::name)) EXECUTE FUNCTION audit_row(''id'')'
	FROM tenant_tables JOIN pg_attribute ON attrelid = t AND attname = 'id' AND atttypid = 'uuid'::regtype
	WHERE t NOT IN (SELECT oid FROM here WHERE relname IN ('audit_events', 'members', 'former_members'))
	UNION ALL
	-- Every tenant table has it, none excepted: a move loses the changes that are not noted.
	SELECT t, 'TRIGGER log_row AFTER INSERT OR DELETE OR UPDATE ON %s FOR EACH ROW '
		|| format('WHEN ((SESSION_USER <> ''partywall_mover''::name)) EXECUTE FUNCTION log_row(%s)', key)
	FROM tenant_tables, LATERAL (SELECT string_agg(quote_literal(attname), ', ' ORDER BY at) AS key
		FROM pg_index, unnest(indkey) WITH ORDINALITY AS k (num, at) JOIN pg_attribute ON attnum = num
		WHERE indrelid = t AND indisprimary AND attrelid = t AND attname <> 'tenant_id') k
	UNION ALL
	SELECT t::regclass, 'TRIGGER audit_row AFTER INSERT OR DELETE OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION '
		|| format('control.audit_row(%L)', CASE t WHEN 'control.memberships' THEN 'user_id' ELSE 'id' END)
	FROM unnest(ARRAY['control.memberships', 'control.invitations', 'control.api_keys', 'control.issuers',
		'control.tenants']) t WHERE '{plane}' = 'control'
	UNION ALL
	-- To use a key is not to change it.
	SELECT c.oid, format('TRIGGER touch_row BEFORE UPDATE ON %%s FOR EACH ROW %sEXECUTE FUNCTION %stouch_row()',
		CASE WHEN '{plane}' = 'site' THEN 'WHEN ((SESSION_USER <> ''partywall_mover''::name)) '
			WHEN relname = 'api_keys' THEN 'WHEN ((NOT (old.last_used_at IS DISTINCT FROM new.last_used_at))) ' ELSE '' END,
		CASE '{plane}' WHEN 'control' THEN 'control.' ELSE '' END)
	FROM here c JOIN pg_attribute ON attrelid = c.oid AND attname = 'version' AND atttypid = 'integer'::regtype
	WHERE relkind = 'r' AND relnamespace = '{schema}'::regnamespace),

-- Each grant that is meant, one a row; on a column it is like UPDATE (name).
wanted AS (
	SELECT object::regclass AS t, role, concat(p[1], ' (' || column_name || ')') AS privilege
	FROM written, regexp_split_to_table(objects, ',\s+') object, regexp_split_to_table(roles, ',\s+') role,
		regexp_matches(privileges, '(\w+)(?: \(([^)]+)\))?', 'g') p
		LEFT JOIN regexp_split_to_table(p[2], ',\s+') column_name ON true
	WHERE NOT on_functions
	UNION
	SELECT t, 'partywall_app', privilege FROM tenant_tables, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) privilege
	-- What the site's own functions write is for reading; how far they have got concerns nobody.
	WHERE (privilege = 'SELECT'
			OR t NOT IN (SELECT oid FROM here WHERE relname IN ('audit_events', 'members', 'former_members')))
		AND t NOT IN (SELECT oid FROM here WHERE relname = 'outbox_receipts')
	UNION
	SELECT t, 'partywall_mover', privilege FROM tenant_tables, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) privilege),

held AS (
	SELECT c.oid::regclass AS t, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END AS role,
		concat(privilege_type, ' (' || quote_ident(a.column_name) || ')',
			CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END) AS privilege
	FROM here c
	CROSS JOIN LATERAL (SELECT relacl, NULL::name UNION ALL SELECT attacl, attname FROM pg_attribute
		WHERE attrelid = c.oid AND NOT attisdropped) a (acl, column_name)
	CROSS JOIN aclexplode(a.acl)
	WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND grantor = relowner AND grantee <> relowner
		AND (grantee = 0 OR pg_get_userbyid(grantee) ^@ 'partywall_')),

missing (step, statement) AS (
	SELECT 1, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', c.oid::regclass)
	FROM here c WHERE NOT (relrowsecurity AND relforcerowsecurity) AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)
	UNION ALL
	-- Postgres plans before it knows whose rows it reads, so for a tenant of middling size. A large one has most to
	-- lose by that: let it take each tenant for a 500th of its table, from the next ANALYZE on.
	SELECT 2, format('ALTER TABLE %s ALTER COLUMN tenant_id SET (n_distinct = 500)', t)
	FROM tenant_tables JOIN pg_attribute ON attrelid = t AND attname = 'tenant_id'
	WHERE attoptions IS NULL OR 'n_distinct=500' <> ALL (attoptions)
	UNION ALL
	SELECT 3, 'CREATE OR REPLACE ' || made
	FROM triggers JOIN pg_class c ON c.oid = t
	CROSS JOIN format(definition, format('%I.%I', relnamespace::regnamespace, relname)) made
	WHERE NOT EXISTS (SELECT FROM pg_trigger
		WHERE tgrelid = t AND tgenabled IN ('O', 'A') AND pg_get_triggerdef(pg_trigger.oid) = 'CREATE ' || made)
	UNION ALL
	SELECT 4, concat('REVOKE ALL ON ', t, ' FROM ', role, '; GRANT ' || w.privileges || format(' ON %s TO %s', t, role))
	FROM (SELECT t, role, string_agg(privilege, ', ' ORDER BY privilege) AS privileges FROM wanted GROUP BY t, role) w
	FULL JOIN (SELECT t, role, string_agg(privilege, ', ' ORDER BY privilege) AS privileges FROM held GROUP BY t, role) h
		USING (t, role)
	WHERE w.privileges IS DISTINCT FROM h.privileges
	UNION ALL
	SELECT 5, 'ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC'
	WHERE '{plane}' = 'database' AND NOT EXISTS (SELECT FROM pg_default_acl WHERE defaclrole = current_user::regrole AND defaclobjtype = 'f'
		AND defaclnamespace = 0 AND NOT EXISTS (SELECT FROM aclexplode(defaclacl) WHERE grantee = 0))
	UNION ALL
	SELECT 5, format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', p.oid::regprocedure)
	FROM pg_proc p WHERE pronamespace = '{schema}'::regnamespace AND proowner = current_user::regrole AND '{plane}' <> 'database'
		AND EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0)
	UNION ALL
	SELECT 5, format('GRANT USAGE ON SCHEMA %I TO %I', nspname, role)
	FROM pg_namespace, unnest(ARRAY['partywall_app', 'partywall_account', 'partywall_mover']) role
	WHERE nspname = '{schema}' AND '{plane}' = 'site' AND nspowner = current_user::regrole
		AND NOT EXISTS (SELECT FROM aclexplode(nspacl) WHERE grantee = role::regrole)
	UNION ALL
	SELECT 6, format('GRANT EXECUTE ON FUNCTION %s TO %s', function, role)
	FROM written, regexp_split_to_table(objects, ',\s+(?![^(]*\))') function,
		regexp_split_to_table(roles, ',\s+') role
	WHERE on_functions AND NOT EXISTS (SELECT FROM pg_proc p, aclexplode(p.proacl)
		WHERE p.oid = function::regprocedure AND grantee = role::regrole))

SELECT statement FROM missing ORDER BY step, statement;
