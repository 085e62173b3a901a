/**
 * The command line for the people who run the deployment: `npm run operators -- …`, in the control plane as the migrating
 * login. USAGE says what there is.
 */
import { parseArgs } from "node:util";
import * as v from "valibot";
import { OPERATOR_ROLES, type OperatorRole } from "../src/operator.ts";
import { Email } from "../src/values.ts";
import { messageOf } from "./connected.ts";
import { changeRole, listOperators, newSecrets, removeOperator, type Secrets } from "./operator-people.ts";
import { loadVariables, readDevVars } from "./variables.ts";

const USAGE = `npm run operators -- <command>

  list                          all operators, those who are removed too
  add <email> --role <role>     a new operator, ${OPERATOR_ROLES.join(", ")}; prints the password and the second factor, once
  role <email> <role>           gives another role: who is signed in has to sign in again
  reset <email>                 a new password and second factor, printed once; who is signed in is out at the next request
  remove <email>                is out at the next request

  --reason <text> goes into the operators' trail, --json prints for programs`;

type Flags = { role?: string; reason?: string; json: boolean };

/** What a command has done or found: lines for people, and the same for programs. */
type Told = { lines: string[]; data: unknown };

const COMMANDS: Record<string, (args: string[], flags: Flags) => Promise<Told>> = {
  list: async () => {
    const data = await listOperators(login());
    return {
      lines: data.map(({ email, role, signed_in_at, disabled_at }) =>
        disabled_at
          ? `${email}  removed ${disabled_at}`
          : `${email}  ${role}  ${signed_in_at ? `signed in ${signed_in_at}` : "never signed in"}`,
      ),
      data,
    };
  },
  add: async ([email], { role, reason }) => {
    const made = await newSecrets(secretsOf(), { email: emailOf(email), role: roleOf(role), reason });
    return shown(`${made.email} is an operator, as ${made.role}.`, made);
  },
  reset: async ([email], { reason }) => {
    const made = await newSecrets(secretsOf(), { email: emailOf(email), reason });
    return shown(`${made.email} has a new password and second factor.`, made);
  },
  role: async ([email, role], { reason }) => {
    const changed = { email: emailOf(email), role: roleOf(role), reason };
    await changeRole(login(), changed);
    return { lines: [`${changed.email} is ${changed.role} by now.`], data: changed };
  },
  remove: async ([email], { reason }) => {
    const removed = { email: emailOf(email), reason };
    await removeOperator(login(), removed);
    return { lines: [`${removed.email} is no operator any more.`], data: { email: removed.email } };
  },
};

function shown(done: string, made: Secrets): Told {
  return {
    lines: [
      done,
      "These are shown this once. Keep the password in a password manager, and add the second factor to an app:",
      `  password       ${made.password}`,
      `  second factor  ${made.secret}`,
      `                 ${made.uri}`,
      "Signing in takes both: POST /v1/operator/sessions with email, password and code, or the console at /operator.",
    ],
    data: made,
  };
}

function emailOf(text: string | undefined): string {
  const parsed = v.safeParse(Email, text);
  if (!parsed.success) throw new Error(text ? `${text} is no email address.` : USAGE);
  return parsed.output;
}

function roleOf(text: string | undefined): OperatorRole {
  const role = OPERATOR_ROLES.find((known) => known === text);
  if (!role) throw new Error(`Say as what: ${OPERATOR_ROLES.join(", ")}.`);
  return role;
}

const login = () => loadVariables(["MIGRATION_DATABASE_URL"]);
const secretsOf = () => {
  const known = { ...readDevVars(), ...process.env };
  return {
    ...loadVariables(["MIGRATION_DATABASE_URL", "PASSWORD_PEPPER"]),
    PASSWORD_PEPPERS: known["PASSWORD_PEPPERS"],
    API_NAME: known["API_NAME"],
  };
};

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      role: { type: "string" },
      reason: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const [name = "", ...args] = positionals;
  const command = COMMANDS[name];
  if (!command || args.length > (name === "role" ? 2 : 1)) throw new Error(USAGE);
  const { lines, data } = await command(args, values);
  console.log(values.json ? JSON.stringify(data, null, 2) : lines.join("\n"));
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 1;
}
