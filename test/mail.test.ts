import { afterEach, describe, expect, inject, it, vi } from "vitest";
import { bindings, settings } from "../src/env.ts";
import { sendMail } from "../src/mail/mail.ts";
import type { Mails } from "../src/mail/mails.ts";
import { compose, templatesOf } from "../src/mail/templates.ts";
import type { Problem } from "../src/problem.ts";

const begun = { ...settings };
const binding = bindings.EMAIL;
afterEach(() => {
  Object.assign(settings, begun);
  Object.assign(bindings, { EMAIL: binding });
  vi.restoreAllMocks();
});

const HOSTILE = `</p><script>alert("1 & 2")</script>\r\nBcc: x@y.test\u2028\u202E'`;
const email = "ada+'&@acme.test";
const token = "pwx_the-token";

const SUPPORT = {
  email,
  tenant: HOSTILE,
  operator: "grace@operators.test",
  reason: HOSTILE,
  minutes: 30,
  write: true,
  until: new Date("2026-11-03T14:05:06Z"),
  ended: new Date("2026-11-03T14:05:06Z"),
};

/** Data of each kind whose words are somebody's who means harm. */
const HARMFUL: Mails = {
  invitation: { email, tenant: HOSTILE, inviter: HOSTILE, role: "member", token },
  verification: { email, token },
  signup: { email, tenant: HOSTILE, token },
  signupTaken: { email, tenant: HOSTILE, token },
  reset: { email, token },
  resetUnverified: { email, token, verification: "pwv_the-other" },
  resetUnknown: { email },
  passwordChanged: { email },
  emailChange: { email, token },
  emailChanged: { email, newEmail: "eve@acme.test", token },
  newDevice: { email, userAgent: HOSTILE, country: "DE", at: new Date("2026-11-03T14:05:06Z") },
  factorChanged: { email, what: "passkey_added" },
  supportAsked: SUPPORT,
  supportStarted: SUPPORT,
  supportEnded: SUPPORT,
  usageWarning: { email, tenant: HOSTILE, month: "2026-11-01", percent: 80, used: 80, quota: 100 },
};
const KINDS = Object.keys(HARMFUL) as (keyof Mails)[];

/** The links of each kind, in their order. */
const LINKS: Partial<Record<keyof Mails, string[]>> = {
  invitation: [`invitation=${token}`],
  verification: [`verification=${token}`],
  signup: [`signup=${token}`],
  signupTaken: [`signup=${token}`],
  reset: [`reset=${token}`],
  resetUnverified: ["verification=pwv_the-other", `reset=${token}`],
  emailChange: [`email-change=${token}`],
  emailChanged: [`email-undo=${token}`],
};

/** What a reader of the HTML reads, and its links. */
async function read(html: string) {
  const [texts, links, tags]: [string[], string[], string[]] = [[], [], []];
  const rewriter = new HTMLRewriter()
    .on("*", {
      element(element) {
        tags.push(element.tagName);
        if (element.tagName === "p" || element.tagName === "h1") texts.push("");
        const href = element.getAttribute("href");
        if (href !== null) links.push(decoded(href));
      },
    })
    .on("p, h1", {
      text: ({ text }) => void texts.push((texts.pop() ?? "") + text),
    });
  await rewriter.transform(new Response(html)).text();
  return { texts: texts.map(decoded), links, tags: new Set(tags) };
}
const decoded = (text: string) =>
  text
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'")
    .replaceAll("&amp;", "&");

describe.each(KINDS)("the mail %s", (kind) => {
  it("has its subject on one line", () => {
    expect(compose(kind, HARMFUL[kind]).subject).toMatch(/^\P{C}+$/u);
  });

  it("links in text and HTML to the same pages, with the token in the fragment", async () => {
    settings.ACCOUNT_URL = "https://app.acme.test/account?a=1&b=2";
    const { text, html } = compose(kind, HARMFUL[kind]);
    const links = (LINKS[kind] ?? []).map((fragment) => `${settings.ACCOUNT_URL}#${fragment}`);
    expect(text.match(/^https?:.*$/gm) ?? []).toEqual(links);
    expect((await read(html)).links).toEqual(links);
  });

  it("says in HTML what it says in text, whatever names hold, and nothing of theirs is markup", async () => {
    const { subject, text, html } = compose(kind, HARMFUL[kind]);
    const { texts, tags } = await read(html);
    const lines = text.split("\n").filter((line) => line !== "" && !/^https?:/.test(line));
    const labels = html.match(/<a .*?<\/a>/g)?.length ?? 0;
    expect(texts).toHaveLength(1 + lines.length + labels);
    expect(texts).toEqual(expect.arrayContaining([subject, ...lines]));
    expect([...tags].filter((tag) => !/^(html|head|meta|title|body|div|h1|p|a)$/.test(tag))).toEqual([]);
    expect(text).not.toMatch(/^Bcc/m);
    expect(text).not.toMatch(/[\r\u2028\u202E]/);
  });

  it("is small, names its language, and leaves light or dark to whoever shows it", () => {
    const { html } = compose(kind, HARMFUL[kind]);
    expect(html.length).toBeLessThan(3000);
    expect(html).toContain('<html lang="en" style="color-scheme:light dark">');
  });

  it("reads the same in a locale that there is no translation for", () => {
    for (const locale of ["en", "en-GB", "EN-us", "tlh", "constructor", "", null, undefined])
      expect(compose(kind, HARMFUL[kind], locale)).toEqual(compose(kind, HARMFUL[kind]));
  });
});

it("has a mail of every kind in English, which everybody else gets", () => {
  expect(Object.keys(templatesOf("en").mails)).toEqual(KINDS);
  expect(templatesOf("de-AT")).toBe(templatesOf("en"));
});

it("leads to the API's own page for accounts where ACCOUNT_URL is unset", () => {
  expect(compose("reset", { email, token }).text).toContain(`\n${settings.ISSUER}/account#reset=${token}\n`);
});

describe("a mail is carried", () => {
  const to = () => `${crypto.randomUUID()}@mail.test`;
  const sent = (address: string) => sendMail("passwordChanged", { email: address });
  const refused = (address: string) =>
    sent(address).then(
      () => undefined,
      (problem: Problem) => ({ code: problem.code, cause: String(problem.cause) }),
    );

  it("to the service at MAIL_URL, as {from, to, subject, text, html}", async () => {
    const address = to();
    await sent(address);
    const mails = await fetch(`${inject("variables")["MAIL_URL"]}?to=${address}`);
    expect(await mails.json()).toMatchObject([
      {
        body: {
          from: settings.MAIL_FROM,
          to: address,
          ...compose("passwordChanged", { email: address }),
        },
      },
    ]);
  });

  it("by Cloudflare's binding where MAIL_URL is cloudflare", async () => {
    settings.MAIL_URL = "cloudflare";
    const taken: unknown[] = [];
    const send = async (mail: EmailMessageBuilder) => {
      taken.push(mail);
      return binding?.send(mail);
    };
    Object.assign(bindings, { EMAIL: { send } });
    const address = to();
    await sent(address);
    settings.MAIL_FROM = "no-reply@partywall.test";
    await sent(address);
    const mail = { to: address, ...compose("passwordChanged", { email: address }) };
    expect(taken).toEqual([
      { from: { name: "partywall", email: "no-reply@partywall.test" }, ...mail },
      { from: "no-reply@partywall.test", ...mail },
    ]);
  });

  it("by nobody when the binding refuses it, and says so", async () => {
    settings.MAIL_URL = "cloudflare";
    settings.MAIL_FROM = "partywall <somebody@else.test>";
    expect(await refused(to())).toEqual({
      code: "mail_not_sent",
      cause: expect.stringContaining("somebody@else.test not allowed"),
    });
  });
});
