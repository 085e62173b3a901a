import type { Served } from "../../bench/workerd.ts";

/** Sends a request to a Worker that is served. */
export const ask = (
  { port }: Served,
  method: string,
  path: string,
  token?: string,
  body?: object,
): Promise<Response> =>
  fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body && { "content-type": "application/json" }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });

/** The JSON of an answer. Throws with all of it if it is no success. */
export async function answer<T>(of: Promise<Response>): Promise<T> {
  const response = await of;
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${text}`);
  return JSON.parse(text) as T;
}

/** The access token of somebody who signs in with a password. */
export async function signIn(at: Served, email: string, password: string): Promise<string> {
  const session = ask(at, "POST", "/v1/sessions", undefined, { email, password });
  return (await answer<{ access_token: string }>(session)).access_token;
}
