import { once } from "node:events";
import { request } from "node:http";
import { createServer } from "node:net";
import type { Browser } from "playwright-core";
import { afterAll, expect, it, onTestFinished } from "vitest";
import { startMailbox } from "../drizzle/mailbox.ts";
import { makeFolder } from "./bench/workerd.ts";
import { barriers } from "./support/node/barriers.ts";
import { openBrowser } from "./support/node/browser.ts";

// The mailbox of `npm run dev`.

const resources = new AsyncDisposableStack();
const browser: Browser | undefined = await openBrowser(makeFolder(resources));
if (browser) resources.defer(() => browser.close());
afterAll(() => resources.disposeAsync());

const LINK = "http://127.0.0.1:8787/account#reset=pwx_1";
const MAIL = {
  from: "partywall <no-reply@partywall.test>",
  to: "ada@acme.test",
  subject: "Reset <b>your</b> password",
  text: `Open this link:\n${LINK}\n`,
  html: `<!doctype html><html><head></head><body><a href="${LINK}">"Open"</a></body></html>`,
};

async function mailbox(port = 0) {
  const said: string[] = [];
  const { url, stop } = await startMailbox(port, (line) => said.push(line));
  onTestFinished(stop);
  const post = (mail: unknown, type = "application/json") =>
    fetch(url, { method: "POST", headers: { "content-type": type }, body: JSON.stringify(mail) });
  return { url, said, post };
}

it("prints each mail, and shows it as text with links, and as HTML in a frame without scripts", async () => {
  const { url, said, post } = await mailbox();
  expect(await (await fetch(url)).text()).toContain("No mail yet.");
  expect((await post(MAIL)).status).toBe(202);
  expect(said).toEqual([`mail to ${MAIL.to}: ${MAIL.subject}\n${MAIL.text}`]);

  const list = await fetch(url);
  expect(await list.text()).toContain('<a href="/1">Reset &lt;b&gt;your&lt;/b&gt; password</a>');
  expect(list.headers.get("content-security-policy")).toContain("default-src 'none'");
  const shown = await (await fetch(`${url}1`)).text();
  expect(shown).toContain(`<a href="${LINK}" target="_blank">${LINK}</a>`);
  expect(shown).toContain('sandbox="allow-popups allow-popups-to-escape-sandbox"');
  expect(shown).toContain(`&lt;a href=&quot;${LINK}&quot;&gt;&quot;Open&quot;&lt;/a&gt;`);
});

it("keeps the latest 200 mails", async () => {
  const { url, post } = await mailbox();
  for (let at = 1; at <= 201; at += 1) await post({ ...MAIL, subject: `mail ${at}` });
  const list = await (await fetch(url)).text();
  expect(list.match(/<li>/g)).toHaveLength(200);
  expect(list.indexOf("mail 201")).toBeLessThan(list.indexOf("mail 200"));
  expect((await fetch(`${url}1`)).status).toBe(404);
});

it("answers a browser under no other name, and takes nothing from another site's form", async () => {
  const { url, said, post } = await mailbox();
  await post(MAIL);
  const statusAt = async (host: string) => {
    const asking = request(`${url}1`, { headers: { host } }).end();
    const [{ statusCode }] = (await once(asking, "response")) as [{ statusCode: number }];
    return statusCode;
  };
  const { port } = new URL(url);
  expect(await statusAt(`127.0.0.1:${port}`)).toBe(200);
  expect(await statusAt(`localhost:${port}`)).toBe(200);
  expect(await statusAt(`evil.test:${port}`)).toBe(403);
  expect(await statusAt("127.0.0.1")).toBe(403);
  expect((await post(MAIL, "text/plain")).status).toBe(415);
  expect((await post({ to: "ada@acme.test" })).status).toBe(400);
  expect((await post({ ...MAIL, text: "x".repeat(2 ** 20) })).status).toBe(400);
  expect(said).toHaveLength(1);
});

it("takes a free port where its own is taken", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void other.close());
  await once(other, "listening");
  const taken = (other.address() as { port: number }).port;
  const { url, post } = await mailbox(taken);
  expect(new URL(url).port).not.toBe(String(taken));
  expect((await post(MAIL)).status).toBe(202);
});

it.skipIf(!browser)("opens the link in the HTML from a phone, and is no wider than its screen", async () => {
  const { url, post } = await mailbox();
  const target = `${url}#reset=pwx_${"x".repeat(90)}`;
  await post({
    ...MAIL,
    subject: "x".repeat(90),
    text: target,
    html: MAIL.html.replace(LINK, target).replace("<body>", "<body><script>document.body.remove()</script>"),
  });
  await using context = await browser?.newContext({ viewport: { width: 360, height: 640 }, isMobile: true });
  const page = await context?.newPage();
  if (!context || !page) throw new Error("There is no browser.");
  await page.goto(url);
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(360);
  await page.getByRole("link").click();
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(360);
  for (const link of [page.frameLocator("iframe").getByRole("link"), page.getByRole("link").last()]) {
    const opened = context.waitForEvent("page");
    await link.click();
    await (await opened).waitForURL(target);
  }
});

it.skipIf(!browser).each(["light", "dark"] as const)(
  "keeps nobody out where the device is %s, and its policy stops nothing that it needs",
  async (colorScheme) => {
    const { url, post } = await mailbox();
    await post(MAIL);
    await using context = await browser?.newContext({ colorScheme });
    const page = await context?.newPage();
    if (!page) throw new Error("There is no browser.");
    const complaints: string[] = [];
    page.on("console", (message) => complaints.push(message.text()));
    for (const path of ["", "1"]) {
      await page.goto(url + path);
      expect(complaints.splice(0)).toEqual([]);
      expect(await barriers(page)).toEqual([]);
      // axe-core itself cannot speak to the mail's frame.
      complaints.length = 0;
    }
  },
);
