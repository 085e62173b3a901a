/**
 * The command line for the people who run the deployment: `npm run operators -- …`, in the control plane as the migrating
 * login. USAGE says what there is.
 */
import * as v from "valibot";
import { OPERATOR_ROLES, type OperatorRole } from "../src/operator.ts";
import { Email } from "../src/values.ts";
import { runCommand, type Command, type Told } from "./command-line.ts";
import { changeRole, listOperators, newSecrets, removeOperator, type Secrets } from "./operator-people.ts";
import { table } from "./table.ts";
import { loadVariables, readDevVars } from "./variables.ts";

const USAGE = `npm run operators -- <command>

  list                          all operators, those who are removed too
  add <email> --role <role>     a new operator, ${OPERATOR_ROLES.join(", ")}; prints the password and the second factor, once
  role <email> <role>           gives another role: who is signed in has to sign in again
  reset <email>                 a new password and second factor, printed once; who is signed in is out at the next request
  remove <email>                is out at the next request

  --reason <text> goes into the operators' trail, --json prints for programs`;

type Flags = { role?: string; reason?: string; json: boolean };

const COMMANDS: Record<string, Command<Flags>> = {
  list: {
    run: async () => {
      const data = await listOperators(login());
      return {
        lines: table(
          data.map(({ disabled_at, signed_in_at, ...each }) => ({
            ...each,
            state: disabled_at ? `removed ${disabled_at}` : "active",
            signed_in: signed_in_at ?? "never",
          })),
          ["email", "role", "state", "signed_in"],
        ),
        data,
      };
    },
  },
  add: {
    words: ["<email>"],
    options: ["role"],
    run: async ([email], { role, reason }) => {
      const made = await newSecrets(secretsOf(), { email: emailOf(email), role: roleOf(role), reason });
      return shown(`${made.email} is an operator, as ${made.role}.`, made);
    },
  },
  reset: {
    words: ["<email>"],
    run: async ([email], { reason }) => {
      const made = await newSecrets(secretsOf(), { email: emailOf(email), reason });
      return shown(`${made.email} has a new password and second factor.`, made);
    },
  },
  role: {
    words: ["<email>", "<role>"],
    run: async ([email, role], { reason }) => {
      const changed = { email: emailOf(email), role: roleOf(role), reason };
      await changeRole(login(), changed);
      return { lines: [`${changed.email} is ${changed.role} now.`], data: changed };
    },
  },
  remove: {
    words: ["<email>"],
    run: async ([email], { reason }) => {
      const removed = { email: emailOf(email), reason };
      await removeOperator(login(), removed);
      return { lines: [`${removed.email} is no operator any more.`], data: { email: removed.email } };
    },
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

function emailOf(text: string | undefined = ""): string {
  const parsed = v.safeParse(Email, text);
  if (!parsed.success) throw new Error(`${text} is no email address.`);
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

await runCommand(USAGE, {
  commands: COMMANDS,
  options: {
    role: { type: "string" },
    reason: { type: "string" },
    json: { type: "boolean", default: false },
  },
  ofAll: ["json", "reason"],
});
