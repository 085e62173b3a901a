import * as v from "valibot";
import type { Context } from "hono";
import { factory, type Edge } from "../context.ts";
import { passAccess } from "../edge/cloudflare-access.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { slowGuessing } from "../edge/guessing.ts";
import { operatorOnly } from "../edge/operator-only.ts";
import { valid } from "../http/valid.ts";
import { NewPassword, Password } from "../identity/account.ts";
import { Code } from "../identity/factor-proof.ts";
import {
  changeOperatorPassword,
  endOperatorSession,
  OperatorSession,
  startOperatorSession,
} from "../identity/operator-session.ts";
import { operatorAccount } from "../identity/peppered.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { TAKES } from "../operator.ts";
import { Problem } from "../problem.ts";
import { Email } from "../values.ts";

const OperatorSignIn = v.strictObject({ email: Email, password: Password, code: v.optional(Code) });
const OperatorPasswordChange = v.strictObject({
  current_password: Password,
  /** Of the second factor: a stolen token and password alone change nothing. */
  code: Code,
  password: NewPassword,
});
nameSchemas({ OperatorSession, OperatorSignIn, OperatorPasswordChange });

const tag = "Operator";
const actOf = (c: Context<Edge>) => ({
  operator: c.get("operator"),
  reason: null,
  requestId: c.get("requestId"),
});

const challenge = { "www-authenticate": 'Bearer realm="operator"' };

/** Where operators sign in, with their password and a code, and out. */
export const operatorSessionRoutes = factory
  .createApp()
  .post(
    "/",
    floodGuard,
    operation("createOperatorSession", {
      summary: "Sign in as an operator: always with a code of the second factor",
      tag,
      answers: { 201: OperatorSession },
      problems: ["unauthenticated", "second_factor_required"],
      token: false,
    }),
    valid("json", OperatorSignIn),
    async (c) => {
      await passAccess(c);
      const { email, password, code } = c.req.valid("json");
      // Before the password is looked at: every operator has a second factor, so this tells nothing about anybody.
      if (code === undefined)
        throw new Problem("second_factor_required", {
          detail: "Send the code that the authenticator app shows as code, with the email and the password.",
          methods: ["totp"],
          headers: challenge,
        });
      const session = await slowGuessing(c, operatorAccount(email), () =>
        startOperatorSession({ email, password, code }, c.get("requestId")),
      );
      if (!session)
        throw new Problem("unauthenticated", {
          detail: "The email, the password and the code do not belong together, or the code was used before.",
          headers: challenge,
        });
      return c.json(session, 201);
    },
  )
  .delete(
    "/current",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("deleteOperatorSession", {
      summary: "Sign out: your token ends, and what you have open in tenants",
      tag,
      answers: { 204: null },
      problems: ["not_found"],
      token: "operator",
    }),
    async (c) => {
      await endOperatorSession(actOf(c));
      return c.body(null, 204);
    },
  );

/** What operators change of themselves. */
export const operatorSelfRoutes = factory.createApp().post(
  "/password",
  floodGuard,
  operatorOnly(TAKES.read),
  operation("changeOperatorPassword", {
    summary: "Change your password, with a code of the second factor; your other sessions end",
    tag,
    answers: { 204: null },
    problems: ["wrong_password", "not_found"],
    token: "operator",
  }),
  valid("json", OperatorPasswordChange),
  async (c) => {
    const changed = await slowGuessing(c, operatorAccount(c.get("operator").email), () =>
      changeOperatorPassword(actOf(c), c.req.valid("json")),
    );
    if (!changed)
      throw new Problem("wrong_password", {
        detail: "The password is not yours, or the code is not right, or it was used before.",
      });
    return c.body(null, 204);
  },
);
