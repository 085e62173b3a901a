import { inject } from "vitest";

/** A mail as the mail service of the tests has it. */
export type Delivery = {
  authorization: string;
  contentType: string;
  body: { from: string; to: string; subject: string; text: string; html: string };
};

/** The mails that came for this address, the last one last; waits until there are as many as `least`. */
export async function mailsTo(email: string, least = 0): Promise<Delivery[]> {
  const query = new URLSearchParams({ to: email, least: String(least) });
  return (await fetch(`${inject("variables")["MAIL_URL"]}?${query.toString()}`)).json();
}

/** The token, of this prefix, in the mail to this address of this number, once it has come. */
export async function mailedToken(email: string, prefix: string, number = 1): Promise<string> {
  const text = (await mailsTo(email, number))[number - 1]?.body.text ?? "";
  const token = new RegExp(`${prefix}_[\\w-]+`).exec(text)?.[0];
  if (!token) throw new Error(`there is no ${prefix} in: ${text}`);
  return token;
}
