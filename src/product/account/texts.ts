import type { ProblemCode } from "../../problem.ts";

type At = `${ProblemCode} ${string}`;

/**
 * What people read instead of a problem's detail, which is written for programs: by its code, or by its code and the form
 * (`data-act`) that it is answered to. `{wait}` becomes what Retry-After says, such as "1 minute", and `{id}` the request's id.
 * Where there is no text, they read the detail.
 */
export const PROBLEM_TEXTS: Partial<Record<ProblemCode | At, string>> = {
  unauthenticated: "You were signed out. Sign in again.",
  "unauthenticated sign-in": "The email address or the password is not right.",
  "unauthenticated sign-up":
    "There is an account with this email address, and it has another password. Sign in instead, or use that password.",
  "unauthenticated passkey": "This passkey does not sign you in here. Use another one, or your password.",
  "unauthenticated factor-code":
    "This code is not right, or too much time has passed. Type the code that the app shows now, or start again.",
  "unauthenticated factor-recovery":
    "This code is not right, was used before, or too much time has passed. Try another one, or start again.",
  "unauthenticated factor-passkey":
    "This passkey is not one of your account, or too much time has passed. Try again, or start again.",
  "unauthenticated enrol": "Too much time has passed. Start again.",
  "unauthenticated app":
    "This code is not right, or too much time has passed. Type the code that the app shows now, or start again.",
  wrong_password: "This is not the password of your account.",
  "wrong_password verification":
    "This is not the password of the account. If you did not sign up yourself, set a password of your own below.",
  "wrong_password signup": "This is not the password that you signed up with.",
  wrong_factor: "This code is not right. Type the one that the app shows now. Each code works once.",
  "wrong_factor add-factor": "This passkey could not be added. Try again, or use another device.",
  "wrong_factor step-up-passkey": "This passkey is not one of your account. Use another one.",
  "wrong_factor step-up-recovery": "This code is not right, or was used before. Try another one.",
  email_not_verified: "Confirm your email address first: open the link in the mail that we sent to it.",
  no_tenant:
    "Your password is right, but you are in no workspace. Sign up with the same address and password to make one, or have somebody invite you.",
  no_address: "Your account has no email address. Add one first.",
  insufficient_scope: "This is not yours to do. Ask an owner of the workspace.",
  wrong_host: "You are at the address of another workspace. Sign in at the address of your own.",
  tenant_suspended: "This workspace is suspended. Nobody can use it until that is lifted.",
  tenant_read_only: "This workspace takes no changes at the moment. Try again later.",
  tenant_closing: "This workspace is being closed. An owner can still bring it back.",
  tenant_erasing: "This workspace is being deleted, with all that is in it.",
  not_found: "It is not there any more. Load this page again to see what is.",
  "not_found sign-in": "There is no workspace at this address.",
  "not_found passkey": "There is no workspace at this address.",
  "not_found sign-up": "Sign up at the service's own address: this is that of one workspace.",
  "not_found app": "Too much time has passed. Cancel, and add the app again.",
  "not_found new-recovery": "Add a passkey or an authenticator app first.",
  slug_taken: "This short name is taken. Choose another one.",
  email_taken: "Another account has this address by now. Sign in to that one, or choose another address.",
  factor_required:
    "Your workspace asks for two-step sign-in, and this is your last one. Add another before you remove it.",
  too_many_factors: "You have 20 of them, which is the most. Remove one that you do not use.",
  support_session_over: "This is over already.",
  precondition_failed: "Somebody else has changed this just now. Load this page again.",
  quota_exceeded: "Your workspace has reached a limit of its plan. Wait {wait}, then try again.",
  too_many_attempts: "That was too often. Wait {wait}, then try again.",
  "too_many_attempts resend":
    "We have sent this address several mails just now. Wait {wait}, then try again.",
  mail_not_sent: "The mail could not be sent. Wait {wait}, then try again.",
  mail_not_set_up: "This service sends no mail yet, so nothing was done. Tell the people who run it.",
  body_timeout: "Your connection is too slow at the moment. Try again.",
  internal: "Something went wrong here. Try again. If that does not help, tell us this number: {id}",
  unavailable: "The service does not answer at the moment. Wait {wait}, then try again.",
};

/** What people read where a field's value is refused, by the field's name. */
export const FIELD_TEXTS: Readonly<Record<string, string>> = {
  email: "No mail can be sent to this address. Look for a mistake in it.",
  password: "A password has 8 to 256 characters.",
  code: "The code has six digits.",
  recovery_code: "This is not one of your recovery codes.",
  name: "Choose a name with 1 to 100 characters.",
  tenant: "You are in more than one workspace. Choose where you sign in.",
  "tenant/name": "Choose a name with 1 to 200 characters.",
  "tenant/slug":
    "Use small letters, digits, and hyphens between them, 63 at most. Some words, such as “www”, are reserved.",
};

/**
 * What to do where a link of a mail is over, by what it was for, with the view that does it; or where a problem of this code
 * leaves no other way.
 */
export const GONE_TEXTS: Readonly<Record<string, readonly [text: string, then: string, view: string]>> = {
  verification: [
    "If you have used it, your address is confirmed. Else sign in, and have the link sent again.",
    "Sign in",
    "#sign-in",
  ],
  signup: ["If you have used it, your account is ready: sign in. Else sign up again.", "Sign up", "#sign-up"],
  "signup slug_taken": [
    "Somebody else took the short name meanwhile. Sign up again, with another one.",
    "Sign up",
    "#sign-up",
  ],
  reset: ["It works once, for 30 minutes. Ask for another one.", "Ask for a new link", "#forgot"],
  "email-change": [
    "If you have used it, sign in with the new address. Else sign in with the old one, and change it again.",
    "Sign in",
    "#sign-in",
  ],
  "email-undo": [
    "It works once, for seven days. If you cannot sign in any more, set a new password.",
    "Set a new password",
    "#forgot",
  ],
  invitation: [
    "If you have accepted it, sign in. Else ask whoever invited you to invite you again.",
    "Sign in",
    "#sign-in",
  ],
};
