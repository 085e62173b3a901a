-- What each role may do, on one screen. Run by `db:migrate` after the migrations, as partywall_owner, in one
-- transaction; it may be run again at any time. A tenant table is known by its restrictive policy tenant_only. It
-- gets FORCE before the app role gets a grant, so a table that is not walled cannot be served.

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, partywall_app, partywall_identity, partywall_operator;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT EXECUTE ON FUNCTION current_tenant_id(), current_actor_id() TO partywall_app, partywall_identity;
-- Its policies ask for it, whoever reads the table.
GRANT EXECUTE ON FUNCTION context_tenant_id() TO partywall_app, partywall_identity, partywall_operator;
GRANT EXECUTE ON FUNCTION credentials_changed() TO partywall_identity;
-- The triggers of memberships ask for these.
GRANT EXECUTE ON FUNCTION acting_as(), manages(text, text), role_scopes(text) TO partywall_identity;

ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
-- updated_at is touch_row()'s: whatever an UPDATE says of it, the trigger writes.
GRANT SELECT, UPDATE (name, slug, updated_at) ON tenants TO partywall_app;

GRANT SELECT, INSERT, UPDATE (name, slug, status) ON tenants TO partywall_identity;
GRANT SELECT, INSERT, UPDATE, DELETE ON memberships, sessions, invitations, api_keys, issuers TO partywall_identity;
-- Whose issuer's somebody is never changes, and a user ends with that issuer alone.
GRANT SELECT, INSERT, UPDATE (email, password_hash, email_verified_at, updated_at) ON users TO partywall_identity;

GRANT SELECT, UPDATE (plan, status, limits) ON tenants TO partywall_operator;
GRANT SELECT ON memberships TO partywall_operator;

DO $$
DECLARE
	t regclass;
BEGIN
	FOR t IN SELECT polrelid FROM pg_policy WHERE polname = 'tenant_only' AND NOT polpermissive LOOP
		EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
		-- Postgres plans before it knows whose rows it reads, so for a tenant of middling size. A large one has most to
		-- lose by that: let it take each tenant for a 500th of its table, from the next ANALYZE on.
		EXECUTE format('ALTER TABLE %s ALTER COLUMN tenant_id SET (n_distinct = 500)', t);
		EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO partywall_app', t);
		-- Neither what happened nor which answers were given is an event of its own. An event names its row by a uuid.
		IF t NOT IN ('audit_events'::regclass, 'idempotency_keys'::regclass) AND EXISTS (SELECT FROM pg_attribute
				WHERE attrelid = t AND attname = 'id' AND atttypid = 'uuid'::regtype) THEN
			EXECUTE format('CREATE OR REPLACE TRIGGER audit_row AFTER INSERT OR UPDATE OR DELETE ON %s '
				'FOR EACH ROW EXECUTE FUNCTION audit_row(%L)', t, 'id');
		END IF;
	END LOOP;
	-- Append-only, and not even that by hand: audit_row() alone writes it.
	REVOKE INSERT, UPDATE, DELETE ON audit_events FROM partywall_app;

	FOREACH t IN ARRAY ARRAY['memberships', 'invitations', 'api_keys', 'issuers', 'tenants']::regclass[] LOOP
		EXECUTE format('CREATE OR REPLACE TRIGGER audit_row AFTER INSERT OR UPDATE OR DELETE ON %s '
			'FOR EACH ROW EXECUTE FUNCTION audit_row(%L)', t, CASE t WHEN 'memberships'::regclass THEN 'user_id' ELSE 'id' END);
	END LOOP;

	FOR t IN SELECT a.attrelid FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
			WHERE a.attname = 'version' AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace LOOP
		-- To use a key is not to change it.
		EXECUTE format('CREATE OR REPLACE TRIGGER touch_row BEFORE UPDATE ON %s '
			'FOR EACH ROW %s EXECUTE FUNCTION touch_row()', t, CASE t WHEN 'api_keys'::regclass
				THEN 'WHEN (OLD.last_used_at IS NOT DISTINCT FROM NEW.last_used_at)' ELSE '' END);
	END LOOP;
END $$;
