import * as v from "valibot";
import { factory } from "../context.ts";
import { passAccess } from "../edge/cloudflare-access.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { slowGuessing } from "../edge/guessing.ts";
import { valid } from "../http/valid.ts";
import { Password } from "../identity/account.ts";
import { Code } from "../identity/factor-proof.ts";
import { OperatorSession, startOperatorSession } from "../identity/operator-session.ts";
import { operatorAccount } from "../identity/peppered.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";
import { Email } from "../values.ts";

const OperatorSignIn = v.strictObject({ email: Email, password: Password, code: v.optional(Code) });
nameSchemas({ OperatorSession, OperatorSignIn });

const challenge = { "www-authenticate": 'Bearer realm="operator"' };

/** Where operators sign in, with their password and a code. */
export const operatorSessionRoutes = factory.createApp().post(
  "/",
  floodGuard,
  operation("createOperatorSession", {
    summary: "Sign in as an operator: always with a code of the second factor",
    tag: "Operator",
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
);
