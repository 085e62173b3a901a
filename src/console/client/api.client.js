import { ROLES, TAKES } from "./setup.client.js";

// One way to the API. The operator's token is kept in this page's memory alone: a reload asks to sign in again.

/**
 * @typedef {{ id: string, email: string, role: string }} Operator
 * @typedef {{ code?: string, title?: string, detail?: string, errors?: { pointer: string, detail: string }[] }} ProblemDocument
 * @typedef {Record<string, unknown>} Body
 */

/** Whatever keeps a request from being done: mostly a problem document (RFC 9457) of the API's. */
export class Problem extends Error {
  /** @param {number} status 0 where nothing answered @param {ProblemDocument} document @param {number} [retryAfterS] */
  constructor(status, document, retryAfterS) {
    super(document.detail ?? document.title ?? "Something went wrong.");
    this.status = status;
    this.code = document.code;
    this.errors = document.errors ?? [];
    this.retryAfterS = retryAfterS;
  }
}

/** @type {{ token: string, operator: Operator, endsAt: number } | undefined} */
let session;

/** Who is signed in; undefined where nobody is. */
export const me = () => session?.operator;

/** When the session ends, in ms since 1970. */
export const endsAt = () => session?.endsAt ?? 0;

/** Tells the page that the session was ended by the API. */
export const signedOut = new EventTarget();

/** Forgets the token. */
function forget() {
  session = undefined;
}

/** Signs the operator out: the token is refused from then on. Whatever happens, it is forgotten here. Throws the API's Problem. */
export async function signOut() {
  const ending = session ? send("DELETE", "/v1/operator/sessions/current") : undefined;
  forget();
  await ending;
}

/** Signs an operator in. Throws the API's Problem. @param {Body} proof email, password and, where one is asked for, code */
export async function signIn(proof) {
  /** @type {{ access_token: string, expires_in: number, operator: Operator }} */
  const answer = await send("POST", "/v1/operator/sessions", proof);
  session = {
    token: answer.access_token,
    operator: answer.operator,
    endsAt: Date.now() + answer.expires_in * 1000,
  };
}

/**
 * One request, and the JSON of its answer. Throws a Problem for any that is no success, and AbortError when `signal` ends it.
 * @template T
 * @param {string} method @param {string} path @param {Body} [body] @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export async function send(method, path, body, signal) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (body) headers["content-type"] = "application/json";
  if (session) headers["authorization"] = `Bearer ${session.token}`;
  const init = { method, headers, body: body ? JSON.stringify(body) : null, ...(signal && { signal }) };
  const response = await fetch(path, init).catch((error) => {
    if (signal?.aborted) throw error;
    throw new Problem(0, { detail: "There was no answer. Check your connection, and try again." });
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.includes("json");
  const answer = isJson && text ? JSON.parse(text) : {};
  if (response.ok) return answer;
  const wait = Number(response.headers.get("retry-after") ?? Number.NaN);
  if (response.status === 401 && session) {
    forget();
    signedOut.dispatchEvent(new Event("signedout"));
  }
  throw new Problem(response.status, answer, Number.isFinite(wait) ? wait : undefined);
}

/** A path with these parameters; those that are empty are left out. @param {string} path @param {Record<string, string | number | null | undefined>} parameters */
export function pathOf(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters))
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  return query.size === 0 ? path : `${path}?${query}`;
}

/**
 * @template T
 * @param {string} path @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export const get = (path, signal) => send("GET", path, undefined, signal);

/** Whether who is signed in may do this. The API decides; what it would refuse is not offered. @param {string} act */
export function may(act) {
  const [has, takes] = [ROLES.indexOf(session?.operator.role ?? ""), ROLES.indexOf(TAKES[act] ?? "")];
  return takes >= 0 && has >= takes;
}
