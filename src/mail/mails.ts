import type { Letter } from "./letter.ts";

/** Each kind of mail, with its data. `email` is the address that it goes to. */
export type Mails = {
  /** To whoever is invited; the link works for seven days. */
  invitation: { email: string; tenant: string; inviter: string; role: string; token: string };
  /** After a sign-up; the link works for 24 hours. */
  verification: { email: string; token: string };
  /** The sign-up itself, where an address is verified first; the link works for 24 hours. */
  signup: { email: string; tenant: string; token: string };
  /** The same for an address that has an account: the link adds the tenant to it. */
  signupTaken: { email: string; tenant: string; token: string };
  /** A new password; the link works for 30 minutes. */
  reset: { email: string; token: string };
  /** The same for an address that nobody has confirmed: `verification` confirms it, `token` takes it. */
  resetUnverified: { email: string; token: string; verification: string };
  /** Somebody asked for a new password for an address without an account. */
  resetUnknown: { email: string };
  passwordChanged: { email: string };
  /** To the new address, which counts once its link is opened. */
  emailChange: { email: string; token: string };
  /** To the old address; the link undoes the change for seven days. */
  emailChanged: { email: string; newEmail: string; token: string };
  /** A sign-in from elsewhere; `country` is a code of ISO 3166, or nothing when it is not known. */
  newDevice: { email: string; userAgent: string; country: string; at: Date };
  factorChanged: { email: string; what: FactorChange };
  /** To a tenant's owners: an operator asks to look in, and one of them has to allow it. */
  supportAsked: SupportNews;
  /** An operator is in, until `until`. */
  supportStarted: SupportNews;
  /** An operator is out, since `ended`. */
  supportEnded: SupportNews;
  /** So much of the limit of a month, such as 2026-11-01, is used. */
  usageWarning: {
    email: string;
    tenant: string;
    month: string;
    percent: number;
    used: number;
    quota: number;
  };
};

/** What a tenant's owners hear of an operator who looks in, or asks to. */
type SupportNews = {
  email: string;
  tenant: string;
  operator: string;
  reason: string;
  minutes: number;
  /** Whether they may change content too. */
  write: boolean;
  until: Date;
  ended: Date;
};

/** What can happen to somebody's second factors. */
export type FactorChange =
  | "totp_added"
  | "totp_removed"
  | "passkey_added"
  | "passkey_removed"
  | "recovery_codes_made"
  | "recovery_code_used"
  | "all_removed";

/** All mails in one language, as a BCP 47 tag names it. */
export type Templates = {
  lang: string;
  mails: { [Kind in keyof Mails]: (data: Mails[Kind]) => Letter };
};
