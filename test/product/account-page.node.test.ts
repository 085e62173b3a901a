import { join } from "node:path";
import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestHarness } from "wrangler";
import { makeBed } from "../bench/bed.ts";
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

let origin: string;
let mail: Awaited<ReturnType<typeof startMail>>;
beforeAll(async () => {
  const bed = await makeBed(resources, 8, startMigrated);
  mail = await startMail();
  resources.defer(() => mail.stop());
  const server = createTestHarness({
    root,
    workers: [
      {
        configPath: "wrangler.toml",
        secrets: bed.variables,
        vars: { MAIL_URL: mail.url, MAIL_FROM: "accounts@pages.test" },
      },
    ],
  });
  resources.defer(() => server.close());
  origin = (await server.listen()).url.origin;
}, 60_000);
afterAll(() => resources.disposeAsync());

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
  return (await response.json()) as T;
}

/** Somebody with a tenant of their own, made without the page. */
function newOwner(slug: string, email = `${slug}@pages.test`): Promise<Session> {
  return send("POST", "/v1/signup", { email, password: PASSWORD, tenant: { name: `The ${slug}`, slug } });
}

/** The token of the link in the last mail to this address. */
async function mailedToken(to: string): Promise<string> {
  const response = await fetch(`${mail.url}?to=${encodeURIComponent(to)}`);
  const deliveries: { body: { text: string } }[] = JSON.parse(await response.text());
  const [, token = ""] = /#[a-z-]+=([\w.-]+)/.exec(deliveries.at(-1)?.body.text ?? "") ?? [];
  expect(token).not.toBe("");
  return token;
}

/** Invites this address into a tenant, and returns the token of the mail. */
async function invited(email: string, by: Session): Promise<string> {
  await send("POST", "/v1/invitations", { email, role: "member" }, by.access_token);
  return mailedToken(email);
}

const PHONE = { viewport: { width: 320, height: 700 }, isMobile: true, hasTouch: true };
type Size = Parameters<Browser["newContext"]>[0];

/** A visit to the page by somebody new. What the browser complains of is thrown when the visit ends. */
async function visit(fragment = "", size: Size = {}) {
  if (!browser) throw new Error("There is no browser.");
  const context = await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"], ...size });
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
  await page.goto(`${origin}/account${fragment}`);
  return {
    context,
    page,
    [Symbol.asyncDispose]: async () => {
      await context.close();
      expect(complaints).toEqual([]);
    },
  };
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
    await field(page, "Name of your tenant").fill("Ada’s Café");
    expect(await field(page, "Slug").inputValue()).toBe("ada-s-cafe");
    await field(page, "Slug").fill("Not A Slug");
    await button(page, "Sign up").click();
    const slug = page.locator("[name='tenant/slug']");
    await page.locator("[name='tenant/slug'][aria-invalid]").waitFor();
    expect(await hasFocus(slug)).toBe(true);
    expect(await describedAs(slug)).toMatch(/lower-case[^]*Its short name/);
    await slug.fill("adas-cafe");
    await button(page, "Sign up").click();

    await at(page, "Your account");
    expect(await page.locator("#who").innerText()).toMatch(/ada@signs-up\.test[^]*Ada’s Café[^]*owner/);
    expect(await page.locator("#session-list li").allInnerTexts()).toEqual([
      expect.stringMatching(/^Chrome on Linux\s+This session/),
    ]);

    await button(page, "Sign out").click();
    await at(page, "Sign in");
    await signIn(page, "ada@signs-up.test", "not the passphrase");
    await page.getByRole("alert").getByText("do not belong together").waitFor();
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
    const choice = page.getByRole("combobox", { name: "Tenant" });
    await choice.waitFor();
    expect(await describedAs(choice)).toContain("Say which tenant");
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
    await field(page, "Choose a password").fill(PASSWORD);
    await button(page, "Accept").click();
    await at(page, "Your account");
    expect(await page.locator("#who").innerText()).toContain("The inviting");
    expect(await members()).toHaveLength(2);
    await page.goBack();
    expect(page.url()).not.toContain(token);
  });

  it("says that an invitation is gone", async () => {
    await using visitor = await visit("#invitation=made-up");
    const { page } = visitor;
    await button(page, "Accept").click();
    const problem = page.getByRole("alert").getByText("Ask to be invited again");
    await problem.waitFor();
    expect(await title(page).innerText()).toBe("You are invited");
  });

  it("lists the sessions, and ends another one", async () => {
    const owner = await newOwner("many-sessions");
    await using visitor = await visit();
    const { page } = visitor;
    await signIn(page, "many-sessions@pages.test");
    await at(page, "Your account");
    await page.locator("#session-list li").nth(1).waitFor();
    await page.locator("#session-list button").click();
    await expect.poll(() => page.locator("#session-list li").count()).toBe(1);
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
    forgot: "Forgot your password?",
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
      await page.getByRole("alert").getByText("do not belong together").waitFor();
      await look("wrong-password");

      const owner = await newOwner(`looks-${name}`);
      await newOwner(`looks-also-${name}`, owner.user.email);
      await signIn(page, owner.user.email);
      await page.getByRole("combobox", { name: "Tenant" }).waitFor();
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
