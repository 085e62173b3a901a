import {
  ACCOUNT,
  attack,
  denied,
  describeAttacks,
  MISSING,
  OWN,
  raise,
  type Target,
} from "./support/attacks.ts";

// SQL that reaches for the rows of the control plane, as the login that serves tenants' requests there.

const random = "gen_random_uuid()";
const hash = "sha256(gen_random_uuid()::text::bytea)";
const values = (id: string, maker = "current_actor_id()") =>
  `${id}, '42', '{members:read}', ${hash}, '1234', ${maker}`;
/** One key more; `id` and `maker` are expressions. */
const newKey = (id: string, maker?: string) =>
  `insert into api_keys (id, name, scopes, hash, hint, created_by) values (${values(id, maker)})`;
/** The same, for a tenant that is named. */
const newKeyOf = (tenant: string, id: string) =>
  `insert into api_keys (tenant_id, id, name, scopes, hash, hint, created_by) values ('${tenant}', ${values(id)})`;
const newInvitation = (id: string, email: string) =>
  `insert into invitations (id, email, role, token_hash, invited_by, expires_at)
   values (${id}, '${email}', 'viewer', sha256('x'), current_actor_id(), now() + interval '1 day')`;

describeAttacks(
  {
    statistics: [
      attack("pg_stats of the control plane", "select * from pg_stats where schemaname = 'control'", [], {
        ownerSees: () => [
          // Twice, so that the name is a common value.
          `insert into api_keys (id, name, scopes, hash, hint, created_by)
           select gen_random_uuid(), name, scopes, ${hash}, hint, created_by from api_keys`,
          "alter table api_keys no force row level security",
          "analyze api_keys (name)",
          raise(
            "(select most_common_vals::text from pg_stats where tablename = 'api_keys' and attname = 'name')",
          ),
        ],
      }),
      denied("select * from pg_statistic", "superuser"),
      attack("pg_stats_ext", "select * from pg_stats_ext where schemaname = 'control'", [], "closed"),
      denied("create statistics control.loot on name, hint from api_keys", "owner"),
      denied("alter table users alter email set statistics 10000", "owner"),
      denied("select pg_clear_relation_stats('control', 'users')", "owner"),
    ],

    "leaky quals and casts": [
      attack("a cast in a predicate", "select name from api_keys where name::int = 42", OWN, "reads"),
      attack(
        "a cast aimed at the target",
        (t) => `select name from tenants where id = '${t.tenant}' and name::int = 0`,
        [],
        "reads",
      ),
      attack(
        "a cast before the tenant",
        "select name from api_keys where name::int = 42 or false",
        OWN,
        "reads",
      ),
      attack(
        "a cast of emails",
        "select email::int as n from invitations where email::int > 0",
        [{ n: 42 }],
        "reads",
      ),
      attack(
        "a cast in the policy of accounts",
        "select split_part(email, '.', 1)::int as n from users where issuer_id is null",
        [{ n: 42 }],
        "reads",
      ),
      attack("a cast to regclass", "select name::regclass from api_keys", "42P01", "reads"),
      attack(
        "an order by and a window",
        "select sum(name::int) over () as n from api_keys order by name::int",
        [{ n: "42" }],
        "reads",
      ),
      attack(
        "an aggregate's filter",
        "select count(*) filter (where user_agent::int > 0) from sessions where issuer_id is not null",
        "own",
        "reads",
      ),
      attack(
        "a join condition",
        "select k.name from api_keys k join tenants t on k.name::int = t.name::int",
        OWN,
        "reads",
      ),
      attack(
        "a division by zero that only the target's row brings about",
        (t) => `select 1 / (length(name) - ${t.marker.length}) as n from api_keys`,
        [{ n: 0 }],
        "differs",
      ),
      attack(
        "a pattern made of the row",
        "select '42' ~ ('[' || name || ']') as n from tenants",
        [{ n: true }],
        "differs",
      ),
      attack(
        "what a function kept of each row",
        [
          "select count(*) from api_keys where set_config('loot.name', name, true) is null",
          "select current_setting('loot.name') as name",
        ],
        OWN,
        "reads",
      ),
      attack(
        "a cast in RETURNING",
        (t) => `update api_keys set hint = hint where id = '${t.key}' returning name::int`,
        [],
        "reads",
      ),
      attack(
        "full-text statistics of the rows",
        "select word from ts_stat('select to_tsvector(''simple'', name) from control.api_keys')",
        [{ word: "42" }],
        "differs",
      ),
      attack(
        "query_to_xml",
        "select query_to_xml('select name from control.tenants', true, false, '') as x",
        "own",
        "reads",
      ),
      attack(
        "schema_to_xml",
        "select table_to_xml('control.api_keys', true, false, '') as x",
        "own",
        "reads",
      ),
    ],

    "the target's rows": [
      attack("its row of tenants", (t) => `select name from tenants where slug = '${t.slug}'`, [], "reads"),
      attack(
        "its sessions",
        (t) => `select user_agent from sessions where user_id = '${t.guest}'`,
        [],
        "reads",
      ),
      attack(
        "its invitations",
        (t) => `select email from invitations where id = '${t.invitation}'`,
        [],
        "reads",
      ),
      attack("its issuers", (t) => `select audience from issuers where id = '${t.issuer}'`, [], "reads"),
      attack("its keys", (t) => `select name from api_keys where hash = sha256('${t.key}')`, [], "reads"),
      attack(
        "its members",
        (t) => `select role from memberships where user_id = '${t.actor}'`,
        [],
        "differs",
      ),
      attack("its outbox", (t) => `select seq from outbox where tenant_id = '${t.tenant}'`, [], "differs"),
      attack(
        "how far its outbox goes",
        (t) => `select head from outbox_heads where tenant_id = '${t.tenant}'`,
        [],
        "differs",
      ),
      attack(
        "every table in one",
        (t) => `select t::text from tenants t where id = '${t.tenant}'
          union all select k::text from api_keys k where tenant_id = '${t.tenant}'
          union all select i::text from invitations i where tenant_id = '${t.tenant}'`,
        [],
        "reads",
      ),
      attack(
        "rows by their place on disk",
        `select name from api_keys where ctid = any (array(
           select format('(%s,%s)', page, line)::tid from generate_series(0, pg_relation_size('api_keys') / 8192) page, generate_series(1, 291) line))`,
        OWN,
        "reads",
      ),
      attack("a sample of the pages", "select name from api_keys tablesample system (100)", OWN, "reads"),
      attack("ONLY", "select name from only api_keys", OWN, "reads"),
      attack("FOR UPDATE", (t) => `select name from api_keys where id = '${t.key}' for update`, [], "reads"),
      attack(
        "its key changed",
        (t) => `update api_keys set scopes = '{}' where id = '${t.key}'`,
        [],
        "writes",
      ),
      attack("its key deleted", (t) => `delete from api_keys where id = '${t.key}'`, [], "writes"),
      attack(
        "its invitation changed",
        (t) => `update invitations set token_hash = sha256('loot') where id = '${t.invitation}'`,
        [],
        "writes",
      ),
      attack(
        "its invitation deleted",
        (t) => `delete from invitations where id = '${t.invitation}'`,
        [],
        "writes",
      ),
      attack(
        "its name changed",
        (t) => `update tenants set name = 'x' where id = '${t.tenant}'`,
        [],
        "writes",
      ),
      attack(
        "its slug changed",
        (t) => `update tenants set slug = 'x' || slug where id = '${t.tenant}'`,
        [],
        "writes",
      ),
      attack(
        "its member promoted",
        (t) => `update memberships set role = 'admin' where user_id = '${t.guest}'`,
        [],
        "writes",
      ),
      attack(
        "its member removed",
        (t) => `delete from memberships where user_id = '${t.guest}'`,
        [],
        "writes",
      ),
      attack(
        "its session revoked",
        (t) => `update sessions set revoked_at = now() where id = '${t.session}'`,
        [],
        "writes",
      ),
      attack("its session deleted", (t) => `delete from sessions where id = '${t.session}'`, [], "writes"),
      attack(
        "its issuer suspended",
        (t) => `update issuers set suspended_at = now() where id = '${t.issuer}'`,
        [],
        "writes",
      ),
      attack(
        "its issuer deleted, with its users",
        (t) => `delete from issuers where id = '${t.issuer}'`,
        [],
        "writes",
      ),
      attack(
        "its key deleted by a join",
        (t) =>
          `delete from api_keys using tenants where tenants.slug = '${t.slug}' and api_keys.tenant_id = tenants.id`,
        [],
        "writes",
      ),
      denied("truncate api_keys", "owner"),
      denied("delete from tenants", "superuser"),
      denied(
        "insert into tenants (id, slug, name, plan) values (gen_random_uuid(), 'loot', 'x', 'solo')",
        "superuser",
      ),
      denied("update tenants set plan = 'loot'", "owner"),
      denied("update tenants set limits = '[]'", "owner"),
      denied("update tenants set id = id", "owner"),
    ],

    "constraints as oracles": [
      attack(
        "a key of the target's member",
        (t) => `${newKey(random, `'${t.actor}'`)} returning name`,
        "23503",
        "differs",
      ),
      attack(
        "a key handed to the target's member",
        (t) => `update api_keys set created_by = '${t.actor}' returning name`,
        "23503",
        "differs",
      ),
      attack(
        "a session of the target's member",
        (t) => `insert into sessions (user_id, issuer_id, expires_at)
          select '${t.guest}', id, now() from issuers returning generation`,
        "23503",
        "differs",
      ),
      attack(
        "a user of the target's issuer",
        (t) =>
          `insert into users (email, issuer_id, subject) values ('x', '${t.issuer}', 'x') returning subject`,
        "42501",
        "differs",
      ),
      attack(
        "a user of the target's issuer, with the subject of one that it has",
        (t) => `insert into users (email, issuer_id, subject) values ('x', '${t.issuer}', '${t.marker}')`,
        "42501",
        "differs",
      ),
      attack(
        "a row for the target that breaks a CHECK too",
        (t) => `insert into invitations (tenant_id, id, email, role, token_hash, invited_by, expires_at)
          values ('${t.tenant}', '${t.invitation}', 'x', 'x', 'x', '${t.actor}', now())`,
        "42501",
        "differs",
      ),
      attack(
        "a row for the target without what is NOT NULL",
        (t) => `insert into api_keys (tenant_id, id) values ('${t.tenant}', '${t.key}')`,
        "42501",
        "differs",
      ),
      attack(
        "a key for the target with a hash that it has",
        (t) => `insert into api_keys (tenant_id, id, name, scopes, hash, hint, created_by)
          values ('${t.tenant}', gen_random_uuid(), 'x', '{}', sha256('${t.key}'), 'x', '${t.actor}')`,
        "42501",
        "differs",
      ),
      attack(
        "an invitation under the email that the target has invited",
        (t) => [
          "delete from invitations",
          `${newInvitation(random, t.marker)} on conflict do nothing`,
          "select count(*) from invitations",
        ],
        [{ count: "1" }],
        "writes",
      ),
      attack(
        "constraints put off",
        (t) => ["set constraints all deferred", `${newKey(random, `'${t.actor}'`)} returning name`],
        "23503",
        "differs",
      ),
      denied("alter table users drop constraint subject_of_issuer", "owner"),
    ],

    "rows given away": [
      attack(
        "a key",
        (t) => `update api_keys set tenant_id = '${t.tenant}' returning name`,
        "42501",
        "reads",
      ),
      attack(
        "a key, with its maker",
        (t) => `update api_keys set tenant_id = '${t.tenant}', created_by = '${t.actor}' returning name`,
        "42501",
        "reads",
      ),
      attack(
        "an invitation",
        (t) => `update invitations set tenant_id = '${t.tenant}' returning email`,
        "42501",
        "reads",
      ),
      attack(
        "a new key",
        (t) => `${newKeyOf(t.tenant, random)} returning (select name from tenants)`,
        "42501",
        "reads",
      ),
      attack(
        "a user, to the target's issuer",
        (t) => `update users set issuer_id = '${t.issuer}' where issuer_id is not null`,
        "42501",
        "owner",
      ),
      denied("update memberships set tenant_id = tenant_id", "owner"),
      denied("update sessions set tenant_id = tenant_id", "owner"),
      denied("update issuers set tenant_id = tenant_id", "owner"),
    ],

    members: [
      attack(
        "the target's owner taken in",
        (t) => `insert into memberships (user_id, role) values ('${t.actor}', 'viewer') returning role`,
        "42501",
        "differs",
      ),
      attack(
        "the target's owner taken in, to read the email",
        (t) => [
          `insert into memberships (user_id, role) values ('${t.actor}', 'viewer') on conflict do nothing`,
          `select email from users where id = '${t.actor}'`,
        ],
        "42501",
        "reads",
      ),
      attack(
        "the target's issuer's user taken in",
        (t) =>
          `insert into memberships (user_id, role) values ('${t.guest}', 'viewer') on conflict do nothing`,
        "42501",
        "differs",
      ),
      attack(
        "the target's owner taken in by an upsert",
        (t) => `insert into memberships (user_id, role) values ('${t.actor}', 'owner')
          on conflict (tenant_id, user_id) do update set role = excluded.role returning role`,
        "42501",
        "differs",
      ),
      attack(
        "the target's owner taken in by MERGE",
        (t) => `merge into memberships m using (select '${t.actor}'::uuid as id) s on m.user_id = s.id
          when not matched then insert (user_id, role) values (s.id, 'viewer')`,
        "42501",
        "differs",
      ),
      attack(
        "an account made and taken in by one statement",
        `with u as (insert into users (email) values ('x@partywall.test') returning id)
         insert into memberships (user_id, role) select id, 'viewer' from u`,
        "42501",
        "closed",
      ),
      attack(
        "a membership handed to the target's owner",
        (t) => `update memberships set user_id = '${t.actor}' where role = 'owner'`,
        "42501",
        "owner",
      ),
      attack(
        "a membership of the target",
        (t) =>
          `insert into memberships (tenant_id, user_id, role) values ('${t.tenant}', current_actor_id(), 'owner') on conflict do nothing`,
        "42501",
        "owner",
      ),
      attack(
        "the members of every tenant of one's own account",
        (t) =>
          `select u.email from memberships m join users u on u.id = m.user_id where m.tenant_id = '${t.tenant}'`,
        [],
        "reads",
      ),
    ],

    accounts: [
      attack("the target's account", (t) => `select email from users where id = '${t.actor}'`, [], "reads"),
      attack(
        "the target's account by its email",
        (t) => `select id from users where email = '${t.email}'`,
        [],
        "differs",
      ),
      attack(
        "the target's issuer's user",
        (t) => `select email from users where id = '${t.guest}'`,
        [],
        "reads",
      ),
      attack(
        "the target's issuer's user by the subject",
        (t) => `select email from users where issuer_id = '${t.issuer}'`,
        [],
        "reads",
      ),
      attack(
        "the email of the target's account",
        (t) => `update users set email = 'x@partywall.test' where id = '${t.actor}'`,
        [],
        "differs",
      ),
      attack(
        "the email of the target's issuer's user",
        (t) => `update users set email = 'x@partywall.test' where id = '${t.guest}'`,
        [],
        "writes",
      ),
      attack(
        "the version of the target's account",
        (t) => `update users set email = email where id = '${t.actor}'`,
        [],
        "writes",
      ),
      attack(
        "the email of one's own account",
        "update users set email = 'x@partywall.test' where id = current_actor_id()",
        "42501",
        "closed",
      ),
      attack(
        "the email of every account that is seen",
        "update users set email = 'x' || email",
        "42501",
        "closed",
      ),
      attack(
        "the target's email for an issuer's user, who is not that account",
        (t) => [`update users set email = '${t.email}' where issuer_id is not null`, "select 1 as done"],
        [{ done: 1 }],
        "writes",
      ),
      attack("a local account", "insert into users (email) values ('x@partywall.test')", "42501", "closed"),
      attack(
        "a local account under the target's id",
        (t) =>
          `insert into users (id, email) values ('${t.actor}', 'x@partywall.test') on conflict do nothing`,
        "42501",
        "owner",
      ),
      attack(
        "a local account under the target's email",
        (t) => `insert into users (email) values ('${t.email}')`,
        "42501",
        "closed",
      ),
      denied("select password_hash from users", "owner"),
      denied("select * from users", "owner"),
      denied("select u from users u", "owner"),
      denied("select to_jsonb(u) from users u", "owner"),
      denied("table users", "owner"),
      denied("select count(password_hash) from users", "owner"),
      denied("select id from users where password_hash is not null", "owner"),
      denied("select id from users order by password_hash", "owner"),
      denied("select u.id from users u join users p using (password_hash)", "owner"),
      denied("update users set email = password_hash where issuer_id is not null", "superuser"),
      denied("update users set email = email returning password_hash", "owner"),
      denied("update users set password_hash = password_hash", "owner"),
      denied("update users set email_verified_at = email_verified_at", "owner"),
      denied("update users set issuer_id = issuer_id", "owner"),
      denied("update users set version = 1", "owner"),
      denied(
        "insert into users (id, email, password_hash) values (gen_random_uuid(), 'x', 'x')",
        "superuser",
      ),
      denied("delete from users where issuer_id is not null", "owner"),
      denied("truncate users cascade", "owner"),
      attack("users by XML", "select table_to_xml('control.users', true, false, '')", "42501", "closed"),
    ],

    "sessions that lead further": [
      attack(
        "a session without an issuer",
        (t) => [
          `delete from sessions where user_id = '${t.guest}'`,
          "insert into sessions (user_id, expires_at) select user_id, now() from memberships limit 1",
        ],
        "23514",
        "closed",
      ),
      denied("update sessions set issuer_id = issuer_id", "owner"),
      denied("update sessions set user_id = user_id", "owner"),
      denied("update sessions set refresh_hash = refresh_hash", "owner"),
      denied("update sessions set expires_at = expires_at", "owner"),
      denied(
        `insert into sessions (id, user_id, refresh_hash, expires_at)
         values (gen_random_uuid(), current_actor_id(), sha256('x'), now())`,
        "owner",
      ),
      denied(
        "insert into sessions (id, user_id, issuer_id, expires_at) select gen_random_uuid(), user_id, issuer_id, now() from sessions where issuer_id is not null",
        "owner",
      ),
      denied("update issuers set domains_since = domains_since", "owner"),
      denied("update issuers set created_at = created_at", "owner"),
      denied("update issuers set issuer = issuer, audience = audience", "owner"),
      denied(
        `insert into issuers (issuer, audience, email_domains, registered_by, created_at)
         values ('x', 'x', '{}', current_actor_id(), now())`,
        "owner",
      ),
    ],

    COPY: [
      attack("COPY TO the client", "copy api_keys to stdout", "0A000", "closed"),
      attack("COPY of a query", "copy (select email from users) to stdout", "0A000", "closed"),
      attack("COPY FROM the client", "copy invitations from stdin", "0A000", "closed"),
      attack("COPY in a DO block", "do $$ begin copy control.api_keys to stdout; end $$", "0A000", "closed"),
      denied("copy users to '/tmp/loot'", "superuser"),
      denied("copy api_keys to program 'cat'", "superuser"),
      denied("copy users (password_hash) to stdout", "superuser"),
      attack("what COPY would have read", "select name from api_keys", OWN, "reads"),
    ],

    cursors: [
      attack(
        "a cursor",
        [
          "declare c scroll cursor for select name from api_keys",
          "move last in c",
          "fetch absolute 1 from c",
        ],
        OWN,
        "reads",
      ),
      attack(
        "a cursor that outlives its transaction",
        ["declare c cursor with hold for select name from api_keys", "fetch all from c"],
        OWN,
        "reads",
      ),
      attack(
        "a write where a cursor stands",
        (t) => [
          `declare c cursor for select * from api_keys where id = '${t.key}' for update`,
          "fetch next from c",
          "update api_keys set name = 'x' where current of c returning name",
        ],
        "24000",
        "writes",
      ),
      attack(
        "a cursor of a DO block",
        [
          `do $$ declare c refcursor := 'loot'; begin open c for execute 'select name from control.api_keys'; end $$`,
          "fetch all from loot",
        ],
        OWN,
        "reads",
      ),
      attack(
        "cursor_to_xml",
        [
          "declare c cursor for select name from tenants",
          "select cursor_to_xml('c', 100, true, false, '') as x",
        ],
        "own",
        "reads",
      ),
    ],

    "DO blocks": [
      attack(
        "an exception that tells what it sees",
        raise("(select string_agg(email, ' ') from control.users)"),
        "PW001",
        "reads",
      ),
      attack(
        "dynamic SQL",
        `do $$ declare seen text; begin
           execute 'select string_agg(email, '' '') from invitations' into seen;
           raise exception using errcode = 'PW001', message = seen; end $$`,
        "PW001",
        "reads",
      ),
      attack(
        "the details of a caught error",
        `do $$ declare said text; begin
           begin perform name::int from control.api_keys; raise exception 'none' using errcode = 'PW001';
           exception when invalid_text_representation then get stacked diagnostics said = message_text;
           raise exception using errcode = 'PW001', message = said; end; end $$`,
        "PW001",
        "reads",
      ),
      attack(
        "a hundred guesses at a context, errors caught",
        (t) => `do $$ declare seen text; genuine text := current_setting('app.tenant'); begin
           for i in 1..100 loop begin
             perform set_config('app.tenant', overlay(genuine placing '${t.tenant}' from 13 for 36), true);
             perform set_config('app.tenant', left(current_setting('app.tenant'), 106) || case '${t.tenant}'
               when substr(genuine, 13, 36) then right(genuine, 64)
               else encode(sha256(int4send(i)), 'hex') end, true);
             select string_agg(name, ' ') into seen from control.tenants;
             exit when seen is not null;
           exception when sqlstate '28000' then null; end; end loop;
           raise exception using errcode = 'PW001', message = coalesce(seen, 'nothing'); end $$`,
        "PW001",
        "reads",
      ),
      attack("a commit within", "do $$ begin commit; end $$", "2D000", "closed"),
      attack(
        "a write",
        (t) => `do $$ begin delete from control.api_keys where id = '${t.key}'; end $$`,
        [],
        "writes",
      ),
    ],

    "ON CONFLICT": [
      attack(
        "an upsert for the target onto its row",
        (t) =>
          `${newKeyOf(t.tenant, `'${t.key}'`)} on conflict (tenant_id, id) do update set hint = 'x' returning name`,
        "42501",
        "reads",
      ),
      attack(
        "the target's id under one's own tenant",
        (t) => [
          `${newKey(`'${t.key}'`)} on conflict (tenant_id, id) do update set name = api_keys.name returning name`,
          `delete from api_keys where id = '${t.key}' returning name`,
        ],
        OWN,
        "reads",
      ),
      attack(
        "a predicate over the row in the way",
        (t) => `${newKeyOf(t.tenant, `'${t.key}'`)} on conflict (tenant_id, id)
          do update set hint = 'x' where api_keys.name::int = 0`,
        "42501",
        "reads",
      ),
      attack(
        "a predicate over the row in the way of an id alone",
        (t) =>
          `${newKey(`'${t.key}'`)} on conflict (id) do update set hint = 'x' where api_keys.name::int = 0`,
        "42P10",
        "closed",
      ),
      attack(
        "a predicate over the row in the way, in one's own tenant",
        (t) => [
          `${newKey(`'${t.key}'`)} on conflict (tenant_id, id) do update set hint = 'x'
           where set_config('loot.name', api_keys.name, true) is null`,
          "select nullif(current_setting('loot.name', true), '') as name",
        ],
        [{ name: null }],
        "reads",
      ),
      attack(
        "a predicate over the row of a hash that the target has",
        (t) => `insert into api_keys (id, name, scopes, hash, hint, created_by)
          values (gen_random_uuid(), '42', '{}', sha256('${t.key}'), 'x', current_actor_id())
          on conflict (tenant_id, hash) do update set hint = 'x' where api_keys.name::int = 0`,
        [],
        "reads",
      ),
      attack(
        "one's own row given away by DO UPDATE",
        (t) => `insert into api_keys (id, name, scopes, hash, hint, created_by)
          select id, name, scopes, hash, hint, created_by from api_keys
          on conflict (tenant_id, id) do update set tenant_id = '${t.tenant}' returning name`,
        "42501",
        "reads",
      ),
      attack(
        "a predicate over the target's invitation",
        (t) => `${newInvitation(`'${t.invitation}'`, "x")} on conflict (tenant_id, id)
          do update set role = 'viewer' where invitations.email::int = 0`,
        [],
        "reads",
      ),
      attack(
        "a predicate over the invitation of an email that the target has invited",
        (t) => [
          "delete from invitations where email = '42'",
          `${newInvitation(random, t.marker)} on conflict (tenant_id, email)
           do update set role = 'viewer' where invitations.email::int = 0`,
        ],
        [],
        "reads",
      ),
      ...(
        [
          ["account", (t) => t.actor],
          ["issuer's user", (t) => t.guest],
        ] satisfies [string, (t: Target) => string][]
      ).map(([whose, id]) =>
        attack(
          `a predicate over the target's ${whose}`,
          (
            t,
          ) => `insert into users (id, email, issuer_id, subject) select '${id(t)}', 'x', id, 'x' from issuers
            on conflict (id) do update set email = users.email where length(users.email) > 0 returning id`,
          "42501",
          { ownerSees: (t) => [raise(`(select email from users where id = '${id(t)}')`)] },
        ),
      ),
      attack(
        "a predicate over the target's session",
        (t) => `insert into sessions (id, user_id, issuer_id, expires_at)
          select '${t.session}', user_id, issuer_id, now() from sessions where issuer_id is not null
          on conflict (id) do update set revoked_at = now() where length(sessions.user_agent) > 0`,
        "42501",
        "owner",
      ),
      attack(
        "a predicate over the target's issuer",
        (t) => `insert into issuers (id, issuer, audience, email_domains, registered_by)
          values ('${t.issuer}', 'x', 'x', '{}', current_actor_id())
          on conflict (id) do update set role_claim = 'x' where length(issuers.audience) > 0`,
        "42501",
        "owner",
      ),
      attack(
        "a predicate over the issuer that the target has registered",
        (t) => `insert into issuers (issuer, audience, email_domains, registered_by)
          values ('https://${t.slug}.test', '${t.marker}', '{}', current_actor_id())
          on conflict (tenant_id, issuer, audience) do update set role_claim = 'x' where issuers.audience::int = 0`,
        [],
        "reads",
      ),
      attack(
        "a predicate over the user of a subject that the target has",
        (t) => `insert into users (email, issuer_id, subject) values ('x', '${t.issuer}', '${t.marker}')
          on conflict (issuer_id, subject) do update set email = 'x' where users.subject::int = 0`,
        "42501",
        "reads",
      ),
    ],

    MERGE: [
      attack(
        "matched, then updated",
        (t) => `merge into api_keys k using (select '${t.key}'::uuid as id) s on k.id = s.id
          when matched then update set hint = 'x' returning k.name`,
        [],
        "reads",
      ),
      attack(
        "matched, then deleted",
        (t) =>
          `merge into invitations i using (select '${t.invitation}'::uuid as id) s on i.id = s.id when matched then delete`,
        [],
        "writes",
      ),
      attack(
        "the target renamed",
        (t) => `merge into tenants x using (select '${t.tenant}'::uuid as id) s on x.id = s.id
          when matched then update set name = 'x'`,
        [],
        "writes",
      ),
      attack(
        "not matched, then inserted for the target",
        (t) => `merge into api_keys k using (select '${MISSING}'::uuid as id) s on k.id = s.id
          when not matched then insert (tenant_id, id, name, scopes, hash, hint, created_by)
          values ('${t.tenant}', gen_random_uuid(), 'x', '{}', ${hash}, 'x', current_actor_id())`,
        "42501",
        "writes",
      ),
      attack(
        "given away",
        (t) => `merge into invitations i using (select 1) s on true
          when matched then update set tenant_id = '${t.tenant}' returning i.email`,
        "42501",
        "reads",
      ),
      attack(
        "not matched by source, then deleted",
        (t) => `merge into api_keys k using (select '${MISSING}'::uuid as id) s on k.id = s.id
          when not matched by source and k.tenant_id = '${t.tenant}' then delete returning k.name`,
        [],
        "reads",
      ),
    ],

    "contexts in mid-statement": [
      attack(
        "claimed before the rows are read",
        (t) => `with claim as materialized (select set_config('app.tenant', '${t.tenant}', true))
          select name from claim, api_keys where api_keys.tenant_id = '${t.tenant}'`,
        [],
        "differs",
      ),
      attack(
        "claimed while the rows are read",
        // A predicate that looks at no column may run before the wall, and then the context is no longer valid: 28000.
        (t) =>
          `select name from api_keys where set_config('app.tenant', '${t.tenant}' || left(name, 0), true) is not null`,
        OWN,
        "reads",
      ),
      attack(
        "the target's id in one's own context, while the rows are read",
        (t) => `select name from api_keys where set_config('app.tenant',
          overlay(current_setting('app.tenant') placing '${t.tenant}' from 13 for 36) || left(name, 0), true) is not null`,
        "own",
        "reads",
      ),
      attack(
        "a nested query under a claimed context",
        (t) => `select set_config('app.tenant', '${t.tenant}', true),
          query_to_xml('select name from control.tenants', true, false, '')`,
        "28000",
        "closed",
      ),
      attack(
        "cleared before the triggers tell of the change",
        "delete from api_keys where set_config('app.tenant', '', true) is not null",
        "28000",
        "closed",
      ),
      attack(
        "claimed before the triggers tell of the change",
        (t) => `update api_keys set name = left(set_config('app.tenant',
          overlay(current_setting('app.tenant') placing '${t.tenant}' from 13 for 36), true), 0) || name`,
        "28000",
        "writes",
      ),
      attack(
        "claimed before a new row takes its tenant",
        (t) => `insert into invitations (email, id, role, token_hash, invited_by, expires_at)
          select n || left(set_config('app.tenant', case n when 2
              then overlay(genuine placing '${t.tenant}' from 13 for 36) else genuine end, true), 0),
            gen_random_uuid(), 'viewer', 'x', '${t.actor}', now()
          from generate_series(1, 3) n, (select current_setting('app.tenant') offset 0) c (genuine)`,
        "42501",
        "writes",
      ),
      attack(
        "the rights of another role claimed while members change",
        `update memberships set role = left(set_config('app.tenant', 'a' || substr(current_setting('app.tenant'), 2), true), 0) || role`,
        "28000",
        "closed",
      ),
      attack(
        "the verifier in one's own hands",
        (t) => `select name from api_keys where (select current_tenant_id()) = '${t.tenant}'`,
        [],
        "reads",
      ),
    ],

    outbox: [
      denied("delete from outbox", "owner"),
      denied("select drop_outbox(9007199254740991)", "superuser"),
      attack(
        "an entry of one's own",
        "insert into outbox (seq, kind, subject) values (9007199254740991, 'floor', gen_random_uuid())",
        "42501",
        "owner",
      ),
      attack(
        "an entry for the target",
        (t) =>
          `insert into outbox (tenant_id, seq, kind, subject) values ('${t.tenant}', 9007199254740991, 'floor', '${t.actor}')`,
        "42501",
        "owner",
      ),
      denied("update outbox set subject = subject", "owner"),
      denied("update outbox_heads set head = head", "owner"),
      denied("delete from outbox_heads", "owner"),
      denied("insert into outbox_heads select * from outbox_heads on conflict do nothing", "owner"),
      denied("select head from outbox_heads for update", "owner"),
      denied("truncate outbox", "owner"),
    ],

    "functions of others": [
      attack(
        "an entry by tell()",
        (t) => `select tell('${t.tenant}', 'floor', '${t.actor}', 9007199254740991, null)`,
        "42501",
        "owner",
      ),
      denied("select actor()", "owner"),
      denied("select audit_row()", "superuser"),
      denied("select tell_of_tenant()", "superuser"),
      denied("select tell_of_api_key()", "superuser"),
      denied("select tell_of_session()", "superuser"),
      denied("select tell_of_member()", "superuser"),
      denied("select tell_of_email()", "superuser"),
      denied("select void_member_tokens()", "superuser"),
      denied("select touch_row()", "superuser"),
      denied("select check_authority()", "superuser"),
      denied(
        "create trigger loot after insert on api_keys for each row execute function audit_row('id')",
        "owner",
      ),
    ],
  },
  ACCOUNT,
);
