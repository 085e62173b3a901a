import { createHmac } from "node:crypto";
import { settings } from "./env.ts";

/** Names an account without telling whose it is. */
export function accountOf(email: string): string {
  return createHmac("sha256", settings.PASSWORD_PEPPER).update("account").update(email).digest("base64url");
}
