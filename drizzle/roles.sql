-- The six roles of partywall. Run by `db:migrate` before the migrations, as the migrating login (on Neon the
-- project's own role); it may be run again at any time. Roles made in Neon's console get BYPASSRLS, so these are
-- made here. Passwords are set by migrate.ts from the connection strings.

DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY ARRAY['partywall_owner', 'partywall_app', 'partywall_account', 'partywall_identity',
		'partywall_operator', 'partywall_mover'] LOOP
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
			EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT NOCREATEDB NOCREATEROLE', name);
		END IF;
		IF EXISTS (SELECT FROM pg_roles WHERE rolname = name AND (rolsuper OR rolbypassrls
				OR rolcreaterole OR rolcreatedb OR rolreplication)) THEN
			RAISE EXCEPTION 'role % is too strong: it must be none of SUPERUSER, BYPASSRLS, CREATEROLE, CREATEDB, REPLICATION', name
				USING HINT = format('DROP ROLE %I and migrate again, or ALTER ROLE it as a superuser', name);
		END IF;
	END LOOP;

	-- The owner has no login: migrations become it with SET ROLE.
	EXECUTE format('GRANT partywall_owner TO %I WITH INHERIT FALSE, SET TRUE', current_user);

	EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
	EXECUTE format('GRANT CREATE ON DATABASE %I TO partywall_owner', current_database());
	EXECUTE format('GRANT CONNECT ON DATABASE %I TO partywall_app, partywall_account, partywall_identity,
		partywall_operator, partywall_mover', current_database());
	FOREACH name IN ARRAY ARRAY['partywall_app', 'partywall_account', 'partywall_identity', 'partywall_operator',
		'partywall_mover'] LOOP
		-- A role may change its own settings; here they are as meant again.
		EXECUTE format('ALTER ROLE %I RESET ALL', name);
		EXECUTE format('ALTER ROLE %I IN DATABASE %I RESET ALL', name, current_database());
		EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = pg_catalog, %I, pg_temp',
			name, current_database(), CASE WHEN name IN ('partywall_app', 'partywall_mover') THEN 'public' ELSE 'control' END);
		EXECUTE format('ALTER ROLE %I IN DATABASE %I SET statement_timeout = ''10s''', name, current_database());
		EXECUTE format('ALTER ROLE %I IN DATABASE %I SET lock_timeout = ''5s''', name, current_database());
		EXECUTE format('ALTER ROLE %I IN DATABASE %I SET idle_in_transaction_session_timeout = ''10s''',
			name, current_database());
	END LOOP;
	-- The mover reads tables page by page, in the order of their keys. Without this, Postgres reads and sorts all the rows that
	-- follow for each page of a table that it has no statistics of.
	EXECUTE format('ALTER ROLE partywall_mover IN DATABASE %I SET enable_sort = off', current_database());
END $$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT CREATE, USAGE ON SCHEMA public TO partywall_owner;
GRANT USAGE ON SCHEMA public TO partywall_app, partywall_account, partywall_mover;
