import { settings } from "../env.ts";

/** What a link in a mail is for. */
type Purpose = "invitation" | "verification" | "signup" | "reset" | "email-change" | "email-undo";

/** A link to the page for accounts. Its token is in the fragment, which no server and no proxy gets to see. */
export function linkTo(purpose: Purpose, token: string): string {
  if (purpose === "invitation" && settings.INVITATION_URL)
    return settings.INVITATION_URL.replace("{token}", token);
  return `${settings.ACCOUNT_URL || `${settings.ISSUER}/account`}#${purpose}=${token}`;
}
