import { waitUntil } from "cloudflare:workers";
import { accountOf } from "../account-name.ts";
import { bindings, settings } from "../env.ts";
import { Problem } from "../problem.ts";
import { within } from "../within.ts";
import type { Written } from "./letter.ts";
import type { Mails } from "./mails.ts";
import { compose } from "./templates.ts";

/** A mail service that does not answer within this time has not taken the mail. */
const MAIL_TIMEOUT_MS = 10_000;

type Message = Written & { to: string };

/** The units that a request which sends a mail costs. */
export const MAIL_COST = 10;

/**
 * Throws before anything is done that needs a mail to this address: `mail_not_set_up` on a deployment that sends none, and
 * `too_many_attempts` while the mailbox was sent several within a minute, by whichever tenant, or the account of this id had
 * several sent for itself, to whatever mailboxes (approximate).
 */
export async function requireMail(email: string, account?: string): Promise<void> {
  if (account !== undefined && !(await isWithin(account))) throw tooMany("account had");
  if (!(await mayMail(email))) throw tooMany("mailbox was");
}

const tooMany = (whose: string) =>
  new Problem("too_many_attempts", {
    detail: `This ${whose} sent several mails within a minute. Wait for a minute.`,
    headers: { "retry-after": "60" },
  });

const isWithin = async (key: string) => (await bindings.MAIL_GUARD.limit({ key })).success;

/** Whether another mail may be sent to this mailbox: several within a minute were enough. Throws `mail_not_set_up`. */
export async function mayMail(email: string): Promise<boolean> {
  if (!settings.MAIL_URL) throw new Problem("mail_not_set_up");
  // ada+anything@ is most often ada's mailbox as well.
  const mailbox = email.replace(/^([^+@]+)\+[^@]*/, "$1");
  return isWithin(accountOf(mailbox));
}

/**
 * Sends the mail without anybody waiting for it: how long that takes, and whether it is taken, tells nobody anything. What
 * goes wrong is one line in the log. Does nothing on a deployment that sends no mail.
 */
export function announce<Kind extends keyof Mails>(
  kind: Kind,
  data: Mails[Kind],
  locale?: string | null,
): void {
  if (!settings.MAIL_URL) return;
  const sending = sendMail(kind, data, locale).catch((error: Problem) => {
    console.error({ message: error.code, mail: kind, cause: String(error.cause) });
  });
  waitUntil(sending);
}

/**
 * Sends the mail of this kind to `data.email`, in the language of `locale` if there is one. It is tried once: throws
 * `mail_not_sent` when whoever carries mail did not take it within 10 s.
 */
export async function sendMail<Kind extends keyof Mails>(
  kind: Kind,
  data: Mails[Kind],
  locale?: string | null,
): Promise<void> {
  const message = { to: data.email, ...compose(kind, data, locale) };
  await within(MAIL_TIMEOUT_MS, carrier()(message)).catch((cause: unknown) => {
    throw new Problem("mail_not_sent", { headers: { "retry-after": "5" }, cause });
  });
}

/** Whoever carries mail in this deployment. */
function carrier(): (message: Message) => Promise<void> {
  if (settings.MAIL_URL === "log") return log;
  return settings.MAIL_URL === "cloudflare" ? sendByBinding : post;
}

async function log({ to, subject, text }: Message): Promise<void> {
  console.log(`mail to ${to}: ${subject}\n${text}`);
}

async function sendByBinding(message: Message): Promise<void> {
  const [, name, email] = /^(.*\S)\s*<(.+)>$/.exec(settings.MAIL_FROM) ?? [];
  const from = name && email ? { name, email } : settings.MAIL_FROM;
  await bindings.EMAIL?.send({ from, ...message });
}

async function post(message: Message): Promise<void> {
  const response = await fetch(settings.MAIL_URL, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(settings.MAIL_TOKEN && { authorization: `Bearer ${settings.MAIL_TOKEN}` }),
    },
    body: JSON.stringify({ from: settings.MAIL_FROM, ...message }),
    // What MAIL_URL may not tell: where else the mail goes.
    redirect: "manual",
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`the mail service answered ${response.status}`);
}
