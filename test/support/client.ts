import { exports } from "cloudflare:workers";

export type Session = {
  access_token: string;
  refresh_token: string;
  session: { id: string };
  user: { id: string; email: string };
  tenant: { id: string; slug: string; name: string; role: string };
};

const ORIGIN = "https://api.partywall.test";

/** A client's request through the whole Worker. Each call comes from an IP address of its own unless it says one. */
export async function request(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
  const { token, body, headers = {} } = options;
  return exports.default.fetch(
    new Request(`${ORIGIN}${path}`, {
      method,
      headers: {
        "cf-connecting-ip": crypto.randomUUID(),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    }),
  );
}
export type RequestOptions = { token?: string | undefined; body?: unknown; headers?: Record<string, string> };

export const PASSWORD = "correct horse battery staple";

/** A new tenant with its owner, signed in. */
export async function newTenant(): Promise<Session & { token: string }> {
  const slug = `t-${crypto.randomUUID().slice(0, 13)}`;
  const response = await request("POST", "/v1/signup", {
    body: { email: `owner@${slug}.test`, password: PASSWORD, tenant: { name: slug, slug } },
  });
  if (response.status !== 201) throw new Error(`sign-up answered ${response.status}: ${await response.text()}`);
  const session = await response.json<Session>();
  return { ...session, token: session.access_token };
}
