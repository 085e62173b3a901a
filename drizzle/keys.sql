-- The keys of the signed context. Run once in each database by `db:migrate`, as partywall_owner, before the migrations.
-- No role is granted anything here, and RLS without a policy would show it no key if one were. The verifiers read a key
-- as the tables' owner, a role that cannot log in.

CREATE SCHEMA partywall;
CREATE TABLE partywall.context_keys (
	kid text PRIMARY KEY CHECK (kid ~ '^[a-z0-9]{8}$'),
	-- HMAC's inner and outer pads (the key XOR 0x36… and 0x5c…), so that the verifiers need not make them.
	inner_pad bytea NOT NULL CHECK (octet_length(inner_pad) = 64),
	outer_pad bytea NOT NULL CHECK (octet_length(outer_pad) = 64)
);
ALTER TABLE partywall.context_keys ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON SCHEMA partywall FROM PUBLIC;
REVOKE ALL ON partywall.context_keys FROM PUBLIC;
