import { settings } from "../env.ts";
import { linkTo } from "./links.ts";
import type { FactorChange, Templates } from "./mails.ts";

const NOT_YOU = "If this was not you, do nothing.";

const asked = (email: string) => `Somebody, most likely you, asked for a new password for ${email}.`;

const signedUp = (email: string) =>
  `Somebody, most likely you, signed up for ${settings.API_NAME} with ${email}.`;

const forWhat = (write: boolean) => (write ? "to read and change content" : "to read");
const minuteOf = (at: Date) => `${at.toISOString().slice(0, 16).replace("T", " ")} UTC`;
const number = (value: number) => value.toLocaleString("en-US");

const CHANGES: Readonly<Record<FactorChange, string>> = {
  totp_added: "An authenticator app was added",
  totp_removed: "An authenticator app was removed",
  passkey_added: "A passkey was added",
  passkey_removed: "A passkey was removed",
  recovery_codes_made: "New recovery codes were made, and the earlier ones are void",
  recovery_code_used: "A recovery code was used",
  all_removed: "All second factors were removed",
};

/** All mails in English. A language is one file like this one, and its name in templates.ts. */
export const en: Templates = {
  lang: "en",
  mails: {
    invitation: ({ email, tenant, inviter, role, token }) => ({
      subject: `Invitation to ${tenant}`,
      body: [
        `${inviter} invites you to ${tenant}, as ${role}.`,
        `To accept, open this link within seven days. The link works once, for ${email} alone:`,
        { label: "Accept the invitation", url: linkTo("invitation", token) },
      ],
      closing: "If you did not expect this, do nothing.",
    }),
    verification: ({ email, token }) => ({
      subject: `Confirm your email address for ${settings.API_NAME}`,
      body: [
        `Somebody, most likely you, made an account at ${settings.API_NAME} with ${email}.`,
        "To confirm that this address is yours, open this link within 24 hours:",
        { label: "Confirm the address", url: linkTo("verification", token) },
      ],
      closing: NOT_YOU,
    }),
    signup: ({ email, tenant, token }) => ({
      subject: `Finish your sign-up for ${settings.API_NAME}`,
      body: [
        signedUp(email),
        `To make your account and ${tenant}, open this link within 24 hours. The link works once:`,
        { label: "Finish the sign-up", url: linkTo("signup", token) },
      ],
      closing: `${NOT_YOU} Nothing is made until the link is opened.`,
    }),
    signupTaken: ({ email, tenant, token }) => ({
      subject: `You have an account at ${settings.API_NAME}`,
      body: [
        `${signedUp(email)} This address has an account already.`,
        `To add ${tenant} to that account, open this link within 24 hours. The link works once:`,
        { label: "Add it to my account", url: linkTo("signup", token) },
      ],
      closing: `${NOT_YOU} Nothing is added until the link is opened.`,
    }),
    reset: ({ email, token }) => ({
      subject: `Reset your password for ${settings.API_NAME}`,
      body: [
        asked(email),
        "To choose one, open this link within 30 minutes. The link works once:",
        { label: "Choose a new password", url: linkTo("reset", token) },
      ],
      closing: `${NOT_YOU} Your password stays what it is.`,
    }),
    resetUnverified: ({ email, token, verification }) => ({
      subject: `Reset your password for ${settings.API_NAME}`,
      body: [
        `${asked(email)} There is an account with this address, but nobody has confirmed that the address is theirs.`,
        "If you made the account yourself, confirm the address first with this link, then ask for a new password again:",
        { label: "Confirm the address", url: linkTo("verification", verification) },
        "If you did not, this link takes the address and gives you a new account. It works once, for 30 minutes:",
        { label: "Take the address", url: linkTo("reset", token) },
      ],
      closing: `${NOT_YOU} Nothing changes.`,
    }),
    resetUnknown: ({ email }) => ({
      subject: `No account at ${settings.API_NAME} with this address`,
      body: [
        `${asked(email)} There is no account at ${settings.API_NAME} with this address.`,
        "If you have an account, it has another address: ask again with that one.",
      ],
      closing: NOT_YOU,
    }),
    passwordChanged: ({ email }) => ({
      subject: `Your password for ${settings.API_NAME} was changed`,
      body: [`The password of ${email} was changed.`],
      closing:
        "If this was not you, ask for a new password at once: whoever changed it can sign in to your account.",
    }),
    emailChange: ({ email, token }) => ({
      subject: `Confirm your new email address for ${settings.API_NAME}`,
      body: [
        `Somebody, most likely you, asked to make ${email} the address of their account at ${settings.API_NAME}.`,
        "To confirm that this address is yours, open this link. The link works once:",
        { label: "Use this address", url: linkTo("email-change", token) },
      ],
      closing: `${NOT_YOU} Nothing changes until the link is opened.`,
    }),
    emailChanged: ({ email, newEmail, token }) => ({
      subject: `Your email address for ${settings.API_NAME} was changed`,
      body: [
        `The address of your account was ${email}, and is ${newEmail} now.`,
        "If this was not you, undo the change with this link. It works once, for seven days:",
        { label: "Undo the change", url: linkTo("email-undo", token) },
      ],
      closing: "If this was you, do nothing.",
    }),
    newDevice: ({ email, userAgent, country, at }) => ({
      subject: `New sign-in to your account at ${settings.API_NAME}`,
      body: [
        `Somebody, most likely you, signed in as ${email} from a device that was not used before.`,
        `Time: ${minuteOf(at)}`,
        `Country: ${country || "unknown"}`,
        `Browser or program: ${userAgent || "unknown"}`,
      ],
      closing: "If this was not you, change your password and sign out everywhere.",
    }),
    factorChanged: ({ email, what }) => ({
      subject: `The sign-in of your account at ${settings.API_NAME} was changed`,
      body: [`${CHANGES[what]}, for ${email}.`],
      closing: "If this was not you, change your password, and look through your second factors.",
    }),
    supportAsked: ({ tenant, operator, reason, minutes, write }) => ({
      subject: `Support asks for access to ${tenant}`,
      body: [
        `${operator}, who operates ${settings.API_NAME}, asks ${forWhat(write)} in ${tenant}, for ${minutes} minutes.`,
        `The reason: ${reason}`,
        "An owner has to allow it within a day. Until then nobody is in.",
      ],
      closing: "If you do not want this, do nothing.",
    }),
    supportStarted: ({ tenant, operator, reason, write, until }) => ({
      subject: `Support has access to ${tenant}`,
      body: [
        `${operator}, who operates ${settings.API_NAME}, is in ${tenant} ${forWhat(write)}, until ${minuteOf(until)}.`,
        `The reason: ${reason}`,
        "An owner or admin can end it at any time. What is changed is in the audit trail under this name.",
      ],
      closing: "If you do not want this, end the session, and set the access of support to off.",
    }),
    supportEnded: ({ tenant, operator, reason, ended }) => ({
      subject: `Support has no access to ${tenant} any more`,
      body: [
        `The access of ${operator}, who operates ${settings.API_NAME}, to ${tenant} ended at ${minuteOf(ended)}.`,
        `The reason for it was: ${reason}`,
      ],
      closing: "What was changed is in the audit trail.",
    }),
    usageWarning: ({ tenant, month, percent, used, quota }) => ({
      subject: `${tenant} has used ${percent} % of its month's limit`,
      body: [
        `In ${month.slice(0, 7)}, ${tenant} has used ${number(used)} of the ${number(quota)} units of its month's limit at ${settings.API_NAME}.`,
        percent < 100
          ? "Once all of them are used, requests are refused until the next month begins (UTC)."
          : "Requests that cost more than what is left are refused until the next month begins (UTC).",
      ],
      closing: "A larger plan has a larger limit.",
    }),
  },
};
