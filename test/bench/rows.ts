import { randomUUID } from "node:crypto";
import pg from "pg";
import { runSql, type Bed, type Member } from "./bed.ts";

/** Connection strings of the two others, whose tables are copies of partywall's projects. */
export type Logins = { byHand: string; floor: string };

/** The tenant's projects: ten pages of a list. */
const OWN_ROWS = 500;

/** Fills partywall's projects, gives the two others copies and a role each. */
export async function makeRows({ superuserUrl }: Bed, { tenantId, userId }: Member): Promise<Logins> {
  const [byHand, floor] = [loginUrl(superuserUrl, "bench_by_hand"), loginUrl(superuserUrl, "bench_floor")];
  // It would work in the time of whoever is being measured; resetRows() vacuums between measurements.
  await runSql(superuserUrl, "alter system set autovacuum = off");
  await runSql(
    superuserUrl,
    `select pg_reload_conf();
     insert into projects (tenant_id, id, name, description, created_by, created_at)
     select '${tenantId}', uuidv7(), 'Roof ' || number, 'Before the winter.', '${userId}',
       now() - number * interval '1 minute' from generate_series(1, ${OWN_ROWS}) as number;
     -- Rows of other tenants, so that no table is a single page.
     with others as materialized (select gen_random_uuid() as id from generate_series(1, 20))
     insert into projects (tenant_id, id, name, created_by)
     select others.id, uuidv7(), 'Project ' || number, others.id from others, generate_series(1, 500) as number;

     create role bench_by_hand login password '${byHand.password}';
     create role bench_floor login password '${floor.password}';
     grant connect on database partywall to bench_by_hand, bench_floor;
     create table first_projects as select * from projects;
     ${["by_hand", "floor"].map(tableOf).join("\n")}
     alter table by_hand_projects enable row level security;
     create policy by_tenant on by_hand_projects
       using (tenant_id = (select current_setting('app.tenant_id')::uuid))`,
  );
  await resetRows({ superuserUrl });
  return { byHand: byHand.href, floor: floor.href };
}

/** The table of one of the others: partywall's without its triggers, its policies and what its defaults call. */
const tableOf = (name: string) => `
  create table ${name}_projects (like projects including indexes including constraints);
  alter table ${name}_projects alter description set default '', alter status set default 'active',
    alter version set default 1, alter created_at set default now(), alter updated_at set default now();
  grant select, insert, update on ${name}_projects to bench_${name};`;

/** Puts every table back to the rows of makeRows(), freshly packed, and takes away what was written beside them. */
export async function resetRows({ superuserUrl }: Pick<Bed, "superuserUrl">): Promise<void> {
  await runSql(
    superuserUrl,
    `set session_replication_role = replica; -- Without triggers: this is no event.
     truncate projects, by_hand_projects, floor_projects, audit_events, tasks;
     insert into projects select * from first_projects;
     insert into by_hand_projects select * from first_projects;
     insert into floor_projects select * from first_projects`,
  );
  await runSql(superuserUrl, "vacuum analyze");
  await runSql(superuserUrl, "checkpoint");
}

/** How many changes of projects partywall's audit trail holds. */
export async function countEvents({ superuserUrl }: Bed): Promise<number> {
  const client = new pg.Client({ connectionString: superuserUrl });
  await client.connect();
  try {
    const text = "select count(*)::int as events from audit_events where resource = 'projects'";
    const { rows } = await client.query<{ events: number }>(text);
    return rows[0]?.events ?? Number.NaN;
  } finally {
    await client.end();
  }
}

function loginUrl(superuserUrl: string, role: string): URL {
  const url = new URL(superuserUrl);
  url.username = role;
  url.password = randomUUID();
  return url;
}
