import { waitUntil } from "cloudflare:workers";
import * as v from "valibot";
import { takeSupportMails, takeUsageMails } from "../db/across-tenants.ts";
import { settings } from "../env.ts";
import { mayMail, sendMail } from "../mail/mail.ts";
import type { Mails } from "../mail/mails.ts";

// What a tenant's owners are mailed: of operators who look in, and of a month's limit that is nearly used. Each is taken in
// Postgres before it is mailed, so that it is mailed once at most, whoever asks at the same time.

/** So many are taken at once. Those that nobody is mailed about come without owners: fewer than this mean that no more are due. */
const MOST = 100;

const Owners = v.array(v.object({ email: v.string(), locale: v.nullable(v.string()) }));
const Support = v.array(
  v.object({
    what: v.picklist(["asked", "started", "ended"]),
    tenant: v.string(),
    operator: v.string(),
    reason: v.string(),
    minutes: v.number(),
    write: v.boolean(),
    until: v.nullable(v.string()),
    ended: v.nullable(v.string()),
    owners: Owners,
  }),
);
const Usage = v.array(
  v.object({
    tenant: v.string(),
    month: v.string(),
    percent: v.number(),
    used: v.number(),
    quota: v.number(),
    owners: Owners,
  }),
);

const SUPPORT_MAILS = {
  asked: "supportAsked",
  started: "supportStarted",
  ended: "supportEnded",
} as const satisfies Record<string, keyof Mails>;

/**
 * Mails owners which operators ask to look in, are in, and have left since they were last told: of this tenant, or of all. A mail
 * that is not taken is one line in the log. Does nothing on a deployment that sends no mail.
 */
export async function mailSupportNews(tenantId: string | null): Promise<void> {
  if (!settings.MAIL_URL) return;
  for (let found = MOST; found === MOST;) {
    const news = v.parse(Support, await takeSupportMails(tenantId, MOST));
    found = news.length;
    for (const { what, owners, until, ended, ...of } of news)
      for (const { email, locale } of owners)
        await mail(SUPPORT_MAILS[what], { email, ...of, until: dateOf(until), ended: dateOf(ended) }, locale);
  }
}

/** The same of one tenant, without anybody waiting for it. A sweep does it later where this fails. */
export const mailSupportSoon = (tenantId: string): void =>
  waitUntil(
    mailSupportNews(tenantId).catch((error: unknown) =>
      console.error({ message: "owners not mailed of support", tenant: tenantId, cause: String(error) }),
    ),
  );

/** Mails owners that 80 or 100 % of their month's limit is used, as mailSupportNews() does. */
export async function mailUsageWarnings(): Promise<void> {
  if (!settings.MAIL_URL) return;
  for (let found = MOST; found === MOST;) {
    const warnings = v.parse(Usage, await takeUsageMails(MOST));
    found = warnings.length;
    for (const { owners, ...of } of warnings)
      for (const { email, locale } of owners) await mail("usageWarning", { email, ...of }, locale);
  }
}

const dateOf = (text: string | null) => new Date(text ?? 0);

/** Sends one mail, unless the mailbox had several within a minute. Never throws. */
async function mail<Kind extends keyof Mails>(
  kind: Kind,
  data: Mails[Kind],
  locale: string | null,
): Promise<void> {
  try {
    if (!(await mayMail(data.email))) throw new Error("the mailbox had several mails within a minute");
    await sendMail(kind, data, locale);
  } catch (error) {
    console.error({ message: "mail_not_sent", mail: kind, cause: String(error) });
  }
}
