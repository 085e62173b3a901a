import { API_KEY_SCOPES, ROLES, SCOPES, type Scope } from "../authority.ts";

/** What is known of an operation by the time that it is put into words. */
type Known = {
  security: readonly Record<string, string[]>[];
  /** The names of its parameters. */
  parameters: ReadonlySet<string>;
  /** Whether it is a merge patch. */
  isPatch: boolean;
  /** Whether it heeds If-None-Match. */
  isCached: boolean;
  /** Whether it may ask for a fresh proof of who calls. */
  stepsUp: boolean;
};

/** What the operation's own description does not have to say: who may call it, and what HTTP adds to it. */
export function describeRules({ security, parameters, isPatch, isCached, stepsUp }: Known): string {
  return [
    whoCalls(security),
    parameters.has("cursor") && "Answers a page: pass its `next_cursor` back as `cursor` for the next one.",
    isCached && "With the `ETag` that you know in `If-None-Match` it answers 304 while nothing has changed.",
    isPatch && "What you leave out stays as it is (RFC 7396).",
    parameters.has("if-match") &&
      "With the `ETag` in `If-Match` it changes only the version that you have seen, else it answers 412.",
    parameters.has("idempotency-key") &&
      "With an `Idempotency-Key` it is safe to repeat: for 24 hours the first answer comes again.",
    stepsUp &&
      "A session that has not proved lately who it is gets 403 `step_up_required`: then `POST /v1/sessions/current/step-up`.",
  ]
    .filter(Boolean)
    .join(" ");
}

function whoCalls(security: Known["security"]): string {
  const [scheme = {}] = security;
  const [least] = scheme["operatorToken"] ?? [];
  if (least !== undefined) return `Takes an operator of the role ${least}, or of a greater one.`;
  if ("operatorToken" in scheme) return "Takes an operator.";
  const [scope] = scheme["accessToken"] ?? [];
  if (scope !== undefined) return whoHas(scope);
  if (security.length === 0) return "Takes no token.";
  return "Takes a token of the tenant, and no scope.";
}

function whoHas(scope: string): string {
  const isScope = (known: Scope) => known === scope;
  const roles = ROLES.filter((role) => SCOPES[role].some(isScope));
  const keys = API_KEY_SCOPES.some(isScope) ? ", and API keys that were given it" : "";
  return `Needs the scope \`${scope}\`: ${roles.join(", ")}${keys}.`;
}
