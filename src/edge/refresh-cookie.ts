import type { Context } from "hono";
import { deleteCookie, setCookie } from "hono/cookie";
import { factory, type Edge } from "../context.ts";
import { settings } from "../env.ts";
import { refused } from "../identity/refused.ts";
import type { Session } from "../identity/session.ts";
import { Problem } from "../problem.ts";

// Where BROWSER_SESSIONS is on, a browser may have its refresh token in a cookie, which no script reads. Two routes read it,
// to refresh and to sign out; everything else takes the access token, which the page keeps in memory.

const NAME = "__Host-refresh";
const TTL_S = 30 * 24 * 3600;
const OPTIONS = { path: "/", secure: true, httpOnly: true, sameSite: "Strict" } as const;

/** Whether the client asks for the cookie, and may have it. */
export const wantsCookie = (c: Context<Edge>): boolean =>
  settings.BROWSER_SESSIONS && c.req.header("x-refresh-token") === "cookie";

/** Answers a session; its refresh token in the cookie, if the client asks for that. */
export function answerSession<Status extends 200 | 201, More extends object>(
  c: Context<Edge>,
  session: Session & More,
  status: Status,
) {
  if (!wantsCookie(c)) return c.json(session, status);
  setCookie(c, NAME, session.refresh_token, { ...OPTIONS, maxAge: TTL_S });
  return c.json({ ...session, refresh_token: "" }, status);
}

/** The refresh token in the request's cookie. Throws `unauthenticated` when there is none. */
export function cookieOf(c: Context<Edge>): string {
  const all = (c.req.header("cookie") ?? "").split(/;\s*/).filter((pair) => pair.startsWith(`${NAME}=`));
  const [only, ...others] = all;
  // A page cannot set this name for another host. Whoever sends two is not one of ours.
  if (only === undefined || others.length > 0) throw refused("There is no refresh token in the cookie.");
  return only.slice(NAME.length + 1);
}

/** Forgets the cookie of whoever has signed out. */
export function dropCookie(c: Context<Edge>): void {
  if (wantsCookie(c)) deleteCookie(c, NAME, OPTIONS);
}

/**
 * Refuses whoever asks for the cookie and is no page of this site, before any work is done. Every route that answers a session
 * has it.
 */
export const ownPage = factory.createMiddleware(async function ownPage(c, next) {
  if (wantsCookie(c)) requireOwnPage(c);
  await next();
});

/** Throws `insufficient_scope` unless a page of this site sends the request, by what its browser says. */
function requireOwnPage(c: Context<Edge>): void {
  const origin = c.req.header("origin");
  const isSameSite = ["same-origin", "same-site"].includes(c.req.header("sec-fetch-site") ?? "");
  const isAllowed =
    origin !== undefined &&
    (origin === new URL(c.req.url).origin || settings.ALLOWED_ORIGINS.includes(origin));
  if (isSameSite && isAllowed) return;
  throw new Problem("insufficient_scope", {
    detail: "The refresh cookie is for pages of this site: see ALLOWED_ORIGINS.",
  });
}
