import * as v from "valibot";
import { factory } from "../context.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { slowGuessing } from "../edge/guessing.ts";
import { valid } from "../http/valid.ts";
import { NewPassword, Password } from "../identity/account.ts";
import {
  askReset,
  changeEmail,
  confirmAddress,
  mailboxOf,
  resetPassword,
  undoEmailChange,
} from "../identity/accounts.ts";
import { LinkToken } from "../identity/mailed-link.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";
import { Email } from "../values.ts";

const tag = "Account";

const Token = v.strictObject({ token: LinkToken });
/** With the account's password, so that nobody confirms an account that a stranger made: a sign-up that waits takes no other. */
const Confirmation = v.strictObject({ token: LinkToken, password: v.optional(Password) });
const PasswordReset = v.strictObject({ email: Email });
const PasswordResetConfirmation = v.strictObject({ token: LinkToken, password: NewPassword });
nameSchemas({ LinkToken: Token, EmailConfirmation: Confirmation, PasswordReset, PasswordResetConfirmation });

// What the links in mails do. A link opens a page, which sends its token here: to open it changes nothing.

export const verificationRoutes = factory.createApp().post(
  "/confirm",
  floodGuard,
  operation("confirmEmail", {
    summary: "Confirm an address, or a sign-up that waits for that, by the token that was mailed to it",
    tag,
    answers: { 204: null },
    problems: ["link_gone", "slug_taken", "wrong_password"],
    token: false,
  }),
  valid("json", Confirmation),
  async (c) => {
    const { token, password } = c.req.valid("json");
    const done = await slowGuessing(c, mailboxOf(token), () => confirmAddress(token, password));
    if (!done) throw new Problem("wrong_password");
    return c.body(null, 204);
  },
);

export const passwordResetRoutes = factory
  .createApp()
  .post(
    "/",
    floodGuard,
    operation("createPasswordReset", {
      summary: "Mail a link that sets a new password; the answer is the same without an account",
      tag,
      answers: { 202: null },
      problems: ["mail_not_set_up"],
      token: false,
    }),
    valid("json", PasswordReset),
    async (c) => {
      await askReset(c.req.valid("json").email);
      return c.body(null, 202);
    },
  )
  .post(
    "/confirm",
    floodGuard,
    operation("confirmPasswordReset", {
      summary: "Set a new password by the token that was mailed; every session ends",
      tag,
      answers: { 204: null },
      problems: ["link_gone"],
      token: false,
    }),
    valid("json", PasswordResetConfirmation),
    async (c) => {
      const { token, password } = c.req.valid("json");
      c.get("deadline").check();
      await resetPassword(token, password);
      return c.body(null, 204);
    },
  );

export const emailChangeRoutes = factory
  .createApp()
  .post(
    "/confirm",
    floodGuard,
    operation("confirmEmailChange", {
      summary: "Change an account's address to the one that the token was mailed to",
      tag,
      answers: { 204: null },
      problems: ["link_gone", "email_taken"],
      token: false,
    }),
    valid("json", Token),
    async (c) => {
      await changeEmail(c.req.valid("json").token);
      return c.body(null, 204);
    },
  )
  .post(
    "/undo",
    floodGuard,
    operation("undoEmailChange", {
      summary: "Bring the address back that the token was mailed to, with its password; every session ends",
      tag,
      answers: { 204: null },
      problems: ["link_gone", "email_taken"],
      token: false,
    }),
    valid("json", Token),
    async (c) => {
      await undoEmailChange(c.req.valid("json").token);
      return c.body(null, 204);
    },
  );
