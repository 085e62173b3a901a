import { once } from "node:events";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { Secret, TOTP, URI } from "otpauth";
import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestHarness } from "wrangler";
import { newSecrets } from "../../drizzle/operator-people.ts";
import { makeBed, runSql, type Bed, type Migrated } from "../bench/bed.ts";
import { makeFolder } from "../bench/workerd.ts";
import { barriers } from "../support/node/barriers.ts";
import { openBrowser } from "../support/node/browser.ts";
import { startMigrated } from "../support/node/cluster.ts";
import { startMail } from "../support/node/mail.ts";

// The page at /account in a real browser, against the whole Worker.

const PASSWORD = "correct horse battery staple";
/** Shows what the pages look like: a folder for pictures of each view. */
const PICTURES = process.env["PICTURES"];

const root = join(import.meta.dirname, "../..");
const resources = new AsyncDisposableStack();
const browser: Browser | undefined = await openBrowser(makeFolder(resources));
if (browser) resources.defer(() => browser.close());

let bed: Bed;
let variables: Migrated["variables"];
let mail: Awaited<ReturnType<typeof startMail>>;
/** Where sign-up is immediate, and a page that is loaded again is signed out. */
let origin: string;
/** Where sign-up verifies first, and a cookie keeps browsers signed in: SIGN_UP and BROWSER_SESSIONS. */
let lasting: string;
beforeAll(async () => {
  bed = await makeBed(resources, 8, async (options) => {
    const migrated = await startMigrated(options);
    ({ variables } = migrated);
    return migrated;
  });
  mail = await startMail();
  resources.defer(() => mail.stop());
  [origin, lasting] = await Promise.all([
    serve({}),
    serve({ SIGN_UP: "verify_first", BROWSER_SESSIONS: "on" }),
  ]);
}, 120_000);
afterAll(() => resources.disposeAsync());

/** Serves the Worker with these settings. Returns its origin. */
async function serve(settings: Record<string, string>): Promise<string> {
  const gate = await openGate();
  const server = createTestHarness({
    root,
    workers: [
      {
        configPath: "wrangler.toml",
        secrets: { ...bed.variables, ISSUER: gate.origin },
        vars: { MAIL_URL: mail.url, MAIL_FROM: "accounts@pages.test", ...settings },
      },
    ],
  });
  resources.defer(() => server.close());
  gate.leadTo(Number((await server.listen()).url.port));
  return gate.origin;
}

/** A port that is known before the Worker's, under a name: passkeys are made for one, and ISSUER says which. */
async function openGate() {
  let target = 0;
  const gate = createServer((client) => {
    const server = connect(target, "127.0.0.1");
    const end = () => {
      client.destroy();
      server.destroy();
    };
    client.pipe(server).pipe(client);
    for (const socket of [client, server]) socket.on("error", end).on("close", end);
  });
  gate.listen(0, "127.0.0.1");
  await once(gate, "listening");
  resources.defer(() => void gate.close());
  return {
    origin: `http://localhost:${(gate.address() as AddressInfo).port}`,
    leadTo: (port: number) => {
      target = port;
    },
  };
}

type Session = {
  access_token: string;
  user: { id: string; email: string };
  tenant: { id: string; slug: string };
};

/** The JSON answered to a request of a program's. */
async function send<T>(method: string, path: string, body?: object, token?: string): Promise<T> {
  const response = await fetch(origin + path, {
    method,
    headers: {
      ...(body && { "content-type": "application/json" }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
  const text = await response.text();
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

/** Somebody with a tenant of their own and a confirmed address, made without the page. */
async function newOwner(slug: string, email = `${slug}@pages.test`): Promise<Session> {
  const tenant = { name: `The ${slug}`, slug };
  const session = await send<Session>("POST", "/v1/signup", { email, password: PASSWORD, tenant });
  const [, token] = (await mailedLink(email, "verification")).split("=");
  await send("POST", "/v1/email-verifications/confirm", { token }).catch(() => undefined);
  return session;
}

/** The fragment of the first link for this purpose that is mailed to this address, once it has come. */
async function mailedLink(to: string, purpose: string): Promise<string> {
  for (let least = 1; ; least++) {
    const response = await fetch(`${mail.url}?to=${encodeURIComponent(to)}&least=${least}`);
    const deliveries: { body: { text: string } }[] = JSON.parse(await response.text());
    const texts = deliveries.map(({ body }) => body.text).join("\n");
    const [fragment] = new RegExp(`#${purpose}=[\\w.-]+`).exec(texts) ?? [];
    if (fragment !== undefined) return fragment;
  }
}

/** Invites this address into a tenant, and returns the token of the mail. */
async function invited(email: string, by: Session): Promise<string> {
  await send("POST", "/v1/invitations", { email, role: "member" }, by.access_token);
  return (await mailedLink(email, "invitation")).replace("#invitation=", "");
}

const NARROW = { width: 320, height: 700 };
const WIDE = { width: 1280, height: 720 };
const PHONE = { viewport: NARROW, isMobile: true, hasTouch: true };
type Size = Parameters<Browser["newContext"]>[0];

/** A visit to the page by somebody new. What the browser complains of is thrown when the visit ends. */
async function visit(fragment = "", size: Size = {}, from = origin) {
  if (!browser) throw new Error("There is no browser.");
  const context = await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"], ...size });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== from && url.protocol !== "data:") complaints.push(`It asked ${url.href}`);
  });
  page.on("console", (message) => {
    // The browser's own line for each answer that is an error.
    if (!message.text().startsWith("Failed to load resource")) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(`${from}/account${fragment}`);
  return {
    context,
    page,
    [Symbol.asyncDispose]: async () => {
      await context.close();
      expect(complaints).toEqual([]);
    },
  };
}

/** A passkey of the device, that verifies whoever holds it. */
async function addAuthenticator(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page);
  await session.send("WebAuthn.enable");
  await session.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
}

const title = (page: Page) => page.locator("h1:visible");
const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });

/** Waits for the view with this title. */
async function at(page: Page, name: string): Promise<void> {
  await title(page).getByText(name, { exact: true }).waitFor();
}

/** The field with this label, of the view that is shown. */
const field = (page: Page, label: string) =>
  page.getByLabel(label, { exact: true }).filter({ visible: true });

/** Whether it has the focus. */
const hasFocus = (of: Locator) => of.and(of.page().locator(":focus")).isVisible();

async function signIn(page: Page, email: string, password = PASSWORD): Promise<void> {
  await field(page, "Email").fill(email);
  await field(page, "Password").fill(password);
  await button(page, "Sign in").click();
}

/** The text that a field is described by: what is wrong with it, and its hint. */
async function describedAs(of: Locator): Promise<string> {
  const ids = (await of.getAttribute("aria-describedby"))?.split(" ") ?? [];
  return (await Promise.all(ids.map((id) => of.page().locator(`#${id}`).innerText()))).join(" ");
}

/** Presses a button, on a phone; in a wide window nothing is in its way either. */
async function press(page: Page, name: string): Promise<void> {
  await page.setViewportSize(WIDE);
  await button(page, name).click({ trial: true });
  await page.setViewportSize(NARROW);
  await button(page, name).click();
}

/** Opens another address of the page anew, as from a mail. */
async function open(page: Page, from: string, fragment = ""): Promise<void> {
  await page.goto("about:blank");
  await page.goto(`${from}/account${fragment}`);
}

/** Waits for a notice, which a screen reader tells of, too. */
const notice = (page: Page, text: string) => page.getByRole("status").getByText(text).waitFor();

/** Waits until the page does nothing: its buttons are pale meanwhile. */
const rest = (page: Page) => expect.poll(() => page.locator("[aria-busy=true]").count()).toBe(0);

/** Names of what is pressed or filled in that a notice or an alert lies on, as the page is laid out. */
const COVERED = `(() => {
  const boxes = (selector) => [...document.querySelectorAll(selector)].filter((each) => each.checkVisibility())
    .map((each) => [each, each.getBoundingClientRect()]).filter(([, { width, height }]) => width > 1 && height > 1);
  return boxes("[role=status], [role=alert]").flatMap(([, a]) => boxes("button, input, select, a, summary")
    .filter(([, b]) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
    .map(([each]) => each.outerHTML));
})()`;

/** How each view is looked at; all other rules find the same in the dark, and in a wide window. */
const LOOKS = {
  desktop: { viewport: WIDE, colorScheme: "dark", rules: ["color-contrast", "scrollable-region-focusable"] },
  phone: { viewport: NARROW, colorScheme: "light", rules: undefined },
} as const;

/** Looks at what is shown, wide and dark, then narrow and light: no barrier, nothing to scroll to, nothing covered. */
async function look(page: Page, view: string): Promise<void> {
  for (const [name, { viewport, colorScheme, rules }] of Object.entries(LOOKS)) {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const { scrollWidth, clientWidth } = await page
      .locator("html")
      .evaluate((html) => ({ scrollWidth: html.scrollWidth, clientWidth: html.clientWidth }));
    const found = {
      barriers: await barriers(page, rules),
      covered: await page.evaluate(COVERED),
      scrollWidth,
    };
    expect({ view, name, ...found }).toEqual({
      view,
      name,
      barriers: [],
      covered: [],
      scrollWidth: clientWidth,
    });
    if (PICTURES !== undefined)
      await page.screenshot({ path: join(PICTURES, `${view}-${name}.png`), fullPage: true });
  }
}

/** Makes the last proof of who they are older than what dangerous acts ask for. */
const age = (email: string) =>
  runSql(
    bed.superuserUrl,
    `update control.sessions set auth_at = auth_at - interval '11 minutes'
      where user_id in (select id from control.users where email like $1)`,
    [email],
  );

/** The code of an authenticator app, so many half minutes from now. */
const codeOf = (secret: string, step: number) =>
  new TOTP({ secret: Secret.fromBase32(secret.replaceAll(/\s/g, "")) }).generate({
    timestamp: Date.now() + step * 30_000,
  });

describe.skipIf(!browser)("in a browser", { timeout: 120_000 }, () => {
  it("signs somebody up, out, and in again, and shows what was wrong where it was wrong", async () => {
    await using visitor = await visit();
    const { page } = visitor;
    await at(page, "Sign in");
    await page.getByRole("link", { name: "Sign up" }).click();
    await at(page, "Sign up");
    expect(await hasFocus(title(page))).toBe(true);

    await field(page, "Email").fill("ada@signs-up.test");
    await field(page, "Password").fill(PASSWORD);
    await field(page, "Name of your workspace").fill("Ada’s Café");
    expect(await field(page, "Short name").inputValue()).toBe("ada-s-cafe");
    await field(page, "Short name").fill("Not A Slug");
    await button(page, "Sign up").click();
    const slug = page.locator("[name='tenant/slug']");
    await page.locator("[name='tenant/slug'][aria-invalid]").waitFor();
    expect(await hasFocus(slug)).toBe(true);
    expect(await describedAs(slug)).toMatch(/small letters[^]*For addresses/i);
    await slug.fill("adas-cafe");
    await button(page, "Sign up").click();

    await at(page, "Your account");
    expect(await page.locator("#who").innerText()).toMatch(/ada@signs-up\.test[^]*Ada’s Café[^]*owner/);
    await page.locator("#session-list li").first().waitFor();
    expect(await page.locator("#session-list li").allInnerTexts()).toEqual([
      expect.stringMatching(/^\S.* on Linux\s+This browser/),
    ]);

    await button(page, "Sign out").click();
    await at(page, "Sign in");
    await signIn(page, "ada@signs-up.test", "not the passphrase");
    await page.getByRole("alert").getByText("email address or the password is not right").waitFor();
    await signIn(page, "ada@signs-up.test");
    await at(page, "Your account");
  });

  it("keeps tokens in memory alone: nothing is stored, and who loads the page again has to sign in", async () => {
    await newOwner("forgetful");
    await using visitor = await visit();
    const { page, context } = visitor;
    await signIn(page, "forgetful@pages.test");
    await at(page, "Your account");
    const { cookies, origins } = await context.storageState({ indexedDB: true });
    expect([cookies, origins]).toEqual([[], []]);
    expect(await page.evaluate("sessionStorage.length")).toBe(0);
    await page.reload();
    await at(page, "Sign in");
  });

  it("asks which tenant somebody means who is in several, and switches between them", async () => {
    const first = await newOwner("first-shop", "eve@pages.test");
    await newOwner("second-shop", "eve@pages.test");
    await using visitor = await visit();
    const { page } = visitor;
    await signIn(page, first.user.email);
    const choice = page.getByRole("combobox", { name: "Workspace" });
    await choice.waitFor();
    expect(await describedAs(choice)).toContain("more than one workspace");
    await choice.selectOption("second-shop");
    await button(page, "Sign in").click();
    await at(page, "Your account");
    expect(await page.locator("#who").innerText()).toContain("The second-shop");
    await button(page, "Switch: The first-shop").click();
    await page.locator("#who").getByText("The first-shop").waitFor();
  });

  it("accepts an invitation when its button is pressed and not before, with a password where the API asks for one", async () => {
    const owner = await newOwner("inviting");
    const token = await invited("bob@pages.test", owner);
    await using visitor = await visit(`#invitation=${token}`);
    const { page } = visitor;
    await at(page, "You are invited");
    expect(page.url()).toBe(`${origin}/account`);
    const members = () =>
      send<{ data: unknown[] }>("GET", "/v1/members", undefined, owner.access_token).then(({ data }) => data);
    expect(await members()).toHaveLength(1);
    expect(await field(page, "Choose a password").isVisible()).toBe(false);
    await button(page, "Accept").click();
    await page.getByRole("status").getByText("Choose a password").waitFor();
    expect(await hasFocus(field(page, "Choose a password"))).toBe(true);
    await field(page, "Choose a password").fill(PASSWORD);
    await button(page, "Accept").click();
    await at(page, "Your account");
    expect(await page.locator("#who").innerText()).toContain("The inviting");
    expect(await members()).toHaveLength(2);
    await page.goBack();
    expect(page.url()).not.toContain(token);
  });

  it("says where a link is over, and leads to what helps", async () => {
    await using visitor = await visit("#invitation=made-up");
    const { page } = visitor;
    await button(page, "Accept").click();
    await at(page, "This link does not work any more");
    expect(await hasFocus(title(page))).toBe(true);
    await page.getByText("ask whoever invited you").waitFor();
    await page.evaluate("location.hash = 'reset=made-up'");
    await field(page, "New password").fill("another long enough one");
    await button(page, "Set the password").click();
    await at(page, "This link does not work any more");
    await page.getByRole("link", { name: "Ask for a new link" }).click();
    await at(page, "Set a new password");
  });

  it("lists the sessions, and ends another one", async () => {
    const owner = await newOwner("many-sessions");
    await using visitor = await visit();
    const { page } = visitor;
    await signIn(page, "many-sessions@pages.test");
    await at(page, "Your account");
    await page.locator("#session-list li").nth(1).waitFor();
    await page.locator("#session-list button").click();
    await page.getByRole("status").getByText("is signed out").waitFor();
    expect(await page.locator("#session-list li").count()).toBe(1);
    const me = await fetch(`${origin}/v1/me`, { headers: { authorization: `Bearer ${owner.access_token}` } });
    expect(me.status).toBe(401);
  });

  it("waits for a limit of the plan's that its own requests have reached", async () => {
    const { tenant } = await newOwner("small-plan");
    const change = { limits: [{ name: "second", limit: 4, window: 1 }], reason: "a test" };
    await send("PATCH", `/v1/operator/tenants/${tenant.id}`, change, variables.OPERATOR_TOKEN);
    await using visitor = await visit("", PHONE);
    const { page } = visitor;
    await signIn(page, "small-plan@pages.test");
    await at(page, "Your account");
    await page.locator("#session-list > *").first().waitFor();
    await rest(page);
    expect((await page.getByRole("alert").allInnerTexts()).join("")).toBe("");
  });

  it("lets the owner say whether operators may look in, let one in, and have them out at once", async () => {
    const slug = "looked-into";
    const owner = await newOwner(slug);
    const email = "support@pages.test";
    const { password, uri } = await newSecrets(variables, { email, role: "support", reason: "a test" });
    const code = URI.parse(uri).generate();
    const operator = await send<Session>("POST", "/v1/operator/sessions", { email, password, code });
    const support = `/v1/operator/tenants/${owner.tenant.id}/support-sessions`;

    await using visitor = await visit("", PHONE);
    const { page } = visitor;
    await signIn(page, `${slug}@pages.test`);
    await at(page, "Your account");
    await page.getByText("Change who may look in").click();
    await page
      .getByRole("combobox", { name: "The people who run this service may look in", exact: true })
      .selectOption("ask");
    await press(page, "Save");
    await notice(page, "It is saved.");
    await page.getByText("until an owner lets them in.").waitFor();

    const reason = "Ticket 4711: tasks are missing";
    const { id } = await send<{ id: string }>(
      "POST",
      support,
      { reason, minutes: 30, write: false },
      operator.access_token,
    );
    // Nobody has to load the page again.
    await page.getByText(`Asks to look in for 30 minutes, to read: ${reason}`).waitFor();
    await look(page, "support");
    await page.getByRole("button", { name: `Let in: ${email}` }).click();
    await notice(page, `${email} is let in.`);
    await page.getByText(/^Is in until .*, to read: Ticket 4711/).waitFor();

    const path = `${support}/${id}/token`;
    const { access_token } = await send<Session>("POST", path, {}, operator.access_token);
    const lookIn = async () =>
      (await fetch(`${origin}/v1/projects`, { headers: { authorization: `Bearer ${access_token}` } })).status;
    expect(await lookIn()).toBe(200);
    await page.getByRole("button", { name: `End: ${email}` }).click();
    await notice(page, `${email} is out.`);
    expect(await page.locator("#support-list li").count()).toBe(0);
    expect(await lookIn()).toBe(401);
  });

  it("goes on with a new access token when the one that it has is over", async () => {
    await newOwner("long-visit");
    await using visitor = await visit();
    const { page } = visitor;
    await page.route("**/v1/sessions", async (route) => {
      const response = await route.fetch();
      const answer = (await response.json()) as Session;
      await route.fulfill({ response, json: { ...answer, access_token: "not.any.more" } });
    });
    const refreshed = page.waitForResponse(
      (answer) => answer.url().endsWith("/v1/sessions/refresh") && answer.ok(),
    );
    await signIn(page, "long-visit@pages.test");
    expect((await refreshed).request().postDataJSON()).toEqual({ refresh_token: expect.any(String) });
    await at(page, "Your account");
    await page.unrouteAll({ behavior: "wait" });
  });

  it("confirms an address, signs in by a passkey, an app and a recovery code, and forgets its password", async () => {
    const email = "ines@journey.test";
    await using visitor = await visit("#sign-up", PHONE);
    const { page, context } = visitor;
    await addAuthenticator(page);
    await at(page, "Sign up");
    await field(page, "Email").fill(email);
    await field(page, "Password").fill(PASSWORD);
    await field(page, "Name of your workspace").fill("Journey");
    await button(page, "Sign up").click();
    await at(page, "Your account");
    const isVerified = async () => {
      const session = await send<Session>("POST", "/v1/sessions", { email, password: PASSWORD });
      const me = await send<{ email_verified: boolean }>("GET", "/v1/me", undefined, session.access_token);
      return me.email_verified;
    };

    // The link of the mail, in another tab: to open it changes nothing.
    const other = await context.newPage();
    await other.goto(`${origin}/account${await mailedLink(email, "verification")}`);
    await at(other, "Confirm your email address");
    expect(await isVerified()).toBe(false);
    await field(other, "Password").fill(PASSWORD);
    await button(other, "Confirm the address").click();
    await at(other, "Your address is confirmed");
    expect(await isVerified()).toBe(true);
    await other.close();

    await page.getByText("Add a passkey or an app").click();
    await field(page, "Name").fill("This laptop");
    await button(page, "Add a passkey").click();
    await at(page, "Your recovery codes");
    const codes = (await page.locator("#recovery-codes").innerText()).split("\n");
    expect(new Set(codes).size).toBe(10);
    await button(page, "I have kept them").click();
    await page.locator("#factor-list").getByText("This laptop").waitFor();
    await page.getByText("Add a passkey or an app").click();
    await field(page, "Name").fill("Phone");
    await button(page, "Add an authenticator app").click();
    await at(page, "Add an authenticator app");
    const secret = await page.locator("#app-secret").innerText();
    await field(page, "The code that the app shows").fill(codeOf(secret, 0));
    await button(page, "Confirm").click();
    await page.locator("#factor-list").getByText("Phone").waitFor();

    const signOut = async () => {
      await button(page, "Sign out").click();
      await at(page, "Sign in");
    };
    await signOut();
    await button(page, "Sign in with a passkey").click();
    await at(page, "Your account");
    await signOut();
    await signIn(page, email);
    await at(page, "Second step");
    await look(page, "factor");
    await button(page, "Use a passkey").click();
    await at(page, "Your account");
    await signOut();
    await signIn(page, email);
    await field(page, "Code from your authenticator app").fill("000000");
    await button(page, "Use the code").click();
    expect(await describedAs(page.locator("#factor [name=code][aria-invalid]"))).toContain("is not right");
    await field(page, "Code from your authenticator app").fill(codeOf(secret, 1));
    await button(page, "Use the code").click();
    await at(page, "Your account");
    await signOut();

    await page.getByRole("link", { name: "Forgot your password?" }).click();
    await at(page, "Set a new password");
    await field(page, "Email").fill(email);
    await button(page, "Send the link").click();
    await open(page, origin, await mailedLink(email, "reset"));
    await at(page, "Choose a new password");
    await field(page, "New password").fill("another long enough one");
    await button(page, "Set the password").click();
    await open(page, origin);
    await at(page, "Sign in");
    await signIn(page, email, "another long enough one");
    await page.getByText("Use a recovery code").first().click();
    await page.locator("#factor [name=recovery_code]").fill(codes[0] ?? "");
    await button(page, "Use the recovery code").click();
    await at(page, "Your account");
  });

  it("says where passkeys work, at an address where they do not", async () => {
    await using visitor = await visit("", {}, origin.replace("localhost", "127.0.0.1"));
    await press(visitor.page, "Sign in with a passkey");
    const problem = "Passkeys work at localhost, and this page is at 127.0.0.1. Open it there.";
    const alert = visitor.page.getByRole("alert").filter({ hasText: "Passkeys" });
    expect(await alert.innerText()).toBe(problem);
  });

  it("can be used with the keyboard alone", async () => {
    await newOwner("keyboard");
    await using visitor = await visit();
    const { page } = visitor;
    await at(page, "Sign in");
    await page.keyboard.press("Tab");
    await page.keyboard.type("keyboard@pages.test");
    await page.keyboard.press("Tab");
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press("Enter");
    await at(page, "Your account");
    for (let tabs = 0; tabs < 30; tabs++) {
      await page.keyboard.press("Tab");
      const [form, outline] = await page.evaluate<[string | undefined, string]>(
        "[document.activeElement.closest('form')?.dataset.act, getComputedStyle(document.activeElement).outlineStyle]",
      );
      expect(outline).toBe("solid");
      if (form === "sign-out") break;
    }
    await page.keyboard.press("Enter");
    await at(page, "Sign in");
  });

  const VIEWS = {
    "sign-in": "Sign in",
    "sign-up": "Sign up",
    forgot: "Set a new password",
    "reset=a": "Choose a new password",
    "verification=a": "Confirm your email address",
    "signup=a": "Finish signing up",
    "email-change=a": "Confirm your new email address",
    "email-undo=a": "Keep your old email address",
    "invitation=a": "You are invited",
  };

  it("has no barrier that axe-core knows of, in any view of who comes here", async () => {
    await using visitor = await visit();
    const { page } = visitor;
    for (const [fragment, heading] of Object.entries(VIEWS)) {
      await page.evaluate(`location.hash = ${JSON.stringify(fragment)}`);
      await at(page, heading);
      expect(await hasFocus(title(page))).toBe(true);
      await look(page, fragment.replace("=a", ""));
    }
    await page.evaluate("location.hash = 'sign-in'");
    await at(page, "Sign in");
    await signIn(page, "nobody@pages.test");
    await page.getByRole("alert").getByText("email address or the password is not right").waitFor();
    await look(page, "wrong-password");
  });

  it("signs up by the mailed link with the password that was chosen, and stays signed in by a cookie", async () => {
    const email = "noor@journey.test";
    await using visitor = await visit("#sign-up", PHONE, lasting);
    const { page, context } = visitor;
    await field(page, "Email").fill(email);
    await field(page, "Password").fill(PASSWORD);
    await field(page, "Name of your workspace").fill("Noor’s");
    await press(page, "Sign up");
    await at(page, "Look for our mail");
    await look(page, "done");
    await open(page, lasting, await mailedLink(email, "signup"));
    await at(page, "Finish signing up");
    await field(page, "Password").fill("what a stranger chose");
    await press(page, "Finish");
    await page.locator("#signup [aria-invalid]").waitFor();
    expect(await describedAs(field(page, "Password"))).toContain("not the password that you signed up with");
    expect(await hasFocus(field(page, "Password"))).toBe(true);
    await field(page, "Password").fill(PASSWORD);
    await press(page, "Finish");
    await at(page, "Your account is ready");
    await page.getByRole("link", { name: "Sign in" }).click();
    await signIn(page, email);
    await at(page, "Your account");

    const stored = async () => {
      const { cookies, origins } = await context.storageState({ indexedDB: true });
      expect([origins, await page.evaluate("sessionStorage.length")]).toEqual([[], 0]);
      return cookies;
    };
    const cookie = { name: "__Host-refresh", httpOnly: true, secure: true, sameSite: "Strict" };
    expect(await stored()).toEqual([expect.objectContaining(cookie)]);
    await page.reload();
    await at(page, "Your account");
    expect(await page.locator("#who").innerText()).toContain(`${email} (confirmed)`);
    await press(page, "Sign out");
    await at(page, "Sign in");
    await notice(page, "You are signed out.");
    expect(await stored()).toEqual([]);
    await page.reload();
    await at(page, "Sign in");
  });

  it("asks for a fresh proof before second steps are added, renewed and removed, and takes no password once there is one", async () => {
    const email = "careful@pages.test";
    await newOwner("careful");
    await using visitor = await visit("", PHONE, lasting);
    const { page } = visitor;
    await addAuthenticator(page);
    await signIn(page, email);
    await at(page, "Your account");
    const reload = async () => {
      await page.reload();
      await at(page, "Your account");
      await page.locator("#factors:visible").waitFor();
    };
    await age(email);
    await reload();

    // An app is added after a proof by password.
    const dialog = page.getByRole("dialog", { name: "Is it still you?" });
    const add = async (name: string, how: string) => {
      await page.getByText("Add a passkey or an app").click();
      await field(page, "Name").fill(name);
      await press(page, how);
    };
    await add("Phone", "Add an authenticator app");
    await dialog.getByText("takes your password again").waitFor();
    await look(page, "step-up-password");
    await press(page, "Cancel");
    await page.getByRole("alert").getByText("Nothing was changed.").waitFor();
    await press(page, "Add an authenticator app");
    await field(page, "Password").fill("not the passphrase");
    await press(page, "Use the password");
    await dialog.locator("[aria-invalid]").waitFor();
    expect(await describedAs(field(page, "Password"))).toContain("not the password of your account");
    await field(page, "Password").fill(PASSWORD);
    await press(page, "Use the password");
    await at(page, "Add an authenticator app");
    await press(page, "Copy the secret");
    await notice(page, "Copied.");
    await look(page, "app");
    const secret = await page.evaluate<string>("navigator.clipboard.readText()");
    await field(page, "The code that the app shows").fill(codeOf(secret, -1).replace(/^.../, "$& "));
    await press(page, "Confirm");
    await at(page, "Your recovery codes");
    await look(page, "recovery");
    const codes = await page.locator("#recovery-codes").innerText();
    await press(page, "I have kept them");
    await at(page, "Your account");

    const list = page.locator("#factor-list");
    await press(page, "Rename: Phone");
    await page.getByRole("dialog", { name: "Rename" }).getByLabel("Name").fill("Old phone");
    await look(page, "rename");
    await press(page, "Rename");
    await notice(page, "It is called Old phone now.");
    expect(await hasFocus(button(page, "Rename: Old phone"))).toBe(true);
    await add("Laptop", "Add a passkey");
    await list.getByText("Laptop").waitFor();
    await look(page, "account-factors");

    // Now the password proves nothing any more.
    await age(email);
    await reload();
    await press(page, "Make new recovery codes");
    await dialog.getByText("Your password is not enough").waitFor();
    expect(await field(page, "Password").count()).toBe(0);
    await look(page, "step-up-factor");
    await field(page, "Code from your authenticator app").fill("000000");
    await press(page, "Use the code");
    await dialog.locator("[aria-invalid]").waitFor();
    expect(await describedAs(field(page, "Code from your authenticator app"))).toContain("not right");
    await press(page, "Use a passkey");
    await at(page, "Your recovery codes");
    expect(await page.locator("#recovery-codes").innerText()).not.toBe(codes);
    await press(page, "I have kept them");
    await at(page, "Your account");

    await press(page, "Remove: Old phone");
    await look(page, "remove");
    await press(page, "Remove");
    await notice(page, "Old phone is removed.");
    expect(await hasFocus(page.locator("#factors-title"))).toBe(true);
    await press(page, "Remove: Laptop");
    await page.getByRole("dialog").getByText("It is your last one.").waitFor();
    await press(page, "Remove");
    await notice(page, "Laptop is removed.");
    await page.getByText("You sign in with your password alone.").waitFor();

    // A second step that was added elsewhere is asked for as soon as the API wants it.
    await age(email);
    await reload();
    const { access_token: token } = await send<Session>("POST", "/v1/sessions", {
      email,
      password: PASSWORD,
    });
    const elsewhere = { type: "totp", name: "Elsewhere" };
    const made = await send<{ id: string; secret: string }>("POST", "/v1/me/factors", elsewhere, token);
    const proof = { code: codeOf(made.secret, 0) };
    await send("POST", `/v1/me/factors/${made.id}/confirm`, proof, token);
    await add("Tablet", "Add a passkey");
    await field(page, "Password").fill(PASSWORD);
    await press(page, "Use the password");
    await dialog.getByText("Your password is not enough").waitFor();
    await field(page, "Code from your authenticator app").fill(codeOf(made.secret, 1));
    await press(page, "Use the code");
    await list.getByText("Tablet").waitFor();
  });

  it("changes an address from the new mailbox, and takes that back from the old one", async () => {
    const email = "olga@old.test";
    await newOwner("moving-house", email);
    await using visitor = await visit("", PHONE, lasting);
    const { page, context } = visitor;
    await signIn(page, email);
    await at(page, "Your account");
    await page.getByText("Change your email address").click();
    await field(page, "New email address").fill("olga@new.test");
    await field(page, "Password").fill("not the passphrase");
    await press(page, "Change the address");
    await page.locator("#own [aria-invalid]").waitFor();
    expect(await hasFocus(field(page, "Password"))).toBe(true);
    await field(page, "Password").fill(PASSWORD);
    await press(page, "Change the address");
    await notice(page, "We sent a mail to olga@new.test.");

    const mailbox = await context.newPage();
    await mailbox.goto(`${lasting}/account${await mailedLink("olga@new.test", "email-change")}`);
    await press(mailbox, "Use the new address");
    await at(mailbox, "Your address is changed");
    await mailbox.getByRole("link", { name: "Go on" }).click();
    await mailbox.getByText("olga@new.test (confirmed)").waitFor();

    await open(mailbox, lasting, await mailedLink(email, "email-undo"));
    await press(mailbox, "Undo the change");
    await at(mailbox, "Your old address is back");
    await mailbox.close();
    await press(page, "Sign out");
    await at(page, "Sign in");
    await notice(page, "You were signed out.");
    await signIn(page, email);
    await page.getByText(`${email} (confirmed)`).waitFor();
  });

  it("says how long to wait for another mail", async () => {
    const email = "impatient@owners.test";
    const tenant = { name: "Impatient", slug: "impatient" };
    await send("POST", "/v1/signup", { email, password: PASSWORD, tenant });
    await using visitor = await visit("", PHONE, lasting);
    const { page } = visitor;
    await signIn(page, email);
    await at(page, "Your account");
    const again = page.getByRole("alert").getByText("Wait 1 minute, then try again.");
    for (let tries = 0; tries < 12 && !(await again.isVisible()); tries++) {
      await button(page, "Send the link again").click();
      await rest(page);
      if (tries === 0) await look(page, "mail-sent-again");
    }
    expect(await again.isVisible()).toBe(true);
  });

  it("offers an address to whoever has lost theirs to its owner", async () => {
    const email = "mailbox@owners.test";
    const tenant = { name: "Squat", slug: "squat" };
    await send("POST", "/v1/signup", { email, password: PASSWORD, tenant });
    await using visitor = await visit("", PHONE, lasting);
    const { page } = visitor;
    await signIn(page, email);
    await at(page, "Your account");
    await send("POST", "/v1/password-resets", { email });
    const [, token] = (await mailedLink(email, "reset")).split("=");
    await send("POST", "/v1/password-resets/confirm", { token, password: "the owner’s own words" });
    await age("%@displaced.invalid");
    await page.reload();
    await page.getByText("Your account has no email address").waitFor();
    expect(await page.locator("main").innerHTML()).not.toContain("displaced");
    for (const name of ["Send the link again", "Change your password"])
      expect(await page.getByText(name).filter({ visible: true }).count()).toBe(0);
    await rest(page);
    await look(page, "no-address");
    await page.getByText("Add a passkey or an app").click();
    await field(page, "Name").fill("Phone");
    await press(page, "Add an authenticator app");
    await page.getByRole("alert").getByText("Add an email address and a password first.").waitFor();

    await field(page, "Your email address").fill("squatter@own.test");
    await field(page, "Choose a password").fill("quite another passphrase");
    await press(page, "Add the address");
    await notice(page, "We sent a mail to squatter@own.test.");
    await open(page, lasting, await mailedLink("squatter@own.test", "email-change"));
    await press(page, "Use the new address");
    await page.getByRole("link", { name: "Go on" }).click();
    await page.getByText("squatter@own.test (confirmed)").waitFor();
    await press(page, "Sign out");
    await signIn(page, email, "the owner’s own words");
    await page.getByRole("alert").getByText("you are in no workspace").waitFor();
    await signIn(page, "squatter@own.test", "quite another passphrase");
    await at(page, "Your account");
  });

  it("adds the second step that a workspace asks for, at the next sign-in", async () => {
    const { access_token: token } = await newOwner("strict");
    await newOwner("strict-too", "strict@pages.test");
    await send("PATCH", "/v1/tenant", { require_second_factor: true }, token);
    await using visitor = await visit("", PHONE);
    const { page } = visitor;
    await signIn(page, "strict@pages.test");
    await page.getByRole("combobox", { name: "Workspace" }).selectOption("strict");
    await look(page, "which-tenant");
    await press(page, "Sign in");
    await at(page, "Add a second step");
    await look(page, "enrol");
    await field(page, "Name").fill("Phone");
    await press(page, "Add an authenticator app");
    await field(page, "The code that the app shows").fill("000000");
    await press(page, "Confirm");
    await page.locator("#app [aria-invalid]").waitFor();
    const secret = await page.locator("#app-secret").innerText();
    await field(page, "The code that the app shows").fill(codeOf(secret, 0));
    await press(page, "Confirm");
    await at(page, "Your recovery codes");
    await press(page, "I have kept them");
    await at(page, "Your account");
    await page.locator("#factor-list").getByText("Phone").waitFor();
    for (const what of ["Add a passkey or an app", "Change your password", "Change your email address"])
      await page.getByText(what, { exact: true }).click();
    expect(await page.locator("#account input[type=password]:visible").count()).toBe(3);
    await look(page, "account-open");
  });
});
