import * as v from "valibot";
import type { IssuedRole } from "../authority.ts";
import { homesOf, isRegistered, registrations } from "../db/across-tenants.ts";
import { remembers } from "../memory.ts";
import { Problem } from "../problem.ts";
import { STATES } from "../tenant-states.ts";
import { NO_MEMBER, refusedToken, unknownToken, type Origin, type Subject } from "./subject-token.ts";

/** How long this isolate remembers an answer. */
const REMEMBERED_MS = 60_000;
/** Tenants among which a token may choose. */
const MAX_TRUSTS = 50;

/** An issuer as one tenant has registered it, and whether that tenant is open. */
export type Trust = Awaited<ReturnType<typeof registrations>>[number];

const Homes = v.array(v.object({ id: v.string() }));

const trusted = remembers<number>("trusted_issuers");
const known = remembers<{ trusts: Trust[]; until: number }>("trusts");

/**
 * Whether any tenant trusts the issuer for this audience, as of a minute ago at most: only then its keys are fetched. No
 * answer to a client tells it.
 */
export async function isTrusted(origin: Origin): Promise<boolean> {
  const name = JSON.stringify([origin.issuer, origin.audience]);
  if (Date.now() < (trusted.get(name) ?? 0)) return true;
  const isThere = await isRegistered(origin);
  if (isThere) trusted.set(name, Date.now() + REMEMBERED_MS);
  return isThere;
}

type Question = Origin & { slug: string | undefined; domain: string };
const nameOf = ({ issuer, audience, slug, domain }: Question) =>
  JSON.stringify([issuer, audience, slug, domain]);

/**
 * Who trusts the issuer for this audience, as of a minute ago at most: those first that trust it for the email's domain,
 * and of them the first who claimed it. Whoever acts on one makes sure in the same transaction that it is still so.
 */
export async function trustsOf(question: Question): Promise<Trust[]> {
  const there = known.get(nameOf(question));
  if (there && Date.now() < there.until) return there.trusts;
  const trusts = await registrations(question, question, MAX_TRUSTS);
  trusts.sort(
    (one, other) => Number(one.claimed_at > other.claimed_at) - Number(one.claimed_at < other.claimed_at),
  );
  known.set(nameOf(question), { trusts, until: Date.now() + REMEMBERED_MS });
  return trusts;
}

/** Has the next questions about this answered by the database. */
export function forgetTrusts(question: Question): void {
  known.delete(nameOf(question));
  trusted.delete(JSON.stringify([question.issuer, question.audience]));
}

/**
 * The tenant that a genuine token is for, and the role that it stands for there. Of several that trust its issuer it is
 * the one whose member the subject is already, else the first that claimed the domain's newcomers: what another tenant
 * registers later changes nothing. Throws `subject_token_refused`, and `invalid_token_request` for a member of several.
 */
export async function chooseTrust(
  trusts: Trust[],
  subject: Subject,
): Promise<{ trust: Trust; role: IssuedRole }> {
  if (trusts.length === 0) throw unknownToken();
  const candidates = trusts.filter(({ email_domains }) => email_domains.includes(subject.domain));
  if (candidates.length === 0)
    throw refusedToken("The tenant does not trust the issuer for the domain of the token's email.");
  const open = candidates.filter(({ suspended_at }) => !suspended_at);
  if (open.length === 0)
    throw refusedToken("The tenant has suspended the issuer until an owner or admin confirms it.");
  const fitting = open.flatMap((trust) => {
    const role = roleOf(subject, trust);
    return role ? [{ trust, role }] : [];
  });
  // A tenant that cannot be entered counts only where there is no other.
  const enterable = fitting.filter(({ trust }) => STATES[trust.status].signsIn === "members");
  const [first, ...others] = enterable.length > 0 ? enterable : fitting;
  if (!first) throw refusedToken("Nothing that the token says stands for a role in the tenant.");
  if (others.length === 0) return first;

  const chosen = [first, ...others];
  const ids = chosen.map(({ trust }) => trust.id);
  const homes = v.parse(Homes, await homesOf(subject, ids)).map(({ id }) => id);
  if (homes.length > 1)
    throw new Problem("invalid_token_request", {
      error: "invalid_target",
      errors: [
        { pointer: "/audience", detail: "You are a member of several tenants: say which, by its slug." },
      ],
    });
  const one = chosen.find(({ trust }) => (homes.length > 0 ? homes.includes(trust.id) : trust.just_in_time));
  if (!one) throw refusedToken(NO_MEMBER);
  return one;
}

/** The greatest role that a value of the claim stands for, else the default one. */
function roleOf({ claims }: Subject, { role_claim, role_map, default_role }: Trust): IssuedRole | null {
  const values = role_claim === null ? [] : [claims[role_claim]].flat();
  const mapped = new Set(
    Object.entries(role_map).flatMap(([value, role]) => (values.includes(value) ? role : [])),
  );
  return (["admin", "member", "viewer"] as const).find((role) => mapped.has(role)) ?? default_role;
}
