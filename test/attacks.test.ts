import { attack, denied, describeAttacks, MISSING, OWN, raise } from "./support/attacks.ts";

// SQL that reaches for the rows themselves.
describeAttacks({
  statistics: [
    attack(
      "pg_stats of a tenant table",
      "select most_common_vals from pg_stats where tablename in ('projects', 'tasks', 'members')",
      [],
      {
        ownerSees: () => [
          // Twice, so that the name is a common value.
          "insert into projects (id, name) select gen_random_uuid(), name from projects",
          "alter table projects no force row level security",
          "analyze projects (name)",
          raise(
            "(select most_common_vals::text from pg_stats where tablename = 'projects' and attname = 'name')",
          ),
        ],
      },
    ),
    denied("select * from pg_statistic", "superuser"),
    denied("select * from pg_statistic_ext_data", "superuser"),
    attack("pg_stats_ext", "select * from pg_stats_ext where schemaname = 'public'", [], "closed"),
    denied("create statistics public.loot on name, status from projects", "owner"),
    denied("alter table projects alter name set statistics 10000", "owner"),
    denied("select pg_stat_reset()", "superuser"),
    denied("select pg_clear_relation_stats('public', 'projects')", "owner"),
  ],

  "leaky quals and casts": [
    attack("a cast in a predicate", "select name from projects where name::int = 42", OWN, "reads"),
    attack(
      "a cast aimed at the target",
      (t) => `select name from projects where tenant_id = '${t.tenant}' and name::int = 0`,
      [],
      "reads",
    ),
    attack(
      "a cast before the tenant",
      "select name from projects where name::int = 42 or false",
      OWN,
      "reads",
    ),
    attack("a cast in the output", "select name::numeric as n from projects", [{ n: "42" }], "reads"),
    attack("a cast to regclass", "select name::regclass as n from projects", "42P01", "reads"),
    attack("a cast to jsonb", "select name::jsonb as n from projects", [{ n: 42 }], "differs"),
    attack("a cast to an array", "select ('{' || name || '}')::int[] as n from projects", "own", "reads"),
    attack("an order by", "select name from projects order by name::int", OWN, "reads"),
    attack("a group by", "select count(*) from projects group by name::int", [{ count: "1" }], "reads"),
    attack(
      "an aggregate's filter",
      "select count(*) filter (where name::int > 0) from projects",
      "own",
      "reads",
    ),
    attack(
      "a join condition",
      "select a.name from projects a join tasks b on a.name::int = b.title::int",
      OWN,
      "reads",
    ),
    attack(
      "a lateral join",
      "select x.n from projects p, lateral (select p.name::int as n) x",
      [{ n: 42 }],
      "reads",
    ),
    attack("a window", "select sum(name::int) over () as n from projects", [{ n: "42" }], "reads"),
    attack(
      "a division by zero that only the target's row brings about",
      (t) => `select 1 / (length(name) - ${t.marker.length}) as n from projects`,
      [{ n: 0 }],
      "differs",
    ),
    attack(
      "a pattern made of the row",
      "select '42' ~ ('[' || name || ']') as n from projects",
      [{ n: true }],
      "differs",
    ),
    attack(
      "a function that reports its argument",
      "select name from projects where set_config('loot.name', name, true) is not null",
      OWN,
      "reads",
    ),
    attack(
      "what that function kept",
      [
        "select count(*) from projects where set_config('loot.name', name, true) is null",
        "select current_setting('loot.name') as name",
      ],
      OWN,
      "reads",
    ),
    attack(
      "a cast in RETURNING",
      (t) => `update projects set status = status where id = '${t.project}' returning name::int`,
      [],
      "reads",
    ),
    attack(
      "full-text statistics of the rows",
      "select word from ts_stat('select to_tsvector(''simple'', name) from projects')",
      [{ word: "42" }],
      "differs",
    ),
    attack(
      "a recursive query",
      "with recursive r as (select name from projects union select name from r) select * from r",
      OWN,
      "reads",
    ),
  ],

  "constraints as oracles": [
    attack(
      "an id that the target has",
      (t) => [
        `insert into projects (id, name) values ('${t.project}', '42') returning id`,
        `delete from projects where id = '${t.project}' returning name`,
      ],
      OWN,
      "differs",
    ),
    attack(
      "a task id that the target has",
      (t) => [
        `insert into tasks (id, project_id, title) select '${t.task}', id, '42' from projects limit 1 returning id`,
        `delete from tasks where id = '${t.task}' returning title as name`,
      ],
      OWN,
      "differs",
    ),
    attack(
      "one's own id changed to the target's",
      (t) => [
        "delete from tasks",
        "insert into projects (id, name) values (gen_random_uuid(), '42')",
        `update projects set id = '${t.project}' where id = (select id from projects order by created_at desc, id limit 1)`,
        `delete from projects where id = '${t.project}' returning name`,
      ],
      OWN,
      "differs",
    ),
    attack(
      "a reference to the target's project",
      (t) =>
        `insert into tasks (id, project_id, title) values (gen_random_uuid(), '${t.project}', 'x') returning title`,
      "23503",
      "differs",
    ),
    attack(
      "a task moved to the target's project",
      (t) => `update tasks set project_id = '${t.project}' returning title`,
      "23503",
      "differs",
    ),
    attack(
      "a task assigned to the target's user",
      (t) => `update tasks set assignee_id = '${t.actor}' returning title`,
      "23503",
      "differs",
    ),
    attack(
      "a row for the target that breaks a CHECK too",
      (t) =>
        `insert into projects (tenant_id, id, name, status) values ('${t.tenant}', '${t.project}', 'x', 'x')`,
      "42501",
      "differs",
    ),
    attack(
      "a row for the target without what is NOT NULL",
      (t) => `insert into projects (tenant_id, id) values ('${t.tenant}', '${t.project}')`,
      "42501",
      "differs",
    ),
    attack(
      "a delete that would cascade to the target's tasks",
      (t) => [
        `insert into projects (id, name) select '${t.project}', '42' where not exists (select from projects where id = '${t.project}')`,
        `delete from projects where id = '${t.project}'`,
        `select count(*) from tasks where project_id = '${t.project}'`,
      ],
      [{ count: "0" }],
      "writes",
    ),
    attack(
      "constraints put off",
      (t) => [
        "set constraints all deferred",
        `insert into tasks (id, project_id, title) values (gen_random_uuid(), '${t.project}', 'x') returning title`,
      ],
      "23503",
      "differs",
    ),
    attack(
      "a row given away",
      (t) => `update projects set tenant_id = '${t.tenant}' returning name`,
      "42501",
      "reads",
    ),
    attack(
      "a task given away",
      (t) => `update tasks set tenant_id = '${t.tenant}', project_id = '${t.project}' returning title`,
      "42501",
      "reads",
    ),
    attack(
      "the target's row changed",
      (t) => `update projects set name = 'x' where id = '${t.project}'`,
      [],
      "writes",
    ),
    attack("the target's row deleted", (t) => `delete from projects where id = '${t.project}'`, [], "writes"),
    attack(
      "the target's row deleted by a join",
      (t) =>
        `delete from tasks using projects where projects.id = '${t.project}' and tasks.tenant_id = projects.tenant_id`,
      [],
      "writes",
    ),
    denied("truncate tasks", "owner"),
    denied("alter table tasks drop constraint status_known", "owner"),
  ],

  COPY: [
    attack("COPY TO the client", "copy projects to stdout", "0A000", "closed"),
    attack("COPY of a query", "copy (select * from tasks) to stdout", "0A000", "closed"),
    attack("COPY FROM the client", "copy projects from stdin", "0A000", "closed"),
    attack("COPY in a DO block", "do $$ begin copy projects to stdout; end $$", "0A000", "closed"),
    denied("copy projects to '/tmp/loot'", "superuser"),
    denied("copy projects from '/etc/passwd'", "superuser"),
    denied("copy projects to program 'cat'", "superuser"),
    denied("copy control.users to stdout", "superuser"),
    attack("what COPY would have read", "select name from projects", OWN, "reads"),
  ],

  cursors: [
    attack(
      "a cursor",
      ["declare c scroll cursor for select name from projects", "move last in c", "fetch absolute 1 from c"],
      OWN,
      "reads",
    ),
    attack(
      "a cursor that outlives its transaction",
      ["declare c cursor with hold for select name from projects", "fetch all from c"],
      OWN,
      "reads",
    ),
    attack(
      "a write where a cursor stands",
      (t) => [
        `declare c cursor for select * from projects where id = '${t.project}' for update`,
        "fetch next from c",
        "update projects set name = 'x' where current of c returning name",
      ],
      "24000",
      "writes",
    ),
    attack(
      "a cursor of a DO block",
      [
        `do $$ declare c refcursor := 'loot'; begin open c for execute 'select name from projects'; end $$`,
        "fetch all from loot",
      ],
      OWN,
      "reads",
    ),
    attack(
      "cursor_to_xml",
      [
        "declare c cursor for select name from projects",
        "select cursor_to_xml('c', 100, true, false, '') as x",
      ],
      "own",
      "reads",
    ),
  ],

  "DO blocks": [
    attack(
      "an exception that tells what it sees",
      raise("(select string_agg(name, ' ') from public.projects)"),
      "PW001",
      "reads",
    ),
    attack(
      "dynamic SQL",
      `do $$ declare seen text; begin
         execute 'select string_agg(title, '' '') from tasks' into seen;
         raise exception using errcode = 'PW001', message = seen; end $$`,
      "PW001",
      "reads",
    ),
    attack(
      "the details of a caught error",
      `do $$ declare said text; begin
         begin perform name::int from projects; raise exception 'none' using errcode = 'PW001';
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
           select string_agg(name, ' ') into seen from projects;
           exit when seen is not null;
         exception when sqlstate '28000' then null; end; end loop;
         raise exception using errcode = 'PW001', message = coalesce(seen, 'nothing'); end $$`,
      "PW001",
      "reads",
    ),
    attack("a commit within", "do $$ begin commit; end $$", "2D000", "closed"),
    attack("a write", (t) => `do $$ begin delete from tasks where id = '${t.task}'; end $$`, [], "writes"),
    denied("do language c $$ $$", "superuser"),
    denied("create extension dblink", "superuser"),
  ],

  "ON CONFLICT": [
    attack(
      "an upsert onto the target's row",
      (t) => `insert into projects (tenant_id, id, name) values ('${t.tenant}', '${t.project}', 'x')
        on conflict (tenant_id, id) do update set name = 'x' returning projects.description`,
      "42501",
      "reads",
    ),
    attack(
      "the same, keeping the row",
      (t) => `insert into projects (tenant_id, id, name) values ('${t.tenant}', '${t.project}', 'x')
        on conflict (tenant_id, id) do update set name = projects.name returning name`,
      "42501",
      "reads",
    ),
    attack(
      "DO NOTHING, to ask whether a row is there",
      (t) =>
        `insert into projects (tenant_id, id, name) values ('${t.tenant}', '${t.project}', 'x') on conflict do nothing`,
      "42501",
      "differs",
    ),
    attack(
      "a predicate over the row in the way",
      (t) => `insert into projects (tenant_id, id, name) values ('${t.tenant}', '${t.project}', 'x')
        on conflict (tenant_id, id) do update set name = 'x' where projects.name::int = 0`,
      "42501",
      "reads",
    ),
    attack(
      "the target's id under one's own tenant",
      (t) => [
        `insert into projects (id, name) values ('${t.project}', '42')
         on conflict (tenant_id, id) do update set name = projects.name returning name`,
        `delete from projects where id = '${t.project}' returning name`,
      ],
      OWN,
      "reads",
    ),
    attack(
      "one's own row given away by DO UPDATE",
      (t) => `insert into projects (id, name) select id, name from projects
        on conflict (tenant_id, id) do update set tenant_id = '${t.tenant}' returning name`,
      "42501",
      "reads",
    ),
  ],

  MERGE: [
    attack(
      "matched, then updated",
      (t) => `merge into projects p using (select '${t.project}'::uuid as id) s on p.id = s.id
        when matched then update set name = 'x' returning p.description`,
      [],
      "reads",
    ),
    attack(
      "matched, then deleted",
      (t) =>
        `merge into tasks p using (select '${t.task}'::uuid as id) s on p.id = s.id when matched then delete`,
      [],
      "writes",
    ),
    attack(
      "not matched, then inserted for the target",
      (t) => `merge into projects p using (select '${MISSING}'::uuid as id) s on p.id = s.id
        when not matched then insert (tenant_id, id, name) values ('${t.tenant}', s.id, 'x')`,
      "42501",
      "writes",
    ),
    attack(
      "given away",
      (t) => `merge into projects p using (select 1) s on true
        when matched then update set tenant_id = '${t.tenant}' returning p.name`,
      "42501",
      "reads",
    ),
    attack(
      "not matched by source, then deleted",
      (t) => `merge into tasks p using (select '${MISSING}'::uuid as id) s on p.id = s.id
        when not matched by source and p.tenant_id = '${t.tenant}' then delete returning p.title`,
      [],
      "reads",
    ),
    attack(
      "a source that reads the target",
      (
        t,
      ) => `merge into projects p using (select * from projects where tenant_id = '${t.tenant}') s on p.id <> s.id or true
        when matched then update set description = s.name returning s.name`,
      [],
      "reads",
    ),
  ],
});
