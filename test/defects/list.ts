// The defects that test/defects.ts plants, and who has to notice each.

export type Edit = { file: string; from: string; to: string };
/** `watch` are those who might notice: the doctor, the linter, or a file of tests by its name. */
export type Defect = { name: string; edits: Edit[]; watch: string[] };

const edit = (file: string, from: string, to: string): Edit => ({ file, from, to });
/** What comes before all that is in the file, which may be there or not. */
const added = (file: string, to: string): Edit => ({ file, from: "", to });
const broken = (name: string, watch: string[], ...edits: Edit[]): Defect => ({ name, edits, watch });

const FENCE = "drizzle/site/0008_fence_functions.sql";
/** Where the verifiers and the trail took the place of what was there, because of operators whom tenants let in. */
const SUPPORT_AT_SITES = "drizzle/site/0014_support.sql";
/** The sessions of operators, and what ends with them. */
const SIGNED_IN = "drizzle/control/0020_operator_session_functions.sql";
/** What owners are mailed of. */
const TO_OWNERS = "drizzle/control/0022_owner_mail_functions.sql";
const TAKEN_MAILS = "drizzle/control/0024_owner_mail_batches.sql";
const SUPPORT = "drizzle/control/0018_support_functions.sql";
/** Where what an export needs of fences and of the change log took the place of what was there. */
const EXPORTS = "drizzle/site/0010_export_functions.sql";
/** It erases a tenant as well, since usage is one more thing to erase. */
const USAGE = "drizzle/control/0014_usage_functions.sql";
const LIVES = "drizzle/control/0008_lifecycle_functions.sql";
const ROLES = "drizzle/roles.sql";
const WALL = "drizzle/wall.sql";
const TRIGGERS = "drizzle/control/0002_triggers.sql";
const CLIENT = "src/db/client.ts";
const PRODUCT = "test/support/product/routes.ts";
/** What a signed context is remembered by. */
const NAME = "tenant + actor.id + actor.as + role";
const RECEIVE = "drizzle/site/0003_receive.sql";
const OUTBOX = "drizzle/control/0003_outbox.sql";
const COMMIT = "drizzle/control/0006_commit_move.sql";
const CHANGE = "src/tenant/change.ts";
const OBJECT = "src/tenant/object.ts";
const COURIER = "src/tenant/courier.ts";
const ACROSS = "src/db/across-tenants.ts";
const CREDENTIALS = "src/tenant/credentials.ts";
const ACCOUNT_FUNCTIONS = "drizzle/control/0012_account_functions.sql";
const ACCOUNTS = "src/db/accounts.ts";
const OPERATORS = "drizzle/control/0016_operator_functions.sql";
const FACTORS = "src/identity/factors.ts";
const COPY = "drizzle/moves/copy.ts";
const MOVE = "drizzle/moves/move.ts";
const DOCTOR = ["doctor"];
const MODEL = ["node:move-model.node"];
const AT_FENCE = ["schema:moves"];
const LET_IN = ["support-access"];
const OF_ATTEMPTS = ["node:fence.node"];
const BOTH = ["doctor", "wall"];
const RAISED = '      await raiseWall(client, "site", SHARED_SITE.schema);\n';

/** What a careless migration would do, as partywall_owner. */
const migration = (sql: string) =>
  edit("drizzle/migrate.ts", RAISED, `${RAISED}      await client.query(${JSON.stringify(sql)});\n`);
/** What a careless administrator would do. */
const superuser = (sql: string) =>
  edit(
    "drizzle/local-database.ts",
    "  await migrate(variables, options);\n",
    `  await migrate(variables, options);
  await connected(superuserUrl.replace(/[^/]*$/, pathname.slice(1)), (admin) => admin.query(${JSON.stringify(sql)}));\n`,
  );

const MINE = "tenant_id = (SELECT current_tenant_id())";

export const DEFECTS: Defect[] = [
  // The tables and their policies.
  broken("a policy is dropped", DOCTOR, migration("DROP POLICY tenant_only ON projects")),
  broken("row level security is off", BOTH, migration("ALTER TABLE tasks DISABLE ROW LEVEL SECURITY")),
  broken(
    "row level security is not forced",
    BOTH,
    migration("ALTER TABLE projects NO FORCE ROW LEVEL SECURITY"),
  ),
  broken("the app role owns a table", DOCTOR, superuser("ALTER TABLE projects OWNER TO partywall_app")),
  broken(
    "an extra policy shows every tenant's name",
    BOTH,
    migration("CREATE POLICY directory ON control.tenants FOR SELECT TO partywall_account USING (true)"),
  ),
  broken(
    "a policy shows archived projects to all",
    DOCTOR,
    migration(`ALTER POLICY tenant_may ON projects USING (${MINE} OR status = 'archived')`),
  ),
  broken(
    "a policy lets rows be given away",
    BOTH,
    migration(
      "ALTER POLICY tenant_may ON projects WITH CHECK (true); ALTER POLICY tenant_only ON projects WITH CHECK (true)",
    ),
  ),
  broken(
    "the context is verified once a row",
    DOCTOR,
    migration("ALTER POLICY tenant_may ON tasks USING (tenant_id = current_tenant_id())"),
  ),
  broken(
    "a restrictive policy names a role, who can shed it",
    DOCTOR,
    migration("ALTER POLICY tenant_only ON tasks TO partywall_app"),
  ),
  broken(
    "a new table has no wall",
    DOCTOR,
    migration(
      "CREATE TABLE notes (tenant_id uuid NOT NULL, id uuid PRIMARY KEY); GRANT SELECT ON notes TO partywall_app",
    ),
  ),

  // Keys.
  broken(
    "a foreign key without tenant_id",
    ["doctor", "wall", "isolation"],
    migration(
      "ALTER TABLE projects NO FORCE ROW LEVEL SECURITY, ADD UNIQUE (id); " +
        "ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY, DROP CONSTRAINT tasks_project, " +
        "ADD CONSTRAINT tasks_project FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE; " +
        "ALTER TABLE tasks FORCE ROW LEVEL SECURITY; ALTER TABLE projects FORCE ROW LEVEL SECURITY",
    ),
  ),
  broken("a name unique over all tenants", DOCTOR, migration("CREATE UNIQUE INDEX ON projects (name)")),

  // What runs and reads as somebody else.
  broken(
    "a definer function without search_path",
    DOCTOR,
    migration("CREATE FUNCTION purge() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM projects'"),
  ),
  broken(
    "a definer function that the app role may run",
    DOCTOR,
    migration(
      "CREATE FUNCTION person(uuid) RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = '' " +
        "AS 'SELECT email FROM control.users WHERE id = $1'; GRANT EXECUTE ON FUNCTION person TO partywall_app",
    ),
  ),
  broken(
    "a view that reads as a role with BYPASSRLS",
    DOCTOR,
    superuser(
      "CREATE ROLE support BYPASSRLS; GRANT USAGE ON SCHEMA public TO support; GRANT SELECT ON projects TO support; " +
        "CREATE VIEW all_projects AS SELECT * FROM projects; ALTER VIEW all_projects OWNER TO support; " +
        "GRANT SELECT ON all_projects TO partywall_app",
    ),
  ),
  broken(
    "a materialised view of all tenants",
    DOCTOR,
    superuser(
      "CREATE MATERIALIZED VIEW totals AS SELECT tenant_id, count(*) FROM projects GROUP BY 1; " +
        "GRANT SELECT ON totals TO partywall_app",
    ),
  ),

  // Roles and grants.
  broken("the app role bypasses row level security", BOTH, superuser("ALTER ROLE partywall_app BYPASSRLS")),
  broken(
    "the app role may become the owner",
    BOTH,
    superuser("GRANT partywall_owner TO partywall_app WITH INHERIT FALSE"),
  ),
  broken(
    "the app role may make temporary tables",
    BOTH,
    edit(ROLES, "GRANT CONNECT ON DATABASE %I TO", "GRANT CONNECT, TEMPORARY ON DATABASE %I TO"),
  ),
  broken(
    "the app role may TRUNCATE",
    BOTH,
    edit(
      WALL,
      "'partywall_app', privilege FROM tenant_tables, unnest(ARRAY['SELECT'",
      "'partywall_app', privilege FROM tenant_tables, unnest(ARRAY['TRUNCATE', 'SELECT'",
    ),
  ),
  broken(
    "the app role reads people",
    BOTH,
    migration(
      "GRANT USAGE ON SCHEMA control TO partywall_app; GRANT SELECT ON control.users TO partywall_app",
    ),
  ),
  broken(
    "a tenant may choose its plan",
    ["wall"],
    edit(
      WALL,
      "UPDATE (name, slug, status, closes_at, require_second_factor, support_access, updated_at)",
      "UPDATE",
    ),
  ),
  broken(
    "the app role reads the context keys",
    BOTH,
    migration(
      "GRANT USAGE ON SCHEMA partywall TO partywall_app; GRANT SELECT ON partywall.context_keys TO partywall_app; " +
        "ALTER TABLE partywall.context_keys DISABLE ROW LEVEL SECURITY",
    ),
  ),
  // Operators: who they are, what they may, and what is written down of it.
  broken(
    "a removed operator goes on",
    ["operators"],
    edit("src/db/operators.ts", " and o.disabled_at is null\n", "\n"),
  ),
  broken(
    "an operator's token says their role, whatever they are by now",
    ["operators"],
    edit("src/db/operators.ts", " and o.role = ${of.role} and o.generation", " and o.generation"),
  ),
  broken(
    "a tenant's key signs in an operator's type, for any audience",
    ["operators"],
    edit("src/identity/operator-token.ts", "      audience: AUDIENCE,\n", ""),
    edit("src/identity/operator-token.ts", "  aud: v.literal(AUDIENCE),", "  aud: v.unknown(),"),
  ),
  broken(
    "an operator's code is good twice",
    ["operators"],
    edit(OPERATORS, " AND u.last_step < step RETURNING", " RETURNING"),
  ),
  broken(
    "an operator's codes are guessed without end",
    ["operators"],
    edit(OPERATORS, "failures = u.failures + is_right::integer", "failures = u.failures"),
  ),
  broken(
    "an operator's token outlives their sign-out",
    ["operators"],
    edit("src/db/operators.ts", " and s.ended_at is null and", " and"),
  ),
  broken(
    "an operator's token is good in another one's session",
    ["operators"],
    edit(
      "src/db/operators.ts",
      "join operator_sessions s on s.operator_id = o.id\n",
      "join operator_sessions s on true\n",
    ),
  ),
  broken(
    "an operator's other sessions outlive their password",
    ["operators"],
    edit(SIGNED_IN, "AND s.id <> session AND s.ended_at IS NULL AND", "AND false AND"),
  ),
  broken(
    "an operator's password changes with a code that was used",
    ["operators"],
    edit(SIGNED_IN, "o.disabled_at IS NULL AND o.last_step < step\n", "o.disabled_at IS NULL\n"),
  ),
  broken(
    "support outlives the operator's sign-out",
    LET_IN,
    edit(
      SIGNED_IN,
      "	heads := control.end_support_of((by ->> 'id')::uuid);\n	UPDATE control.operator_sessions s SET ended_at = pg_catalog.now() WHERE s.id = session;",
      "	heads := '[]';\n	UPDATE control.operator_sessions s SET ended_at = NULL WHERE s.id = session;",
    ),
  ),
  broken(
    "support begins in a session that is over",
    ["attacks-support"],
    edit(SIGNED_IN, "	IF NOT control.is_operator_session(by, operator_session) THEN", "	IF false THEN"),
  ),
  broken(
    "a wrong code says that the password was right",
    ["operators"],
    edit(
      "src/identity/operator-session.ts",
      "if (step === undefined) return undefined;",
      'if (step === undefined) throw new Error("the code is wrong");',
    ),
  ),
  broken(
    "support erases tenants",
    ["operator-routes"],
    edit("src/operator.ts", 'eraseTenant: "admin"', 'eraseTenant: "support"'),
  ),
  broken(
    "an operator of any role may do anything",
    ["operator-routes"],
    edit("src/edge/operator-only.ts", "if (!includesRole(operator.role, role))", "if (false)"),
  ),
  broken(
    "operators need no reason",
    ["operator-routes"],
    edit(
      "src/routes/operator-tenants.ts",
      "const WithReason = v.strictObject({ reason: Reason });",
      'const WithReason = v.strictObject({ reason: v.optional(Reason, "none") });',
    ),
  ),
  broken(
    "the operators' functions need no reason",
    ["operator-routes"],
    edit(OPERATORS, "AND COALESCE(pg_catalog.btrim(by ->> 'reason'), '') = ''", "AND false"),
  ),
  broken(
    "an operator's change is not in the tenant's trail",
    ["operator-routes"],
    edit(OPERATORS, "IF tenant IS NOT NULL AND event IS NOT NULL THEN", "IF false THEN"),
  ),
  broken(
    "the tenant does not hear why",
    ["operator-routes"],
    edit(OPERATORS, "'reason', by ->> 'reason', 'action'", "'action'"),
  ),
  broken(
    "an operator lists all tenants' exports as one's",
    ["operator-routes"],
    edit(
      "src/lifecycle/operator-lists.ts",
      "and(eq(jobs.tenant_id, tenant), eq(jobs.kind, kind))",
      "eq(jobs.kind, kind)",
    ),
  ),
  broken(
    "a tenant's export has not which operators looked in",
    ["exports"],
    edit(
      "src/lifecycle/control-lines.ts",
      "ended_at, end_reason, ended_by_type, ended_by from ${supportSessions}`",
      "ended_at from ${supportSessions}`",
    ),
  ),
  broken(
    "the command line moves tenants without a line in the operators' trail",
    ["node:moves.node"],
    edit(
      "drizzle/moves/jobs.ts",
      "if (action !== undefined) await noteCommand(",
      "if (action === undefined) await noteCommand(",
    ),
  ),
  broken(
    "the command line sets tenants back without a line in the operators' trail",
    ["node:moves.node"],
    edit("drizzle/moves/restoring.ts", "if (isWanted) await noteOfJob(", "if (false) await noteOfJob("),
  ),
  broken(
    "the operators' login changes tenants by itself",
    ["operator-routes"],
    edit(
      WALL,
      "GRANT SELECT ON control.tenants, control.memberships,",
      "GRANT UPDATE (plan) ON control.tenants TO partywall_operator;\nGRANT SELECT ON control.tenants, control.memberships,",
    ),
  ),
  broken(
    "the operators' trail can be changed by its owner",
    ["operator-routes"],
    migration("DROP TRIGGER keep_trail ON control.operator_events"),
  ),
  broken(
    "the operators' login reads their passwords",
    ["operator-routes"],
    edit(
      WALL,
      "GRANT SELECT (id, email, role, generation,",
      "GRANT SELECT (id, email, role, password_hash, generation,",
    ),
  ),
  broken(
    "the operators' list of tenants reads all of them",
    ["operator-routes"],
    edit(
      "drizzle/control/0015_operators.sql",
      'CREATE INDEX "tenants_by_name" ON "control"."tenants" USING btree (lower("name"),"id");--> statement-breakpoint\n',
      "",
    ),
  ),
  broken(
    "who comes around Cloudflare Access is let in",
    ["cloudflare-access"],
    edit("src/edge/operator-only.ts", "    await passAccess(c);\n", ""),
  ),
  broken("the operator reads tasks", BOTH, migration("GRANT SELECT ON tasks TO partywall_operator")),
  broken(
    "the app role has no statement_timeout",
    DOCTOR,
    edit(ROLES, "SET statement_timeout = ''10s''", "SET statement_timeout = 0"),
  ),

  // The verifier.
  broken(
    "the verifier takes expired contexts",
    ["wall"],
    edit(
      SUPPORT_AT_SITES,
      "pg_catalog.substr(context, 96, 10)::bigint\n\t\t\t\t\t> pg_catalog.date_part('epoch', pg_catalog.statement_timestamp())",
      "true",
    ),
  ),
  broken(
    "the MAC does not cover the role",
    ["wall"],
    edit(SUPPORT_AT_SITES, " || '.site {site}.' || session_user", " || '.site {site}'"),
    edit(SUPPORT, " || '.control.' || session_user", " || '.control'"),
    edit("src/db/signed-context.ts", ".update(`${text}.${name}.${role}`)", ".update(`${text}.${name}`)"),
  ),
  broken(
    "a context of one plane opens the other",
    ["wall"],
    edit(SUPPORT, "'.control.'", "'.site shared.'"),
    edit("src/db/places.ts", 'name: "control"', 'name: "site shared"'),
  ),
  broken(
    "partywall_account needs no context",
    ["wall"],
    edit(SUPPORT, " AND session_user <> 'partywall_account'", ""),
  ),
  broken(
    "what looks across tenants shows every tenant to partywall_account",
    BOTH,
    edit(SUPPORT, " AND session_user <> 'partywall_account'", ""),
    migration("ALTER POLICY across_tenants ON control.memberships TO PUBLIC"),
  ),
  broken(
    "the MAC is compared in part",
    ["wall"],
    edit(
      SUPPORT_AT_SITES,
      "session_user, 'UTF8'))), 'hex')\n\t\t\t= pg_catalog.right(context, 64) AS genuine",
      "session_user, 'UTF8'))), 'hex')\n\t\t\tLIKE pg_catalog.substr(context, 107, 32) || '%' AS genuine",
    ),
  ),
  broken(
    "the verifier's search_path is its caller's",
    DOCTOR,
    edit(
      SUPPORT_AT_SITES,
      "CREATE OR REPLACE FUNCTION public.current_tenant_id() RETURNS uuid\nLANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = ''",
      "CREATE OR REPLACE FUNCTION public.current_tenant_id() RETURNS uuid\nLANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER",
    ),
  ),
  broken(
    "somebody replaced the verifier in the database",
    BOTH,
    superuser(
      "CREATE OR REPLACE FUNCTION current_tenant_id() RETURNS uuid LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER " +
        "SET search_path = '' AS $$ BEGIN RETURN substr(current_setting('app.tenant'), 13, 36)::uuid; END $$",
    ),
  ),

  // The Worker.
  broken(
    "a handler trusts the body's tenant_id",
    ["isolation"],
    edit(
      PRODUCT,
      "const NewProject = v.strictObject({\n",
      "const NewProject = v.strictObject({\n  tenant_id: v.optional(v.string()),\n",
    ),
  ),
  broken(
    "the tenant comes from a header",
    ["isolation"],
    edit(
      "src/edge/admit.ts",
      `openTenantDb("app", tenantId,`,
      `openTenantDb("app", c.req.header("x-tenant-id") ?? tenantId,`,
    ),
  ),
  broken(
    "SQL is put together from a request's text",
    ["lint"],
    edit(
      "src/routes/audit-events.ts",
      "eq(auditEvents[name], values[name])",
      "sql.raw(`${name} = '${String(values[name])}'`)",
    ),
  ),
  broken(
    "the context outlives its transaction",
    ["roundtrips"],
    edit(
      CLIENT,
      ", true), set_config('search_path', ${path}, true)${request",
      ", false), set_config('search_path', ${path}, true)${request",
    ),
  ),
  broken(
    "a context is remembered for any place",
    ["site"],
    edit(CLIENT, "actor.as + role + place.name", "actor.as + role"),
  ),
  broken("a context is remembered for its actor alone", ["isolation"], edit(CLIENT, NAME, "role + actor.id")),
  broken("a context is remembered for its tenant alone", ["isolation"], edit(CLIENT, NAME, "role + tenant")),
  broken(
    "a context is remembered for any role",
    ["site"],
    edit(CLIENT, NAME, "tenant + actor.id + actor.as"),
  ),
  broken(
    "a context is good for an hour",
    ["wall"],
    edit("src/db/signed-context.ts", "CONTEXT_TTL_S = 60", "CONTEXT_TTL_S = 3600"),
  ),
  broken(
    "a read may write",
    ["wall"],
    edit(CLIENT, "openClient(url, { readOnly: true })", "openClient(url)"),
  ),
  broken(
    "a route has a driver of its own",
    ["lint"],
    edit(
      "src/routes/me.ts",
      `import * as v from "valibot";\n`,
      `import * as v from "valibot";\nimport { neon } from "@neondatabase/serverless";\nexport const own = neon("postgres://");\n`,
    ),
  ),
  broken(
    "an import climbs",
    ["lint"],
    edit("src/db/reach.ts", "/** So many requests", `import "../edge/needs.ts";\n/** So many requests`),
  ),
  broken(
    "partywall imports what is built on it",
    ["lint"],
    edit(
      "src/routes/me.ts",
      `import * as v from "valibot";\n`,
      `import * as v from "valibot";\nimport "../product/routes.ts";\n`,
    ),
  ),
  broken(
    "the ground floor imports what is built on it",
    ["lint"],
    edit(
      "src/authority.ts",
      `import { PRODUCT_KEY_SCOPES`,
      `import "./product/schema.ts";\nimport { PRODUCT_KEY_SCOPES`,
    ),
  ),
  broken(
    "the product imports a route of partywall's",
    ["lint"],
    added("src/product/planted.ts", `import "../routes/me.ts";\n`),
  ),
  broken(
    "a plan needs more than data",
    ["lint"],
    added("src/product/plans.ts", `import "../settings.ts";\n`),
  ),
  broken(
    "two files import each other's types",
    ["lint"],
    edit(
      "src/tenant/limits/month.ts",
      "/** The end of the month",
      `import type { Limits } from "./limits.ts";\nexport type Own = Limits;\n/** The end of the month`,
    ),
  ),
  broken(
    "a cursor is not bound to its tenant",
    ["isolation"],
    edit("src/http/page.ts", "      reader,\n      path,", `      reader && "",\n      path,`),
  ),
  broken(
    "a filter is not bound to its cursor",
    ["isolation"],
    edit("src/http/page.ts", "Object.entries(filters)", "Object.entries({ ...filters, status: undefined })"),
  ),
  broken(
    "a caller is shown every tenant there is",
    ["isolation"],
    edit(
      ACROSS,
      "join tenants t on t.id = m.tenant_id\n      where u.id = ${of.id}",
      "join tenants t on true\n      where u.id = ${of.id}",
    ),
  ),

  // Identity: who is let in, and how far.
  broken(
    "a table of people has a policy that shows all",
    ["doctor", "matrix-tables", "wall"],
    migration("ALTER POLICY tenant_only ON control.memberships USING (true)"),
  ),
  broken(
    "a table of the control plane has no policy",
    ["doctor", "matrix-tables"],
    migration(
      "DROP POLICY tenant_only ON control.sessions; ALTER TABLE control.sessions DISABLE ROW LEVEL SECURITY",
    ),
  ),
  broken(
    "a foreign key crosses the planes",
    DOCTOR,
    migration(
      "ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY; ALTER TABLE control.memberships NO FORCE ROW LEVEL SECURITY; " +
        "ALTER TABLE tasks ADD FOREIGN KEY (tenant_id, assignee_id) REFERENCES control.memberships (tenant_id, user_id); " +
        "ALTER TABLE control.memberships FORCE ROW LEVEL SECURITY; ALTER TABLE tasks FORCE ROW LEVEL SECURITY",
    ),
  ),
  broken(
    "a statement says by hand whose rows it means",
    ["members"],
    edit(
      "src/identity/members.ts",
      "eq(memberships.user_id, userId)",
      "sql`${eq(memberships.user_id, userId)} and tenant_id = ${String(userId)}`",
    ),
  ),
  broken(
    "a scope is not asked for",
    ["matrix-routes"],
    edit("src/edge/needs.ts", "if (caller.scopes.includes(scope)) return;", "return;"),
  ),
  broken(
    "a host may name another tenant",
    ["matrix-routes"],
    edit("src/edge/admit.ts", "slug === undefined || slug ===", "slug !== null || slug ==="),
  ),
  broken(
    "a tenant's numbers have gaps",
    ["counters"],
    edit("drizzle/site/0005_next_number.sql", "SET value = c.value + 1", "SET value = c.value + 2"),
  ),
  broken(
    "a value that its column cannot hold is an error of the server",
    ["misfits"],
    edit("src/http/rows.ts", "    checkFit(values);\n", ""),
  ),
  broken(
    "a request that comes again is done again",
    ["once"],
    edit("drizzle/site/0006_claim_key.sql", "IF NOT FOUND THEN", "IF false THEN"),
  ),
  broken(
    "a list ends before the rows that have no value",
    ["paging"],
    edit("src/http/page.ts", "return isRising && !by.notNull ?", "return false ?"),
  ),
  // The outbox: what was acknowledged is in force.
  broken(
    "outbox entries are numbered by a sequence",
    ["outbox"],
    edit(OUTBOX, "SET head = h.head + 1", "SET head = pg_catalog.nextval('control.numbers')"),
    edit(
      OUTBOX,
      "-- Writes the tenant's next outbox entry.",
      "CREATE SEQUENCE control.numbers;\n--> statement-breakpoint\n-- Writes the tenant's next outbox entry.",
    ),
  ),
  broken(
    "a change that finds nothing to do does not have the object confirm the head",
    ["outbox"],
    edit(
      CHANGE,
      "await tellTenant(",
      "if (Object.values(done).some((rows) => Array.isArray(rows) && rows.length > 0)) await tellTenant(",
    ),
  ),
  broken("a change is not told", ["revocation"], edit(CHANGE, "await tellTenant(", "void (tenantId, ")),
  broken("changes of one tenant run beside each other", ["members"], edit(CHANGE, `"": lock({}),`, "")),
  broken(
    "an object goes by news that are older than what it knows",
    ["outbox"],
    edit(OBJECT, "if (news.upto <= this.#confirmed) return;", ""),
  ),
  broken(
    "an object does not notice that entries are missing",
    ["outbox"],
    edit(OBJECT, "news.from <= this.#confirmed + 1", "news.from > 0"),
  ),
  broken(
    "an object forgets in a restart what it has confirmed",
    ["outbox"],
    edit(OBJECT, `this.ctx.storage.kv.put("confirmed", this.#confirmed);`, ""),
  ),
  broken(
    "an object reads the first page of its outbox alone",
    ["outbox"],
    edit(OBJECT, "isWhole: news.upto === news.head, news", "isWhole: true, news"),
  ),
  broken(
    "outbox entries are deleted before they are confirmed",
    ["outbox"],
    edit(OUTBOX, "AND o.seq <= upto;", "AND o.seq >= 0;"),
  ),
  broken(
    "the end of an API key is not told",
    ["api-keys"],
    edit(OUTBOX, "AFTER INSERT OR DELETE ON control.api_keys", "AFTER INSERT ON control.api_keys"),
  ),
  broken(
    "the end of a membership is not told",
    ["members"],
    edit(
      OUTBOX,
      "PERFORM control.tell(OLD.tenant_id, 'floor', OLD.user_id, COALESCE(newer, 9007199254740991), NULL);",
      "",
    ),
  ),
  broken(
    "the end of a session is not told",
    ["revocation"],
    edit(OUTBOX, "AND NEW.revoked_at IS NOT NULL AND", "AND false AND"),
  ),
  broken(
    "a user's token is good for one version too long",
    ["revocation"],
    edit(CREDENTIALS, "this.#floorOf(userId) <= version", "this.#floorOf(userId) <= version + 1"),
  ),
  broken(
    "a user's newest token is void as well",
    ["members"],
    edit(CREDENTIALS, "this.#floorOf(userId) <= version", "this.#floorOf(userId) < version"),
  ),
  broken(
    "a session's floor is not looked at",
    ["revocation"],
    edit(CREDENTIALS, "this.#floorOf(sessionId) === 0 && ", ""),
  ),
  broken(
    "an API key is good past its end",
    ["revocation"],
    edit(CREDENTIALS, "key && isLive(key, now) ? key : undefined", "key"),
  ),

  // The site: who the members are, and what the audit trail says of the control plane.
  broken(
    "a site applies an entry twice",
    ["site"],
    edit(RECEIVE, "WHERE e.seq > received ORDER BY", "WHERE e.seq > 0 ORDER BY"),
  ),
  broken(
    "a site passes over entries that are missing",
    ["site"],
    edit(RECEIVE, "received < first - 1 OR ", ""),
  ),
  broken(
    "a site does not count what it has received",
    ["site"],
    edit(
      RECEIVE,
      "UPDATE public.outbox_receipts r SET seq = upto",
      "UPDATE public.outbox_receipts r SET seq = 0",
    ),
  ),
  broken(
    "entries are deleted before the site has them",
    ["site"],
    edit("src/tenant/news.ts", "Math.min(confirmed, delivered)", "Math.max(confirmed, delivered)"),
  ),
  broken(
    "a courier does not come back to a site that was out of reach",
    ["site"],
    edit(COURIER, '    await this.#alarm.set("news", Date.now() + RETRY_MS);\n    this', "    this"),
    edit(COURIER, '      await this.#alarm.set("news", Date.now() + delay);\n', ""),
  ),
  broken(
    "a courier forgets in a restart that the site has more to hear",
    ["site"],
    edit(COURIER, `storage.kv.get<number>("delivered") ?? 0`, `storage.kv.get<number>("confirmed") ?? 0`),
  ),
  broken(
    "a change waits for its site, and fails with it",
    ["site"],
    edit(COURIER, "      if (this.#failures > 1) return;", "      throw error;"),
  ),
  broken(
    "who leaves is not told to the site",
    ["site"],
    edit(OUTBOX, "tell_of_member AFTER INSERT OR DELETE ON", "tell_of_member AFTER INSERT ON"),
  ),

  // The audit trail.
  broken(
    "an audit trigger is disabled",
    ["doctor", "audit"],
    migration("ALTER TABLE projects DISABLE TRIGGER audit_row"),
  ),
  broken(
    "the app role may write the audit trail",
    ["doctor", "audit"],
    edit(WALL, "WHERE (privilege = 'SELECT'\n", "WHERE (true\n"),
  ),
  broken(
    "a body says who acts",
    ["isolation"],
    edit(
      PRODUCT,
      "const NewProject = v.strictObject({\n",
      "const NewProject = v.strictObject({\n  created_by: v.optional(v.string()),\n",
    ),
  ),
  broken(
    "the audit trail takes the row's word for who acts",
    ["audit"],
    edit(
      SUPPORT_AT_SITES,
      "actor_id := pg_catalog.substr(context, 50, 36);",
      "actor_id := COALESCE(subject ->> 'created_by', pg_catalog.substr(context, 50, 36));",
    ),
  ),
  broken(
    "a context cleared in mid-statement hides the change",
    ["audit"],
    edit(SUPPORT_AT_SITES, " AND session_user NOT IN ('partywall_app', 'partywall_account')", ""),
  ),
  broken(
    "another tenant's context takes the change into its trail",
    ["audit"],
    edit(SUPPORT_AT_SITES, "(subject ->> 'tenant_id')::uuid <> tenant", "false"),
  ),
  broken(
    "in the control plane another tenant's context takes the change into its trail",
    ["audit"],
    edit(COMMIT, "END)::uuid <> tenant THEN", "END) IS NULL THEN"),
  ),
  broken(
    "the audit trail holds values",
    ["audit"],
    edit(SUPPORT_AT_SITES, "array_agg(key ORDER BY key) INTO", "array_agg(key || value ORDER BY key) INTO"),
  ),

  // Authority: what a request may do is what its credential says, and nothing outlives who granted it.
  broken(
    "an issuer speaks with an owner's rights",
    ["authority"],
    edit("src/identity/exchange.ts", `who.role === "owner" ? "admin" : who.role`, "who.role"),
  ),
  broken(
    "a cascade removes an owner",
    ["authority"],
    edit(TRIGGERS, "may_manage BEFORE INSERT OR UPDATE OR DELETE", "may_manage BEFORE INSERT OR UPDATE"),
  ),
  broken(
    "an invitation outlives its maker's authority",
    ["authority"],
    edit(TRIGGERS, "NOT control.manages(left_role, i.role);", "false;"),
  ),
  broken(
    "an issuer outlives its registrar's authority",
    ["authority"],
    edit(TRIGGERS, "NOT control.manages(left_role, 'admin');", "false;"),
  ),
  broken(
    "a key that an issuer's session made outlives the issuer",
    ["authority"],
    edit(TRIGGERS, "AND k.vouched_by = OLD.id;", "AND false;"),
  ),
  broken(
    "a role that was lowered still makes keys",
    ["api-keys"],
    edit("src/identity/acting.ts", " and a.role in ${atLeast(role)}", ""),
  ),
  broken(
    "a squatter keeps the session of an account that its mailbox takes over",
    ["invitations"],
    edit(ACROSS, "update sessions s set revoked_at = now()", "update sessions s set revoked_at = null"),
  ),
  broken(
    "a squatted account is let in without a password",
    ["invitations"],
    edit(ACROSS, "and ${isAccount} and u.email_verified_at is not null", "and ${isAccount}"),
  ),
  broken(
    "another tenant's later claim takes a tenant's newcomers",
    ["token-exchange"],
    edit("src/identity/trust.ts", "Number(one.claimed_at > other.claimed_at) -", "0 *"),
  ),
  broken(
    "later registrations of an issuer push out the earliest",
    ["token-exchange"],
    edit(ACROSS, "desc`, issuers.created_at,", "desc`, sql`${issuers.created_at} desc`,"),
  ),
  broken(
    "a tenant's context shows every account",
    ["doctor", "accounts"],
    migration("ALTER POLICY tenant_only ON control.users USING (true)"),
  ),
  broken(
    "a tenant's context shows every tenant",
    ["doctor", "accounts"],
    migration("ALTER POLICY tenant_only ON control.tenants USING (true)"),
  ),

  // Sites.
  broken(
    "a context of one site opens every other of its database",
    ["schema:sites"],
    edit("src/db/places.ts", "name: `site ${name}`", 'name: "site shared"'),
    edit("drizzle/lineage.ts", 'replaceAll("{site}", name)', 'replaceAll("{site}", "shared")'),
  ),
  broken(
    "a database's context key opens every other of its server",
    ["dedicated:sites"],
    edit("src/db/derived.ts", '"kid", of.database ?? ""', '"kid"'),
    edit("src/db/derived.ts", '"context key", of.database ?? ""', '"context key"'),
  ),
  broken(
    "a password that is refused is not tried with the next",
    ["dedicated:sites"],
    edit(CLIENT, 'if (sqlState(error) !== "28P01") throw error;', "if (error) throw error;"),
  ),
  broken(
    "the password that was right is not remembered",
    ["dedicated:sites"],
    edit(CLIENT, "else ahead.set(server, {", "else if (!server) ahead.set(server, {"),
  ),
  broken(
    "a tenant's object does not say where the content is",
    ["schema:sites"],
    edit(OBJECT, "...(this.#home && { home: this.#home })", ""),
  ),
  broken(
    "the control plane tells the shared site of every tenant",
    ["schema:site"],
    edit(COURIER, ", { home: await now(), findHome });", ");"),
  ),
  broken(
    "an answer tells where the site is",
    ["schema:sites"],
    edit(
      "src/lifecycle/operated.ts",
      "json_build_object('kind', ${sites.kind}, 'region', ${sites.region})",
      "to_json(${sites})",
    ),
  ),
  broken(
    "a tenant sees every site",
    DOCTOR,
    migration("ALTER POLICY tenant_only ON control.sites USING (true)"),
  ),

  // Operators in a tenant: only whom it lets in, only as far, and no longer.
  broken(
    "an operator asks where the tenant lets nobody in",
    LET_IN,
    edit(SUPPORT, "ELSIF known.support_access = 'off' THEN", "ELSIF false THEN"),
  ),
  broken(
    "an operator is in before an owner approves",
    LET_IN,
    edit(SUPPORT, "WHEN 'on' THEN 'active' ELSE 'asked' END;", "WHEN 'off' THEN 'asked' ELSE 'active' END;"),
  ),
  broken(
    "an operator of any role looks in",
    ["attacks-support"],
    edit(SUPPORT, "AND o.role IN ('support', 'admin') FOR SHARE", "FOR SHARE"),
  ),
  broken(
    "SQL of an admin's lets operators in",
    ["attacks-support"],
    edit(
      SUPPORT,
      "IS DISTINCT FROM 'owner' THEN\n\t\tRAISE EXCEPTION 'an owner lets operators in' USING ERRCODE = '42501', TABLE = 'tenants'",
      "IS NULL THEN\n\t\tRAISE EXCEPTION 'an owner lets operators in' USING ERRCODE = '42501', TABLE = 'tenants'",
    ),
  ),
  broken(
    "SQL of an admin's approves what an operator asked",
    ["attacks-support"],
    edit(
      SUPPORT,
      "IS DISTINCT FROM 'owner' THEN\n\t\tRAISE EXCEPTION 'an owner lets operators in' USING ERRCODE = '42501', TABLE = 'support_sessions'",
      "IS NULL THEN\n\t\tRAISE EXCEPTION 'an owner lets operators in' USING ERRCODE = '42501', TABLE = 'support_sessions'",
    ),
  ),
  broken(
    "support goes on where the tenant lets nobody in any more",
    LET_IN,
    edit(SUPPORT, "OR NEW.support_access = 'off'\n", "OR false\n"),
  ),
  broken(
    "support that no owner approved goes on where they are asked now",
    LET_IN,
    edit(SUPPORT, "AND s.started_at IS NOT NULL AND s.approved_by IS NULL);", "AND false);"),
  ),
  broken(
    "support outlives a suspension",
    LET_IN,
    edit(SUPPORT, "AND (NEW.status NOT IN ('active', 'read_only') OR", "AND (false OR"),
  ),
  broken(
    "support outlives the owner who approved it",
    LET_IN,
    edit(SUPPORT, "AND s.approved_by = OLD.user_id AND", "AND false AND"),
  ),
  broken(
    "support outlives the operator",
    LET_IN,
    edit(SUPPORT, "WHERE s.operator_id = OLD.id AND s.ended_at IS NULL AND", "WHERE false AND"),
  ),
  broken(
    "a tenant's object does not look whether its operators are still there",
    LET_IN,
    edit(OBJECT, "if (isSupport) await this.#catchUp();\n    else if (", "if ("),
  ),
  broken(
    "the token of an ended session of support goes on",
    LET_IN,
    edit(SUPPORT, "IF is_end AND NEW.started_at IS NOT NULL THEN", "IF false THEN"),
  ),
  broken(
    "what a tenant's object could not do is logged by the runtime too, and not as JSON",
    ["outage"],
    edit("src/tenant/object.ts", "tells ? work.catch(textOf) : work", "tells ? work : work"),
  ),
  broken(
    "owners are mailed of an operator again and again",
    ["owner-mails"],
    edit(
      TAKEN_MAILS,
      "UPDATE control.support_sessions s SET told = due.state FROM due",
      "UPDATE control.support_sessions s SET told = s.told FROM due",
    ),
  ),
  broken(
    "whoever has not confirmed an address is mailed what concerns owners",
    ["owner-mails"],
    edit(TO_OWNERS, " AND (u.email_verified_at IS NOT NULL OR u.issuer_id IS NOT NULL)\n", "\n"),
  ),
  broken(
    "admins are mailed what concerns owners",
    ["owner-mails"],
    edit(TO_OWNERS, " AND m.role = 'owner' AND", " AND"),
  ),
  broken(
    "owners do not hear that an operator is out whom something else has ended",
    ["owner-mails"],
    edit("src/lifecycle/sweep.ts", "() => mailSupportNews(null)", "async () => undefined"),
  ),
  broken(
    "owners are mailed of an old month's limit",
    ["owner-mails"],
    edit(TAKEN_MAILS, "t.created_at > pg_catalog.now() - interval '1 day' AND NOT EXISTS", "NOT EXISTS"),
  ),
  broken(
    "owners are mailed no more in a sweep once some of those due are no news",
    ["owner-mails"],
    edit(
      "src/identity/owner-mails.ts",
      "found = warnings.length;",
      "found = warnings.filter(({ owners }) => owners.length > 0).length;",
    ),
  ),
  broken(
    "a token outlives its session of support",
    LET_IN,
    edit(
      "src/identity/access-token.ts",
      "Math.min(Math.floor(until), now + ACCESS_TOKEN_TTL_S)",
      "now + ACCESS_TOKEN_TTL_S",
    ),
  ),
  broken(
    "an operator has the token of another's session of support",
    LET_IN,
    edit("src/identity/support.ts", "if (found.operator.id !== act.operator.id)", "if (false)"),
  ),
  broken(
    "a transaction of an operator who may read may write",
    ["attacks-support"],
    edit(CLIENT, 'actor.as !== "support" && (', 'actor.as !== "job" && ('),
  ),
  broken(
    "a site takes what an operator writes who may read",
    ["attacks-support"],
    edit(SUPPORT_AT_SITES, "ELSIF pg_catalog.left(context, 1) = 't' AND", "ELSIF false AND"),
  ),
  broken(
    "the control plane takes what an operator writes",
    ["attacks-support"],
    edit(SUPPORT, "IF pg_catalog.left(context, 1) IN ('t', 'w') AND", "IF false AND"),
  ),
  broken(
    "the audit trail takes an operator for a user",
    LET_IN,
    edit(SUPPORT_AT_SITES, "WHEN 'w' THEN 'support' ELSE 'user'", "ELSE 'user'"),
  ),

  // Moves: the fence, what an attempt may do, and what a request does that a fence refuses.
  broken(
    "a write does not take the tenant's lock",
    AT_FENCE,
    edit(CLIENT, ", pg_advisory_xact_lock_shared(hashtextextended(${lock}, 0))", ""),
  ),
  broken(
    "a role chooses what a write sees after the lock",
    AT_FENCE,
    edit(CLIENT, '    isolationLevel: "ReadCommitted",\n', ""),
  ),
  broken(
    "a write goes on when it is refused to have moved",
    AT_FENCE,
    edit(CLIENT, "(state !== MOVED && state !== OTHER_EPOCH)", "state !== HELD"),
  ),
  broken("contexts are remembered over a move", AT_FENCE, edit(CLIENT, "key.kid + epoch;", "key.kid;")),
  broken(
    "nobody finishes the move of a mover that died",
    AT_FENCE,
    edit(OBJECT, 'await commitMove(this.ctx.id.name ?? "", epoch);', ""),
  ),
  broken(
    "a tenant's writes are held for ever",
    AT_FENCE,
    edit(SUPPORT_AT_SITES, "fence.until > pg_catalog.statement_timestamp()", "true"),
  ),
  broken(
    "a place that is closed is read",
    AT_FENCE,
    edit(
      SUPPORT_AT_SITES,
      "ELSIF fence.mode = 'closed' THEN",
      "ELSIF fence.mode = 'closed' AND pg_catalog.current_setting('transaction_read_only') <> 'on' THEN",
    ),
  ),
  broken(
    "a fence takes contexts of any epoch",
    AT_FENCE,
    edit(SUPPORT_AT_SITES, "COALESCE(fence.epoch, 1) <> pg_catalog.substr(context, 87, 8)::integer", "false"),
  ),
  broken(
    "the control plane's news go to where a tenant was",
    AT_FENCE,
    edit(
      SUPPORT_AT_SITES,
      "ELSIF fence.mode = 'closed' THEN",
      "ELSIF fence.mode = 'closed' AND session_user <> 'partywall_account' THEN",
    ),
  ),
  broken(
    "a change that counts the version alone is not noted",
    AT_FENCE,
    edit(
      EXPORTS,
      "AND f.mode IN ('logged', 'frozen');\n\tIF NOT FOUND THEN",
      "AND f.mode IN ('logged', 'frozen');\n\tIF NOT FOUND OR TG_OP = 'UPDATE' AND pg_catalog.to_jsonb(OLD) - '{version,updated_at}'::text[] IS NOT DISTINCT FROM pg_catalog.to_jsonb(NEW) - '{version,updated_at}'::text[] THEN",
    ),
  ),
  broken(
    "a table's changes are not noted",
    DOCTOR,
    edit(
      WALL,
      "FROM tenant_tables, LATERAL (SELECT string_agg(quote_literal(attname)",
      "FROM (SELECT t FROM tenant_tables JOIN here ON oid = t WHERE relname <> 'counters') kept, LATERAL (SELECT string_agg(quote_literal(attname)",
    ),
  ),
  broken(
    "a fence is read before its lock is taken",
    OF_ATTEMPTS,
    edit(
      EXPORTS,
      "\tPERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('site {site} ' || of_tenant, 0));\n\tSELECT * INTO was FROM public.fences f WHERE f.tenant = of_tenant;\n",
      "\tSELECT * INTO was FROM public.fences f WHERE f.tenant = of_tenant;\n\tPERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('site {site} ' || of_tenant, 0));\n",
    ),
  ),
  broken(
    "an earlier attempt sets the fence",
    OF_ATTEMPTS,
    edit(EXPORTS, "IF was.token > own_token THEN", "IF false THEN"),
  ),
  broken(
    "an earlier attempt works on",
    OF_ATTEMPTS,
    edit(
      SUPPORT_AT_SITES,
      "IF fence.token = pg_catalog.substr(context, 87, 8)::bigint THEN",
      "IF fence.token > 0 THEN",
    ),
  ),
  broken(
    "a place is closed after its writes have gone on",
    OF_ATTEMPTS,
    edit(EXPORTS, "lapsed := was.mode = 'frozen' AND", "lapsed := false AND"),
  ),
  broken(
    "a fence is set by whoever says so",
    OF_ATTEMPTS,
    edit(
      EXPORTS,
      "IF public.current_tenant_id() IS NULL OR session_user <> 'partywall_mover' THEN",
      "IF false THEN",
    ),
  ),
  broken(
    "a change is forgotten that came after the row was read",
    OF_ATTEMPTS,
    edit(
      FENCE,
      "AND l.id = ANY (ids);",
      "AND l.key IN (SELECT o.key FROM public.change_log o WHERE o.id = ANY (ids));",
    ),
  ),
  broken(
    "a move that died is committed into a later one",
    OF_ATTEMPTS,
    edit(COMMIT, "AND j.epoch = of_epoch AND t.epoch = of_epoch;", "AND t.epoch = j.epoch;"),
  ),

  // Moves: the protocol.
  broken(
    "a move forgets changes that it has not read",
    MODEL,
    edit(COPY, "changes.flatMap(({ ids })", "(await source.changes(CHANGES_AT_ONCE)).flatMap(({ ids })"),
  ),
  broken(
    "a move leaves what was deleted",
    MODEL,
    edit(COPY, "await target.remove(table, gone.get(table) ?? [])", "[]"),
  ),
  broken(
    "a move does not try again what the target has refused",
    MODEL,
    edit(COPY, "[...(refused.get(table) ?? []), ...(kept.get(table) ?? [])]", "[]"),
  ),
  broken(
    "rows that have swapped a name stay in each other's way",
    MODEL,
    edit(COPY, "if (changes.length > 0 && left === changes.length) await", "if (changes.length < 0) await"),
  ),
  broken(
    "what is cleared out of the way takes its children along",
    MODEL,
    edit(COPY, "if (child) queue.push([", "if (child && !reference) queue.push(["),
  ),
  broken(
    "a move compares the first rows of a table alone",
    MODEL,
    edit(COPY, "if (here.upto === null) break;", "if (here.count >= 0) break;"),
  ),
  broken(
    "a move sends the tenant before its source is closed",
    MODEL,
    edit(
      MOVE,
      '\n  try {\n    await flip(of, source, "closed"',
      '\n  await control.commit();\n  try {\n    await flip(of, source, "closed"',
    ),
  ),
  broken(
    "a move sends the tenant before its last changes",
    MODEL,
    edit(
      MOVE,
      "  for (;;) {\n    if (around.now()",
      "  await control.commit();\n  for (;;) {\n    if (around.now()",
    ),
  ),
  broken(
    "a move brings the last changes once",
    MODEL,
    edit(MOVE, "if (read === 0) break;", "if (read >= 0) break;"),
  ),
  broken(
    "a move opens the target in the old epoch",
    MODEL,
    edit(MOVE, 'flip(of, target, "open", epoch + 1)', 'flip(of, target, "open", epoch)'),
  ),
  broken(
    "a move does not hold the tenant's writes",
    MODEL,
    edit(MOVE, 'flip(of, source, "frozen", epoch, HELD_MS)', 'flip(of, source, "logged", epoch)'),
  ),
  broken(
    "a move lets migrations run while it sends the tenant",
    MODEL,
    edit(MOVE, "holds.defer(release);", "await release();"),
  ),
  broken(
    "a move does not compare again after a migration",
    MODEL,
    edit(MOVE, 'fingerprint !== fingerprint) return "changed";', 'fingerprint === "") return "changed";'),
  ),
  broken(
    "a move is given up, and an earlier attempt closes the source",
    MODEL,
    edit(MOVE, "if (!(await startLogging(of))) {\n    await", "if (epoch < 0) {\n    await"),
    edit(
      MOVE,
      '  await flip(of, source, "open", epoch);\n  await flip(of, target, "loading"',
      '  await flip(of, target, "loading"',
    ),
  ),
  broken(
    "a move is given up before its source is fenced",
    MODEL,
    edit(
      MOVE,
      "if (!(await startLogging(of))) {\n    await",
      'await control.finish("abandoned");\n  if (!(await startLogging(of))) {\n    await',
    ),
  ),
  broken(
    "a move that has fenced nothing cannot be given up",
    MODEL,
    edit(
      MOVE,
      "if (!(await startLogging(of))) {\n    await",
      'const isOpen = await flip(of, source, "open", epoch).catch(() => undefined);\n  if (isOpen === undefined) {\n    await',
    ),
  ),
  broken(
    "a move takes a source that is closed for a failure",
    MODEL,
    edit(MOVE, "if (stateOf(error) === CANNOT_FOLLOW) return false;", ""),
  ),

  // A tenant's life.
  broken(
    "an export reads rows as they are, not as they were",
    OF_ATTEMPTS,
    edit(
      "src/lifecycle/rows.ts",
      "where ${range.sql} and ${keyTexts(table)} not in (select key from logged)",
      "where ${range.sql}",
    ),
  ),
  broken(
    "an export keeps a row as it was before its last change",
    OF_ATTEMPTS,
    edit(
      EXPORTS,
      "was_key, public.image_of(OLD) WHERE NOT EXISTS (SELECT FROM public.change_log l\n\t\t\t\tWHERE l.tenant = of_tenant AND l.table_name = TG_TABLE_NAME AND l.key = was_key);",
      "was_key, public.image_of(OLD);",
    ),
  ),
  broken(
    "a move after an export notes each row once",
    OF_ATTEMPTS,
    edit(EXPORTS, "until = excluded.until, exported_by = NULL;", "until = excluded.until;"),
  ),
  broken(
    "an archive is given out after its time",
    ["exports"],
    edit("src/lifecycle/exports.ts", "gt(jobs.kept_until, sql`now()`)", "isNotNull(jobs.kept_until)"),
    edit("src/lifecycle/exports.ts", "gt, isNull, or, sql", "gt, isNotNull, isNull, or, sql"),
  ),
  broken(
    "a job's page is sorted from all the rows that follow, without statistics of them",
    OF_ATTEMPTS,
    edit(ROLES, "SET enable_sort = off", "SET enable_sort = on"),
  ),
  broken(
    "a row is loaded before the row of its own table that it refers to",
    OF_ATTEMPTS,
    edit("drizzle/moves/copy.ts", "await (isTree ? loading : before)", "await before"),
  ),
  broken(
    "an export whose tenant was erased meanwhile leaves its archive",
    ["exports"],
    edit("src/lifecycle/export.ts", 'if (outcome !== "done") await', 'if (outcome === "failed") await'),
  ),
  broken(
    "an export keeps the isolate to itself while it compresses",
    ["exports"],
    edit("src/lifecycle/steps.ts", "    await scheduler.wait(1);\n", ""),
  ),
  broken(
    "an import that is refused takes the tenant's rows along",
    ["imports"],
    edit(
      "src/lifecycle/import.ts",
      "  // What is there is only the import's if the tenant was empty before.\n  if (claim.progress.isLoading) ",
      "  ",
    ),
  ),
  broken(
    "an import believes the archive",
    ["imports"],
    edit(
      "src/lifecycle/import.ts",
      "if (sum.sha256 !== said?.sha256 || sum.rows !== said.rows)",
      "if (sum.rows !== said?.rows)",
    ),
  ),
  broken(
    "an import puts rows where they say",
    ["imports"],
    edit(
      "src/lifecycle/rows.ts",
      "select (select current_tenant_id()), ",
      "select coalesce(r.tenant_id, current_tenant_id()), ",
    ),
  ),
  broken(
    "a tenant that its owner has just restored is erased",
    ["erasures"],
    edit("src/lifecycle/closing.ts", 'erase(id, "time")', "erase(id, CAME_BACK)"),
  ),
  broken(
    "an erasure does not know what a restore under way has kept",
    ["erasures"],
    edit(
      "drizzle/control/0008_lifecycle_functions.sql",
      "j.kind = 'restore')",
      "j.kind = 'restore' AND j.kept_until IS NOT NULL)",
    ),
  ),
  broken(
    "an import that was opened is taken back",
    ["imports"],
    edit("src/lifecycle/import.ts", "if (claim.progress.isLoaded) return", "if (false) return"),
  ),
  broken(
    "an erasure leaves the people of the tenant",
    ["erasures"],
    edit(USAGE, "\tDELETE FROM control.users WHERE id = ANY (people);\n", ""),
  ),
  broken(
    "an erasure takes people who are in another tenant too",
    ["erasures"],
    edit(USAGE, "WHERE m.user_id = p AND m.tenant_id <> tenant));", "WHERE false));"),
  ),
  broken(
    "an erasure leaves what the tenant's object keeps",
    ["erasures"],
    edit(OBJECT, "    await this.ctx.storage.deleteAll();\n", ""),
    edit("src/lifecycle/erasure.ts", "  if (!(await tenantObject(tenant).isEmpty()))", "  if (false)"),
  ),
  broken(
    "an erasure leaves rows in the change log",
    ["erasures"],
    edit("src/lifecycle/erasure.ts", '    await flipping(() => site.setFence("open", 0));\n', ""),
    edit(
      "src/lifecycle/erasure.ts",
      "      await step(`check ${place.name}`, () => check(place, claim));\n",
      "",
    ),
  ),
  broken(
    "who came back from a backup stays",
    ["erasures"],
    edit("src/lifecycle/sweep.ts", "  await eraseWhoCameBack(now);\n  await attempt", "  await attempt"),
  ),
  broken(
    "the grace period can be cut short",
    ["erasures"],
    edit(LIVES, "OR by_whom = 'time' AND OLD.closes_at > pg_catalog.now()", ""),
    edit(ACROSS, "status = 'closing' and closes_at <= now() order by", "status = 'closing' order by"),
  ),
  broken(
    "a suspended tenant's owner brings it back by its closing",
    ["closing"],
    edit(
      "src/db/edge-record.ts",
      "case when t.restores_to = 'suspended' then 'suspended' else t.status end",
      "t.status",
    ),
  ),
  broken(
    "a tenant that closes is read by its members",
    ["closing"],
    edit("src/tenant-states.ts", 'admits: ["leave"],', 'admits: ["read", "leave"],'),
  ),
  broken(
    "a status follows any other",
    ["closing"],
    edit(LIVES, "IF NOT control.may_follow(OLD.status, NEW.status, by_whom)", "IF false"),
  ),
  broken(
    "the audit trail is kept for ever",
    ["retention"],
    edit(
      "src/lifecycle/retention.ts",
      'const before = days === null ? "-infinity"',
      'const before = days !== 0 ? "-infinity"',
    ),
  ),

  // People: addresses, passwords, second factors.
  broken(
    "a reset takes an account that nobody has confirmed",
    ["addresses"],
    edit(
      ACCOUNT_FUNCTIONS,
      "AND u.email = l.email AND u.email_verified_at IS NOT NULL;",
      "AND u.email = l.email;",
    ),
  ),
  broken(
    "a reset leaves the sessions alive",
    ["addresses"],
    edit(
      ACCOUNT_FUNCTIONS,
      "\t\tPERFORM control.end_sessions(l.user_id, NULL);\n\t\tPERFORM control.end_pending(l.user_id);\n\tELSE",
      "\t\tPERFORM control.end_pending(l.user_id);\n\tELSE",
    ),
  ),
  broken(
    "a changed password leaves what was begun with the old one",
    ["addresses"],
    edit(
      ACCOUNT_FUNCTIONS,
      "\tPERFORM control.end_sessions(person, session);\n\tPERFORM control.end_pending(person);",
      "\tPERFORM control.end_sessions(person, session);",
    ),
  ),
  broken(
    "a link works again",
    ["addresses"],
    edit(
      ACCOUNT_FUNCTIONS,
      "\tDELETE FROM control.mailed_links l WHERE l.id = link;\n\tRETURN FOUND;",
      "\tRETURN true;",
    ),
  ),
  broken(
    "a link never expires",
    ["addresses"],
    edit(
      ACCOUNT_FUNCTIONS,
      "AND l.token_hash = hash AND l.expires_at > pg_catalog.now()",
      "AND l.token_hash = hash",
    ),
  ),
  broken(
    "an undone change keeps the factors that were added since, and later links",
    ["addresses"],
    edit(
      ACCOUNT_FUNCTIONS,
      "\tDELETE FROM control.mailed_links v WHERE v.user_id = l.user_id AND v.created_at >= l.created_at;\n",
      "",
    ),
  ),
  broken(
    "an account that is not confirmed invites people",
    ["addresses"],
    edit("src/identity/invitations.ts", 'settings.UNVERIFIED_MAY === "invite"', "true"),
  ),
  broken(
    "a common password is taken",
    ["addresses"],
    edit("src/identity/account.ts", "if (isCommon(password))", "if (password === email)"),
  ),
  broken(
    "the end of an account leaves its name at the site",
    ["addresses"],
    edit(ACCOUNT_FUNCTIONS, `actor || '{"forget": true}'`, "actor"),
  ),
  broken(
    "a sign-in passes the second factor by",
    ["factors"],
    edit(
      ACROSS,
      "(requires or has_factor) and not coalesce('mfa' = any (amr), false) as is_asked",
      "false as is_asked",
    ),
  ),
  broken(
    "a sign-up that adds a tenant passes the second factor by",
    ["factors"],
    edit(ACROSS, "from t, u, m where not ${hasFactor}", "from t, u, m"),
    edit(ACROSS, "case when ${hasFactor} then ${factorsOf(sql`u.id`)} end as factors", "null as factors"),
  ),
  broken(
    "an invitation passes the second factor by",
    ["factors"],
    edit(
      ACROSS,
      "const isAsked = sql`(t.require_second_factor or ${hasFactor})`;",
      "const isAsked = sql`false`;",
    ),
  ),
  broken(
    "a code works twice",
    ["factors"],
    edit(ACCOUNTS, " and (last_step is null or last_step < ${step})", ""),
  ),
  broken(
    "a passkey's counter may go back",
    ["factors"],
    edit("src/identity/factor-proof.ts", "counter };\n  const used", "counter: 0 };\n  const used"),
    edit(ACCOUNTS, " and (counter < ${counter} or counter = 0 and ${counter} = 0)", ""),
  ),
  broken(
    "a challenge is tried for ever",
    ["factors"],
    edit(ACCOUNTS, " and c.attempts < ${MAX_ATTEMPTS}", ""),
  ),
  broken(
    "a second factor is guessed at for ever",
    ["factors"],
    edit(FACTORS, "  refuseLocked(asked);\n", ""),
  ),
  broken(
    "a passkey alone need not verify its holder",
    ["factors"],
    edit(
      FACTORS,
      "await proveByPasskey(passkey, response, id, true)",
      "await proveByPasskey(passkey, response, id, false)",
    ),
  ),
  broken(
    "whoever has a second factor steps up with the password",
    ["factors"],
    edit(
      ACCOUNTS,
      "\n          and not exists (select from factors f where f.user_id = w.id and f.confirmed_at is not null)",
      "",
    ),
    edit(
      FACTORS,
      "if (proof.password !== undefined && account.factors",
      "if (account.factors.length > 99 && account.factors",
    ),
  ),
  broken(
    "an address is confirmed with somebody else's password",
    ["addresses"],
    edit(ACCOUNTS, "sql`coalesce(u.password_hash in ${old}, false)`", "sql`true`"),
  ),
  broken(
    "a sign-up is confirmed with somebody else's password",
    ["addresses"],
    edit(ACCOUNTS, "l.data ->> 'password' in ${old} as is_theirs", "true as is_theirs"),
  ),
  broken(
    "a confirmation does not wait for a reset of the same account",
    ["hostile-sequences"],
    edit(
      ACCOUNTS,
      'sql`select from users u where u.id = (select l.user_id from mailed_links l where ${isGood("verification", link)})\n      for no key update`',
      "sql`select`",
    ),
  ),
  broken(
    "recovery codes that are renewed twice at once are twenty",
    ["hostile-sequences"],
    edit(
      ACCOUNTS,
      "export const renewCodes = (self: Self, codes: readonly Uint8Array[]) =>\n  runInTurn(\n    self.userId,",
      "export const renewCodes = (self: Self, codes: readonly Uint8Array[]) =>\n  runInTurn(\n    crypto.randomUUID(),",
    ),
  ),
  broken(
    "what Postgres ends for a deadlock is not done again",
    ["hostile-sequences"],
    edit("src/db/client.ts", "    if (sqlState(error) === DEADLOCK) return ask();\n", ""),
  ),
  broken(
    "passwords are hashed cheaply where anybody may guess",
    ["settings"],
    edit("src/settings.ts", "isReserved(ISSUER) || PASSWORD", "true || PASSWORD"),
  ),
  broken(
    "a passkey's challenge ends with a rotation of keys",
    ["factors"],
    edit(
      "src/identity/opaque-token.ts",
      "settings.OPAQUE_TOKEN_KEYS.map((key)",
      "settings.OPAQUE_TOKEN_KEYS.slice(0, 1).map((key)",
    ),
  ),
  broken(
    "a stolen token does what takes a recent proof",
    ["factors"],
    edit("src/caller.ts", "Date.now() / 1000 - authTime <= RECENT_S", "authTime >= 0"),
  ),
  broken(
    "an owner resets the factors of a member of other tenants",
    ["factors"],
    edit(ACCOUNTS, "where ${may} and ${isAlone} and ${theirs}", "where ${may} and ${theirs}"),
  ),
  broken(
    "a retired pepper's password is never kept by the new one",
    ["peppers"],
    edit(ACROSS, "others.length > 0", "others.length > 9"),
  ),

  // Usage.
  broken(
    "usage: what an isolate has noted is sent again",
    ["usage"],
    edit("src/tenant/usage-notes.ts", "  known.past = [];\n", ""),
  ),
  broken(
    "usage: a refused request counts as admitted",
    ["usage"],
    edit(OBJECT, "} else refusals += 1;", "} else requests += 1;"),
  ),
  broken(
    "usage: a flush is added to what Postgres has",
    ["usage"],
    edit(
      USAGE,
      "ON CONFLICT (tenant_id, day) DO UPDATE SET\n\t\trequests = excluded.requests",
      "ON CONFLICT (tenant_id, day) DO UPDATE SET\n\t\trequests = u.requests + excluded.requests",
    ),
  ),
  broken(
    "usage: a late flush takes the place of a later one",
    ["usage"],
    edit(
      USAGE,
      "\t\tWHERE u.seq < excluded.seq;\n\tINSERT INTO control.usage_hours",
      ";\n\tINSERT INTO control.usage_hours",
    ),
  ),
  broken(
    "usage: an hour's last requests are not stored with it",
    ["usage-core"],
    edit(
      "src/tenant/usage.ts",
      "      period.isNew = true;\n      grow(counts, REQUESTS",
      "      grow(counts, REQUESTS",
    ),
  ),
  broken(
    "usage: the key of Neon's API goes to whoever an answer redirects to",
    ["neon-cost"],
    edit("src/small-json.ts", 'redirect: "manual"', 'redirect: "follow"'),
  ),
  broken(
    "usage: the key of Neon's API goes to any host that NEON_API_URL names",
    ["settings"],
    edit(
      "src/settings.ts",
      "/^(http:\\/\\/(127\\.0\\.0\\.1|localhost)(:\\d+)?)?$/",
      "/^(https?:\\/\\/.+)?$/",
    ),
  ),
  broken(
    "usage: a tenant pays for the others in its Neon project",
    ["neon-cost"],
    edit("src/usage/tenant-cost.ts", '  if (!is_alone) return "several_tenants";\n', ""),
  ),
  broken(
    "usage: what a tenant cost before Neon's figures begin is left out",
    ["neon-cost"],
    edit("src/usage/tenant-cost.ts", "figures: told.figures, before }", "figures: told.figures }"),
  ),
  broken(
    "usage: every login reads which Neon project a site is in",
    ["neon-cost"],
    edit(
      WALL,
      "host, database, secret, generation, region)",
      "host, database, secret, generation, region, neon_project)",
    ),
  ),
  broken(
    "console: the page runs whatever script somebody gets into it",
    ["console"],
    edit("src/edge/scripted-page.ts", "script-src 'nonce-${nonce}'", "script-src 'unsafe-inline'"),
  ),
  broken(
    "console: a file of another page is served, for whoever finds its path",
    ["console"],
    edit("src/console/routes.ts", 'v.picklist(["console.css", "console.js", "uplot.js"])', "v.string()"),
  ),
  broken(
    "openapi: the operators' routes are in everybody's document",
    ["http"],
    edit("src/openapi/audience.ts", '(tag === OPERATORS) === (audience === "operators")', "true"),
  ),
  broken(
    "openapi: an example does not fit its schema",
    ["http"],
    edit("src/openapi/examples.ts", 'uuid: "01976f2e-6a4b-7cc3-9a31-5d2f8b1e0c47"', 'uuid: "1"'),
  ),
  broken(
    "console: the operator's token is kept beyond the page",
    ["node:console.node"],
    edit(
      "src/console/client/api.client.js",
      "  session = {\n",
      "  sessionStorage.token = answer.access_token;\n  session = {\n",
    ),
  ),
  broken(
    "console: a tenant is closed though its slug was not typed",
    ["node:console.node"],
    edit("src/console/client/dialog.client.js", 'given["typed"] === typed', "true"),
  ),
  broken(
    "limits: an operator who looks at a tenant's limits uses them",
    ["operator-limits"],
    edit(
      OBJECT,
      "return this.#record ? this.#ledger.standings(this.#policies, Date.now()) : null;",
      "if (this.#record) this.#ledger.decide(this.#policies, 1, Date.now());\n    return this.#record ? this.#ledger.standings(this.#policies, Date.now()) : null;",
    ),
  ),
  broken(
    "endpoint: its package starts TypeScript, which Node takes from no package",
    ["node:offline-neon.node"],
    edit("drizzle/local/stack.ts", "`main${extname(import.meta.filename)}`", '"main.ts"'),
  ),
];
