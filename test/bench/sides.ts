import { randomUUID } from "node:crypto";
import pg from "pg";
import * as v from "valibot";
import { SHARED_PLACE } from "../../src/db/places.ts";
import { signContext } from "../../src/db/signed-context.ts";
import { keyRing } from "../../src/settings.ts";
import { runSql, type Bed } from "./bed.ts";
import type { Tenant } from "./tenancy.ts";

/** The app role behind the wall, and one that RLS does not bind and whose statements name the tenant. */
export const SIDES = ["walled", "byHand"] as const;
export type Side = (typeof SIDES)[number];

/** One value for each side. */
export type Both<T> = Record<Side, T>;

/** `make` of each side. */
export const both = <T>(make: (side: Side) => T): Both<T> => ({
  walled: make("walled"),
  byHand: make("byHand"),
});

/** How to log in, always to the same tables, and what `app.tenant` is set to. */
export type Sides = {
  roles: Both<string>;
  /** `alone` is as `byHand`, with sessions of its own. */
  urls: Both<string> & { alone: string };
  contextOf: (side: Side, of: Tenant) => string;
};

/** Makes the logins beside the app role's: with the same grants on the tables, and with its settings. */
export async function makeSides(bed: Bed): Promise<Sides> {
  const { DATABASE_URL, TENANT_CONTEXT_KEYS } = bed.variables;
  const [key] = v.parse(keyRing, TENANT_CONTEXT_KEYS);
  if (!key) throw new Error("TENANT_CONTEXT_KEYS is empty.");
  const app = new URL(DATABASE_URL).username;
  return {
    roles: { walled: app, byHand: "bench_by_hand" },
    urls: {
      walled: DATABASE_URL,
      byHand: await makeLogin(bed, "bench_by_hand"),
      alone: await makeLogin(bed, "bench_alone"),
    },
    contextOf: (side, { tenant, actor }) =>
      side === "walled"
        ? signContext(key, SHARED_PLACE, app, tenant, { id: actor, as: "owner" }, Date.now())
        : tenant,
  };
}

/** The connection string of a new role that no policy binds. */
async function makeLogin({ variables, superuserUrl }: Bed, name: string): Promise<string> {
  const url = new URL(variables.DATABASE_URL);
  url.username = name;
  url.password = randomUUID();
  await runSql(
    superuserUrl,
    `create role ${name} login bypassrls password '${url.password}';
     grant connect on database partywall to ${name};
     grant usage on schema public to ${name};
     grant select, insert, update, delete on projects, tasks to ${name};
     alter role ${name} in database partywall set search_path = pg_catalog, public, pg_temp;
     alter role ${name} in database partywall set statement_timeout = '10s';
     alter role ${name} in database partywall set lock_timeout = '5s';
     alter role ${name} in database partywall set idle_in_transaction_session_timeout = '10s'`,
  );
  return url.href;
}

/** Connects, until `bench` ends. */
export async function connect(bench: AsyncDisposableStack, url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  // An interrupted bench takes Postgres down; whoever waits for an answer hears of it all the same.
  client.on("error", () => undefined);
  await client.connect();
  bench.defer(() => client.end());
  return client;
}
