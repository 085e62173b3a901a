import { randomBytes } from "node:crypto";
import type pg from "pg";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { hashWith, newTotpSecret, operatorAccount, sealWith, totpOf } from "../src/identity/peppered.ts";
import type { Pepper } from "../src/identity/peppered.ts";
import type { OperatorRole } from "../src/operator.ts";
import { pepperRing } from "../src/settings.ts";
import { noteCommand, type Command } from "./command-trail.ts";
import { inControl } from "./fleet.ts";

type Login = { MIGRATION_DATABASE_URL: string };
/** What an operator's password and second factor are kept with. Without PASSWORD_PEPPERS and API_NAME, as the Worker without. */
export type SecretVariables = Login & {
  PASSWORD_PEPPER: string;
  PASSWORD_PEPPERS?: string | undefined;
  API_NAME?: string | undefined;
};
type Why = { reason?: string | undefined };

/** What an operator signs in with, told once. */
export type Secrets = { email: string; role: OperatorRole; password: string; secret: string; uri: string };

/** Bytes of a password that nobody chose. */
const PASSWORD_BYTES = 18;

/** All operators, as they are shown. */
export const listOperators = async (variables: Login) => {
  const { rows } = await inControl(variables, (control) =>
    control.query<{ email: string; role: string; signed_in_at: string | null; disabled_at: string | null }>(
      `select email, role, to_char(signed_in_at at time zone 'utc', 'YYYY-MM-DD HH24:MI') as signed_in_at,
         to_char(disabled_at at time zone 'utc', 'YYYY-MM-DD HH24:MI') as disabled_at
       from operators order by disabled_at is not null, email`,
    ),
  );
  return rows;
};

/**
 * Makes an operator of this role, or one who was removed again; without a role, gives the one that there is new secrets. Who is
 * signed in as them is out at the next request. Throws a sentence.
 */
export async function newSecrets(
  variables: SecretVariables,
  { email, role, reason }: { email: string; role?: OperatorRole } & Why,
): Promise<Secrets> {
  const pepper = pepperOf(variables);
  const password = randomBytes(PASSWORD_BYTES).toString("base64url");
  const hash = await hashWith(pepper, operatorAccount(email), password);
  const secret = newTotpSecret();
  return inTrail(variables, async (control) => {
    const { rows } = await control.query<{ id: string; is_removed: boolean }>(
      "select id, disabled_at is not null as is_removed from operators where email = $1 for update",
      [email],
    );
    const [known] = rows;
    if (role && known && !known.is_removed)
      throw new Error(`${email} is an operator already: reset them, or give them another role.`);
    if (!role && (!known || known.is_removed)) throw noOperator(email);
    const id = known?.id ?? uuidv7();
    const kept = [id, email, role ?? null, hash, sealWith(pepper, id, secret)];
    const saved = await control.query<{ role: OperatorRole }>(
      known
        ? `update operators set role = coalesce($3, role), password_hash = $4, totp_secret = $5, last_step = 0, failures = 0,
             failed_at = null, generation = generation + 1, disabled_at = null, updated_at = now()
           where id = $1 and email = $2 returning role`
        : `insert into operators (id, email, role, password_hash, totp_secret) values ($1, $2, $3, $4, $5) returning role`,
      kept,
    );
    const is = saved.rows[0]?.role;
    if (!is) throw noOperator(email);
    const totp = totpOf(secret, variables.API_NAME ?? "partywall", email);
    return {
      action: role ? "operator.add" : "operator.reset",
      change: { operator: id, email, ...(role && { role: { from: null, to: role } }) },
      reason,
      done: { email, role: is, password, secret: totp.secret.base32, uri: totp.toString() },
    };
  });
}

/** Gives the operator another role; the tokens that say the one before are void. Throws a sentence. */
export const changeRole = (
  variables: Login,
  { email, role, reason }: { email: string; role: OperatorRole } & Why,
) =>
  inTrail(variables, async (control) => {
    const { rows } = await control.query<{ id: string; was: OperatorRole }>(
      `update operators o set role = $2, generation = o.generation + 1, updated_at = now()
       from operators b where o.email = $1 and o.disabled_at is null and b.id = o.id returning o.id, b.role as was`,
      [email, role],
    );
    const [changed] = rows;
    if (!changed) throw noOperator(email);
    if (changed.was === role) throw new Error(`${email} is ${role} already.`);
    const change = { operator: changed.id, email, role: { from: changed.was, to: role } };
    return { action: "operator.role", change, reason, done: undefined };
  });

/** Removes the operator, whose tokens are void; the row stays for the trail. Throws a sentence. */
export const removeOperator = (variables: Login, { email, reason }: { email: string } & Why) =>
  inTrail(variables, async (control) => {
    const { rows } = await control.query<{ id: string }>(
      `update operators set disabled_at = now(), generation = generation + 1, updated_at = now()
       where email = $1 and disabled_at is null returning id`,
      [email],
    );
    if (!rows[0]) throw noOperator(email);
    return { action: "operator.remove", change: { operator: rows[0].id, email }, reason, done: undefined };
  });

type Noted<Done> = Omit<Command, "tenant"> & { done: Done };

/** Changes operators, and writes that down in the same transaction. */
const inTrail = <Done>(variables: Login, work: (control: pg.Client) => Promise<Noted<Done>>): Promise<Done> =>
  inControl(variables, async (control) => {
    await control.query("begin");
    const { done, ...noted } = await work(control);
    await noteCommand(control, noted);
    await control.query("commit");
    return done;
  });

/** The pepper in use, as the Worker reads it. */
function pepperOf({ PASSWORD_PEPPER, PASSWORD_PEPPERS }: SecretVariables): Pepper {
  const [{ key, ...pepper }] = v.parse(pepperRing, PASSWORD_PEPPERS || "original");
  return { ...pepper, key: key ?? Buffer.from(PASSWORD_PEPPER, "base64url") };
}

const noOperator = (email: string) =>
  new Error(`There is no operator ${email}. \`npm run operators -- list\` names them.`);
