import { createHash, createHmac } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { signContext } from "../src/db/signed-context.ts";
import {
  ACCOUNT,
  attempt,
  CONTENT,
  contextOf as contextAt,
  insideOf,
  newTargets,
  shows,
  type Lane,
  type Target,
} from "./support/attacks.ts";
import { SHARED_SITE } from "../src/db/places.ts";
import { keyOf, SITE } from "./support/site.ts";

let ada: Target;
let bob: Target;

beforeAll(async () => {
  [ada, bob] = await newTargets();
});

const MAC = 64;

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const claimed = (text: string) => `select set_config('app.tenant', $loot$${text}$loot$, true)`;

/** A table of the lane whose rows tell the marker, and how one more row of a name is made. */
type Stage = {
  lane: Lane;
  other: Lane;
  /** None changes what its own tenant's marker is. */
  probes: string[];
  table: string;
  name: string;
  columns: string;
  row: (name: string) => string;
  unique: string;
};

const STAGES: Stage[] = [
  {
    lane: CONTENT,
    other: ACCOUNT,
    probes: [
      "select name from projects",
      "select title from tasks",
      "update projects set name = 'x' returning description",
      "delete from tasks returning title",
    ],
    table: "projects",
    name: "name",
    columns: "id, name, created_by",
    row: (name) => `gen_random_uuid(), ${name}, gen_random_uuid()`,
    unique: "(tenant_id, id)",
  },
  {
    lane: ACCOUNT,
    other: CONTENT,
    probes: [
      "select name from api_keys",
      "select name from tenants",
      "select email from users",
      "select user_agent from sessions",
      "update tenants set name = name returning name",
      "update issuers set just_in_time = false returning audience",
      "delete from invitations returning email",
    ],
    table: "invitations",
    name: "email",
    columns: "id, email, role, token_hash, invited_by, expires_at",
    row: (name) => `gen_random_uuid(), ${name}, 'viewer', 'x', gen_random_uuid(), now()`,
    unique: "(tenant_id, id)",
  },
];

/** With tenants at another site the control plane is the same as with all others. */
const here = STAGES.filter(({ lane }) => SITE === SHARED_SITE || lane === CONTENT);

describe.each(here.map((stage) => [stage.lane.role, stage] as const))("%s", (role, stage) => {
  const { lane, other, probes, table, name, columns, row, unique } = stage;
  const key = keyOf(lane.place);
  const [probe = ""] = probes;
  const inside = (t: Target, ...statements: string[]) => insideOf(lane, t, ...statements);
  const contextOf = (t: Target, as: string = role, now = Date.now(), place = lane.place) =>
    contextAt(t, as, now, place);

  /** What the MAC covers, with Ada's ids in it: all of that an attacker knows. */
  const claim = (expiry = Math.floor(Date.now() / 1000) + 60) =>
    `o1.${key.kid}.${ada.tenant}.${ada.actor}.00000001.${expiry}`;
  const own = () => contextOf(bob);
  const withKey = (secret: Uint8Array<ArrayBuffer>) =>
    signContext(
      { kid: key.kid, key: secret },
      lane.place,
      role,
      ada.tenant,
      { id: ada.actor, as: "owner" },
      Date.now(),
    );

  const forgeries: [string, () => string][] = [
    ["nothing", () => ""],
    ["a bare tenant id", () => ada.tenant],
    ["the target's id in one's own context", () => own().replace(bob.tenant, ada.tenant)],
    ["the target's whole claim under one's own MAC", () => `${claim()}.${own().slice(-MAC)}`],
    ["a MAC of zeros", () => `${claim()}.${"0".repeat(MAC)}`],
    ["no MAC, blanks in its place", () => `${claim()}.${" ".repeat(MAC)}`],
    ["a hash without a key", () => `${claim()}.${sha256(`${claim()}.${role}`)}`],
    ["the empty key", () => withKey(new Uint8Array(0))],
    ["a key of zeros", () => withKey(new Uint8Array(32))],
    ["the key's id for a key", () => withKey(new Uint8Array(Buffer.from(key.kid)))],
    [
      "the right key, neither site nor role signed",
      () => `${claim()}.${createHmac("sha256", key.key).update(claim()).digest("hex")}`,
    ],
    [
      "the right key, no site signed",
      () => `${claim()}.${createHmac("sha256", key.key).update(`${claim()}.${role}`).digest("hex")}`,
    ],
    [
      "the right key, the other plane signed",
      () =>
        `${claim()}.${createHmac("sha256", key.key).update(`${claim()}.${other.place.name}.${role}`).digest("hex")}`,
    ],
    ["the MAC in capitals", () => contextOf(ada).slice(0, 106) + contextOf(ada).slice(106).toUpperCase()],
    ["another version", () => contextOf(ada).replace(/^o1/, "o2")],
    ["the rights of another role", () => contextOf(ada).replace(/^o/, "a")],
    ["an unknown key", () => contextOf(ada).replace(key.kid, "deadbeef")],
    ["a pattern for a key id", () => contextOf(ada).replace(key.kid, "%%%%%%%%")],
    ["SQL for a key id", () => contextOf(ada).replace(key.kid, "' or 1=1")],
    ["a later expiry", () => contextOf(ada, role, Date.now() - 61_000).replace(/\.\d{10}\./, ".9999999999.")],
    ["an expiry that is no number", () => contextOf(ada).replace(/\.\d{10}\./, ".infinity!!.")],
    ["wider digits", () => contextOf(ada).replace(/\.\d{10}\./, ".９９９９９９９９９９.")],
    ["multi-byte filling", () => `v1.${key.kid}.${"é".repeat(158)}`],
    ["a NUL's escape", () => `${contextOf(ada).slice(0, 168)}\\0`],
    ["one character less", () => contextOf(ada).slice(0, -1)],
    ["one character more", () => `${contextOf(ada)} `],
    ["a megabyte", () => "v1.".repeat(350_000)],
  ];

  const stale: [string, () => string][] = [
    ["that has just expired", () => contextOf(ada, role, Date.now() - 61_000)],
    ["that expired long ago", () => contextOf(ada, role, 0)],
    ["made for the identity role", () => contextOf(ada, "partywall_identity")],
    ["made for the operator role", () => contextOf(ada, "partywall_operator")],
    ["made for the migrating login", () => contextOf(ada, "partywall_migrator")],
    ["made for the owner", () => contextOf(ada, "partywall_owner")],
    ["made for the login of the other plane", () => contextOf(ada, other.role)],
    ["of a role whose name only begins alike", () => contextOf(ada, `${role}2`)],
    ["for the other plane", () => contextOf(ada, role, Date.now(), other.place)],
    ["for the other plane and its login", () => contextOf(ada, other.role, Date.now(), other.place)],
    ["for another site", () => contextOf(ada, role, Date.now(), { ...lane.place, name: "site eu" })],
    [
      "for a place whose name only begins alike",
      () => contextOf(ada, role, Date.now(), { ...lane.place, name: `${lane.place.name}2` }),
    ],
  ];

  describe("forge", () => {
    it.each(forgeries)("%s opens nothing", async (_, forge) => {
      for (const each of probes) {
        const outcome = await inside(bob, claimed(forge()), each);
        expect(outcome).toMatchObject({ error: { code: "28000", message: "no valid tenant context" } });
        expect(shows(outcome, ada)).toBe(false);
      }
    });

    it.each([
      ["RESET", "reset app.tenant"],
      ["RESET ALL", "reset all"],
      ["SET TO DEFAULT", "set local app.tenant to default"],
      ["a null", "select set_config('app.tenant', null, true)"],
      ["another spelling", "set local App.TENANT = 'x'"],
    ])("%s leaves nothing open, and never everything", async (_, statement) => {
      const outcome = await inside(bob, statement, probe);
      expect(outcome).toMatchObject({ error: { code: "28000" } });
    });

    it("filling that is no number where the expiry is, under an unknown key, opens nothing", async () => {
      const outcome = await inside(bob, claimed("é".repeat(161)), probe);
      expect(outcome.error?.["code"]).toBe("28000");
    });

    it("opens for the genuine one, set in the same way: the control of the above", async () => {
      for (const each of probes.slice(0, -1)) {
        const outcome = await inside(bob, claimed(contextOf(ada)), each);
        expect(outcome.error).toBeUndefined();
        expect(shows(outcome, ada)).toBe(true);
      }
    });
  });

  describe("replay", () => {
    it.each(stale)("a context %s opens nothing", async (_, context) => {
      const outcome = await inside(bob, claimed(context()), probe);
      expect(outcome).toMatchObject({ error: { code: "28000" } });
    });

    it("a context expires inside its own transaction, too", async () => {
      // It has between one and two seconds left at this point.
      const context = contextOf(bob, role, Date.now() - 58_000);
      const outcome = await attempt(lane.login, context, [probe, "select pg_sleep(2.1)", probe], lane.place);
      expect(outcome).toMatchObject({ error: { code: "28000" } });
      const control = await attempt(lane.login, context, ["select 1"], lane.place);
      expect(control.error).toBeUndefined();
    });

    it.each([
      ["COMMIT", ["commit"]],
      ["ROLLBACK", ["rollback"]],
      ["COMMIT AND CHAIN", ["commit and chain"]],
      ["ROLLBACK AND CHAIN", ["rollback and chain"]],
      ["a savepoint set before and rolled back to", ["commit", "begin", "savepoint s", "rollback to s"]],
    ])("%s ends the context, and leaves nothing open", async (_, statements) => {
      const outcome = await inside(bob, ...statements, probe);
      expect(outcome).toMatchObject({ error: { code: "28000" } });
    });

    it("a savepoint rolled back to brings back one's own context, and no other", async () => {
      const outcome = await inside(bob, "savepoint s", claimed(contextOf(ada)), "rollback to s", probe);
      expect(outcome.rows.at(-1)).toEqual([{ name: bob.marker }]);
    });
  });

  describe("the default of tenant_id, which reads a context without verifying it,", () => {
    const names = async (t: Target) =>
      (await inside(t, `select ${name} as name from ${table} order by ${name}`)).rows.at(-1);
    const added = `insert into ${table} (${columns}) values (${row("'added'")})`;
    const ways: [string, string][] = [
      ["INSERT", added],
      ["INSERT … RETURNING", `${added} returning tenant_id`],
      ["several rows", `${added}, (${row("'added twice'")})`],
      [
        "DEFAULT, written out",
        `insert into ${table} (tenant_id, ${columns}) values (default, ${row("'added'")})`,
      ],
      [
        "INSERT … SELECT",
        `insert into ${table} (${columns}) select ${row("'added' || repeat('!', n)")} from generate_series(0, 2) n`,
      ],
      ["ON CONFLICT DO NOTHING", `${added} on conflict do nothing`],
      [
        "ON CONFLICT DO UPDATE",
        `${added} on conflict ${unique} do update set ${name} = 'added' returning tenant_id`,
      ],
      ["a CTE", `with added as (${added} returning tenant_id) select tenant_id from added`],
      ["a CTE that nobody reads", `with added as (${added}) select 1`],
      [
        "MERGE",
        `merge into ${table} p using (select gen_random_uuid() as id) s on p.id = s.id
        when not matched then insert (${columns}) values (${row("'added'")})`,
      ],
      [
        "UPDATE to the default",
        `update ${table} set tenant_id = default, ${name} = 'added' returning tenant_id`,
      ],
      ["a DO block", `do $$ begin ${added}; end $$`],
    ];

    it.each(ways)("adds nothing under a forged or stale context, by way of %s", async (_, statement) => {
      const before = [await names(ada), await names(bob)];
      for (const [, forge] of [...forgeries, ...stale])
        expect(await inside(bob, claimed(forge()), statement)).toMatchObject({
          error: { code: "28000", message: "no valid tenant context" },
        });
      expect(await inside(bob, "reset app.tenant", statement)).toMatchObject({ error: { code: "28000" } });
      expect([await names(ada), await names(bob)]).toEqual(before);
    });

    it.each(ways)(
      "and under the genuine one adds the tenant's own: the control of %s",
      async (_, statement) => {
        const [, , carol] = await newTargets();
        const outcome = await inside(bob, claimed(contextOf(carol)), statement);
        expect(outcome.error).toBeUndefined();
        expect(await names(carol)).toContainEqual({ name: "added" });
      },
    );

    // The check verifies at the first row, the default reads at each: here what is forged at the second of three.
    const switched = (forged: string, genuine: string) =>
      `insert into ${table} (${columns}) select ${row(`'switched' || n || left(set_config('app.tenant',
      case n when 2 then $loot$${forged}$loot$ else $loot$${genuine}$loot$ end, true), 0)`)} from generate_series(1, 3) n`;

    it("gives nobody a row when the context changes in mid-statement", async () => {
      const before = await names(ada);
      const outcome = await inside(bob, switched(own().replace(bob.tenant, ada.tenant), own()));
      expect(outcome).toMatchObject({ error: { code: "42501" } });
      expect(await names(ada)).toEqual(before);
    });

    it("and with one's own tenant in what is forged adds one's own: the control of the above", async () => {
      const [, , carol] = await newTargets();
      const genuine = contextOf(carol);
      const outcome = await inside(carol, switched(`${genuine.slice(0, -1)}x`, genuine));
      expect(outcome.error).toBeUndefined();
      expect(
        (await names(carol))?.filter((found) => JSON.stringify(found).includes("switched")),
      ).toHaveLength(3);
    });
  });
});
