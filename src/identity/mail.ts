import { bindings, settings } from "../env.ts";
import { Problem } from "../problem.ts";
import { within } from "../within.ts";
import { accountOf } from "./account.ts";

/** A mail service that does not answer within this time has not taken the mail. */
const MAIL_TIMEOUT_MS = 10_000;

type Mail = { to: string; subject: string; text: string };

/** The units that a request which sends a mail costs. */
export const MAIL_COST = 10;

/**
 * Throws before anything is done that needs a mail to this address: `mail_not_set_up` on a deployment that sends none, and
 * `too_many_attempts` while the mailbox was sent several within a minute, by whichever tenant (approximate).
 */
export async function requireMail(email: string): Promise<void> {
  if (!settings.MAIL_URL) throw new Problem("mail_not_set_up");
  // ada+anything@ is most often ada's mailbox as well.
  const mailbox = email.replace(/^([^+@]+)\+[^@]*/, "$1");
  if ((await bindings.MAIL_GUARD.limit({ key: accountOf(mailbox) })).success) return;
  throw new Problem("too_many_attempts", {
    detail: "This mailbox was sent several mails within a minute. Wait for a minute.",
    headers: { "retry-after": "60" },
  });
}

/** Sends the link that accepts an invitation. Throws `mail_not_sent` when the mail service did not take it. */
export function sendInvitation(of: {
  token: string;
  email: string;
  role: string;
  tenant: string;
  inviter: string;
}): Promise<void> {
  const tenant = oneLine(of.tenant);
  return sendMail({
    to: of.email,
    subject: `Invitation to ${tenant}`,
    text: `${oneLine(of.inviter)} invites you to ${tenant}, as ${of.role}.

To accept, open this link within seven days. The link works once, for ${of.email} alone:
${link(of.token)}

If you did not expect this, do nothing.
`,
  });
}

/** The seam to whoever carries mail: one HTTP request, not tried again, or the log of a local deployment. */
async function sendMail(mail: Mail): Promise<void> {
  if (settings.MAIL_URL === "log") {
    console.log(`mail to ${mail.to}: ${mail.subject}\n${mail.text}`);
    return;
  }
  const sending = fetch(settings.MAIL_URL, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(settings.MAIL_TOKEN && { authorization: `Bearer ${settings.MAIL_TOKEN}` }),
    },
    body: JSON.stringify({ from: settings.MAIL_FROM, ...mail }),
    // What MAIL_URL may not tell: where else the mail goes.
    redirect: "manual",
  });
  const response = await within(MAIL_TIMEOUT_MS, sending).catch((cause: unknown) => {
    throw notSent(cause);
  });
  await response.body?.cancel();
  if (!response.ok) throw notSent(`the mail service answered ${response.status}`);
}

const notSent = (cause: unknown) => new Problem("mail_not_sent", { headers: { "retry-after": "5" }, cause });

const link = (token: string) =>
  (settings.INVITATION_URL || `${settings.ISSUER}/docs#invitation={token}`).replace("{token}", token);

/** Names are their owners' words: none of them makes a second line. */
const oneLine = (text: string) => text.replaceAll(/\p{Cc}+/gu, " ");
