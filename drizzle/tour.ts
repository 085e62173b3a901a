import { productTour, TOUR_PLANS } from "../src/product/tour.ts";

const PASSWORD = "correct horse battery staple";
const TENANTS = [
  { email: "ada@acme.test", plan: TOUR_PLANS.acme, tenant: { name: "Acme", slug: "acme" } },
  { email: "bob@globex.test", plan: TOUR_PLANS.globex, tenant: { name: "Globex", slug: "globex" } },
];

/** Makes the two tenants of the tour through the API, where their slugs are not taken yet. */
export async function seed(api: string, operatorToken: string): Promise<void> {
  for (const { email, plan, tenant } of TENANTS) {
    const made = await send("POST", `${api}/v1/signup`, { email, password: PASSWORD, tenant });
    if (made.status === 409) continue;
    const { id } = (await expectOk(made)).tenant;
    await expectOk(await send("PATCH", `${api}/v1/operator/tenants/${id}`, { plan }, operatorToken));
  }
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

/** Prints commands that work as they stand, one after the other, in a POSIX shell with curl. */
export function printTour(api: string): void {
  const json = `-H 'content-type: application/json'`;
  const signIn = (name: string, email: string) =>
    `${name}=$(curl -s ${api}/v1/sessions ${json} -d '{"email":"${email}","password":"${PASSWORD}"}' | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')`;
  console.log(`
partywall is up at ${api}. Two tenants, one database. Try this in another terminal:

  # sign in as each tenant's owner
  ${signIn("ADA", TENANTS[0]?.email ?? "")}
  ${signIn("BOB", TENANTS[1]?.email ?? "")}
${productTour(api)}
  # what is left, and the contract
  curl -s ${api}/v1/tenant/limits -H "authorization: Bearer $ADA"; echo
  curl -s ${api}/openapi.json | head -c 300; echo

Ctrl-C stops everything. \`npm run dev -- --fresh\` starts from empty.
`);
}
