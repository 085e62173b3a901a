import { productTour, TOUR_PLANS } from "../src/product/tour.ts";
import { createTenant } from "./create-tenant.ts";
import { inControl, withFleet } from "./fleet.ts";
import { localDatabase } from "./local-database.ts";
import { addSite } from "./site-add.ts";
import type { SiteVariables } from "./sites.ts";

const PASSWORD = "correct horse battery staple";
const TENANTS = [
  { email: "ada@acme.test", plan: TOUR_PLANS.acme, tenant: { name: "Acme", slug: "acme" } },
  { email: "bob@globex.test", plan: TOUR_PLANS.globex, tenant: { name: "Globex", slug: "globex" } },
];

/** Tenants whose content is not with the others', and the sites where it is. */
const ELSEWHERE = [
  { slug: "initech", owner: "cyd@initech.test", site: "own-schema", schema: true },
  { slug: "umbrella", owner: "dan@umbrella.test", site: "own-database", schema: false },
];

/**
 * Makes two tenants of the tour at sites of their own, in a schema and at a second server, where they are not there yet.
 * `serverUrl` is that server's superuser's, wherever it is this time.
 */
export async function seedElsewhere(
  api: string,
  serverUrl: string,
  variables: SiteVariables & { OPAQUE_TOKEN_KEYS: string },
): Promise<void> {
  const { rows } = await inControl(variables, (control) =>
    control.query<{ slug: string }>(
      "select t.slug from control.tenants t where exists (select from control.memberships m where m.tenant_id = t.id)",
    ),
  );
  for (const { slug, owner, site, schema } of ELSEWHERE) {
    if (rows.some((tenant) => tenant.slug === slug)) continue;
    const databaseUrl = schema ? undefined : await localDatabase(site, serverUrl);
    await addSite({ name: site, schema, databaseUrl }, variables, { say: () => undefined });
    const { invitation } = await createTenant({ slug, site, owner, plan: TOUR_PLANS.acme }, variables);
    const body = { token: invitation, password: PASSWORD };
    await expectOk(await send("POST", `${api}/v1/invitations/accept`, body));
  }
}

/** Notes where the second local server is by now: its port is another one each time. Sites elsewhere stay where they are. */
export const moveSecondServer = (serverUrl: string, variables: SiteVariables): Promise<unknown> =>
  withFleet(variables, (control) =>
    control.query("update control.sites set host = $1 where host ^@ '127.0.0.1:' and host <> $1", [
      new URL(serverUrl).host,
    ]),
  );

/**
 * Makes the two tenants of the tour through the API, where their slugs are not taken yet, and confirms their owners' addresses.
 */
export async function seed(
  api: string,
  operatorToken: string,
  variables: Pick<SiteVariables, "MIGRATION_DATABASE_URL">,
): Promise<void> {
  for (const { email, plan, tenant } of TENANTS) {
    const made = await send("POST", `${api}/v1/signup`, { email, password: PASSWORD, tenant });
    if (made.status === 409) continue;
    const { id } = (await expectOk(made)).tenant;
    await expectOk(
      await send("PATCH", `${api}/v1/operator/tenants/${id}`, { plan, reason: "the tour" }, operatorToken),
    );
  }
  await inControl(variables, (control) =>
    control.query(
      "update users set email_verified_at = now() where email = any ($1) and email_verified_at is null",
      [TENANTS.map(({ email }) => email)],
    ),
  );
}

const send = (method: string, url: string, body: unknown, token?: string) =>
  fetch(url, {
    method,
    headers: { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });

async function expectOk(response: Response): Promise<{ tenant: { id: string } }> {
  if (!response.ok)
    throw new Error(`Seeding failed: ${response.url} answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as { tenant: { id: string } };
}

/** Characters of the longest address that the tour begins with. */
const WIDTH = "http://localhost:65535/account".length;

/** Prints commands that work as they stand, one after the other, in a POSIX shell with curl. */
export function printTour(api: string, mailbox: string, page: string): void {
  const json = `-H 'content-type: application/json'`;
  const signIn = (name: string, email: string) =>
    `${name}=$(curl -s ${api}/v1/sessions ${json} -d '{"email":"${email}","password":"${PASSWORD}"}' | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')`;
  console.log(`
partywall is up at ${api}. Two tenants in the same tables, and two elsewhere.

  ${`${api}/docs`.padEnd(WIDTH)}  the reference, to read and to try
  ${page.padEnd(WIDTH)}  where people sign in and keep their account
  ${mailbox.padEnd(WIDTH)}  the mail that it sends, which is printed here too

Try this in another terminal:

  # sign in as each tenant's owner
  ${signIn("ADA", TENANTS[0]?.email ?? "")}
  ${signIn("BOB", TENANTS[1]?.email ?? "")}
${productTour(api)}
  # the same calls for a tenant in a schema of its own (cyd@initech.test) or in a database of its own (dan@umbrella.test)
  ${signIn("DAN", ELSEWHERE[1]?.owner ?? "")}
  curl -s ${api}/v1/tenant -H "authorization: Bearer $DAN"; echo

  # what is left, and the contract
  curl -s ${api}/v1/tenant/limits -H "authorization: Bearer $ADA"; echo
  curl -s ${api}/openapi.json | head -c 300; echo

Ctrl-C stops everything. \`npm run dev -- --fresh\` starts from empty.
`);
}
