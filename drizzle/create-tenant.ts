import pg from "pg";
import { v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import { SHARED_SITE } from "../src/db/places.ts";
import { INVITATION_TTL_DAYS, newInvitation } from "../src/identity/sealing.ts";
import { PLAN_POLICIES, SIGNUP_PLAN } from "../src/product/plans.ts";
import { keyRing } from "../src/settings.ts";
import { Email, isFreeSlug, Slug } from "../src/values.ts";
import { noteCommand } from "./command-trail.ts";
import { behind, sentenceOf, withFleet } from "./fleet.ts";
import type { SiteVariables } from "./sites.ts";

export type NewTenant = { slug: string } & Partial<
  Record<"site" | "name" | "plan" | "owner" | "reason", string | undefined>
>;

export type Created = {
  id: string;
  slug: string;
  site: string;
  isNew: boolean;
  /** The token of the owner's invitation, when there is to be one. */
  invitation: string | undefined;
};

/**
 * Makes a tenant at a site, all or nothing. With an `owner`, an email, that one is invited. A tenant that is there already, and
 * that nobody has entered, invites them in the place of whoever was invited before. Throws a sentence.
 */
export async function createTenant(
  of: NewTenant,
  variables: SiteVariables & { OPAQUE_TOKEN_KEYS: string },
): Promise<Created> {
  const { slug, site, name = slug, plan = SIGNUP_PLAN } = of;
  if (!v.is(Slug, slug) || !isFreeSlug(slug))
    throw new Error(
      `${slug || "Nothing"} is no slug for a tenant: lower-case letters, digits and inner hyphens, and no reserved word.`,
    );
  if (!site) throw new Error("Say at which site: --site <name>. `npm run tenants -- site list` names them.");
  if (!Object.hasOwn(PLAN_POLICIES, plan))
    throw new Error(`${plan} is no plan. There are ${Object.keys(PLAN_POLICIES).join(", ")}.`);
  const owner = of.owner === undefined ? undefined : emailOf(of.owner);
  const [key] = v.parse(keyRing, variables.OPAQUE_TOKEN_KEYS);
  return withFleet(variables, async (control) => {
    await requireUpToDate(control, site, variables);
    await control.query("begin");
    const { rows } = await control.query<{ id: string; site: string; is_new: boolean; is_entered: boolean }>(
      `with made as (
         insert into control.tenants (id, slug, name, plan, site) values ($1, $2, $3, $4, $5)
         on conflict (slug) do nothing returning id, site
       )
       select id, site, true as is_new, false as is_entered from made
       union all select id, site, false, exists (select from control.memberships m where m.tenant_id = t.id)
         from control.tenants t where slug = $2 and not exists (select from made)`,
      [uuidv7(), slug, name, plan, site],
    );
    const [tenant] = rows;
    if (!tenant || tenant.site !== site || (!tenant.is_new && owner === undefined))
      throw new Error(`There is a tenant ${slug} already${tenant ? `, at the site ${tenant.site}` : ""}.`);
    // Otherwise a slip of the pen makes a stranger an owner.
    if (tenant.is_entered)
      throw new Error(`There is a tenant ${slug} already, and it has members: its owners invite others.`);
    const invitation = owner === undefined ? undefined : newInvitation(key, tenant.id, owner);
    if (invitation)
      await control.query("select control.invite_owner($1, $2, $3, $4, $5)", [
        tenant.id,
        invitation.id,
        owner,
        Buffer.from(invitation.hash),
        INVITATION_TTL_DAYS,
      ]);
    const [action, change] = tenant.is_new
      ? ["tenant.create", { plan: { from: null, to: plan }, site }]
      : ["tenant.invite", {}];
    await noteCommand(control, { action, tenant: tenant.id, change, reason: of.reason });
    await control.query("commit");
    return { id: tenant.id, slug, site, isNew: tenant.is_new, invitation: invitation?.text };
  });
}

function emailOf(text: string): string {
  const parsed = v.safeParse(Email, text);
  if (!parsed.success) throw new Error(`${text} is no email address.`);
  return parsed.output;
}

/** Throws when there is no such site, or it lacks migrations. */
async function requireUpToDate(control: pg.Client, name: string, of: SiteVariables): Promise<void> {
  if (name === SHARED_SITE.name) return;
  const { rowCount } = await control.query("select from control.sites where name = $1", [name]);
  if (rowCount === 0)
    throw new Error(`There is no site ${name}. \`npm run tenants -- site list\` names them.`);
  const [late] = await behind(control, of, [name]);
  if (late) throw new Error(sentenceOf(late));
}
