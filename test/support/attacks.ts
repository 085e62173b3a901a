import { NeonDbError, type NeonQueryFunction } from "@neondatabase/serverless";
import { beforeAll, describe, expect, it } from "vitest";
import { CONTROL, type Place } from "../../src/db/places.ts";
import { signContext } from "../../src/db/signed-context.ts";
import type { ActingAs } from "../../src/authority.ts";
import { login, newTenant, stage, type SignedIn } from "./client.ts";
import { AT_SITE, atSite, keyOf, PLACE, SITE } from "./site.ts";

/** A tenant as its attacker knows it: every id, but not the marker that all of its content holds. */
export type Target = {
  who: SignedIn;
  tenant: string;
  /** Its owner, whose account is under `email`. */
  actor: string;
  email: string;
  slug: string;
  project: string;
  task: string;
  key: string;
  invitation: string;
  issuer: string;
  /** The issuer's user, a viewer, and their session. */
  guest: string;
  session: string;
  marker: string;
};

/** What came back, whole: the rows of each statement, or the error with all that Postgres said. */
export type Outcome = { rows: unknown[][]; error: Record<string, unknown> | undefined };

type Login = NeonQueryFunction<false, false>;

/** How the same SQL shows that a leak would be seen. */
export type Control =
  /** Its own tenant's marker comes back. */
  | "reads"
  /** Its own tenant's rows change. */
  | "writes"
  /** Aimed at one's own tenant it comes out differently. */
  | "differs"
  /** The tables' owner is not refused; undone afterwards. */
  | "owner"
  /** The migrating login is not refused; undone afterwards. */
  | "migrator"
  /** The login that serves the other plane is not refused there. */
  | "neighbour"
  /** Only a superuser may, so the group's other controls speak for it. */
  | "superuser"
  /** The same answer inside one's own tenant: the way does not exist for anybody. */
  | "closed"
  /** Other SQL, as the tables' owner, with an error that tells the marker. */
  | { ownerSees: (t: Target) => string[] };

/** `holds` is the SQLSTATE of a refusal, or the rows of the last statement, or "own" for anything but the target's. */
export type Attack = {
  name: string;
  sql: (t: Target) => string[];
  holds: string | unknown[];
  control: Control;
};

export const { app, migrator } = AT_SITE;
const controlMigrator = login("MIGRATION_DATABASE_URL");
const migratorAt = (place: Place) => (place === CONTROL ? controlMigrator : migrator);

/** As whom, and where, a tenant's SQL runs; `content` is all that it sees of itself there. */
export type Lane = { login: Login; role: string; place: Place; content: readonly string[] };
export const CONTENT: Lane = {
  login: app,
  role: "partywall_app",
  place: PLACE,
  content: ["select * from projects order by id", "select * from tasks order by id"],
};
export const ACCOUNT: Lane = {
  login: login("ACCOUNT_DATABASE_URL"),
  role: "partywall_account",
  place: CONTROL,
  content: [
    "select * from tenants",
    "select * from memberships order by user_id",
    // Any change of an account counts its version up.
    "select id, email, issuer_id, subject, version from users order by id",
    "select * from sessions order by id",
    "select * from api_keys order by id",
    "select * from invitations order by id",
    "select * from issuers order by id",
    "select * from outbox_heads",
  ],
};

/** The target's genuine context, as the Worker would sign it. */
export const contextOf = (
  t: Pick<Target, "tenant" | "actor">,
  role = "partywall_app",
  now = Date.now(),
  place = PLACE,
  as: ActingAs = "owner",
) => signContext(keyOf(place), place, role, t.tenant, { id: t.actor, as }, now);

/** Runs statements as one batch of the login, one transaction that commits when all of them pass. */
export async function attempt(
  as: Login,
  context: string | undefined,
  statements: string[],
  { schema }: Place = PLACE,
): Promise<Outcome> {
  const path = `pg_catalog, ${schema}, pg_temp`;
  const enter =
    context === undefined
      ? []
      : [as`select set_config('app.tenant', ${context}, true), set_config('search_path', ${path}, true)`];
  try {
    const results = await as.transaction([...enter, ...statements.map((text) => as.query(text))]);
    return { rows: results.slice(enter.length), error: undefined };
  } catch (error) {
    if (!(error instanceof NeonDbError)) throw error;
    const { message, ...rest } = error;
    return { rows: [], error: { ...rest, message } };
  }
}

/** Arbitrary SQL inside the tenant's own valid context. */
export const inside = (t: Target, ...statements: string[]): Promise<Outcome> =>
  insideOf(CONTENT, t, ...statements);

/** The same, at another place. */
export const insideOf = (
  { login: as, role, place }: Omit<Lane, "content">,
  t: Pick<Target, "tenant" | "actor">,
  ...statements: string[]
) => attempt(as, contextOf(t, role, Date.now(), place), statements, place);

export const UNDONE = "PW000";
export const UNDO = `do $$ begin raise exception 'undone' using errcode = '${UNDONE}'; end $$`;

/** The same, with nothing left of it: error UNDONE when every statement passed. */
export const undone = (t: Target, ...statements: string[]): Promise<Outcome> =>
  inside(t, ...statements, UNDO);

/** As the tables' owner, in the target's context, undone. */
export const asOwner = (t: Target, ...statements: string[]): Promise<Outcome> =>
  asOwnerOf(CONTENT, t, ...statements);

const asOwnerOf = ({ place }: Pick<Lane, "place">, t: Target, ...statements: string[]) =>
  attempt(
    migratorAt(place),
    contextOf(t, "partywall_migrator", Date.now(), place),
    ["set local role partywall_owner", ...statements, UNDO],
    place,
  );

const asMigrator = ({ place }: Lane, ...statements: string[]): Promise<Outcome> =>
  attempt(migratorAt(place), "", [...statements, UNDO], place);

export const codeOf = ({ error }: Outcome): unknown => error?.["code"];
export const lastRows = ({ rows }: Outcome): unknown[] => rows.at(-1) ?? [];

/** Whether anything that came back, rows or any field of an error, holds the target's marker. */
export const shows = (outcome: Outcome, { marker }: Target): boolean =>
  JSON.stringify(outcome).includes(marker);

/** A tenant with content; `marker` is its every text. */
async function newTarget(marker: string): Promise<Target> {
  const who = await newTenant();
  const { slug } = who.tenant;
  const target = {
    who,
    tenant: who.tenant.id,
    actor: who.user.id,
    email: `${marker}.${slug}@partywall.test`,
    slug,
    project: crypto.randomUUID(),
    task: crypto.randomUUID(),
    key: crypto.randomUUID(),
    invitation: crypto.randomUUID(),
    issuer: crypto.randomUUID(),
    guest: crypto.randomUUID(),
    session: crypto.randomUUID(),
    marker,
  };
  await stage`update users set email = ${target.email} where id = ${target.actor}`;
  for (const lane of [CONTENT, ACCOUNT]) await restore(lane, target);
  return target;
}

/** What a tenant has at a place to begin with. */
const STAGE: Record<string, (t: Target) => string[]> = {
  [CONTENT.role]: ({ project, task, marker }) => [
    "delete from projects",
    `insert into projects (id, name, description) values ('${project}', '${marker}', '${marker}')`,
    `insert into tasks (id, project_id, title, notes) values ('${task}', '${project}', '${marker}', '${marker}')`,
  ],
  [ACCOUNT.role]: ({ key, invitation, issuer, guest, session, actor, slug, marker }) => [
    "select lock_outbox(current_tenant_id())",
    `update tenants set name = '${marker}', slug = '${slug}'`,
    "delete from api_keys",
    "delete from invitations",
    // With it go its users, their memberships and sessions.
    "delete from issuers",
    `insert into issuers (id, issuer, audience, email_domains, just_in_time, registered_by)
     values ('${issuer}', 'https://${slug}.test', '${marker}', '{${slug}.test}', true, '${actor}')`,
    `insert into users (id, email, issuer_id, subject)
     values ('${guest}', 'guest.${marker}@${slug}.test', '${issuer}', '${marker}')`,
    `insert into memberships (user_id, role) values ('${guest}', 'viewer')`,
    `insert into sessions (id, user_id, issuer_id, user_agent, expires_at)
     values ('${session}', '${guest}', '${issuer}', '${marker}', now() + interval '1 hour')`,
    `insert into api_keys (id, name, scopes, hash, hint, created_by)
     values ('${key}', '${marker}', '{members:read}', sha256('${key}'), '1234', '${actor}')`,
    `insert into invitations (id, email, role, token_hash, invited_by, expires_at)
     values ('${invitation}', '${marker}', 'viewer', sha256('x'), '${actor}', now() + interval '1 day')`,
  ],
};

/** Gives the tenant what it began with; as the tables' owner, who may choose every id. */
async function restore({ role, place }: Lane, t: Target): Promise<void> {
  const statements = ["set local role partywall_owner", ...(STAGE[role]?.(t) ?? [])];
  const context = contextOf(t, "partywall_migrator", Date.now(), place);
  const { error } = await attempt(migratorAt(place), context, statements, place);
  if (error) throw new Error(`cannot set the stage: ${JSON.stringify(error)}`);
}

/** Every row of the tenant, as it sees it itself; an attack on its own rows may have emptied a table. */
async function contentOf(lane: Lane, t: Target): Promise<unknown[][]> {
  const { rows, error } = await insideOf(lane, t, ...lane.content);
  if (error) throw new Error(`the tenant cannot see its own rows: ${JSON.stringify(error)}`);
  return rows;
}

/** The same, before an attack: a row at least of each table. */
async function stagedContentOf(lane: Lane, t: Target): Promise<unknown[][]> {
  const rows = await contentOf(lane, t);
  const empty = lane.content.filter((_, at) => rows[at]?.length === 0);
  if (empty.length > 0) throw new Error(`the tenant has no row to attack: ${empty.join("; ")}`);
  return rows;
}

export const attack = (
  name: string,
  sql: string | string[] | ((t: Target) => string | string[]),
  holds: Attack["holds"],
  control: Control,
): Attack => ({
  name,
  sql: (t) => [typeof sql === "function" ? sql(t) : sql].flat().map(atSite),
  holds,
  control,
});

/** SQL that only a privilege could carry out. */
export const denied = (sql: string, control: Control): Attack => attack(sql, sql, "42501", control);

export const MISSING = "01234567-89ab-7cde-8f01-23456789abcd";
/** What the attacker sees of the table: his one row. His every text is a number, which casts cleanly. */
export const OWN = [{ name: "42" }];
export const raise = (expression: string): string =>
  `do $$ begin raise exception using errcode = 'PW001', message = ${expression}; end $$`;

/** What came back at the end, but for what names the tenant, so that two tenants' outcomes compare. */
const judged = (outcome: Outcome, { tenant, marker }: Target): string =>
  JSON.stringify([lastRows(outcome), codeOf(outcome)])
    .replaceAll(tenant, "")
    .replaceAll(marker, "");

/** The same SQL, where it must succeed: by its own tenant, or as somebody stronger. */
async function prove(
  lane: Lane,
  { sql, holds, control }: Attack,
  own: Target,
  attacked: string,
): Promise<void> {
  if (control === "superuser" || notThere(sql(own)).length > 0) return;
  if (typeof control === "object") {
    expect(shows(await asOwnerOf(lane, own, ...control.ownerSees(own).map(atSite)), own)).toBe(true);
    return;
  }
  if (control === "owner" || control === "migrator") {
    const ask = () =>
      control === "owner" ? asOwnerOf(lane, own, ...sql(own)) : asMigrator(lane, ...sql(own));
    let outcome = await ask();
    // It locks tables that other files use. What Postgres ends for a deadlock says nothing of who may do it.
    while (outcome.error?.code === "40P01") outcome = await ask();
    expect(outcome).toMatchObject({ error: { code: UNDONE } });
    return;
  }
  if (control === "neighbour") {
    const outcome = await insideOf(lane === CONTENT ? ACCOUNT : CONTENT, own, ...sql(own));
    expect(outcome.error).toBeUndefined();
    return;
  }
  await restore(lane, own);
  const before = await stagedContentOf(lane, own);
  const outcome = await insideOf(lane, own, ...sql(own));
  switch (control) {
    case "reads":
      expect(shows(outcome, own)).toBe(true);
      break;
    case "writes":
      expect(await contentOf(lane, own)).not.toEqual(before);
      break;
    case "differs":
      expect(judged(outcome, own)).not.toBe(attacked);
      break;
    case "closed":
      expect(codeOf(outcome)).toBe(typeof holds === "string" && holds !== "own" ? holds : undefined);
      break;
  }
}

/** How Postgres refuses SQL that names the control plane in a database that has none: there is no such schema, or table. */
const notThere = (sql: string[]): string[] =>
  SITE.host !== null && /\bcontrol\./.test(sql.join()) ? ["3F000", "42P01"] : [];

/**
 * Tests of attacks by group. Bob runs each inside his own valid context against Ada; Carol runs it on her own rows,
 * which shows that a leak would be seen.
 */
export function describeAttacks(groups: Record<string, Attack[]>, lane = CONTENT): void {
  let [ada, bob, carol]: Target[] = [];
  beforeAll(async () => {
    [ada, bob, carol] = await newTargets();
  });

  describe.each(Object.entries(groups))("%s", (_, attacks) => {
    it.each(attacks.map((each) => [each.name, each] as const))("%s", async (_name, each) => {
      if (!ada || !bob || !carol) throw new Error("no stage");
      await restore(lane, bob);
      const before = await stagedContentOf(lane, ada);
      const outcome = await insideOf(lane, bob, ...each.sql(ada));
      if (typeof each.holds === "string" && each.holds !== "own") {
        expect([each.holds, ...notThere(each.sql(ada))]).toContain(codeOf(outcome));
      } else {
        expect(outcome.error).toBeUndefined();
        if (each.holds !== "own") expect(lastRows(outcome)).toEqual(each.holds);
      }
      expect(shows(outcome, ada)).toBe(false);
      expect(await contentOf(lane, ada)).toEqual(before);
      await prove(lane, each, carol, judged(outcome, ada));
    });

    it("has a control that could see a leak", () => {
      const strong = attacks.filter(({ control }) => control !== "superuser" && control !== "closed");
      expect(strong.length).toBeGreaterThan(0);
    });
  });
}

/** The victim, the attacker, and a third one for the controls. */
export const newTargets = (): Promise<[Target, Target, Target]> =>
  Promise.all([
    newTarget(`secret-of-ada-${crypto.randomUUID()}`),
    newTarget("42"),
    newTarget(`secret-of-carol-${crypto.randomUUID()}`),
  ]);
