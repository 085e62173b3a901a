import type { Client } from "pg";

/** How many tenants there are. */
export const TENANTS = 10_000;
/** Those loaded first: from the largest to the smallest, the median one among them. */
const FIRST = [1, 10, 100, 500, 1_000, 2_500, 5_000, 7_500, 9_000, TENANTS];
/** Tenants that are measured, by their rank in size. */
const MEASURED = { smallest: TENANTS, median: TENANTS / 2, small: 2_500, largest: 1 };
const SAMPLE = 500;

export type Size = keyof typeof MEASURED;

/** A tenant, one of its projects, and a random sample of its tasks. */
export type Tenant = {
  size: Size;
  rows: number;
  tenant: string;
  actor: string;
  project: string;
  ids: string[];
};

/**
 * Plans tenants with so many rows in all, as a superuser: the first has a fifth, the one of rank r a share of
 * 1 / (r + 2)^1.2 of the rest, and each at least a project and two tasks. Of 5 million rows that is a million for the
 * largest, and about a hundred for the small one.
 */
export async function planTenants(superuser: Client, rows: number): Promise<void> {
  await superuser.query(
    `create schema bench;
     select setseed(0.5);
     create table bench.tenants as
       select rank, uuidv7() as tenant_id, uuidv7() as user_id, rows - projects as tasks, projects
       from (select rank, rows, ceil(rows / 50.0)::int as projects
         from (select 1 as rank, ${rows} / 5 as rows
           union all
           select rank, greatest(3, round(${rows} * 0.8 * share / sum(share) over ()))::int
           from (select rank, power(rank + 2, -1.2) as share from generate_series(2, ${TENANTS}) as rank)));
     create table bench.loaded (rank int primary key)`,
  );
}

/** Loads the first ten tenants. */
export function loadFirst(superuser: Client): Promise<void> {
  return load(superuser, `rank in (${FIRST.join()})`);
}

/** Loads all tenants that are not there. */
export function loadRest(superuser: Client): Promise<void> {
  return load(superuser, "rank not in (select rank from bench.loaded)");
}

/** Rows of different tenants lie side by side, in the order of their creation, as in a database that has grown. */
async function load(superuser: Client, which: string): Promise<void> {
  const loading = `(select * from bench.tenants where ${which})`;
  const rebuild = await dropIndexes(superuser);
  // Triggers sleep meanwhile; what they would check of the foreign keys is so by construction.
  await superuser.query(
    `set session_replication_role = replica;
     set work_mem = '256MB';
     set maintenance_work_mem = '256MB';
     insert into control.tenants (id, slug, name, plan)
       select tenant_id, 't-' || rank, 'Bench', 'enterprise' from ${loading};
     insert into control.users (id, email) select user_id, rank || '@bench.test' from ${loading};
     insert into control.memberships (tenant_id, user_id, role) select tenant_id, user_id, 'owner' from ${loading};
     insert into projects (tenant_id, id, created_at, name, created_by)
       select tenant_id, md5(tenant_id || '/' || n)::uuid, now() - interval '1 year', 'Project ' || n, user_id
       from ${loading}, generate_series(0, projects - 1) as n;
     insert into tasks (tenant_id, id, created_at, updated_at, project_id, title, notes, status, assignee_id, created_by)
       select tenant_id, id, uuid_extract_timestamp(id), uuid_extract_timestamp(id), md5(tenant_id || '/' || n % projects)::uuid,
         'Task ' || n, 'Before the winter, and not without a ladder.',
         case when n % 10 = 0 then 'doing' when n % 10 < 4 then 'todo' else 'done' end,
         case when n % 3 = 0 then user_id end, user_id
       from (select *, uuidv7(random() * interval '-1 year') as id from ${loading}, generate_series(1, tasks) as n
         order by id);
     insert into bench.loaded select rank from ${loading};
     set session_replication_role = origin`,
  );
  for (const step of rebuild) await superuser.query(step);
  await superuser.query("vacuum (analyze) tenants, users, memberships, projects, tasks");
  await superuser.query("checkpoint");
}

/** Drops the indexes of `tasks`, which are faster to build than to keep; returns the statements that build them. */
export async function dropIndexes(superuser: Client): Promise<string[]> {
  const { rows } = await superuser.query<{ drop: string; build: string }>(
    `select format('alter table tasks drop constraint %I', conname) as drop,
       format('alter table tasks add constraint %I %s', conname, pg_get_constraintdef(oid)) as build
     from pg_constraint where conrelid = 'tasks'::regclass and contype = 'p'
     union all
     select format('drop index %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
     from pg_index where indrelid = 'tasks'::regclass and not indisprimary`,
  );
  for (const { drop } of rows) await superuser.query(drop);
  return rows.map(({ build }) => build);
}

/** The tenants to measure, smallest first. */
export async function sampleTenants(superuser: Client): Promise<Tenant[]> {
  const tenants: Tenant[] = [];
  for (const [size, rank] of Object.entries(MEASURED) as [Size, number][]) {
    const { rows } = await superuser.query<Omit<Tenant, "size">>(
      `select tenant_id as tenant, user_id as actor, tasks + projects as rows,
         md5(tenant_id || '/0')::uuid as project,
         array(select id from tasks where tasks.tenant_id = tenants.tenant_id order by md5(id::text) limit ${SAMPLE}) as ids
       from bench.tenants where rank = $1`,
      [rank],
    );
    const [found] = rows;
    if (!found) throw new Error(`There is no tenant of rank ${rank}.`);
    tenants.push({ size, ...found });
  }
  return tenants;
}
