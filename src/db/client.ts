import {
  neon,
  neonConfig,
  NeonDbError,
  types,
  type NeonQueryFunction,
  type NeonQueryPromise,
} from "@neondatabase/serverless";
import { sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { drizzle, type NeonHttpDatabase } from "drizzle-orm/neon-http";
import type { Deadline } from "../deadline.ts";
import { settings } from "../env.ts";
import type { NamedKey } from "../settings.ts";
import { remembers } from "../memory.ts";
import { Problem } from "../problem.ts";
import type { IdentityDb, Batch, TenantDb } from "../tenant-db.ts";
import { within } from "../within.ts";
import { built, prepare, query, type Given } from "./query.ts";
import { contextKeyOf, nextGeneration, passwordOf, type Derivation } from "./derived.ts";
import { CONTROL, FIRST_EPOCH, placeOf, SHARED_HOME, type Home, type Place, type Site } from "./places.ts";
import { Reach } from "./reach.ts";
import { CONTEXT_TTL_S, signContext, type Actor } from "./signed-context.ts";
import { Turns } from "./turns.ts";

/** A database that does not answer within this time is down. */
const DATABASE_TIMEOUT_MS = 15_000;

/** Postgres counts the parameters of a statement in 16 bits. */
const MAX_PARAMETERS = 65_535;

/**
 * Requests of one tenant that are at the database at once, from one isolate; its others wait, so that a neighbour's find
 * room there. Fewer serve the neighbour better, and cost the tenant: 4 cost it a third of its speed.
 */
const MAX_OF_TENANT = 16;

const turns = new Turns(MAX_OF_TENANT);

/** By connection string: of each login of this deployment. */
const reaches = remembers<Reach>("reaches");

/** Sends a request of the driver's. While its database is known to hang, fails at once instead of after 15 s. */
neonConfig.fetchFunction = async (
  url: string,
  { deadline, ...init }: RequestInit & { headers: { "Neon-Connection-String": string }; deadline?: Deadline },
): Promise<Response> => {
  const login = init.headers["Neon-Connection-String"];
  let reach = reaches.get(login);
  if (!reach) reaches.set(login, (reach = new Reach()));
  const sent = Date.now();
  if (!reach.mayAsk(sent)) throw new Error("not asked: the last requests got no answer");
  try {
    const answer = fetch(url, init);
    const response = await (deadline
      ? deadline.within(DATABASE_TIMEOUT_MS, answer)
      : within(DATABASE_TIMEOUT_MS, answer));
    reach.answered(Date.now());
    return response;
  } catch (error) {
    reach.unanswered(sent, Date.now());
    throw error;
  }
};
if (settings.NEON_FETCH_ENDPOINT) neonConfig.fetchEndpoint = settings.NEON_FETCH_ENDPOINT;

function openClient(url: string, options: { readOnly?: boolean } = {}): NeonQueryFunction<false, false> {
  const client = neon(url, options);
  const send = client.query.bind(client);
  client.query = (text, params = [], ...rest) => {
    if (params.length > MAX_PARAMETERS) throw tooManyValues();
    return send(text, params, ...rest);
  };
  return client;
}

type Client = ReturnType<typeof openClient>;

/**
 * A login's way to a database, and what signs the contexts that open the wall there, if that is not the control plane's
 * key. Nothing is sent before it is used.
 */
type Connection = { reader: Client; writer: Client; role: string; key: NamedKey | undefined };

const connect = (url: string, key?: NamedKey): Connection => ({
  reader: openClient(url, { readOnly: true }),
  writer: openClient(url),
  role: decodeURIComponent(new URL(url).username),
  key,
});

const app = connect(settings.DATABASE_URL);
const account = connect(settings.ACCOUNT_DATABASE_URL);
const identity = connect(settings.IDENTITY_DATABASE_URL);

/** As what a tenant's control plane is opened. */
const CONTROL_LANES = {
  /** The tenant's people, credentials and rules. */
  account,
  /** The same, for what begins or goes on across tenants. */
  identity,
};

/** The login that takes a tenant's rows elsewhere. Its password is derived at the control plane's server too. */
const moverUrl = (() => {
  const url = new URL(settings.DATABASE_URL);
  url.username = "partywall_mover";
  const of = { server: null, secret: settings.SITE_KEYS[0].kid, generation: 0 };
  url.password = passwordOf(settings.SITE_KEYS, of, url.username);
  return url.href;
})();

/** As what a tenant's site is opened: with which login at the shared one, and elsewhere with its role. */
const SITE_LANES = {
  /** The tenant's content. */
  app: { url: settings.DATABASE_URL, shared: app },
  /** What the control plane tells the tenant's site. */
  courier: { url: settings.ACCOUNT_DATABASE_URL, shared: account },
  /** A job's: exports, imports and erasures. Its epoch is its attempt's token. */
  mover: { url: moverUrl, shared: connect(moverUrl) },
};

const isSiteLane = (lane: Lane): lane is keyof typeof SITE_LANES => lane in SITE_LANES;

export type Lane = keyof typeof CONTROL_LANES | keyof typeof SITE_LANES;

/** Logins at sites, by lane and where they lead. */
const connections = remembers<Connection>("connections");

/** A login at a site of its own database, or in the control plane's. */
function connectionAt(lane: keyof typeof SITE_LANES, site: Site): Connection {
  const { url, shared } = SITE_LANES[lane];
  if (site.database === null) return shared;
  const name = `${lane} ${site.server} ${site.host} ${site.database} ${site.secret} ${site.generation}`;
  let connection = connections.get(name);
  if (!connection) {
    const own = new URL(url);
    own.pathname = encodeURIComponent(site.database);
    if (site.host !== null) {
      own.host = site.host;
      own.password = passwordOf(settings.SITE_KEYS, site, shared.role);
    }
    const key = contextKeyOf(settings.SITE_KEYS, site);
    connections.set(name, (connection = connect(own.href, key)));
  }
  return connection;
}

/** The control plane across all tenants, nobody's data. For across-tenants.ts alone. */
export const identityDb: NeonHttpDatabase = drizzle(identity.writer);

const operator = connect(settings.OPERATOR_DATABASE_URL);
/** The database as this deployment's operators see it: every tenant's row, nobody's data. For sign-ins, before there is one. */
export const operatorDb: NeonHttpDatabase = drizzle(operator.writer);

/** Asks again, once, when Postgres has ended the transaction for a deadlock: then it has done nothing. */
export const despiteDeadlock = <Answer>(ask: () => Promise<Answer>): Promise<Answer> =>
  ask().catch((error: unknown) => {
    if (sqlState(error) === DEADLOCK) return ask();
    throw error;
  });

/** The request that a database is opened for. */
export type ForRequest = {
  /** Names it in the audit trail. */
  id: string;
  deadline: Deadline;
  /** Hears of each round trip when it ends: the time, of performance.now(), at which it began to wait. */
  onAnswer: (started: number) => void;
  /** Says where the tenant's content is, when its site refuses a request of this epoch: for good, if it is closed. */
  findHome?: (epoch: number, isClosed: boolean) => Promise<Home>;
};

/**
 * Opens the wall for `tenant`, on whose behalf `actor` acts; both are UUIDs from a verified credential. The lanes of content
 * open it at `home`, which the tenant's object has said; if the tenant has moved since, where it is now. Nothing is sent that
 * nobody waits for any more.
 */
export function openTenantDb(
  lane: Lane,
  tenant: string,
  actor: Actor,
  { id, deadline, onAnswer, findHome }: ForRequest,
  home?: Home,
): IdentityDb {
  let opening = home && isSiteLane(lane) ? atSite(lane, home) : USUAL[lane];
  const mayWrite = actor.as !== "support" && (actor.as !== "support_write" || isSiteLane(lane));
  /** Runs `before`, then `inside` in the tenant's context, in one transaction; returns the results by the statements' names. */
  const send = async (mode: "reader" | "writer", before: Batch, inside: Batch): Promise<never> => {
    const started = performance.now();
    // A statement without a name has no result.
    const named = [...Object.entries(before), ["", undefined] as const, ...Object.entries(inside)];
    const ask = async (at: Opening) => {
      const { over, path, place, isSite } = at;
      const leave = await turns.take(tenant, deadline, mode === "reader");
      try {
        deadline.check();
        const context = contextOf(at, tenant, actor);
        const entering =
          mode === "reader"
            ? enter({ context, path })
            : isSite
              ? enterToWrite({
                  context,
                  path,
                  request: id,
                  lock: `${place.name} ${tenant}`,
                  actor: actor.name,
                })
              : enter({ context, path, request: id });
        const items = named.map(([, item]) => item ?? entering);
        return await over((client) => runBatch(client[mode], items, deadline));
      } finally {
        leave();
      }
    };
    try {
      const results = await despiteDeadlock(() => ask(opening)).catch(async (error: unknown) => {
        const state = sqlState(error);
        if (!findHome || !isSiteLane(lane) || (state !== MOVED && state !== OTHER_EPOCH))
          return rethrow(error, siteOf(opening));
        // Without a turn: the object may be in this isolate, and needs one to find out.
        const found = await findHome(opening.epoch, state === MOVED);
        if (found.epoch === opening.epoch) return rethrow(error, siteOf(opening));
        // The site has refused the whole transaction, so nothing happens twice.
        opening = atSite(lane, found);
        return ask(opening).catch((again: unknown) => rethrow(again, siteOf(opening)));
      });
      const answers = named.flatMap(([name], index) => (name ? [[name, results[index]]] : []));
      return Object.fromEntries(answers) as never;
    } finally {
      onAnswer(started);
    }
  };
  return {
    read: (queries) => send("reader", {}, built(queries)),
    // What an operator may not change, Postgres refuses, whatever a handler has let on.
    write: (queries) =>
      mayWrite ? send("writer", {}, built(queries)) : send("reader", {}, built(queries)).catch(refuseWriting),
    writeAfter: (before, inside) => send("writer", built(before), built(inside)),
  };
}

/** The same for an operator's request: across tenants, in no one's context. Nothing is sent that nobody waits for any more. */
export function openOperatorDb({ deadline, onAnswer }: ForRequest): TenantDb {
  const send = async (mode: "reader" | "writer", queries: Batch): Promise<never> => {
    const started = performance.now();
    try {
      deadline.check();
      const results = await runBatch(operator[mode], Object.values(queries), deadline).catch(rethrow);
      return Object.fromEntries(Object.keys(queries).map((name, index) => [name, results[index]])) as never;
    } finally {
      onAnswer(started);
    }
  };
  return {
    read: (queries) => send("reader", built(queries)),
    write: (queries) => send("writer", built(queries)),
  };
}

/** Throws `insufficient_scope` where a READ ONLY transaction was to write. */
function refuseWriting(error: unknown): never {
  if (sqlState(error) !== "25006") throw error;
  throw new Problem("insufficient_scope", { detail: "An operator may not change this.", cause: error });
}

/** The site's name, for the log; none in the control plane. */
const siteOf = ({ isSite, place }: Opening): string | undefined => (isSite ? place.name : undefined);

/** Where a tenant's database is opened, by what contexts, and over which connection it is asked. */
type Opening = {
  place: Place;
  /** A site has fences, and who writes there takes the tenant's lock. */
  isSite: boolean;
  path: string;
  signer: Pick<Connection, "role" | "key">;
  epoch: number;
  over: <Answer>(ask: (connection: Connection) => Promise<Answer>) => Promise<Answer>;
};

function inControl(lane: keyof typeof CONTROL_LANES): Opening {
  const connection = CONTROL_LANES[lane];
  return {
    place: CONTROL,
    isSite: false,
    path: pathOf(CONTROL),
    signer: connection,
    epoch: FIRST_EPOCH,
    over: (ask) => ask(connection),
  };
}

function atSite(lane: keyof typeof SITE_LANES, { site, epoch }: Home): Opening {
  const place = placeOf(site);
  const connection = connectionAt(lane, site);
  const { server } = site;
  return {
    place,
    isSite: true,
    path: pathOf(place),
    signer: connection,
    epoch,
    over: server === null ? (ask) => ask(connection) : (ask) => askServer(lane, { ...site, server }, ask),
  };
}

const pathOf = ({ schema }: Place): string => `pg_catalog, ${schema}, pg_temp`;

/** Servers whose passwords are of a later generation than the tenants' records say, and of which. */
const ahead = remembers<Derivation>("generations");

/**
 * Asks a site at a server of its own. While the passwords there are being replaced, some records name them and some those before: if one
 * is refused the other is tried, once, and remembered. A login that is refused has done nothing.
 */
async function askServer<Answer>(
  lane: keyof typeof SITE_LANES,
  site: Site & { server: string },
  ask: (connection: Connection) => Promise<Answer>,
): Promise<Answer> {
  const { server } = site;
  const newer = ahead.get(server);
  const isAhead = newer !== undefined && newer.generation > site.generation;
  try {
    return await ask(connectionAt(lane, isAhead ? { ...site, ...newer } : site));
  } catch (error) {
    if (sqlState(error) !== "28P01") throw error;
    const other = isAhead ? site : nextGeneration(settings.SITE_KEYS, site);
    const answer = await ask(connectionAt(lane, other)).catch((second: unknown) => {
      throw sqlState(second) === "28P01" ? error : second;
    });
    if (isAhead) ahead.delete(server);
    else ahead.set(server, { server, secret: other.secret, generation: other.generation });
    return answer;
  }
}

/** Of a tenant whose content is where most tenants' is. */
const USUAL: Record<Lane, Opening> = {
  account: inControl("account"),
  identity: inControl("identity"),
  app: atSite("app", SHARED_HOME),
  courier: atSite("courier", SHARED_HOME),
  mover: atSite("mover", SHARED_HOME),
};

/** Sends these as one transaction, as Drizzle's batch() does, within the request's deadline. */
async function runBatch(client: Client, items: BatchItem<"pg">[], deadline: Deadline): Promise<unknown[]> {
  const batch = items.map(prepare);
  const queries = batch.map((item) => {
    const { sql: text, params } = item.getQuery();
    return client.query(text, params, { fullResults: true, arrayMode: item.isResponseInArrayMode() });
  });
  const results = await client.transaction(queries as unknown as NeonQueryPromise<false, false>[], {
    // A role may change its own default, and under another level a statement would not see what the lock has waited for.
    isolationLevel: "ReadCommitted",
    fetchOptions: { deadline },
  });
  return batch.map((item, index) => item.mapResult(results[index]));
}

// The context is always a bind parameter: a literal would be readable in pg_stat_activity. A read needs no request id: only
// the audit trail stores it.
type Entering = { context: string; path: string; request?: string };
const enter = query((db, { context, path, request }: Given<Entering>) =>
  db.execute(
    sql`select set_config('app.tenant', ${context}, true), set_config('search_path', ${path}, true)${request && sql`, set_config('app.request', ${request}, true)`}`,
  ),
);
// Whoever changes the tenant's fence takes this lock alone. So no writer is under way then that has not seen the fence.
type EnteringToWrite = Required<Entering> & { lock: string; actor: string | undefined };
const enterToWrite = query((db, { context, path, request, lock, actor }: Given<EnteringToWrite>) =>
  db.execute(
    sql`select set_config('app.tenant', ${context}, true), set_config('search_path', ${path}, true), set_config('app.request', ${request}, true), pg_advisory_xact_lock_shared(hashtextextended(${lock}, 0))${actor && sql`, set_config('app.actor', ${actor}, true)`}`,
  ),
);

const contexts = remembers<{ text: string; until: number }>("contexts");

/** A signed context with at least half of its life left. */
function contextOf({ place, signer, epoch }: Opening, tenant: string, actor: Actor): string {
  const { role, key = settings.TENANT_CONTEXT_KEYS[0] } = signer;
  const now = Date.now();
  const name = tenant + actor.id + actor.as + role + place.name + key.kid + epoch;
  const known = contexts.get(name);
  if (known && now < known.until) return known.text;
  const text = signContext(key, place, role, tenant, actor, now, epoch);
  contexts.set(name, { text, until: now + (CONTEXT_TTL_S * 1000) / 2 });
  return text;
}

/** Does nothing for a while, to tell whether Postgres answers. Throws `unavailable` when it does not. */
export async function pingDatabase(): Promise<void> {
  await app.reader`select`.catch(rethrow);
}

/** What reads a value of the type with this OID from its text, as each answer's values are read. */
export const readerOf = (oid: number): ((text: string) => unknown) => types.getTypeParser(oid);

/** What Postgres says of a query that it refused; undefined for any other error. */
export function postgresFault(error: unknown): NeonDbError | undefined {
  if (error instanceof NeonDbError) return error;
  // Drizzle wraps what a single query throws.
  return error instanceof Error && error.cause instanceof NeonDbError ? error.cause : undefined;
}

/** The Postgres constraint that a failed write violated, or undefined when that was not its fault. */
export const violatedConstraint = (error: unknown) => postgresFault(error)?.constraint;

/** The SQLSTATE that Postgres gave for a failed query, or undefined when it gave none. */
export const sqlState = (error: unknown) => postgresFault(error)?.code;

/** The problem of a request that has more values written at once than one statement takes. */
const tooManyValues = (cause?: unknown) =>
  new Problem("body_too_large", { detail: "These are too many values for one request. Send fewer.", cause });

/**
 * A value that is too long or out of its range, or no text of its type: what the client sent, which no schema has caught.
 * Not all of class 22: to divide by zero is the server's own fault.
 */
const MISFITS = /^22(00[1378]|015|021|023|P0[235])$/;

const DEADLOCK = "40P01";

/** What a site's fence says of the tenant (drizzle/site/0008_fence_functions.sql). */
const MOVED = "PW003";
const HELD = "PW004";
const OTHER_EPOCH = "PW005";

/**
 * Rethrows what the client should hear of: an unreachable database as `unavailable`, whose cause names the site if it is one
 * of a site, the rest as it is.
 */
export function rethrow(error: unknown, site?: string): never {
  // Drizzle passes a statement's parameters as one call's arguments, and has no room for very many.
  if (error instanceof RangeError && error.message.includes("call stack")) throw tooManyValues(error);
  const fault = postgresFault(error);
  if (MISFITS.test(fault?.code ?? ""))
    throw new Problem("invalid_input", {
      errors: [{ pointer: "", detail: "A value is not one that its column can hold." }],
      cause: fault,
    });
  if (fault?.code === HELD || fault?.code === MOVED || fault?.code === OTHER_EPOCH)
    throw new Problem("unavailable", {
      detail: "The tenant's content is being moved or imported.",
      headers: { "retry-after": "1" },
      cause: fault,
    });
  // Without an SQLSTATE the endpoint itself did not answer. Classes 08, 53 and 57P: Postgres cannot serve now; nor can it
  // while it does not take this deployment's password, after a deadlock, or when a lock or the statement took too long.
  if (fault && (!fault.code || /^(08|28P01|53|57P|40P01|55P03|57014)/.test(fault.code))) {
    if (site !== undefined) fault.message = `${site}: ${fault.message}`;
    throw new Problem("unavailable", {
      detail: "The database is out of reach.",
      headers: { "retry-after": "5" },
      cause: fault,
    });
  }
  // Not Drizzle's wrapper: its message holds the query's parameters, which no log may have.
  throw fault ?? error;
}
