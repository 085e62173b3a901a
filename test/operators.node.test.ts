import { userInfo } from "node:os";
import { URI } from "otpauth";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { House } from "./support/node/house.ts";

vi.setConfig({ testTimeout: 90_000 });

// `npm run operators`, with the Worker as it would be deployed: who is added gets in with both secrets, and out at once.

type Secrets = { email: string; role: string; password: string; uri: string };
type Session = { access_token: string; operator: { role: string } };

const EMAIL = "grace@operators.test";
let house: House;

beforeAll(async () => {
  house = await House.start();
}, 120_000);
afterAll(() => house?.[Symbol.asyncDispose](), 60_000);

async function operators<Told>(...args: string[]): Promise<Told> {
  const { out, error, code } = await house.run("drizzle/operators.ts", ...args, "--json");
  expect([code, error]).toEqual([0, ""]);
  return JSON.parse(out) as Told;
}
/** Signs in with the code of so many steps from now: each is good once. */
const signIn = ({ email, password, uri }: Secrets, step = 0) => {
  const code = URI.parse(uri).generate({ timestamp: Date.now() + step * 30_000 });
  return house.ask("POST", "/v1/operator/sessions", undefined, { email, password, code });
};
const open = async (token: string) => (await house.ask("GET", "/v1/operator/operators", token)).status;

it("adds, changes, resets and removes operators, each in force at the next request and in the trail", async () => {
  const made = await operators<Secrets>("add", EMAIL, "--role", "admin", "--reason", "she runs it");
  expect(made.uri).toMatch(/^otpauth:\/\/totp\/partywall:grace%40operators\.test\?/);
  const entered = await signIn(made, -1);
  expect(entered.status).toBe(201);
  const { access_token: admin, operator } = (await entered.json()) as Session;
  expect(operator.role).toBe("admin");
  expect(await open(admin)).toBe(200);

  await operators("role", EMAIL, "viewer");
  expect(await open(admin)).toBe(401);
  const { access_token: viewer } = (await (await signIn(made)).json()) as Session;
  expect(await open(viewer)).toBe(200);

  const renewed = await operators<Secrets>("reset", EMAIL);
  expect(await open(viewer)).toBe(401);
  expect((await signIn(made, 1)).status).toBe(401);
  const { access_token: again } = (await (await signIn(renewed)).json()) as Session;
  expect(await open(again)).toBe(200);

  await operators("remove", EMAIL);
  expect(await open(again)).toBe(401);
  expect((await signIn(renewed, 1)).status).toBe(401);
  expect(await operators("list")).toMatchObject([
    { email: EMAIL, disabled_at: expect.any(String) as string },
  ]);

  const { rows } = await house.root.query<{ actor: string; action: string; reason: string | null }>(
    "select actor, action, reason, change ->> 'run_by' as run_by from control.operator_events order by id",
  );
  expect(rows.filter(({ actor }) => actor === "command line")).toMatchObject([
    { action: "operator.add", reason: "she runs it", run_by: userInfo().username },
    { action: "operator.role" },
    { action: "operator.reset" },
    { action: "operator.remove" },
  ]);
  expect(rows.filter(({ actor }) => actor === EMAIL).map(({ action }) => action)).toEqual(
    Array.from({ length: 3 }, () => "session.create"),
  );
});

it("prints the secrets once, says what is wrong in a sentence, and makes who was removed anew", async () => {
  const anew = await house.run("drizzle/operators.ts", "add", EMAIL, "--role", "support");
  expect(anew.out).toMatch(/password +[\w-]{24}\n +second factor +[A-Z2-7]{32}\n +otpauth:/);
  for (const [args, told] of [
    [["add", EMAIL, "--role", "admin"], "is an operator already"],
    [["add", "nobody", "--role", "admin"], "is no email address"],
    [["add", "x@operators.test", "--role", "king"], "Say as what: viewer, support, admin."],
    [["role", "x@operators.test", "admin"], "There is no operator x@operators.test"],
    [["remove", "x@operators.test"], "There is no operator x@operators.test"],
    [["reset", "x@operators.test"], "There is no operator x@operators.test"],
    [["role", EMAIL], "Say which: role <email> <role>"],
    [["role", EMAIL, "support"], `${EMAIL} is support already.`],
    [["list", "--role", "admin"], "`list` does not take --role"],
    [["raise", EMAIL], "There is no command raise"],
    [[], "npm run operators -- <command>"],
  ] as const) {
    const { out, error, code } = await house.run("drizzle/operators.ts", ...args);
    expect([out, code]).toEqual(["", 1]);
    expect(error).toContain(told);
    expect(error).not.toMatch(/^ +at /m);
  }
  const { out } = await house.run("drizzle/operators.ts", "list");
  expect(out).toMatch(/^email +role +state +signed_in\ngrace@operators\.test +support +active +2/);
});
