import { and, eq } from "drizzle-orm";
import { BoundedMap } from "../bounded-map.ts";
import { identityDb, rethrow } from "../db/client.ts";
import { issuers, tenants } from "../db/schema.ts";
import { Problem } from "../problem.ts";

/** Registrations that this isolate remembers, and for how long. */
const MAX_TRUSTS = 1_000;
const TRUST_TTL_MS = 60_000;

const columns = {
  id: issuers.id,
  tenant_id: issuers.tenant_id,
  issuer: issuers.issuer,
  audience: issuers.audience,
  role_claim: issuers.role_claim,
  role_map: issuers.role_map,
  default_role: issuers.default_role,
  email_domains: issuers.email_domains,
  version: issuers.version,
};

/** An issuer as one tenant has registered it. */
export type Trust = Pick<typeof issuers.$inferSelect, keyof typeof columns>;

type Question = { issuer: string; audience: string; slug: string | undefined };

const known = new BoundedMap<string, { trust: Trust; until: number }>(MAX_TRUSTS);
const nameOf = ({ issuer, audience, slug }: Question) => JSON.stringify([issuer, audience, slug]);

/**
 * The tenant that trusts the issuer for this audience, as of a minute ago at most: whoever acts on it makes sure in
 * the same transaction that it is still so. Undefined when there is none; throws `invalid_token_request` when there
 * are several, and no slug says which.
 */
export async function findTrust(question: Question): Promise<Trust | undefined> {
  const name = nameOf(question);
  const there = known.get(name);
  if (there && Date.now() < there.until) return there.trust;
  const { issuer, audience, slug } = question;
  const trusts = await identityDb
    .select(columns)
    .from(issuers)
    .innerJoin(tenants, eq(tenants.id, issuers.tenant_id))
    .where(
      and(
        eq(issuers.issuer, issuer),
        eq(issuers.audience, audience),
        slug === undefined ? undefined : eq(tenants.slug, slug),
      ),
    )
    .limit(2)
    .catch(rethrow);
  if (trusts.length > 1)
    throw new Problem("invalid_token_request", {
      error: "invalid_target",
      errors: [
        { pointer: "/audience", detail: "Several tenants trust this issuer: say which, by its slug." },
      ],
    });
  const [trust] = trusts;
  if (trust) known.set(name, { trust, until: Date.now() + TRUST_TTL_MS });
  return trust;
}

/** Has the next question answered by the database. */
export const forgetTrust = (question: Question): void => void known.delete(nameOf(question));
