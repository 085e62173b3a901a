import { createHmac } from "node:crypto";
import { stringify as toUuid, v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import type { Deadline } from "../deadline.ts";
import { acceptance, type From } from "../db/across-tenants.ts";
import { TENANT_STATUSES } from "../tenant-states.ts";
import { settings } from "../env.ts";
import { closedFor } from "./refused.ts";
import { Problem } from "../problem.ts";
import type { IdentityDb } from "../tenant-db.ts";
import { newsOf, readNews } from "../tenant/news.ts";
import { tellTenant, updateTenant } from "../tenant/stub.ts";
import { openToken } from "./opaque-token.ts";
import { factorNeeded, KnownFactor } from "./challenge.ts";
import { hashesOf } from "./password.ts";
import { firstRefreshToken } from "./refresh-token.ts";
import { newInvitation, SECRET_BYTES, secretHash, UUID_BYTES } from "./sealing.ts";
import { Member, sessionOf, type Session } from "./session.ts";

/**
 * What an invitation's token says: of which tenant, which invitation, and for which email. That one is in the token,
 * which goes to that address and nowhere else, so that a password can be hashed before the database is asked.
 */
type Invitation = {
  tenantId: string;
  id: string;
  email: string;
  hash: Uint8Array;
  /** The secret of the session that it starts: the same each time, and known to this server alone. */
  sessionSecret: Buffer;
};

const EMAIL_AT = 2 * UUID_BYTES + SECRET_BYTES;

/** A new token, and what the database keeps of it. */
export const makeInvitation = (tenantId: string, email: string) =>
  newInvitation(settings.OPAQUE_TOKEN_KEYS[0], tenantId, email);

/** What a token says that this server made, else undefined. Only the database knows whether it is still good. */
export function readInvitation(text: string): Invitation | undefined {
  const opened = openToken("invitation", text);
  if (!opened) return undefined;
  const { body, key } = opened;
  return {
    tenantId: toUuid(body.subarray(0, UUID_BYTES)),
    id: toUuid(body.subarray(UUID_BYTES, 2 * UUID_BYTES)),
    hash: secretHash(body.subarray(2 * UUID_BYTES, EMAIL_AT)),
    email: body.toString("utf8", EMAIL_AT),
    sessionSecret: createHmac("sha256", key).update("invitation's session").update(body).digest(),
  };
}

const Held = v.object({ status: v.picklist(TENANT_STATUSES) });
const Started = v.object({ ...Member.entries, session_id: v.string() });
const Asked = v.object({ factors: v.array(KnownFactor) });
const Head = v.object({ tenant_id: v.string(), head: v.number() });

/**
 * Uses the invitation up: makes its email a member and starts a session, all or nothing. Its token was mailed to that
 * email, so whoever holds it owns the account: a password becomes the account's, and ends its earlier sessions in all
 * tenants; without one, the account has to be known as its email's already. `db` is the tenant's, in the name of the
 * invitation. Accepted again, it gives the same session until that is first refreshed. Returns when the objects of all
 * these tenants have confirmed it. Throws `invitation_gone`, `invalid_input` when it takes a
 * password, and the problem of a tenant that takes no members; the invitation then stays as it was. Throws
 * `second_factor_required` to a member who has one, or needs one here: the invitation is used up.
 */
export async function acceptInvitation(
  db: IdentityDb,
  invitation: Invitation,
  of: { password: string | undefined; host: string | undefined; from: From; deadline: Deadline },
): Promise<Session> {
  const { email, tenantId, sessionSecret } = invitation;
  of.deadline.check();
  const challengeId = crypto.randomUUID();
  const { before, within } = acceptance({
    ...invitation,
    ...of,
    newUserId: uuidv7(),
    hashes: of.password === undefined ? null : await hashesOf(email, of.password),
    refresh: firstRefreshToken(uuidv7(), sessionSecret),
    challengeId,
  });
  const { open, heads, started, asked, news } = await db.writeAfter(before, (q) => ({
    ...within(q),
    news: newsOf({ after: 0 }),
  }));
  await Promise.all([
    tellTenant(tenantId, readNews(news)),
    ...v.parse(v.array(Head), heads.rows).map(({ tenant_id, head }) => updateTenant(tenant_id, head)),
  ]);

  const [needed] = v.parse(v.array(Asked), asked.rows);
  if (needed) throw await factorNeeded(challengeId, needed.factors);
  const [who] = v.parse(v.array(Started), started.rows);
  const [held] = v.parse(v.array(Held), open.rows);
  const status = who?.tenant.status ?? held?.status;
  if (!status) throw new Problem("invitation_gone");
  if (status !== "active") throw closedFor(status);
  if (!who) {
    const detail =
      "Choose a password of at least 8 characters: nobody has shown yet that this email is theirs.";
    throw new Problem("invalid_input", { errors: [{ pointer: "/password", detail }] });
  }
  return sessionOf(who, firstRefreshToken(who.session_id, sessionSecret));
}
