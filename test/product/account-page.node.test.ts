import { once } from "node:events";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { Secret, TOTP } from "otpauth";
import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestHarness } from "wrangler";
import { makeBed, runSql, type Bed } from "../bench/bed.ts";
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
let mail: Awaited<ReturnType<typeof startMail>>;
/** Where sign-up is immediate, and a page that is loaded again is signed out. */
let origin: string;
/** Where sign-up verifies first, and a cookie keeps browsers signed in: SIGN_UP and BROWSER_SESSIONS. */
let lasting: string;
beforeAll(async () => {
  bed = await makeBed(resources, 8, startMigrated);
  mail = await startMail();
  resources.defer(() => mail.stop());
  [origin, lasting] = await Promise.all([
    serve({}),
    serve({ SIGN_UP: "verify_first", BROWSER_SESSIONS: "on" }),
  ]);
}, 60_000);
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

type Session = { access_token: string; user: { id: string; email: string }; tenant: { slug: string } };

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

const PHONE = { viewport: { width: 320, height: 700 }, isMobile: true, hasTouch: true };
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

describe.skipIf(!browser)("in a browser", { timeout: 60_000 }, () => {
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

  it(
    "confirms an address, signs in by a passkey, an app and a recovery code, and forgets its password",
    { timeout: 120_000 },
    async () => {
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
      expect(await barriers(page)).toEqual([]);
      await button(page, "I have kept them").click();
      await page.locator("#factor-list").getByText("This laptop").waitFor();
      await page.getByText("Add a passkey or an app").click();
      await field(page, "Name").fill("Phone");
      await button(page, "Add an authenticator app").click();
      await at(page, "Add an authenticator app");
      const secret = (await page.locator("#app-secret").innerText()).replaceAll(/\s/g, "");
      const codeOf = (step: number) =>
        new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: Date.now() + step * 30_000 });
      await field(page, "The code that the app shows").fill(codeOf(0));
      await button(page, "Confirm").click();
      await page.locator("#factor-list").getByText("Phone").waitFor();
      expect(await barriers(page)).toEqual([]);

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
      expect(await barriers(page)).toEqual([]);
      await button(page, "Use a passkey").click();
      await at(page, "Your account");
      await signOut();
      await signIn(page, email);
      await field(page, "Code from your authenticator app").fill("000000");
      await button(page, "Use the code").click();
      expect(await describedAs(page.locator("#factor [name=code][aria-invalid]"))).toContain("is not right");
      await field(page, "Code from your authenticator app").fill(codeOf(1));
      await button(page, "Use the code").click();
      await at(page, "Your account");
      await signOut();

      await page.getByRole("link", { name: "Forgot your password?" }).click();
      await at(page, "Set a new password");
      await field(page, "Email").fill(email);
      await button(page, "Send the link").click();
      const link = await mailedLink(email, "reset");
      await page.goto("about:blank");
      await page.goto(`${origin}/account${link}`);
      await at(page, "Choose a new password");
      await field(page, "New password").fill("another long enough one");
      await button(page, "Set the password").click();
      await page.goto("about:blank");
      await page.goto(`${origin}/account`);
      await at(page, "Sign in");
      await signIn(page, email, "another long enough one");
      await page.getByText("Use a recovery code").first().click();
      await page.locator("#factor [name=recovery_code]").fill(codes[0] ?? "");
      await button(page, "Use the recovery code").click();
      await at(page, "Your account");
    },
  );

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
      const [name, outline] = await page.evaluate<[string, string]>(
        "[document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]",
      );
      expect(outline).toBe("solid");
      if (name === "Sign out") break;
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
  const SIZES = { phone: PHONE, desktop: {}, dark: { colorScheme: "dark" } } as const;

  it.each(Object.entries(SIZES))(
    "has no barrier that axe-core knows of, in any view: %s",
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
          await page.screenshot({ path: join(PICTURES, `${name}-${view}.png`), fullPage: true });
      };
      for (const [fragment, heading] of Object.entries(VIEWS)) {
        await page.evaluate(`location.hash = ${JSON.stringify(fragment)}`);
        await at(page, heading);
        await look(fragment.replace("=a", ""));
      }

      await page.evaluate("location.hash = 'sign-in'");
      await at(page, "Sign in");
      await signIn(page, "nobody@pages.test");
      await page.getByRole("alert").getByText("email address or the password is not right").waitFor();
      await look("wrong-password");

      const owner = await newOwner(`looks-${name}`);
      await newOwner(`looks-also-${name}`, owner.user.email);
      await signIn(page, owner.user.email);
      await page.getByRole("combobox", { name: "Workspace" }).waitFor();
      await look("which-tenant");
      await button(page, "Sign in").click();
      await at(page, "Your account");
      await page.locator("#session-list li").first().waitFor();
      await look("account");
      for (const summary of await page.locator("#account summary:visible").all()) await summary.click();
      await look("account-open");

      // Those that only an account with a second factor comes to: as they are in the page, with what they might say.
      await page.evaluate(`
      for (const view of document.querySelectorAll(".view")) view.hidden = true;
      document.querySelector("#app-secret").textContent = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
      document.querySelector("#app-uri").href = "otpauth://totp/a";
      document.querySelector("#recovery-codes").textContent = Array(10).fill("abcd-efgh-jkmn-pqrs").join("\\n");
    `);
      for (const view of ["factor", "enrol", "app", "recovery", "done"]) {
        await page.evaluate(
          `for (const each of document.querySelectorAll(".view")) each.hidden = each.id !== "${view}"`,
        );
        await look(view);
      }
      for (const dialog of ["rename", "remove", "step-up"]) {
        await page.evaluate(`document.querySelector("#${dialog}").showModal()`);
        await look(dialog);
        await page.keyboard.press("Escape");
      }
    },
  );
});
