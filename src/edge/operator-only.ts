import { createHash, timingSafeEqual } from "node:crypto";
import { describeRoute } from "hono-openapi";
import * as v from "valibot";
import { factory, forRequest } from "../context.ts";
import { standingOperator } from "../db/operators.ts";
import { settings } from "../env.ts";
import { bearerToken } from "../identity/bearer.ts";
import { verifyOperatorToken } from "../identity/operator-token.ts";
import type { Described } from "../openapi/operation.ts";
import { includesRole, OPERATOR_ROLES, SCRIPT, type Operator, type OperatorRole } from "../operator.ts";
import { Problem } from "../problem.ts";
import { passAccess } from "./cloudflare-access.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest();

/**
 * Lets an operator on who has this role or a greater one, and says who that is: `c.get("operator")`. Postgres is asked at each
 * request, so that a removal, another role or a sign-out is in force at the next one; whoever holds OPERATOR_TOKEN is the admin `script`.
 */
export function operatorOnly(role: OperatorRole) {
  const guard = factory.createMiddleware(async function onlyOperators(c, next) {
    await passAccess(c);
    const token = bearerToken(c.req.raw.headers) ?? "";
    const { onAnswer } = forRequest(c);
    const operator = isScript(token) ? SCRIPT : await personOf(token, onAnswer);
    if (!operator)
      throw new Problem("unauthenticated", { headers: { "www-authenticate": 'Bearer realm="operator"' } });
    if (!includesRole(operator.role, role))
      throw new Problem("insufficient_scope", {
        detail: `This takes an operator of the role ${role}.`,
        headers: { "www-authenticate": 'Bearer realm="operator", error="insufficient_scope"' },
      });
    c.set("operator", operator);
    await next();
  });
  // For /openapi.json.
  const said: Parameters<typeof describeRoute>[0] & Described = { "x-operator": role };
  return Object.assign(guard, describeRoute(said));
}

const isScript = (token: string) => timingSafeEqual(sha256(token), sha256(settings.OPERATOR_TOKEN));

const Standing = v.array(
  v.object({ id: v.string(), email: v.string(), role: v.picklist(OPERATOR_ROLES), sessionId: v.string() }),
);

/** Whose token it is, if they still are what it says. */
async function personOf(token: string, onAnswer: (started: number) => void): Promise<Operator | undefined> {
  const claims = await verifyOperatorToken(token);
  if (!claims) return undefined;
  const started = performance.now();
  const rows = await standingOperator(claims).finally(() => onAnswer(started));
  return v.parse(Standing, rows)[0];
}
