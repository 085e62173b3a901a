import { readFileSync } from "node:fs";
import { join } from "node:path";
import { URI } from "otpauth";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connected } from "../drizzle/connected.ts";
import { newSecrets, removeOperator } from "../drizzle/operator-people.ts";
import { seedLife } from "../drizzle/seed-life.ts";
import type { OperatorRole } from "../src/operator.ts";
import { makeBed, signUp, type Member, type Migrated } from "./bench/bed.ts";
import { makeFolder, serve, type Served } from "./bench/workerd.ts";
import { barriers } from "./support/node/barriers.ts";
import { openBrowser } from "./support/node/browser.ts";
import { startMigrated } from "./support/node/cluster.ts";
import { deployedBundle } from "./support/node/deployed.ts";
import { startMail } from "./support/node/mail.ts";
import { startNeon } from "./support/node/neon.ts";

// The operators' console in a real browser, on the Worker as it would be deployed and tenants that have lived for months.

/** Shows what the views look like: a folder for pictures of each. */
const PICTURES = process.env["PICTURES"];

const resources = new AsyncDisposableStack();
const browser: Browser | undefined = await openBrowser(makeFolder(resources));
if (browser) resources.defer(() => browser.close());

let worker: Served;
let origin: string;
let variables: Migrated["variables"];
let mail: Awaited<ReturnType<typeof startMail>>;
let neon: Awaited<ReturnType<typeof startNeon>>;

beforeAll(async () => {
  [mail, neon] = await Promise.all([startMail(), startNeon()]);
  for (const service of [mail, neon]) resources.defer(() => service.stop());
  const bed = await makeBed(resources, 8, async (options) => {
    const migrated = await startMigrated(options);
    ({ variables } = migrated);
    return migrated;
  });
  await seedLife(variables);
  const bundle = await deployedBundle();
  const settings = {
    MAIL_URL: mail.url,
    MAIL_FROM: "accounts@console.test",
    NEON_API_URL: neon.origin,
    NEON_API_KEY: neon.key,
    NEON_ORG_ID: neon.org,
  };
  worker = await serve(resources, bundle, { ...bed.variables, ...settings });
  origin = `http://127.0.0.1:${worker.port}`;
}, 120_000);
afterAll(() => resources.disposeAsync());

const PHONE = { viewport: { width: 320, height: 700 }, isMobile: true, hasTouch: true };
const SIZES: Record<string, BrowserContextOptions> = {
  desktop: {},
  dark: { colorScheme: "dark" },
  phone: PHONE,
};

let operators = 0;
/** A new operator of this role, and the code of so many steps from now: each is good once. */
async function newOperator(role: OperatorRole) {
  const email = `${role}-${++operators}@console.test`;
  const { password, uri } = await newSecrets(variables, { email, role, reason: "a test" });
  const codeOf = (step: number) => URI.parse(uri).generate({ timestamp: Date.now() + step * 30_000 });
  return { email, password, codeOf };
}
type Operator = Awaited<ReturnType<typeof newOperator>>;

/** A visit to the console by somebody new. What the browser complains of, and any request elsewhere, is thrown when it ends. */
async function visit(path = "", size: BrowserContextOptions = {}) {
  if (!browser) throw new Error("There is no browser.");
  const context = await browser.newContext({ locale: "en-GB", ...size });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && url.protocol !== "data:") complaints.push(`It asked ${url.href}`);
  });
  page.on("console", (message) => {
    // The browser's own line for each answer that is an error.
    if (!message.text().startsWith("Failed to load resource")) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(`${origin}/operator${path && `#${path}`}`);
  return {
    context,
    page,
    [Symbol.asyncDispose]: async () => {
      await context.close();
      expect(complaints).toEqual([]);
    },
  };
}

/** Waits for the view with this title, once all of it is loaded. */
async function at(page: Page, title: string): Promise<void> {
  await page.getByRole("heading", { level: 1, name: title, exact: true }).waitFor();
  await expect.poll(() => page.locator("[aria-busy=true]").count()).toBe(0);
}

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const field = (page: Page, label: string) => page.getByLabel(label, { exact: true });

async function signIn(page: Page, { email, password, codeOf }: Operator, step = 0): Promise<void> {
  await at(page, "Sign in");
  await field(page, "Email").fill(email);
  await field(page, "Password").fill(password);
  await field(page, "Code").fill(codeOf(step));
  await button(page, "Sign in").click();
}

/** A visit by a new operator of this role, who is signed in. */
async function enter(role: OperatorRole, path = "", size: BrowserContextOptions = {}) {
  const [operator, visitor] = await Promise.all([newOperator(role), visit(path, size)]);
  await signIn(visitor.page, operator);
  await visitor.page.locator("nav").first().waitFor({ state: "attached" });
  return visitor;
}

/** The status that is answered to a request of the tenant's own. */
const statusFor = async ({ token }: Member): Promise<number> => {
  const headers = { authorization: `Bearer ${token}` };
  return (await fetch(`${origin}/v1/me`, { headers })).status;
};

const toTenant = (page: Page, name: string) => page.getByRole("link", { name, exact: true }).click();

/** Chooses what is not offered as a button. */
async function choose(page: Page, action: string): Promise<void> {
  await page.getByText("More actions").click();
  await button(page, action).click();
}

/** Gives the reason in the dialog, and presses its button. */
async function confirm(page: Page, name: string, reason: string): Promise<void> {
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Reason").fill(reason);
  await dialog.getByRole("button", { name, exact: true }).click();
}

describe.skipIf(!browser)("in a browser", { timeout: 60_000 }, () => {
  it("signs an operator in, who finds a tenant, suspends it with a reason, and reinstates it", async () => {
    const acme = await signUp(worker, "acme");
    expect(await statusFor(acme)).toBe(200);
    await using visitor = await enter("admin");
    const { page } = visitor;
    await at(page, "Tenants");
    await field(page, "Search").fill("ACM");
    await expect.poll(() => page.locator("tbody tr").count()).toBe(1);
    expect(page.url()).toMatch(/#\/tenants\?search=ACM$/);
    await toTenant(page, "acme");
    await at(page, "acme");

    await button(page, "Suspend").click();
    const dialog = page.getByRole("dialog", { name: "Suspend acme?" });
    await dialog.getByRole("button", { name: "Suspend" }).click();
    expect(await dialog.getByLabel("Reason").getAttribute("aria-invalid")).toBe("true");
    expect(await statusFor(acme)).toBe(200);
    await confirm(page, "Suspend", "Its key was published.");
    await page.getByRole("status").getByText("acme is suspended.").waitFor();
    expect(await statusFor(acme)).toBe(403);
    await page.locator(".about").getByText("Suspended").waitFor();
    await page.getByRole("cell", { name: "Its key was published." }).waitFor();

    await button(page, "Reinstate").click();
    await confirm(page, "Reinstate", "The key was replaced.");
    await page.getByRole("status").getByText("acme is active again.").waitFor();
    expect(await statusFor(acme)).toBe(200);

    await page.getByRole("link", { name: "Events" }).click();
    await at(page, "What operators did");
    const [latest = ""] = await page.locator("tbody tr").allInnerTexts();
    expect(latest).toMatch(/admin-\d+@console\.test[^]*Status from suspended to active[^]*acme[^]*replaced/);
    await page.goBack();
    await at(page, "acme");
  });

  it("says what is wrong with a sign-in, and keeps nobody who gives a wrong code", async () => {
    await using visitor = await visit();
    const { page } = visitor;
    await at(page, "Sign in");
    await button(page, "Sign in").click();
    await expect.poll(() => page.locator("[aria-invalid]").count()).toBe(3);
    await field(page, "Email").and(page.locator(":focus")).waitFor();
    await signIn(page, { ...(await newOperator("viewer")), codeOf: () => "000 000" });
    await page.getByRole("alert").getByText("do not belong together").waitFor();
    expect(await page.locator("nav").count()).toBe(0);
  });

  it("keeps the token in memory alone: who loads the page again signs in again, and sees what the address asks for", async () => {
    const operator = await newOperator("viewer");
    await using visitor = await visit("/heavy?by=cost&period=month");
    const { page, context } = visitor;
    await signIn(page, operator);
    await at(page, "Heavy tenants");
    const { cookies, origins } = await context.storageState({ indexedDB: true });
    expect([cookies, origins]).toEqual([[], []]);
    expect(await page.evaluate("sessionStorage.length")).toBe(0);
    await page.reload();
    await signIn(page, operator, 1);
    await at(page, "Heavy tenants");
    expect(await field(page, "Most").inputValue()).toBe("cost");
  });

  it("asks to sign in again once the session has ended, and goes on where it was", async () => {
    const operator = await newOperator("support");
    await using visitor = await visit("/operators");
    const { page } = visitor;
    await signIn(page, operator);
    await at(page, "Operators");
    await removeOperator(variables, { email: operator.email });
    await page.getByRole("link", { name: "Erasures" }).click();
    await at(page, "Sign in");
    await page.getByRole("status").getByText("Your session has ended.").waitFor();
    await signIn(page, await newOperator("viewer"));
    await at(page, "Erasures");
    expect(page.url()).toMatch(/#\/erasures$/);
  });

  it("signs an operator out for good: their token is refused from then on", async () => {
    await using visitor = await enter("viewer", "/operators");
    const { page } = visitor;
    await at(page, "Operators");
    const asked = page.waitForRequest("**/v1/operator/sessions/current");
    await button(page, "Sign out").click();
    await at(page, "Sign in");
    await page.getByRole("status").getByText("You are signed out.").waitFor();
    const request = await asked;
    expect([request.method(), (await request.response())?.status()]).toEqual(["DELETE", 204]);
    const headers = { authorization: (await request.headerValue("authorization")) ?? "" };
    expect((await fetch(`${origin}/v1/operator/operators`, { headers })).status).toBe(401);
    await page.reload();
    await at(page, "Sign in");
  });

  it("says so where the service could not be told that somebody has signed out, and forgets the token all the same", async () => {
    await using visitor = await enter("viewer");
    const { page } = visitor;
    await page.route("**/v1/operator/sessions/current", (route) => route.abort());
    await button(page, "Sign out").click();
    await at(page, "Sign in");
    await page.getByRole("status").getByText("the service could not be told").waitFor();
    expect(await page.locator("nav").count()).toBe(0);
  });

  it("changes an operator's password, with a code, and says what is wrong with one", async () => {
    const operator = await newOperator("viewer");
    const password = "another that was generated";
    await using visitor = await visit("/me");
    const { page } = visitor;
    await signIn(page, operator, -1);
    await at(page, "You");
    await field(page, "Password now").fill(operator.password);
    await field(page, "New password").fill(password);
    await field(page, "New password again").fill("yet another");
    await field(page, "Code").fill(operator.codeOf(0));
    await button(page, "Change the password").click();
    await page.getByText("This is not the same.").waitFor();
    await field(page, "New password again").fill(password);
    await field(page, "Code").fill("000 000");
    await button(page, "Change the password").click();
    await page.getByRole("alert").getByText("The password is not yours, or the code").waitFor();
    await field(page, "Code").fill(operator.codeOf(0));
    await button(page, "Change the password").click();
    await page.getByRole("status").getByText("Your password is changed.").waitFor();
    expect(await field(page, "Password now").inputValue()).toBe("");
    await button(page, "Sign out").click();
    await signIn(page, operator, 1);
    await page.getByRole("alert").getByText("do not belong together").waitFor();
    await signIn(page, { ...operator, password }, 1);
    await at(page, "You");
  });

  it("plots a tenant's usage, says each day's figures to the keyboard, and has the same in a table", async () => {
    await using visitor = await enter("viewer", "/tenants?search=lumen");
    const { page } = visitor;
    await toTenant(page, "Lumen Labs");
    await at(page, "Lumen Labs");
    const canvas = page.locator(".plot canvas");
    await canvas.waitFor();
    const colours = await page.evaluate<number>(`{
      const drawn = document.querySelector(".plot canvas");
      const { data } = drawn.getContext("2d").getImageData(0, 0, drawn.width, drawn.height);
      new Set(new Uint32Array(data.buffer)).size;
    }`);
    expect(colours).toBeGreaterThan(4);

    await page.locator(".plot").focus();
    for (const key of ["ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowLeft"]) await page.keyboard.press(key);
    const told = await page.locator(".plot [role=status]").innerText();
    await page.getByText("As a table").click();
    const cells = await page.locator("figure tbody tr").nth(1).getByRole("cell").allInnerTexts();
    expect(told.split("\n").map((line) => line.replace(/^(Admitted|Refused) /, ""))).toEqual(cells);
    expect(Number(cells[1]?.replaceAll(",", ""))).toBeGreaterThan(1000);

    await page.getByRole("link", { name: "48 hours" }).click();
    const figure = page.locator("figcaption");
    await figure.getByText("Requests by hour").waitFor();
    await field(page, "Show").selectOption("Errors");
    await figure.getByText("Errors by hour").waitFor();
    expect(page.url()).toMatch(/\?period=48h&figure=errors$/);
  });

  it("compares a tenant's usage with the period before, where that is known", async () => {
    await using visitor = await enter("viewer", "/tenants?search=lumen");
    const { page } = visitor;
    await toTenant(page, "Lumen Labs");
    await at(page, "Lumen Labs");
    const admitted = () =>
      page.locator(".tiles > div", { has: page.getByText("Admitted", { exact: true }) }).innerText();
    const told = /([\d.]+)% (more|less) than in the period before/.exec(await admitted()) ?? [];
    // The same by hand, from the days as Postgres has them.
    const days = await connected(variables.MIGRATION_DATABASE_URL, async (control) => {
      await control.query("set role partywall_owner");
      const { rows } = await control.query<{ now: number; before: number }>(
        `select coalesce(sum(requests) filter (where day > d - 30), 0)::float8 as now,
           coalesce(sum(requests) filter (where day <= d - 30 and day > d - 60), 0)::float8 as before
         from control.usage_days u join control.tenants t on t.id = u.tenant_id, (select (now() at time zone 'utc')::date) n (d)
         where t.name = 'Lumen Labs'`,
      );
      return rows[0];
    });
    const change = days ? days.now / days.before - 1 : 0;
    expect(told[2]).toBe(change > 0 ? "more" : "less");
    const said = Number(told[1]) / 100;
    expect(Math.abs(said - Math.abs(change)) / said).toBeLessThan(0.06);
    await page.getByRole("link", { name: "A year" }).click();
    await expect.poll(admitted).not.toContain("the period before");
  });

  it("saves the tenants that are listed as a file, all pages of them, with no formula in it", async () => {
    await signUp(worker, "csv-one");
    await using visitor = await enter("admin", "/tenants?search=csv-&sort=name");
    const { page } = visitor;
    await page.evaluate("location.hash = '/tenants/new'");
    await at(page, "Create a tenant");
    await field(page, "Name").fill(`=cmd("calc"), csv-two`);
    await field(page, "Slug").fill("csv-two");
    await field(page, "Email of the first owner").fill("ivy@csv.test");
    await button(page, "Create the tenant").click();
    await page.getByRole("status").getByText("ivy@csv.test invited").waitFor();
    await page.goBack();
    await page.evaluate("location.hash = '/tenants?search=csv-&sort=name'");
    await at(page, "Tenants");
    // A page of one, as if there were more than the API answers at once.
    await page.route("**/v1/operator/tenants?*", (route, request) =>
      route.continue({ url: request.url().replace("limit=100", "limit=1") }),
    );
    const saving = page.waitForEvent("download");
    await button(page, "Download as CSV").click();
    const file = await saving;
    expect(file.suggestedFilename()).toMatch(/^tenants-\d{4}-\d\d-\d\d\.csv$/);
    await page.getByRole("status").getByText("2 tenants are in the file.").waitFor();
    const text = readFileSync(await file.path(), "utf8");
    const [names = "", ...rows] = text.replace("\uFEFF", "").trimEnd().split("\r\n");
    expect(names).toMatch(/^id,slug,name,plan,status,placement,/);
    expect(rows.map((row) => row.replace(/^[\da-f-]{36},/, ""))).toEqual([
      expect.stringMatching(/^csv-two,"'=cmd\(""calc""\), csv-two",solo,active,shared,/),
      expect.stringMatching(/^csv-one,csv-one,solo,active,shared,/),
    ]);
  });

  it("shows a cost with its parts, which add up to it", async () => {
    await using visitor = await enter("viewer", "/tenants?search=nordwind");
    const { page } = visitor;
    await toTenant(page, "Nordwind Freight");
    await at(page, "Nordwind Freight");
    const money = (text = "") => Number(text.replaceAll(/[$,]/g, ""));
    const cost = page.getByRole("region", { name: "Cost" });
    const amounts = await cost.locator("tbody tr td:last-child").allInnerTexts();
    expect(amounts.length).toBeGreaterThan(4);
    const total = money(await cost.locator(".total b").innerText());
    expect(amounts.reduce((sum, amount) => sum + money(amount), 0)).toBeCloseTo(total, 2);
  });

  it("says of a cost by Neon's figures which those are, and why they are not there", async () => {
    const billed = await signUp(worker, "billed");
    const today = new Date().toISOString().slice(0, 10);
    const post = (action: string, body: string) =>
      fetch(`${neon.origin}/quiet-dawn-1/${action}`, { method: "POST", body });
    await post("use", JSON.stringify({ [today]: { compute_unit_seconds: 7200 } }));
    await connected(variables.MIGRATION_DATABASE_URL, (control) =>
      control.query(`set role partywall_owner;
        insert into control.sites (name, kind, schema, server, host, database, secret, neon_project)
          values ('billed', 'dedicated', 'public', 'billed', '127.0.0.1:1', 'billed', 'aaaaaaaa', 'quiet-dawn-1');
        update control.tenants set site = 'billed' where slug = 'billed'`),
    );
    await using visitor = await enter("viewer", `/tenants/${billed.tenantId}`);
    const { page } = visitor;
    await at(page, "billed");
    const cost = page.getByRole("region", { name: "Cost" });
    await cost.getByText("What Neon bills is by its own figures of the project quiet-dawn-1").waitFor();
    const compute = cost.getByRole("row", { name: /^Database compute/ });
    expect(await compute.getByRole("cell").allInnerTexts()).toEqual(
      expect.arrayContaining(["Neon's", "2 CU-hour", "$0.212"]),
    );
    expect(await cost.getByRole("row", { name: /^Workers requests/ }).innerText()).toContain("Own");
    await connected(variables.MIGRATION_DATABASE_URL, (control) =>
      control.query(`set role partywall_owner;
        update control.sites set neon_project = 'quiet-dawn-2' where name = 'billed'`),
    );
    await page.reload();
    await signIn(page, await newOperator("viewer"));
    await at(page, "billed");
    await cost.getByText("are not in it: it knows no such project, or nothing that it used.").waitFor();
    expect(await cost.getByText("Neon's", { exact: true }).count()).toBe(0);
  });

  it("closes a tenant only when its slug is typed, and restores it", async () => {
    const doomed = await signUp(worker, "doomed");
    await using visitor = await enter("admin", `/tenants/${doomed.tenantId}`);
    const { page } = visitor;
    await at(page, "doomed");
    await choose(page, "Close");
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Type “doomed” to confirm").fill("doom");
    await confirm(page, "Close the tenant", "Asked for by mail.");
    await dialog.getByText("This is not “doomed”.").waitFor();
    expect(await statusFor(doomed)).toBe(200);
    await dialog.getByLabel("Type “doomed” to confirm").fill("doomed");
    await button(page, "Close the tenant").click();
    await page.getByRole("status").getByText("doomed is closing.").waitFor();
    await page.locator(".about").getByText("Closing").waitFor();
    await button(page, "Restore").click();
    await confirm(page, "Restore", "They changed their mind.");
    await page.getByRole("status").getByText("doomed is restored.").waitFor();
    expect(await statusFor(doomed)).toBe(200);
  });

  it("changes a tenant's plan and its own limits, in force at its next request", async () => {
    const grown = await signUp(worker, "grown");
    await using visitor = await enter("admin", `/tenants/${grown.tenantId}`);
    const { page } = visitor;
    await at(page, "grown");
    await choose(page, "Change the plan");
    await page.getByRole("dialog").getByLabel("Plan").selectOption("startup");
    await confirm(page, "Change the plan", "They pay for it.");
    await page.getByRole("status").getByText("is on the plan startup").waitFor();
    await choose(page, "Change the limits");
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Limits", { exact: true }).selectOption("Its own");
    await dialog.getByLabel("Units").nth(1).fill("4321");
    await confirm(page, "Change the limits", "For their campaign.");
    await page.getByText("Its own, set by an operator.").waitFor();
    const headers = { authorization: `Bearer ${grown.token}` };
    const limits = await (await fetch(`${origin}/v1/tenant/limits`, { headers })).text();
    expect(limits).toContain(`"name":"minute","limit":4321`);
    expect(limits).toContain(`"name":"second","limit":100`);
  });

  it("creates a tenant, whose owner is mailed an invitation, and says which slug is taken", async () => {
    await signUp(worker, "taken");
    await using visitor = await enter("admin");
    const { page } = visitor;
    await page.getByRole("link", { name: "Create a tenant" }).click();
    await at(page, "Create a tenant");
    await field(page, "Name").fill("Taken");
    expect(await field(page, "Slug").inputValue()).toBe("taken");
    await field(page, "Email of the first owner").fill("ivy@new.test");
    await button(page, "Create the tenant").click();
    await page.getByRole("alert").getByText("Choose another").waitFor();
    await field(page, "Slug").fill("not-taken");
    await button(page, "Create the tenant").click();
    await at(page, "Taken");
    await page.getByRole("status").getByText("ivy@new.test invited").waitFor();
    const mails = await (await fetch(`${mail.url}?to=ivy@new.test&least=1`)).text();
    expect(mails).toContain("Invitation to Taken");
  });

  it("asks a tenant for access, has its owner let the operator in and out, and shows each at once", async () => {
    const asked = await signUp(worker, "let-in");
    const as = (token: string, method: string, path: string, body?: object) =>
      fetch(`${origin}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        ...(body && { body: JSON.stringify(body) }),
      });
    const owner = (method: string, path: string, body?: object) => as(asked.token, method, path, body);
    expect((await owner("PATCH", "/v1/tenant/support-access", { mode: "ask" })).status).toBe(200);

    await using visitor = await enter("support", `/tenants/${asked.tenantId}`);
    const { page } = visitor;
    await at(page, "let-in");
    await choose(page, "Ask for access");
    await page.getByRole("dialog").getByLabel("For how many minutes").fill("15");
    await confirm(page, "Ask for access", "Ticket 4714");
    const dialog = page.getByRole("dialog");
    await dialog.getByText("An owner of the tenant has been asked.").waitFor();
    const sessions = await (await owner("GET", "/v1/tenant/support-sessions")).json();
    const { data } = sessions as { data: { id: string; status: string; reason: string; expires_at: null }[] };
    expect(data).toMatchObject([{ status: "asked", reason: "Ticket 4714", minutes: 15 }]);
    const session = `/v1/tenant/support-sessions/${data[0]?.id}`;
    const approved = await owner("POST", `${session}/approve`);
    expect(approved.status).toBe(200);
    const { expires_at } = (await approved.json()) as { expires_at: string };

    // Nobody presses anything: the page looks by itself.
    const token = await dialog.getByLabel("Access token").inputValue();
    expect((await as(token, "GET", "/v1/projects")).status).toBe(200);
    const ends = dialog.locator("div", { has: page.getByText("It ends", { exact: true }) }).locator("dd");
    expect(await ends.last().innerText()).toContain(expires_at.slice(11, 16));
    await dialog.getByText(/For the tenant's own routes, until \d\d:\d\d/).waitFor();
    expect(await barriers(page)).toEqual([]);

    expect((await owner("DELETE", session)).status).toBe(204);
    expect((await as(token, "GET", "/v1/projects")).status).toBe(401);
    await dialog.getByText("Your access has ended. It was ended.").waitFor();
    expect(await dialog.getByRole("button", { name: "Get the next token" }).isDisabled()).toBe(true);
    await button(page, "Done").click();
    await dialog.waitFor({ state: "detached" });
    await page.getByText("support.ask").waitFor();
  });

  it("offers each role what it may do, and no more", async () => {
    const other = await signUp(worker, "looked-at");
    const offered = async (role: OperatorRole) => {
      await using visitor = await enter(role, `/tenants/${other.tenantId}`);
      const { page } = visitor;
      await at(page, "looked-at");
      const names = await page.locator(".head button").allTextContents();
      await page.getByRole("link", { name: "Tenants" }).first().click();
      await at(page, "Tenants");
      return { names, creates: (await page.getByRole("link", { name: "Create a tenant" }).count()) === 1 };
    };
    expect(await offered("viewer")).toEqual({ names: [], creates: false });
    expect(await offered("support")).toEqual({
      names: ["Export", "Ask for access", "End all sessions"],
      creates: false,
    });
    const { names, creates } = await offered("admin");
    expect(names).toEqual(expect.arrayContaining(["Suspend", "Change the limits", "Close", "Erase now"]));
    expect(creates).toBe(true);
  });

  it("says that it loads, when it may be tried again, and that nothing was found", async () => {
    await using visitor = await enter("viewer", "/operators");
    const { page } = visitor;
    const { promise: asked, resolve: answer } = Promise.withResolvers<void>();
    await page.route("**/v1/operator/erasures*", async (route) => {
      await asked;
      await route.fulfill({
        status: 503,
        headers: { "content-type": "application/problem+json", "retry-after": "12" },
        body: JSON.stringify({ detail: "Postgres is out of reach." }),
      });
    });
    await page.getByRole("link", { name: "Erasures" }).click();
    await page.getByRole("status").getByText("Loading").waitFor();
    answer();
    const alert = page.getByRole("alert").filter({ hasText: "The service cannot answer now" });
    await alert.waitFor();
    expect(await alert.innerText()).toMatch(
      /Postgres is out of reach\. Try again in 12 seconds, at [\d:]{8} UTC/,
    );
    await page.unrouteAll({ behavior: "wait" });
    await button(page, "Try again").click();
    await page.getByText("No tenant has been erased").waitFor();
    await page.evaluate("location.hash = '/tenants?search=nobody-is-called-this'");
    await page.getByText("No tenant matches").waitFor();
    await page.evaluate("location.hash = '/nowhere'");
    await at(page, "There is nothing here");
  });

  it("can be used with the keyboard alone, and gives the focus back", async () => {
    const typed = await signUp(worker, "typed");
    const operator = await newOperator("admin");
    await using visitor = await visit(`/tenants/${typed.tenantId}`);
    const { page } = visitor;
    await at(page, "Sign in");
    for (const value of [operator.email, operator.password, operator.codeOf(0)]) {
      await page.keyboard.press("Tab");
      await page.keyboard.type(value);
    }
    await page.keyboard.press("Enter");
    await at(page, "typed");
    await page.getByRole("heading", { level: 1 }).and(page.locator(":focus")).waitFor();
    const focused = () =>
      page.evaluate<[string, string]>(
        "[document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]",
      );
    await page.keyboard.press("Tab");
    expect(await focused()).toEqual(["Suspend", "solid"]);
    await page.keyboard.press("Enter");
    const reason = page.getByRole("dialog").getByLabel("Reason");
    await reason.and(page.locator(":focus")).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    expect(await focused()).toEqual(["Suspend", "solid"]);
    await page.keyboard.press("Enter");
    await page.keyboard.type("Typed.");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("status").getByText("typed is suspended.").waitFor();
    expect(await statusFor(typed)).toBe(403);
    await expect.poll(focused).toEqual(["Reinstate", "solid"]);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    expect((await focused())[0]).toBe("Make read only");
    await page.keyboard.press("Escape");
    expect((await focused())[0]).toBe("More actions");
  });

  const VIEWS = {
    "/tenants": "Tenants",
    "/tenants?search=nobody": "Tenants",
    "/tenants/new": "Create a tenant",
    "/usage": "Usage of all tenants",
    "/usage?period=48h&figure=errors": "Usage of all tenants",
    "/heavy?by=cost&period=month": "Heavy tenants",
    "/moves": "Moves",
    "/erasures": "Erasures",
    "/events": "What operators did",
    "/operators": "Operators",
    "/me": "You",
    "/nowhere": "There is nothing here",
  };

  it.each(Object.entries(SIZES))(
    "has no barrier that axe-core knows of, and no line too long, in any view: %s",
    { timeout: 120_000 },
    async (name, size) => {
      await using visitor = await visit("", size);
      const { page } = visitor;
      const look = async (view: string) => {
        expect({ view, barriers: await barriers(page) }).toEqual({ view, barriers: [] });
        const { scrollWidth, clientWidth } = await page
          .locator("html")
          .evaluate((html) => ({ scrollWidth: html.scrollWidth, clientWidth: html.clientWidth }));
        expect({ view, scrollWidth }).toEqual({ view, scrollWidth: clientWidth });
        if (PICTURES !== undefined)
          await page.screenshot({
            path: join(PICTURES, `${name}-${view.replaceAll(/\W+/g, "-")}.png`),
            fullPage: true,
          });
      };
      await at(page, "Sign in");
      await look("sign-in");
      await signIn(page, await newOperator("admin"));
      for (const [path, title] of Object.entries(VIEWS)) {
        await page.evaluate(`location.hash = ${JSON.stringify(path)}`);
        await at(page, title);
        await look(path);
      }
      await page.evaluate("location.hash = '/tenants?search=tidewater'");
      await toTenant(page, "Tidewater Energy");
      await at(page, "Tidewater Energy");
      await page.locator(".plot canvas").waitFor();
      await look("tenant");
      await page.getByText("More actions").click();
      await look("actions");
      await page.keyboard.press("Escape");
      for (const action of ["Change the limits", "Ask for access", "Close"]) {
        await page.getByText("More actions").click();
        await button(page, action).click();
        await look(action);
        await page.keyboard.press("Escape");
      }
      if (size !== PHONE) return;
      await button(page, "Menu").click();
      await look("menu");
    },
  );
});
